// tokenizer_gguf: tokenizer.ggml.* metadata <-> Tokenizer, for byte-level BPE ("gpt2").
// GGUF names a pre-tokenizer instead of saying it; pretokenize.def holds what the names mean. Must not know: tensors.
// Source: ggml docs/gguf.md, "Tokenizer".
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/gguf.h"
#include "core/data/tokenizer_internal.h"

enum { GGUF_TOKEN_NORMAL = 1, GGUF_TOKEN_UNKNOWN, GGUF_TOKEN_CONTROL, GGUF_TOKEN_USER_DEFINED, GGUF_TOKEN_UNUSED };

typedef struct PreRow {
    const char *name;
    bool nfc, ignore_merges, bos;
    const char *patterns[8]; // NULL behind the last
} PreRow;

static const PreRow pre_rows[] = {
#define PRETOKENIZER(name, nfc, ignore_merges, bos, ...) {name, nfc, ignore_merges, bos, {__VA_ARGS__}},
#include "core/data/pretokenize.def"
#undef PRETOKENIZER
};

// ---- reading ----

static bool read_pre(Tokenizer *t, const Gguf *g, const char *place, const PreRow **row, Error *e) {
    const json_t *pre = gguf_get(g, "tokenizer.ggml.pre");
    if (!json_is_string(pre)) {
        return fail(e, EXIT_DATA, "%s: tokenizer.ggml.pre: missing; without it words cannot be cut as in training",
                    place);
    }
    *row = NULL;
    for (size_t i = 0; i < COUNT_OF(pre_rows); i++) {
        if (strcmp(pre_rows[i].name, json_string_value(pre)) == 0) *row = &pre_rows[i];
    }
    if (*row == NULL) {
        return fail(e, EXIT_DATA,
                    "%s: tokenizer.ggml.pre: \"%.64s\" is not a known pre-tokenizer (core/data/pretokenize.def); "
                    "use the model's Hugging Face folder instead",
                    place, json_string_value(pre));
    }
    t->nfc = (*row)->nfc;
    t->ignore_merges = (*row)->ignore_merges;
    for (int i = 0; (*row)->patterns[i] != NULL; i++) {
        if (!pretokenize_add(&t->pre, (*row)->patterns[i], false, SPLIT_ISOLATED, false, e))
            return fail_in(e, "%s", place);
    }
    return true;
}

// A list of metadata; when `texts`, of texts only. NULL and e when it is something else.
static const json_t *list_of(const Gguf *g, const char *key, bool texts, const char *place, Error *e) {
    const json_t *list = gguf_get(g, key), *item;
    size_t i;
    if (!json_is_array(list)) {
        fail(e, EXIT_DATA, "%s: %s: missing, or not a list", place, key);
        return NULL;
    }
    json_array_foreach(list, i, item) {
        if (!(texts ? json_is_string(item) : json_is_integer(item))) {
            fail(e, EXIT_DATA, "%s: %s[%zu]: expected %s", place, key, i, texts ? "text" : "an integer");
            return NULL;
        }
    }
    return list;
}

static bool read_token(Tokenizer *t, size_t id, const char *text, size_t length, json_int_t type, bool added,
                       Error *e) {
    bool is_added = type == GGUF_TOKEN_CONTROL || type == GGUF_TOKEN_USER_DEFINED;
    if (type < GGUF_TOKEN_NORMAL || type > GGUF_TOKEN_UNUSED) {
        return fail(e, EXIT_DATA, "token type %" JSON_INTEGER_FORMAT " is not supported in a gpt2 vocabulary", type);
    }
    if (type == GGUF_TOKEN_UNUSED || is_added != added) return true;
    if (!added) return vocab_add(t, (int64_t)id, text, length, e);
    AddedToken a = {.content = (char *)text, .length = length, .special = type == GGUF_TOKEN_CONTROL};
    return vocab_add_added(t, (int64_t)id, &a, e);
}

// One pass over the tokens: the model's, or the added ones.
static bool read_tokens(Tokenizer *t, const json_t *tokens, const json_t *types, bool added, const char *place,
                        Error *e) {
    const json_t *token;
    size_t id;
    json_array_foreach(tokens, id, token) {
        json_int_t type = types != NULL ? json_integer_value(json_array_get(types, id)) : GGUF_TOKEN_NORMAL;
        if (!read_token(t, id, json_string_value(token), json_string_length(token), type, added, e)) {
            return fail_in(e, "%s: tokenizer.ggml.tokens[%zu]", place, id);
        }
    }
    return true;
}

static bool read_vocabulary(Tokenizer *t, const Gguf *g, const char *place, Error *e) {
    const json_t *tokens = list_of(g, "tokenizer.ggml.tokens", true, place, e);
    const json_t *types = list_of(g, "tokenizer.ggml.token_type", false, place, e);
    if (tokens == NULL || types == NULL) return false;
    if (json_array_size(types) != json_array_size(tokens)) {
        return fail(e, EXIT_DATA, "%s: tokenizer.ggml.token_type: %zu entries for %zu tokens", place,
                    json_array_size(types), json_array_size(tokens));
    }
    return read_tokens(t, tokens, types, false, place, e) &&
           (vocab_index(t, e) || fail_in(e, "%s: tokenizer.ggml.tokens", place)) &&
           read_tokens(t, tokens, types, true, place, e);
}

static bool read_merges(Tokenizer *t, const Gguf *g, const char *place, Error *e) {
    const json_t *merges = list_of(g, "tokenizer.ggml.merges", true, place, e), *merge;
    if (merges == NULL) return false;
    size_t i;
    json_array_foreach(merges, i, merge) {
        const char *text = json_string_value(merge), *space = strchr(text, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) {
            return fail(e, EXIT_DATA,
                        "%s: tokenizer.ggml.merges[%zu]: \"%.64s\": expected two parts and one space between them",
                        place, i, text);
        }
        if (!vocab_merge(t, text, (size_t)(space - text), space + 1, strlen(space + 1), e)) {
            return fail_in(e, "%s: tokenizer.ggml.merges[%zu]: \"%.64s\"", place, i, text);
        }
    }
    return true;
}

static bool read_bos(Tokenizer *t, const Gguf *g, bool fallback, const char *place, Error *e) {
    const json_t *adds = gguf_get(g, "tokenizer.ggml.add_bos_token"),
                 *eos = gguf_get(g, "tokenizer.ggml.add_eos_token");
    if (json_is_true(eos)) {
        return fail(e, EXIT_DATA, "%s: tokenizer.ggml.add_eos_token: a token behind every text is not supported",
                    place);
    }
    if (!(adds != NULL ? json_is_true(adds) : fallback)) return true;
    const json_t *id = gguf_get(g, "tokenizer.ggml.bos_token_id");
    json_int_t bos = json_is_integer(id) ? json_integer_value(id) : -1;
    if (bos < 0 || bos >= t->vocab_size || t->tokens[bos].kind == TOKEN_UNUSED) {
        return fail(e, EXIT_DATA, "%s: tokenizer.ggml.bos_token_id: missing, or not a token", place);
    }
    t->bos = (int32_t)bos;
    return true;
}

Tokenizer *tokenizer_from_gguf(const void *gguf, const char *path, Error *e) {
    const Gguf *g = gguf;
    const json_t *model = gguf_get(g, "tokenizer.ggml.model");
    const PreRow *row = NULL;
    if (!json_is_string(model) || strcmp(json_string_value(model), "gpt2") != 0) {
        fail(e, EXIT_DATA, "%s: tokenizer.ggml.model: \"%.64s\" is not supported; known: gpt2 (byte-level BPE)", path,
             json_is_string(model) ? json_string_value(model) : "");
        return NULL;
    }
    Tokenizer *t = tokenizer_new();
    if (read_pre(t, g, path, &row, e) && read_vocabulary(t, g, path, e) && read_merges(t, g, path, e) &&
        (tokenizer_finish(t, e) || fail_in(e, "%s", path)) && read_bos(t, g, row->bos, path, e)) {
        return t;
    }
    tokenizer_free(t);
    return NULL;
}

// ---- writing ----

static bool row_fits(const PreRow *row, const Tokenizer *t) {
    if (row->nfc != t->nfc || row->ignore_merges != t->ignore_merges || t->pre.prefix_at >= 0) return false;
    for (int i = 0; i < t->pre.n_steps; i++) {
        const PreStep *s = &t->pre.steps[i];
        if (row->patterns[i] == NULL || s->literal || s->invert || s->behavior != SPLIT_ISOLATED ||
            strcmp(s->pattern, row->patterns[i]) != 0) {
            return false;
        }
    }
    return row->patterns[t->pre.n_steps] == NULL;
}

static const PreRow *row_for(const Tokenizer *t, Error *e) {
    for (size_t i = 0; i < COUNT_OF(pre_rows); i++) {
        if (row_fits(&pre_rows[i], t)) return &pre_rows[i];
    }
    fail(e, EXIT_DATA,
         "GGUF has no name for this tokenizer's normalizer and pre-tokenizer (core/data/pretokenize.def)");
    return NULL;
}

// GGUF has no place for how added tokens match; losing that would change ids silently.
static bool check_added(const Tokenizer *t, Error *e) {
    for (size_t i = 0; i < t->n_added; i++) {
        const AddedToken *a = &t->added[i];
        if (a->lstrip || a->rstrip || a->single_word) {
            return fail(e, EXIT_DATA, "GGUF cannot say lstrip, rstrip or single_word, which added token \"%s\" has",
                        a->content);
        }
    }
    return true;
}

static json_t *text_of(Buf *b) {
    json_t *text = json_stringn(b->data, b->length);
    check(text != NULL, "a token that is not valid UTF-8");
    buf_clear(b);
    return text;
}

static json_t *token_text(const Tokenizer *t, int64_t id, Buf *b) {
    const Token *k = id < t->vocab_size ? &t->tokens[id] : NULL;
    if (k == NULL || k->kind == TOKEN_UNUSED)
        buf_printf(b, "[PAD%" PRId64 "]", id);
    else if (k->kind == TOKEN_NORMAL)
        alphabet_from_bytes(t->pool.data + k->offset, k->length, b);
    else
        buf_add(b, t->pool.data + k->offset, k->length);
    return text_of(b);
}

static int token_type(const Tokenizer *t, int64_t id) {
    const Token *k = id < t->vocab_size ? &t->tokens[id] : NULL;
    if (k == NULL || k->kind == TOKEN_UNUSED) return GGUF_TOKEN_UNUSED;
    if (k->kind != TOKEN_ADDED) return GGUF_TOKEN_NORMAL;
    return k->special ? GGUF_TOKEN_CONTROL : GGUF_TOKEN_USER_DEFINED;
}

static void put_tokens(const Tokenizer *t, GgufWriter *w, int64_t count) {
    json_t *texts = json_array(), *types = json_array();
    Buf b = {0};
    for (int64_t id = 0; id < count; id++) {
        json_array_append_new(texts, token_text(t, id, &b));
        json_array_append_new(types, json_integer(token_type(t, id)));
    }
    buf_free(&b);
    gguf_set(w, "tokenizer.ggml.tokens", GGUF_STRING, true, texts);
    gguf_set(w, "tokenizer.ggml.token_type", GGUF_I32, true, types);
}

static void put_merges(const Tokenizer *t, GgufWriter *w) {
    json_t *merges = json_array();
    Buf b = {0};
    for (size_t i = 0; i < t->bpe.n_merges; i++) {
        const Token *left = &t->tokens[t->bpe.merges[i].left], *right = &t->tokens[t->bpe.merges[i].right];
        alphabet_from_bytes(t->pool.data + left->offset, left->length, &b);
        buf_char(&b, ' ');
        alphabet_from_bytes(t->pool.data + right->offset, right->length, &b);
        json_array_append_new(merges, text_of(&b));
    }
    buf_free(&b);
    gguf_set(w, "tokenizer.ggml.merges", GGUF_STRING, true, merges);
}

// The content of a member of tokenizer_config.json, which is text or an added token object; NULL when absent.
static const char *named_token(const json_t *config, const char *field) {
    const json_t *v = json_object_get(config, field);
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static bool put_named(const Tokenizer *t, GgufWriter *w, const json_t *config, const char *place, Error *e) {
    static const struct {
        const char *field, *key;
    } rows[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                {"eos_token", "tokenizer.ggml.eos_token_id"},
                {"pad_token", "tokenizer.ggml.padding_token_id"}};
    int32_t bos = t->bos;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *token = named_token(config, rows[i].field);
        int32_t id = token != NULL ? tokenizer_id(t, token) : -1;
        if (token != NULL && id < 0) {
            return fail(e, EXIT_DATA, "%s: %s: \"%.64s\" is not in the vocabulary", place, rows[i].field, token);
        }
        if (i == 0 && bos >= 0) id = bos; // what opens every text counts, whatever it is called
        if (id >= 0) gguf_set(w, rows[i].key, GGUF_U32, false, json_integer(id));
    }
    gguf_set(w, "tokenizer.ggml.add_bos_token", GGUF_BOOL, false, json_boolean(bos >= 0));
    return true;
}

// The model may have more rows than the tokenizer has ids; GGUF wants a token for each.
static bool count_tokens(const Tokenizer *t, const char *folder, int64_t *count, Error *e) {
    char *path = path_join(folder, "config.json");
    *count = t->vocab_size;
    bool ok = true;
    if (file_exists(path)) {
        json_t *config = json_read_file(path, e);
        ok = config != NULL && json_opt_int(config, "vocab_size", path, t->vocab_size, TOKENIZER_MAX_ID, count, e);
        json_decref(config);
    }
    free(path);
    return ok;
}

bool tokenizer_to_gguf(const Tokenizer *t, void *gguf_writer, const char *folder, Error *e) {
    GgufWriter *w = gguf_writer;
    int64_t count;
    const PreRow *row = row_for(t, e);
    if (row == NULL || !check_added(t, e) || !count_tokens(t, folder, &count, e)) return false;
    char *path = path_join(folder, "tokenizer_config.json");
    json_t *config = json_read_file(path, e);
    gguf_set(w, "tokenizer.ggml.model", GGUF_STRING, false, json_string("gpt2"));
    gguf_set(w, "tokenizer.ggml.pre", GGUF_STRING, false, json_string(row->name));
    put_tokens(t, w, count);
    put_merges(t, w);
    bool ok = config != NULL && put_named(t, w, config, path, e);
    json_decref(config);
    free(path);
    return ok;
}
