// tokenizer_train: learns a byte-level BPE from texts and writes it as a Hugging Face tokenizer. Ids: the 256 bytes in
// order, the learned tokens, the plain added tokens, the special tokens. Must not know: where the texts come from.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/bpe_learn.h"
#include "core/data/tokenizer_internal.h"

enum { BYTE_TOKENS = 256, LONGEST_PIECE = 1024 };

// ---- what is asked for ----

static bool is_among(const char *const *list, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], text) == 0) return true;
    }
    return false;
}

static bool check_request(const TokenizerTraining *how, Error *e) {
    int64_t least = BYTE_TOKENS + (int64_t)(how->n_special + how->n_plain_added);
    if (how->vocab_size < least || how->vocab_size > TOKENIZER_MAX_ID) {
        return fail(e, EXIT_USAGE,
                    "vocab_size: %" PRId64 " is outside %" PRId64 "..%d (256 bytes and %zu added tokens are the least)",
                    how->vocab_size, least, TOKENIZER_MAX_ID, how->n_special + how->n_plain_added);
    }
    const char *const names[] = {how->eos, how->pad};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (names[i] == NULL || !is_among(how->special, how->n_special, names[i])) {
            return fail(e, EXIT_USAGE, "%s: \"%s\" is not one of the special tokens", i == 0 ? "eos" : "pad",
                        names[i] != NULL ? names[i] : "");
        }
    }
    return true;
}

static const char *added_content(const TokenizerTraining *how, size_t i) {
    return i < how->n_plain_added ? how->plain_added[i] : how->special[i - how->n_plain_added];
}

// ---- counting words ----

// A tokenizer of single bytes that cuts texts as the learned one will.
static Tokenizer *byte_tokenizer(const TokenizerTraining *how, Error *e) {
    Tokenizer *t = tokenizer_new();
    Buf text = {0};
    bool ok = true;
    t->nfc = true;
    for (int b = 0; b < BYTE_TOKENS && ok; b++) {
        char byte = (char)b;
        buf_clear(&text);
        alphabet_from_bytes(&byte, 1, &text);
        ok = vocab_add(t, b, text.data, text.length, e);
    }
    ok = ok && vocab_index(t, e) && pretokenize_add(&t->pre, PATTERN_QWEN2, false, SPLIT_ISOLATED, false, e);
    for (size_t i = 0; i < how->n_plain_added + how->n_special && ok; i++) {
        const char *content = added_content(how, i);
        AddedToken a = {.content = (char *)content, .length = strlen(content), .special = i >= how->n_plain_added};
        ok = vocab_add_added(t, BYTE_TOKENS + (int64_t)i, &a, e);
        for (size_t k = 0; k < i && ok; k++) {
            if (strcmp(content, added_content(how, k)) == 0)
                ok = fail(e, EXIT_USAGE, "added token \"%s\" is there twice", content);
        }
    }
    buf_free(&text);
    if (ok && tokenizer_finish(t, e)) return t;
    tokenizer_free(t);
    return NULL;
}

// A word longer than any token worth learning is counted in pieces, so that one endless line cannot make learning
// endless.
static void count_word(void *context, const char *word, size_t length) {
    for (size_t at = 0; at < length; at += LONGEST_PIECE) {
        byte_set_add(context, word + at, MIN(length - at, (size_t)LONGEST_PIECE), 1);
    }
}

static bool learn(const TokenizerTraining *how, const char *const *texts, const size_t *lengths, size_t n,
                  ByteSet *tokens, Bpe *merges, Error *e) {
    Tokenizer *cutter = byte_tokenizer(how, e);
    if (cutter == NULL) return false;
    ByteSet words = {0};
    for (size_t i = 0; i < n; i++) tokenizer_words(cutter, texts[i], lengths[i], count_word, &words);
    tokenizer_free(cutter);
    for (int b = 0; b < BYTE_TOKENS; b++) {
        char byte = (char)b;
        byte_set_add(tokens, &byte, 1, 1);
    }
    size_t wanted = (size_t)how->vocab_size - how->n_plain_added - how->n_special;
    bpe_learn(&words, wanted, tokens, merges);
    byte_set_free(&words);
    if (tokens->count == wanted) return true;
    return fail(e, EXIT_DATA,
                "the texts hold only %zu tokens, %zu are wanted: give more text or a vocab_size of at most %zu",
                tokens->count, wanted, tokens->count + how->n_plain_added + how->n_special);
}

// ---- writing ----

static json_t *text_in_alphabet(const ByteSet *tokens, size_t id, Buf *b) {
    size_t n;
    const char *bytes = byte_set_at(tokens, id, &n);
    buf_clear(b);
    alphabet_from_bytes(bytes, n, b);
    json_t *text = json_stringn(b->data, b->length);
    check(text != NULL, "the byte alphabet is not UTF-8");
    return text;
}

static json_t *model_json(const ByteSet *tokens, const Bpe *bpe) {
    json_t *vocab = json_object(), *merges = json_array();
    Buf b = {0}, both = {0};
    for (size_t id = 0; id < tokens->count; id++) {
        json_t *text = text_in_alphabet(tokens, id, &b);
        json_object_set_new(vocab, json_string_value(text), json_integer((json_int_t)id));
        json_decref(text);
    }
    for (size_t i = 0; i < bpe->n_merges; i++) {
        json_decref(text_in_alphabet(tokens, (size_t)bpe->merges[i].left, &b));
        buf_clear(&both);
        buf_printf(&both, "%s ", b.data);
        json_decref(text_in_alphabet(tokens, (size_t)bpe->merges[i].right, &b));
        buf_text(&both, b.data);
        json_array_append_new(merges, json_string(both.data));
    }
    buf_free(&b);
    buf_free(&both);
    return json_pack("{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "", "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback", 0,
                     "ignore_merges", 0, "vocab", vocab, "merges", merges);
}

// One added token; with_id: as in tokenizer.json, else as in tokenizer_config.json.
static json_t *added_json(const TokenizerTraining *how, size_t i, size_t id, bool with_id) {
    json_t *a = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", added_content(how, i), "single_word", 0,
                          "lstrip", 0, "rstrip", 0, "normalized", 0, "special", i >= how->n_plain_added);
    check(a != NULL, "an added token is not UTF-8");
    if (with_id) json_object_set_new(a, "id", json_integer((json_int_t)id));
    return a;
}

static json_t *byte_level_json(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex",
                     0);
}

static json_t *tokenizer_json(const TokenizerTraining *how, const ByteSet *tokens, const Bpe *merges) {
    json_t *added = json_array();
    for (size_t i = 0; i < how->n_plain_added + how->n_special; i++) {
        json_array_append_new(added, added_json(how, i, tokens->count + i, true));
    }
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", PATTERN_QWEN2,
                              "behavior", "Isolated", "invert", 0);
    json_t *root =
        json_pack("{s:s, s:n, s:n, s:o, s:{s:s}, s:{s:s, s:[o, o]}, s:o, s:o, s:o}", "version", "1.0", "truncation",
                  "padding", "added_tokens", added, "normalizer", "type", "NFC", "pre_tokenizer", "type", "Sequence",
                  "pretokenizers", split, byte_level_json(), "post_processor", byte_level_json(), "decoder",
                  byte_level_json(), "model", model_json(tokens, merges));
    check(root != NULL, "tokenizer.json cannot be built");
    return root;
}

static json_t *config_json(const TokenizerTraining *how, size_t first_added) {
    json_t *added = json_object(), *others = json_array();
    for (size_t i = 0; i < how->n_plain_added + how->n_special; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", first_added + i);
        json_object_set_new(added, id, added_json(how, i, first_added + i, false));
    }
    for (size_t i = 0; i < how->n_special; i++) json_array_append_new(others, json_string(how->special[i]));
    json_t *root = json_pack("{s:b, s:o, s:o, s:n, s:b, s:s, s:s, s:s, s:b, s:s, s:n}", "add_prefix_space", 0,
                             "added_tokens_decoder", added, "additional_special_tokens", others, "bos_token",
                             "clean_up_tokenization_spaces", 0, "eos_token", how->eos, "errors", "replace", "pad_token",
                             how->pad, "split_special_tokens", 0, "tokenizer_class", "Qwen2Tokenizer", "unk_token");
    check(root != NULL, "tokenizer_config.json cannot be built");
    if (how->chat_template != NULL) json_object_set_new(root, "chat_template", json_string(how->chat_template));
    return root;
}

static bool write_file(const char *folder, const char *name, const json_t *value, Error *e) {
    char *path = path_join(folder, name);
    bool ok = json_write_file(path, value, e);
    free(path);
    return ok;
}

// Reads back what is about to be written: nothing leaves that the loader would refuse.
static bool write_folder(const TokenizerTraining *how, const ByteSet *tokens, const Bpe *merges, const char *folder,
                         Error *e) {
    json_t *root = tokenizer_json(how, tokens, merges), *config = config_json(how, tokens->count);
    Tokenizer *t = tokenizer_from_json(root, "tokenizer.json", e);
    bool ok = t != NULL && make_folders(folder, e) && write_file(folder, "tokenizer.json", root, e) &&
              write_file(folder, "tokenizer_config.json", config, e);
    tokenizer_free(t);
    json_decref(root);
    json_decref(config);
    return ok;
}

bool tokenizer_train(const TokenizerTraining *how, const char *const *texts, const size_t *lengths, size_t n,
                     const char *folder, Error *e) {
    ByteSet tokens = {0};
    Bpe merges = {0};
    bool ok = check_request(how, e) && learn(how, texts, lengths, n, &tokens, &merges, e) &&
              write_folder(how, &tokens, &merges, folder, e);
    byte_set_free(&tokens);
    bpe_free(&merges);
    return ok;
}
