// pretokenize: steps one after the other, each cutting the pieces that the one before it left.
// Source of the semantics: Hugging Face tokenizers, NormalizedString::split and the Split, Digits and ByteLevel
// pre-tokenizers. Must not know: tokens, vocabularies, files.
#include "core/data/pretokenize.h"

#include <stdlib.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static const char *const behavior_names[] = {[SPLIT_REMOVED] = "Removed",
                                             [SPLIT_ISOLATED] = "Isolated",
                                             [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                             [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                             [SPLIT_CONTIGUOUS] = "Contiguous"};

const char *split_behavior_name(SplitBehavior b) { return behavior_names[b]; }

bool split_behavior_parse(const char *name, SplitBehavior *out) {
    for (size_t i = 0; i < COUNT_OF(behavior_names); i++) {
        if (strcmp(name, behavior_names[i]) == 0) {
            *out = (SplitBehavior)i;
            return true;
        }
    }
    return false;
}

// Oniguruma's Ruby syntax: ^ and $ are the ends of lines, a line ends at \n.
static pcre2_code *compile(const char *pattern, bool literal, Error *e) {
    Buf translated = {0};
    if (!literal && !regex_translate(pattern, &translated, e)) {
        buf_free(&translated);
        return NULL;
    }
    const char *text = literal ? pattern : translated.data;
    uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    check(context != NULL, "PCRE2 gives no compile context");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int why;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, strlen(text), options, &why, &at, context);
    pcre2_compile_context_free(context);
    if (code == NULL) {
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(why, message, sizeof message);
        fail(e, EXIT_DATA, "the pattern does not compile: %s", (const char *)message);
    } else {
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); // without JIT support matching is slower, not different
    }
    buf_free(&translated);
    return code;
}

bool pretokenize_add(PreTokenizer *p, const char *pattern, bool literal, SplitBehavior behavior, bool invert,
                     Error *e) {
    if (p->n_steps == PRE_MAX_STEPS) return fail(e, EXIT_DATA, "more than %d steps", PRE_MAX_STEPS);
    if (pattern[0] == '\0') return fail(e, EXIT_DATA, "the pattern is empty");
    pcre2_code *code = compile(pattern, literal, e);
    if (code == NULL) return false;
    bool scannable = !literal && !invert && behavior == SPLIT_ISOLATED;
    p->steps[p->n_steps++] = (PreStep){.pattern = xstrdup(pattern),
                                       .literal = literal,
                                       .invert = invert,
                                       .behavior = behavior,
                                       .code = code,
                                       .scan = scannable ? scanner_for(pattern) : NULL};
    return true;
}

void pretokenize_free(PreTokenizer *p) {
    for (int i = 0; i < p->n_steps; i++) {
        free(p->steps[i].pattern);
        pcre2_code_free(p->steps[i].code);
    }
    *p = (PreTokenizer){.prefix_at = -1};
}

void pretokenize_describe(const PreTokenizer *p, Buf *out) {
    for (int i = 0; i <= p->n_steps; i++) {
        if (p->prefix_at == i) buf_text(out, "prefix space\n");
        if (i == p->n_steps) break;
        const PreStep *s = &p->steps[i];
        buf_printf(out, "%s %s%s %zu:%s\n", s->literal ? "text" : "regex", split_behavior_name(s->behavior),
                   s->invert ? " inverted" : "", strlen(s->pattern), s->pattern);
    }
}

void pre_scratch_free(PreScratch *s) {
    pcre2_match_data_free(s->match);
    for (int i = 0; i < PRE_MAX_STEPS; i++) free(s->spans[i].items);
    buf_free(&s->prefixed);
    *s = (PreScratch){0};
}

// ---- one step ----

static void span_add(struct PreSpans *spans, size_t begin, size_t end, bool match) {
    if (spans->count == spans->capacity) {
        spans->capacity = MAX((size_t)64, spans->capacity * 2);
        spans->items = xrealloc(spans->items, spans->capacity * sizeof *spans->items);
    }
    spans->items[spans->count++] = (PreSpan){begin, end, match};
}

// The next match at or after `from`; false = none. A pattern that needs more stack than JIT has runs interpreted.
static bool next_match(const PreStep *step, PreScratch *s, const char *text, size_t length, size_t from, PreSpan *out) {
    if (s->match == NULL) s->match = pcre2_match_data_create(1, NULL);
    check(s->match != NULL, "PCRE2 gives no match data");
    const PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = pcre2_match(step->code, subject, length, from, PCRE2_NO_UTF_CHECK, s->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        pcre2_match_context *context = pcre2_match_context_create(NULL);
        check(context != NULL, "PCRE2 gives no match context");
        pcre2_set_heap_limit(context, UINT32_MAX);
        pcre2_set_match_limit(context, UINT32_MAX);
        pcre2_set_depth_limit(context, UINT32_MAX);
        rc = pcre2_match(step->code, subject, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, context);
        pcre2_match_context_free(context);
    }
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    check(rc >= 0,
          "pre-tokenizer pattern \"%s\" failed with PCRE2 error %d\nhint: the text has a run that is too long for "
          "this pattern; split it",
          step->pattern, rc);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->match);
    *out = (PreSpan){ends[0], ends[1], true};
    return true;
}

static size_t char_length(const char *text, size_t at, size_t length) {
    size_t next = at + 1;
    while (next < length && ((uint8_t)text[next] & 0xC0) == 0x80) next++;
    return next - at;
}

// Matches and what lies between them. An empty match right behind the last match is passed over, as Oniguruma's
// iterator does.
static void find_spans(const PreStep *step, PreScratch *s, const char *text, size_t length, struct PreSpans *spans) {
    size_t from = 0, done = 0;
    bool any = false;
    PreSpan m;
    while (from <= length && next_match(step, s, text, length, from, &m)) {
        if (m.begin == m.end && any && m.begin == done) {
            from += from < length ? char_length(text, from, length) : 1;
            continue;
        }
        if (m.begin > done) span_add(spans, done, m.begin, step->invert);
        span_add(spans, m.begin, m.end, !step->invert);
        from = done = m.end;
        any = true;
    }
    if (done < length) span_add(spans, done, length, step->invert);
}

// In place: joins neighbours as the behavior says.
static void join_spans(struct PreSpans *spans, SplitBehavior behavior) {
    if (behavior == SPLIT_ISOLATED || behavior == SPLIT_REMOVED || spans->count == 0) return;
    PreSpan *v = spans->items;
    size_t kept = 0;
    if (behavior == SPLIT_MERGED_WITH_NEXT) { // a match joins what follows, unless that is a match too
        for (size_t i = 0; i < spans->count; i++) {
            bool joins = kept > 0 && v[kept - 1].match && !v[i].match;
            if (joins)
                v[kept - 1] = (PreSpan){v[kept - 1].begin, v[i].end, false};
            else
                v[kept++] = v[i];
        }
    } else {
        bool previous = false;
        for (size_t i = 0; i < spans->count; i++) {
            bool match = v[i].match;
            bool joins = behavior == SPLIT_CONTIGUOUS ? match == previous : match && !previous;
            if (joins && kept > 0)
                v[kept - 1].end = v[i].end;
            else
                v[kept++] = v[i];
            previous = match;
        }
    }
    spans->count = kept;
}

typedef struct Walk {
    const PreTokenizer *p;
    PreScratch *s;
    WordFn word;
    void *context;
} Walk;

static void walk(const Walk *w, int depth, const char *text, size_t length) {
    if (length == 0) return;
    if (w->p->prefix_at == depth && text[0] != ' ') {
        Buf *b = &w->s->prefixed;
        buf_clear(b);
        buf_char(b, ' ');
        buf_add(b, text, length);
        text = b->data;
        length = b->length;
    }
    if (depth == w->p->n_steps) {
        w->word(w->context, text, length);
        return;
    }
    const PreStep *step = &w->p->steps[depth];
    if (step->scan != NULL) {
        for (size_t begin = 0, end; begin < length; begin = end) {
            end = step->scan((const uint8_t *)text, begin, length);
            walk(w, depth + 1, text + begin, end - begin);
        }
        return;
    }
    struct PreSpans *spans = &w->s->spans[depth];
    spans->count = 0;
    find_spans(step, w->s, text, length, spans);
    join_spans(spans, step->behavior);
    for (size_t i = 0; i < spans->count; i++) {
        PreSpan at = spans->items[i];
        if (step->behavior == SPLIT_REMOVED && at.match) continue;
        walk(w, depth + 1, text + at.begin, at.end - at.begin);
    }
}

void pretokenize(const PreTokenizer *p, PreScratch *s, const char *text, size_t length, WordFn word, void *context) {
    Walk w = {p, s, word, context};
    walk(&w, 0, text, length);
}
