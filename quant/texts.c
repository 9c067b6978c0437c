// texts: owns the token sequences that exports are compared on. Must not know: models.
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/data/record.h"
#include "core/data/tokenizer.h"
#include "quant/quant.h"

static void end_text(Texts *t) { t->starts[++t->n] = (int64_t)t->tokens.count; }

static void random_texts(Texts *t, int64_t vocab_size, int64_t n, int64_t max_tokens) {
    Rng rng = {.seed = 1, .stream = RNG_TEST};
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < max_tokens; k++) tokens_add(&t->tokens, (int32_t)rng_below(&rng, (uint64_t)vocab_size));
        end_text(t);
    }
}

static void add_text(Texts *t, const Tokenizer *tokenizer, const json_t *text, int64_t max_tokens) {
    size_t before = t->tokens.count;
    if (tokenizer_bos(tokenizer) >= 0) tokens_add(&t->tokens, tokenizer_bos(tokenizer));
    tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), true, &t->tokens);
    t->tokens.count = MIN(t->tokens.count, before + (size_t)max_tokens);
    if (t->tokens.count > before) end_text(t);
}

static void add_record(Texts *t, const Tokenizer *tokenizer, const json_t *record, int64_t n, int64_t max_tokens) {
    const json_t *text = json_object_get(record, "text"), *messages = json_object_get(record, "messages");
    if (json_is_string(text)) add_text(t, tokenizer, text, max_tokens);
    for (size_t i = 0; i < json_array_size(messages) && t->n < n; i++) {
        text = json_object_get(json_array_get(messages, i), "content");
        if (json_is_string(text)) add_text(t, tokenizer, text, max_tokens);
    }
}

static bool read_records(Texts *t, const char *path, const Tokenizer *tokenizer, int64_t n, int64_t max_tokens,
                         Error *e) {
    RecordReader *r = record_open(path, e);
    if (r == NULL) return false;
    json_t *record;
    int got = 1;
    while (t->n < n && (got = record_next(r, &record, e)) == 1) {
        add_record(t, tokenizer, record, n, max_tokens);
        json_decref(record);
    }
    record_reader_close(r);
    if (got == -1) return false;
    return t->n > 0 || fail(e, EXIT_DATA, "%s: no record has a text or messages with content", path);
}

static bool check_ids(const Texts *t, int64_t vocab_size, const char *tokenizer, Error *e) {
    for (size_t i = 0; i < t->tokens.count; i++)
        if (t->tokens.items[i] >= vocab_size)
            return fail(e, EXIT_DATA, "%s: makes id %d, the model has %lld; they do not belong together", tokenizer,
                        t->tokens.items[i], (long long)vocab_size);
    return true;
}

bool texts_read(Texts *t, const char *path, const char *tokenizer, int64_t vocab_size, int64_t n, int64_t max_tokens,
                Error *e) {
    *t = (Texts){.starts = xcalloc((size_t)n + 1, sizeof *t->starts)};
    if (path[0] == '\0') return random_texts(t, vocab_size, n, max_tokens), true;
    Tokenizer *loaded = tokenizer_load(tokenizer, e);
    bool ok =
        loaded != NULL && read_records(t, path, loaded, n, max_tokens, e) && check_ids(t, vocab_size, tokenizer, e);
    tokenizer_free(loaded);
    return ok;
}

void texts_free(Texts *t) {
    tokens_free(&t->tokens);
    free(t->starts);
    *t = (Texts){0};
}
