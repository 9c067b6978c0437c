#include "datagen/rewrite_check.h"
#include "core/data/grader.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NGRAM = 8 };

typedef struct StylePatterns {
    pcre2_code *format, *steps; // steps NULL: the style numbers nothing
} StylePatterns;

struct RewriteChecker {
    StylePatterns *styles;
    pcre2_code *equation, *implied;
};

// A number that a document says without a numeral; words that grader.h already reads as numbers need no row.
static const struct {
    const char *word, *number;
} implied_words[] = {
    {"half", "2"},  {"halves", "2"}, {"twice", "2"},  {"double", "2"},  {"doubles", "2"}, {"doubled", "2"},
    {"again", "2"}, {"thrice", "3"}, {"triple", "3"}, {"triples", "3"}, {"tripled", "3"},
};

static pcre2_code *compile(const char *pattern) {
    int code;
    PCRE2_SIZE at;
    pcre2_code *p =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MULTILINE, &code, &at, NULL);
    check(p, "the pattern %s is wrong at %zu (PCRE2 error %d)", pattern, (size_t)at, code);
    return p;
}

// "a op b = c" that is not a piece of a longer expression; operators stand between single spaces (see `spread`).
#define NUMBER "(\\d++(?:,\\d{3})*+(?:\\.\\d++)?+)"
#define EQUATION "(?<![-+*/(.,\\d])(?<![-+*/(] )" NUMBER " ([-+*/]) " NUMBER " = " NUMBER "(?! [-+*/])"

static pcre2_code *compile_implied(void) {
    Buf pattern = {0};
    for (size_t i = 0; i < COUNT_OF(implied_words); i++)
        buf_printf(&pattern, "%s%s", i ? "|" : "(?i)\\b(", implied_words[i].word);
    buf_text(&pattern, ")\\b");
    pcre2_code *code = compile(pattern.data);
    buf_free(&pattern);
    return code;
}

RewriteChecker *rewrite_checker(void) {
    RewriteChecker *c = xcalloc(1, sizeof *c);
    c->styles = xcalloc((size_t)n_styles, sizeof *c->styles);
    for (int i = 0; i < n_styles; i++) {
        c->styles[i].format = compile(styles[i].format);
        if (*styles[i].steps) c->styles[i].steps = compile(styles[i].steps);
    }
    c->equation = compile(EQUATION);
    c->implied = compile_implied();
    return c;
}

void rewrite_checker_free(RewriteChecker *c) {
    if (!c) return;
    for (int i = 0; i < n_styles; i++) {
        pcre2_code_free(c->styles[i].format);
        pcre2_code_free(c->styles[i].steps);
    }
    free(c->styles);
    pcre2_code_free(c->equation);
    pcre2_code_free(c->implied);
    free(c);
}

// The matches of a pattern in a text, one after the other.
typedef struct Scan {
    const pcre2_code *pattern;
    const char *text;
    size_t length, at;
    pcre2_match_data *match;
} Scan;

static Scan scan(const pcre2_code *pattern, const char *text) {
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(pattern, NULL);
    check(match, "no memory for a match");
    return (Scan){pattern, text, strlen(text), 0, match};
}

// Frees itself at the end, when it returns false. Patterns never match the empty text.
static bool scan_next(Scan *s) {
    int n = pcre2_match(s->pattern, (PCRE2_SPTR)s->text, s->length, s->at, 0, s->match, NULL);
    if (n > 0) {
        s->at = pcre2_get_ovector_pointer(s->match)[1];
        return true;
    }
    pcre2_match_data_free(s->match);
    return false;
}

static void scan_end(Scan *s) { pcre2_match_data_free(s->match); }

static char *scan_group(const Scan *s, int group) {
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);
    return xstrndup(s->text + at[2 * group], at[2 * group + 1] - at[2 * group]);
}

static bool matches(const pcre2_code *pattern, const char *text) {
    Scan s = scan(pattern, text);
    bool found = scan_next(&s);
    if (found) scan_end(&s);
    return found;
}

// ---- numbers ----

static bool joins(char before, char after) {
    return (isdigit((unsigned char)before) || before == ')') && (isdigit((unsigned char)after) || after == '(');
}

// Operators between operands get one space on either side: "18/2=9" and "18 / 2 = 9" shall hold the same numbers.
static char *spread(const char *text) {
    Buf out = {0};
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        bool operator= strchr("+-*/=", text[i]) && i > 0;
        size_t left = i, right = i + 1;
        while (operator&& left> 0 && text[left - 1] == ' ') left--;
        while (operator&& text[right] == ' ') right++;
        if (!operator|| left == 0 || !joins(text[left - 1], text[right])) {
            buf_char(&out, text[i]);
            continue;
        }
        while (out.length && out.data[out.length - 1] == ' ') out.data[--out.length] = 0;
        buf_printf(&out, " %c ", text[i]);
        i = right - 1;
    }
    buf_char(&out, '\0'); // a text may be empty
    return out.data;
}

// Numbers of a text with spread operators, in order; a fraction is two of them.
static void numbers_of(const char *text, StrList *out) {
    StrList found = {0};
    numbers_in(text, true, &found);
    for (size_t i = 0; i < found.count; i++) strlist_add(out, found.items[i]);
    strlist_free(&found);
}

static void set_add(json_t *set, const char *item) { json_object_set_new(set, item, json_true()); }
static bool set_has(const json_t *set, const char *item) { return json_object_get(set, item) != NULL; }

static json_t *set_of(const StrList *items) {
    json_t *set = json_object();
    for (size_t i = 0; i < items->count; i++) set_add(set, items->items[i]);
    return set;
}

static bool refuse(RewriteVerdict *v, const char *reason, const char *detail) {
    v->reason = reason;
    snprintf(v->detail, sizeof v->detail, "%.120s", detail ? detail : "");
    return false;
}

static void add_implied(const RewriteChecker *c, const char *source, json_t *known) {
    for (Scan s = scan(c->implied, source); scan_next(&s);) {
        char *word = scan_group(&s, 1);
        for (size_t i = 0; i < COUNT_OF(implied_words); i++)
            if (!strcasecmp(word, implied_words[i].word)) set_add(known, implied_words[i].number);
        free(word);
    }
}

static bool equation_holds(const char *left, char op, const char *right, const char *value) {
    double a = strtod(left, NULL), b = strtod(right, NULL), c = strtod(value, NULL);
    double is = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
    return fabs(is - c) <= 1e-9 * fmax(1, fabs(c)); // decimals such as 0.1 + 0.2; a rounded quotient is not an equation
}

// One match of the equation pattern: true? And if its operands are known, so is its result from now on.
static bool learn_equation(const Scan *s, json_t *known, RewriteVerdict *v) {
    char *part[5];
    for (int i = 0; i < 5; i++) part[i] = scan_group(s, i);
    StrList n = {0}; // left, right, value as canonical numbers
    for (int i = 1; i < 5; i++)
        if (i != 2) numbers_in(part[i], false, &n);
    bool ok = n.count != 3 || equation_holds(n.items[0], *part[2], n.items[1], n.items[2]) ||
              refuse(v, "false equation", part[0]);
    if (ok && n.count == 3 && set_has(known, n.items[0]) && set_has(known, n.items[1])) set_add(known, n.items[2]);
    for (int i = 0; i < 5; i++) free(part[i]);
    strlist_free(&n);
    return ok;
}

static bool check_equations(const RewriteChecker *c, const char *rewrite, json_t *known, RewriteVerdict *v) {
    for (Scan s = scan(c->equation, rewrite); scan_next(&s);)
        if (!learn_equation(&s, known, v)) {
            scan_end(&s);
            return false;
        }
    return true;
}

static bool check_sets(const StrList *source, const StrList *rewrite, const json_t *known, RewriteVerdict *v) {
    json_t *there = set_of(rewrite);
    const char *missing = NULL, *added = NULL;
    for (size_t i = 0; i < source->count && !missing; i++)
        if (!set_has(there, source->items[i])) missing = source->items[i];
    for (size_t i = 0; i < rewrite->count && !added; i++)
        if (!set_has(known, rewrite->items[i])) added = rewrite->items[i];
    json_decref(there);
    if (!missing && !added) return true;
    char detail[160];
    snprintf(detail, sizeof detail, "%.50s%s%.50s", missing ? missing : "", missing && added ? " -> " : "",
             added ? added : "");
    return refuse(v, missing && added ? "number changed" : missing ? "number missing" : "number added", detail);
}

static bool check_order(const char *source, const StrList *rewrite, RewriteVerdict *v) {
    const char *end = strchr(source, '?');
    if (!end) return true;
    char *problem = xstrndup(source, (size_t)(end - source));
    StrList numbers = {0};
    numbers_of(problem, &numbers);
    bool same = numbers.count <= rewrite->count;
    for (size_t i = 0; same && i < numbers.count; i++) same = !strcmp(numbers.items[i], rewrite->items[i]);
    strlist_free(&numbers);
    free(problem);
    return same || refuse(v, "problem changed", "its numbers do not open the rewrite in their order");
}

// The rewrite without the numbering of its style, which must count 1, 2, 3, ...; NULL when it does not.
static char *without_steps(const pcre2_code *steps, const char *text) {
    if (!steps) return xstrdup(text);
    Buf out = {0};
    size_t from = 0;
    long expected = 1;
    for (Scan s = scan(steps, text); scan_next(&s); expected++) {
        char *number = scan_group(&s, 1);
        bool right = strtol(number, NULL, 10) == expected;
        free(number);
        if (!right) {
            scan_end(&s);
            buf_free(&out);
            return NULL;
        }
        buf_add(&out, text + from, pcre2_get_ovector_pointer(s.match)[0] - from);
        from = s.at;
    }
    buf_text(&out, text + from);
    buf_char(&out, '\0'); // a text may be empty
    return out.data;
}

static bool check_numbers(const RewriteChecker *c, const char *source, bool is_problem, const char *rewrite,
                          RewriteVerdict *v) {
    char *from = spread(source), *to = spread(rewrite);
    StrList before = {0}, after = {0};
    numbers_of(from, &before);
    numbers_of(to, &after);
    json_t *known = set_of(&before);
    add_implied(c, source, known);
    bool ok = check_equations(c, to, known, v) && check_sets(&before, &after, known, v) &&
              (!is_problem || check_order(from, &after, v));
    json_decref(known);
    strlist_free(&before);
    strlist_free(&after);
    free(from);
    free(to);
    return ok;
}

// ---- copies ----

static void words_of(const char *text, StrList *out) {
    Buf word = {0};
    for (const char *c = text;; c++) {
        if (isalnum((unsigned char)*c) || (unsigned char)*c >= 0x80) {
            buf_char(&word, (char)tolower((unsigned char)*c));
        } else if (word.length) {
            strlist_add(out, word.data);
            buf_clear(&word);
        }
        if (!*c) break;
    }
    buf_free(&word);
}

static void ngram(const StrList *words, size_t at, Buf *out) {
    buf_clear(out);
    for (size_t i = 0; i < NGRAM; i++) buf_printf(out, "%s ", words->items[at + i]);
}

// Share of the rewrite's words that stand in runs of 8 or more words of the source. Words, not 8-grams, are counted,
// since each label put between copied lines would spoil eight of the latter.
static double copied_share(const char *source, const char *rewrite) {
    StrList from = {0}, to = {0};
    words_of(source, &from);
    words_of(rewrite, &to);
    Buf gram = {0};
    json_t *grams = json_object();
    for (size_t i = 0; i + NGRAM <= from.count; i++) {
        ngram(&from, i, &gram);
        set_add(grams, gram.data);
    }
    size_t copied = 0, covered = 0, n = MAX(to.count, (size_t)1); // covered: end of the last copied run
    for (size_t i = 0; i + NGRAM <= to.count; i++) {
        ngram(&to, i, &gram);
        if (!set_has(grams, gram.data)) continue;
        copied += i + NGRAM - MAX(i, covered);
        covered = i + NGRAM;
    }
    json_decref(grams);
    buf_free(&gram);
    strlist_free(&from);
    strlist_free(&to);
    return (double)copied / (double)n;
}

// ---- the whole ----

static bool check_length(const char *source, const char *rewrite, const RewriteLimits *limits, RewriteVerdict *v) {
    double ratio = (double)strlen(rewrite) / (double)MAX(strlen(source), 1u);
    char detail[64];
    snprintf(detail, sizeof detail, "%.2f of the source", ratio);
    if (ratio < limits->min_length) return refuse(v, "too short", detail);
    if (ratio > limits->max_length) return refuse(v, "too long", detail);
    return true;
}

static bool check_answer(const char *answer, const char *rewrite, RewriteVerdict *v) {
    Verdict graded;
    grade(rewrite, answer, &graded);
    if (graded.label == LABEL_POSITIVE) return true;
    char detail[300];
    snprintf(detail, sizeof detail, "%.50s -> %.60s (%.40s)", answer, graded.extracted, graded.reason);
    return refuse(v, "answer changed", detail);
}

static bool check_copy(const char *source, const char *rewrite, const RewriteLimits *limits, RewriteVerdict *v) {
    double share = copied_share(source, rewrite);
    char detail[64];
    snprintf(detail, sizeof detail, "%.2f of its words", share);
    return share <= limits->max_copied || refuse(v, "copied", detail);
}

void rewrite_check(const RewriteChecker *c, int style, const char *source, const char *answer, const char *rewrite,
                   const char *finish_reason, const RewriteLimits *limits, RewriteVerdict *out) {
    check(style >= 0 && style < n_styles, "style %d", style);
    *out = (RewriteVerdict){0};
    const StylePatterns *patterns = &c->styles[style];
    bool is_problem = answer && *answer;
    if (strcmp(finish_reason, "stop") != 0) return (void)refuse(out, "not finished", finish_reason);
    if (strstr(rewrite, "\xEF\xBF\xBD")) return (void)refuse(out, "broken characters", NULL);
    if (!check_length(source, rewrite, limits, out)) return;
    if (!matches(patterns->format, rewrite)) return (void)refuse(out, "wrong format", styles[style].name);
    char *content = without_steps(patterns->steps, rewrite);
    if (!content) return (void)refuse(out, "steps misnumbered", NULL);
    bool ok = check_numbers(c, source, is_problem, content, out) &&
              (!is_problem || check_answer(answer, rewrite, out)) && check_copy(source, rewrite, limits, out);
    free(content);
    check(ok == !out->reason, "a verdict without a reason");
}
