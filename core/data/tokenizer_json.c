// tokenizer_json: a tokenizer.json (Hugging Face tokenizers) -> Tokenizer. What is not byte-level BPE, and every
// setting that would change ids and is not supported, is refused with its JSON path. Must not know: how encoding works.
// "truncation" and "padding" are not read: they are settings of a call, and transformers resets them for each.
#include <stdio.h>
#include <string.h>

#include "core/data/tokenizer_internal.h"

// Where a value stands: the file, and the JSON path in it.
typedef struct Place {
    const char *file;
    char path[160];
} Place;

__attribute__((format(printf, 2, 3))) static Place place_in(const Place *p, const char *format, ...) {
    Place out = *p;
    size_t n = strlen(out.path);
    if (n > 0 && n + 1 < sizeof out.path) out.path[n++] = '.';
    va_list args;
    va_start(args, format);
    vsnprintf(out.path + n, sizeof out.path - n, format, args);
    va_end(args);
    return out;
}

static bool refuse(Error *e, const Place *p, const char *what) {
    return fail(e, EXIT_DATA, "%s: %s: %s", p->file, p->path, what);
}

static bool is_absent(const json_t *v) { return v == NULL || json_is_null(v); }

// The text member "type" of an object.
static bool type_of(const json_t *object, const Place *p, const char **type, Error *e) {
    if (!json_is_object(object)) return refuse(e, p, "expected an object");
    Place at = place_in(p, "type");
    const json_t *v = json_object_get(object, "type");
    if (!json_is_string(v)) return refuse(e, &at, "expected text");
    *type = json_string_value(v);
    return true;
}

static bool refuse_type(Error *e, const Place *p, const char *type, const char *known) {
    return fail(e, EXIT_DATA, "%s: %s.type: \"%.64s\" is not supported; known: %s", p->file, p->path, type, known);
}

// An optional true or false.
static bool flag(const json_t *object, const char *name, const Place *p, bool *out, Error *e) {
    const json_t *v = json_object_get(object, name);
    Place at = place_in(p, "%s", name);
    if (!is_absent(v) && !json_is_boolean(v)) return refuse(e, &at, "expected true or false");
    if (!is_absent(v)) *out = json_is_true(v);
    return true;
}

// ---- normalizer ----

static bool read_normalizer(Tokenizer *t, const json_t *n, const Place *p, int depth, Error *e) {
    const char *type = "";
    if (is_absent(n)) return true;
    if (!type_of(n, p, &type, e)) return false;
    if (strcmp(type, "NFC") == 0) {
        t->nfc = true;
        return true;
    }
    if (strcmp(type, "Sequence") != 0 || depth > 0) return refuse_type(e, p, type, "NFC, Sequence of these");
    const json_t *list = json_object_get(n, "normalizers"), *item;
    Place at = place_in(p, "normalizers");
    if (!json_is_array(list)) return refuse(e, &at, "expected a list");
    size_t i;
    json_array_foreach(list, i, item) {
        Place one = place_in(p, "normalizers[%zu]", i);
        if (!read_normalizer(t, item, &one, depth + 1, e)) return false;
    }
    return true;
}

// ---- pre-tokenizer ----

static bool read_split(Tokenizer *t, const json_t *s, const Place *p, Error *e) {
    const json_t *pattern = json_object_get(s, "pattern"), *behavior = json_object_get(s, "behavior");
    const json_t *regex = json_object_get(pattern, "Regex"), *text = json_object_get(pattern, "String");
    bool invert = false;
    SplitBehavior how;
    Place at = place_in(p, "pattern");
    if (!json_is_string(regex) && !json_is_string(text))
        return refuse(e, &at, "expected {\"Regex\": text} or {\"String\": text}");
    at = place_in(p, "behavior");
    if (!json_is_string(behavior) || !split_behavior_parse(json_string_value(behavior), &how)) {
        return refuse(e, &at, "expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
    }
    if (!flag(s, "invert", p, &invert, e)) return false;
    bool literal = !json_is_string(regex);
    at = place_in(p, "pattern.%s", literal ? "String" : "Regex");
    return pretokenize_add(&t->pre, json_string_value(literal ? text : regex), literal, how, invert, e) ||
           fail_in(e, "%s: %s", at.file, at.path);
}

static bool read_digits(Tokenizer *t, const json_t *d, const Place *p, Error *e) {
    bool each = false;
    return flag(d, "individual_digits", p, &each, e) &&
           (pretokenize_add(&t->pre, each ? "\\p{N}" : "\\p{N}+", false, SPLIT_ISOLATED, false, e) ||
            fail_in(e, "%s: %s", p->file, p->path));
}

static bool read_byte_level(Tokenizer *t, const json_t *b, const Place *p, Error *e) {
    bool prefix = true, regex = true; // the defaults of tokenizers
    if (!flag(b, "add_prefix_space", p, &prefix, e) || !flag(b, "use_regex", p, &regex, e)) return false;
    if (prefix) t->pre.prefix_at = t->pre.n_steps;
    return !regex || pretokenize_add(&t->pre, PATTERN_GPT2, false, SPLIT_ISOLATED, false, e) ||
           fail_in(e, "%s: %s", p->file, p->path);
}

// One step. ByteLevel turns text into its byte alphabet, so it has to be there and nothing may follow it.
static bool read_step(Tokenizer *t, const json_t *s, const Place *p, bool *closed, Error *e) {
    const char *type = "";
    if (!type_of(s, p, &type, e)) return false;
    if (*closed) return refuse(e, p, "a step behind ByteLevel is not supported");
    if (strcmp(type, "Split") == 0) return read_split(t, s, p, e);
    if (strcmp(type, "Digits") == 0) return read_digits(t, s, p, e);
    if (strcmp(type, "ByteLevel") != 0) return refuse_type(e, p, type, "Split, Digits, ByteLevel, Sequence of these");
    *closed = true;
    return read_byte_level(t, s, p, e);
}

static bool read_pre_tokenizer(Tokenizer *t, const json_t *pre, const Place *p, Error *e) {
    const char *type = "";
    bool closed = false;
    if (!type_of(pre, p, &type, e)) return false;
    if (strcmp(type, "Sequence") != 0) {
        if (!read_step(t, pre, p, &closed, e)) return false;
    } else {
        const json_t *list = json_object_get(pre, "pretokenizers"), *item;
        Place at = place_in(p, "pretokenizers");
        if (!json_is_array(list)) return refuse(e, &at, "expected a list");
        size_t i;
        json_array_foreach(list, i, item) {
            at = place_in(p, "pretokenizers[%zu]", i);
            if (!read_step(t, item, &at, &closed, e)) return false;
        }
    }
    return closed || refuse(e, p, "no ByteLevel step: only byte-level BPE is supported");
}

// ---- model ----

static bool check_model(const json_t *m, const Place *p, Error *e) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *type = json_object_get(m, "type"), *dropout = json_object_get(m, "dropout");
    if (!json_is_object(m)) return refuse(e, p, "missing: expected an object");
    if (json_is_string(type) && strcmp(json_string_value(type), "BPE") != 0) {
        return refuse_type(e, p, json_string_value(type), "BPE");
    }
    if (!is_absent(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0)) {
        Place at = place_in(p, "dropout");
        return refuse(e, &at, "not supported: encoding would be random");
    }
    for (size_t i = 0; i < COUNT_OF(affixes); i++) {
        const json_t *v = json_object_get(m, affixes[i]);
        Place at = place_in(p, "%s", affixes[i]);
        if (!is_absent(v) && !(json_is_string(v) && json_string_length(v) == 0)) return refuse(e, &at, "not supported");
    }
    return true;
}

static bool read_vocab(Tokenizer *t, const json_t *m, const Place *p, Error *e) {
    json_t *vocab = json_object_get(m, "vocab"), *id;
    Place at = place_in(p, "vocab");
    if (!json_is_object(vocab)) return refuse(e, &at, "expected an object of token: id");
    const char *text;
    json_object_foreach(vocab, text, id) {
        if (!json_is_integer(id))
            return fail(e, EXIT_DATA, "%s: %s[\"%.64s\"]: expected an integer", at.file, at.path, text);
        if (!vocab_add(t, json_integer_value(id), text, strlen(text), e)) {
            return fail_in(e, "%s: %s[\"%.64s\"]", at.file, at.path, text);
        }
    }
    return vocab_index(t, e) || fail_in(e, "%s: %s", at.file, at.path);
}

// "left right" or ["left", "right"].
static bool read_merge(Tokenizer *t, const json_t *merge, Error *e) {
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_is_string(left) && json_is_string(right) && json_array_size(merge) == 2) {
        return vocab_merge(t, json_string_value(left), json_string_length(left), json_string_value(right),
                           json_string_length(right), e);
    }
    if (!json_is_string(merge)) return fail(e, EXIT_DATA, "expected \"left right\" or [\"left\", \"right\"]");
    const char *text = json_string_value(merge), *space = strchr(text, ' ');
    if (space == NULL || strchr(space + 1, ' ') != NULL) {
        return fail(e, EXIT_DATA, "\"%.64s\": expected two parts and one space between them", text);
    }
    return vocab_merge(t, text, (size_t)(space - text), space + 1, strlen(space + 1), e) ||
           fail_in(e, "\"%.64s\"", text);
}

static bool read_merges(Tokenizer *t, const json_t *m, const Place *p, Error *e) {
    const json_t *merges = json_object_get(m, "merges"), *merge;
    Place at = place_in(p, "merges");
    if (!json_is_array(merges)) return refuse(e, &at, "expected a list");
    size_t i;
    json_array_foreach(merges, i, merge) {
        if (!read_merge(t, merge, e)) return fail_in(e, "%s: %s[%zu]", at.file, at.path, i);
    }
    return true;
}

static bool read_model(Tokenizer *t, const json_t *m, const Place *p, Error *e) {
    return check_model(m, p, e) && flag(m, "ignore_merges", p, &t->ignore_merges, e) && read_vocab(t, m, p, e) &&
           read_merges(t, m, p, e);
}

// ---- added tokens ----

static bool read_added_token(Tokenizer *t, const json_t *token, const Place *p, Error *e) {
    const json_t *id = json_object_get(token, "id"), *content = json_object_get(token, "content");
    if (!json_is_integer(id) || !json_is_string(content))
        return refuse(e, p, "expected an object with \"id\" and \"content\"");
    AddedToken a = {.content = (char *)json_string_value(content), .length = json_string_length(content)};
    a.normalized = true;
    if (!flag(token, "special", p, &a.special, e)) return false;
    a.normalized = !a.special; // the default of tokenizers
    return flag(token, "lstrip", p, &a.lstrip, e) && flag(token, "rstrip", p, &a.rstrip, e) &&
           flag(token, "single_word", p, &a.single_word, e) && flag(token, "normalized", p, &a.normalized, e) &&
           (vocab_add_added(t, json_integer_value(id), &a, e) || fail_in(e, "%s: %s", p->file, p->path));
}

static bool read_added(Tokenizer *t, const json_t *list, const Place *p, Error *e) {
    if (is_absent(list)) return true;
    if (!json_is_array(list)) return refuse(e, p, "expected a list");
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item) {
        Place at = place_in(&(Place){.file = p->file}, "added_tokens[%zu]", i);
        if (!read_added_token(t, item, &at, e)) return false;
    }
    return true;
}

// ---- post-processor and decoder ----

// A template may put one token before a text ("bos"); anything else would be lost silently, so it is refused.
static bool read_template(Tokenizer *t, const json_t *post, const Place *p, Error *e) {
    const json_t *single = json_object_get(post, "single"), *item;
    Place at = place_in(p, "single");
    if (!json_is_array(single)) return refuse(e, &at, "expected a list");
    bool text_seen = false;
    size_t i;
    json_array_foreach(single, i, item) {
        const json_t *id = json_object_get(json_object_get(item, "SpecialToken"), "id");
        at = place_in(p, "single[%zu]", i);
        if (json_object_get(item, "Sequence") != NULL) {
            text_seen = true;
            continue;
        }
        if (!json_is_string(id)) return refuse(e, &at, "expected {\"Sequence\"} or {\"SpecialToken\"}");
        if (text_seen || t->bos >= 0) return refuse(e, &at, "only one token before the text is supported");
        t->bos = tokenizer_id(t, json_string_value(id));
        if (t->bos < 0) return refuse(e, &at, "this token is not in the vocabulary");
    }
    return true;
}

static bool read_post_processor(Tokenizer *t, const json_t *post, const Place *p, int depth, Error *e) {
    const char *type = "";
    if (is_absent(post)) return true;
    if (!type_of(post, p, &type, e)) return false;
    if (strcmp(type, "ByteLevel") == 0) return true; // offsets only
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(t, post, p, e);
    if (strcmp(type, "Sequence") != 0 || depth > 0) {
        return refuse_type(e, p, type, "ByteLevel, TemplateProcessing, Sequence of these");
    }
    const json_t *list = json_object_get(post, "processors"), *item;
    Place at = place_in(p, "processors");
    if (!json_is_array(list)) return refuse(e, &at, "expected a list");
    size_t i;
    json_array_foreach(list, i, item) {
        at = place_in(p, "processors[%zu]", i);
        if (!read_post_processor(t, item, &at, depth + 1, e)) return false;
    }
    return true;
}

static bool check_decoder(const json_t *d, const Place *p, int depth, Error *e) {
    const char *type = "";
    if (is_absent(d)) return true; // nothing else than ByteLevel can follow from the pre-tokenizer
    if (!type_of(d, p, &type, e)) return false;
    if (strcmp(type, "ByteLevel") == 0) return true;
    if (strcmp(type, "Sequence") != 0 || depth > 0) return refuse_type(e, p, type, "ByteLevel, Sequence of these");
    const json_t *list = json_object_get(d, "decoders"), *item;
    size_t i;
    json_array_foreach(list, i, item) {
        Place at = place_in(p, "decoders[%zu]", i);
        if (!check_decoder(item, &at, depth + 1, e)) return false;
    }
    return true;
}

Tokenizer *tokenizer_from_json(const json_t *root, const char *file, Error *e) {
    Tokenizer *t = tokenizer_new();
    Place all = {.file = file}, normalizer = place_in(&all, "normalizer"), pre = place_in(&all, "pre_tokenizer"),
          model = place_in(&all, "model"), added = place_in(&all, "added_tokens"),
          post = place_in(&all, "post_processor"), decoder = place_in(&all, "decoder");
    bool ok = json_is_object(root) || fail(e, EXIT_DATA, "%s: expected an object", file);
    ok = ok && read_normalizer(t, json_object_get(root, "normalizer"), &normalizer, 0, e) &&
         read_model(t, json_object_get(root, "model"), &model, e) &&
         read_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), &pre, e) &&
         read_added(t, json_object_get(root, "added_tokens"), &added, e) &&
         (tokenizer_finish(t, e) || fail_in(e, "%s", file)) &&
         read_post_processor(t, json_object_get(root, "post_processor"), &post, 0, e) &&
         check_decoder(json_object_get(root, "decoder"), &decoder, 0, e);
    if (ok) return t;
    tokenizer_free(t);
    return NULL;
}
