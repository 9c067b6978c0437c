// Learning a tokenizer, and carrying one through GGUF.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/bpe_learn.h"
#include "core/data/gguf.h"
#include "core/data/tokenizer_internal.h"
#include "tests/unit/support_files.h"

static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
static const char *const plain[] = {"<think>", "</think>"};
static const char corpus[] =
    "<|im_start|>user\nTom has 14 apples. He buys 18 more. How many apples does Tom have now?<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n14 + 18 = 32\n</think>\n\nSo Tom has 32 apples now.<|im_end|>\n"
    "Ann's sister wasn't there; they'll come later. caf\u00e9 cafe\u0301 na\u00efve \u4f60\u597d\u4e16\u754c "
    "na\u00efve \u4f60\u597d";

static TokenizerTraining request(int64_t vocab_size) {
    return (TokenizerTraining){.vocab_size = vocab_size,
                               .special = special,
                               .n_special = 3,
                               .plain_added = plain,
                               .n_plain_added = 2,
                               .eos = "<|im_end|>",
                               .pad = "<|endoftext|>",
                               .chat_template = "{{ messages }}"};
}

static void train(const TokenizerTraining *how, const char *text, const char *folder) {
    Error e = {0};
    const size_t length = strlen(text);
    if (!tokenizer_train(how, &text, &length, 1, folder, &e)) fail_msg("%s", e.text);
}

static Tokenizer *load(const char *path) {
    Error e = {0};
    Tokenizer *t = tokenizer_load(path, &e);
    if (t == NULL) fail_msg("%s", e.text);
    return t;
}

static void test_layout_of_ids(void **state) {
    (void)state;
    char *folder = temp_folder();
    const TokenizerTraining how = request(300);
    train(&how, corpus, folder);
    Tokenizer *t = load(folder);
    assert_int_equal(tokenizer_vocab_size(t), 300);
    for (int b = 0; b < 256; b++) {
        size_t n;
        const char *bytes = tokenizer_bytes(t, b, &n);
        assert_int_equal(n, 1);
        assert_int_equal((uint8_t)bytes[0], b);
    }
    assert_int_equal(tokenizer_id(t, "<think>"), 295);
    assert_int_equal(tokenizer_id(t, "</think>"), 296);
    assert_int_equal(tokenizer_id(t, "<|im_end|>"), 299);
    assert_true(tokenizer_is_special(t, 299) && tokenizer_is_special(t, 297) && !tokenizer_is_special(t, 295));
    TokenList ids = {0};
    Buf back = {0};
    tokenizer_encode(t, corpus, strlen(corpus), true, &ids);
    tokenizer_decode(t, ids.items, ids.count, false, &back);
    assert_non_null(strstr(back.data, "<think>\n14 + 18 = 32\n</think>")); // NFC changed the one decomposed letter
    for (size_t i = 0; i < ids.count; i++) assert_true(ids.items[i] < 300);
    tokens_free(&ids);
    buf_free(&back);
    tokenizer_free(t);
    temp_remove(folder);
}

static void test_config_says_what_transformers_needs(void **state) {
    (void)state;
    char *folder = temp_folder();
    const TokenizerTraining how = request(280);
    Error e = {0};
    train(&how, corpus, folder);
    json_t *config = json_read_file(temp_path(folder, "tokenizer_config.json"), &e);
    assert_non_null(config);
    assert_string_equal(json_string_value(json_object_get(config, "chat_template")), "{{ messages }}");
    assert_string_equal(json_string_value(json_object_get(config, "eos_token")), "<|im_end|>");
    assert_string_equal(json_string_value(json_object_get(config, "pad_token")), "<|endoftext|>");
    assert_string_equal(json_string_value(json_object_get(config, "tokenizer_class")), "Qwen2Tokenizer");
    const json_t *last = json_object_get(json_object_get(config, "added_tokens_decoder"), "279");
    assert_string_equal(json_string_value(json_object_get(last, "content")), "<|im_end|>");
    assert_true(json_is_true(json_object_get(last, "special")));
    json_decref(config);
    temp_remove(folder);
}

// The same files from the same texts, also when the texts are cut otherwise between words.
static void test_learning_is_deterministic(void **state) {
    (void)state;
    char *one = temp_folder(), *two = temp_folder();
    const TokenizerTraining how = request(320);
    const char *halves[] = {corpus, strstr(corpus, "Ann's")};
    const size_t lengths[] = {(size_t)(halves[1] - halves[0]), strlen(halves[1])};
    Buf a = {0}, b = {0};
    Error e = {0};
    train(&how, corpus, one);
    assert_true(tokenizer_train(&how, halves, lengths, 2, two, &e));
    get_file(temp_path(one, "tokenizer.json"), &a);
    get_file(temp_path(two, "tokenizer.json"), &b);
    assert_string_equal(a.data, b.data);
    buf_free(&a);
    buf_free(&b);
    temp_remove(one);
    temp_remove(two);
}

// words: text of words and counts, "abab 3 b 1". expected: the learned tokens in order, separated by spaces.
static void assert_learned(const char *words, size_t n, const char *expected) {
    ByteSet counted = {0}, tokens = {0};
    Bpe merges = {0};
    Buf learned = {0};
    for (int b = 0; b < 256; b++) byte_set_add(&tokens, &(char){(char)b}, 1, 1);
    for (const char *at = words; *at != '\0';) {
        const char *end = strchr(at, ' ');
        char *next;
        byte_set_add(&counted, at, (size_t)(end - at), strtol(end, &next, 10));
        at = next + strspn(next, " ");
    }
    bpe_learn(&counted, 256 + n, &tokens, &merges);
    for (size_t i = 256; i < tokens.count; i++) {
        size_t length;
        const char *bytes = byte_set_at(&tokens, i, &length);
        buf_printf(&learned, "%s%.*s", i > 256 ? " " : "", (int)length, bytes);
    }
    assert_string_equal(learned.data != NULL ? learned.data : "", expected);
    assert_true(merges.n_merges >= tokens.count - 256);
    assert_int_equal(bpe_index(&merges), -1); // no merge twice
    byte_set_free(&counted);
    byte_set_free(&tokens);
    bpe_free(&merges);
    buf_free(&learned);
}

static void test_merges_by_count_then_bytes(void **state) {
    (void)state;
    assert_learned("ab 5 bc 5 ca 5 ", 3, "ab bc ca"); // equal counts: by bytes
    assert_learned("ab 1 bc 2 ca 3 ", 3, "ca bc ab"); // by count
    assert_learned("low 5 lower 2 newest 6 widest 3 ", 4,
                   "es est lo low");                      // Sennrich et al.'s example, without word ends
    assert_learned("aaaaaaaa 1 ", 9, "aa aaaa aaaaaaaa"); // then there is nothing left
    assert_learned("abc 4 xabcd 3 bc 9 abd 1 ", 4, "bc abc abcd xabcd");
    assert_learned("", 2, "");
}

static void train_fails(const TokenizerTraining *how, int code, const char *part) {
    char *folder = temp_folder();
    Error e = {0};
    const char *text = "abc abc";
    const size_t length = strlen(text);
    assert_false(tokenizer_train(how, &text, &length, 1, folder, &e));
    assert_error(&e, code, part);
    assert_false(file_exists(temp_path(folder, "tokenizer.json")));
    temp_remove(folder);
}

static void test_requests_that_cannot_be_met(void **state) {
    (void)state;
    TokenizerTraining how = request(260);
    train_fails(&how, EXIT_USAGE, "vocab_size: 260 is outside 261..");
    how = request(300);
    train_fails(&how, EXIT_DATA,
                "the texts hold only 259 tokens, 295 are wanted: give more text or a vocab_size of at most 264");
    how.eos = "<eos>";
    train_fails(&how, EXIT_USAGE, "eos: \"<eos>\" is not one of the special tokens");
    how = request(262);
    how.pad = NULL;
    train_fails(&how, EXIT_USAGE, "pad: \"\" is not one of the special tokens");
    const char *const twice[] = {"<think>", "<|im_end|>"};
    how = request(262);
    how.plain_added = twice;
    train_fails(&how, EXIT_USAGE, "\"<|im_end|>\" is there twice");
    const char *const byte[] = {"<think>", "a"};
    how.plain_added = byte;
    train_fails(&how, EXIT_DATA, "\"a\" has id 257 here and 97 in the vocabulary");
}

// ---- GGUF ----

static void assert_same_ids(const Tokenizer *a, const Tokenizer *b, const char *text) {
    TokenList x = {0}, y = {0};
    tokenizer_encode(a, text, strlen(text), true, &x);
    tokenizer_encode(b, text, strlen(text), true, &y);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.items, y.items, x.count * sizeof *x.items);
    tokens_free(&x);
    tokens_free(&y);
}

static void test_gguf_keeps_everything(void **state) {
    (void)state;
    char *folder = temp_folder();
    const TokenizerTraining how = request(300);
    const char *path = temp_path(folder, "m.gguf");
    Error e = {0};
    train(&how, corpus, folder);
    put_file(temp_path(folder, "config.json"), "{\"vocab_size\": 320}", 19);
    Tokenizer *t = load(folder);
    GgufWriter *w = gguf_create();
    if (!tokenizer_to_gguf(t, w, folder, &e) || !gguf_write(w, path, &e)) fail_msg("%s", e.text);
    Tokenizer *back = load(path);
    assert_string_equal(tokenizer_hash(back).text, tokenizer_hash(t).text);
    assert_int_equal(tokenizer_vocab_size(back), 300);
    assert_same_ids(t, back, corpus);
    Gguf *g = gguf_open(path, &e);
    assert_non_null(g);
    assert_string_equal(json_string_value(gguf_get(g, "tokenizer.ggml.pre")), "qwen2");
    assert_int_equal(json_array_size(gguf_get(g, "tokenizer.ggml.tokens")), 320); // a token for every row of the model
    assert_string_equal(json_string_value(json_array_get(gguf_get(g, "tokenizer.ggml.tokens"), 32)), "\u0120");
    assert_int_equal(json_integer_value(json_array_get(gguf_get(g, "tokenizer.ggml.token_type"), 295)), 4);
    assert_int_equal(json_integer_value(json_array_get(gguf_get(g, "tokenizer.ggml.token_type"), 299)), 3);
    assert_int_equal(json_integer_value(json_array_get(gguf_get(g, "tokenizer.ggml.token_type"), 300)), 5);
    assert_int_equal(json_integer_value(gguf_get(g, "tokenizer.ggml.eos_token_id")), 299);
    assert_int_equal(json_integer_value(gguf_get(g, "tokenizer.ggml.padding_token_id")), 297);
    assert_true(json_is_false(gguf_get(g, "tokenizer.ggml.add_bos_token")));
    gguf_close(g);
    tokenizer_free(back);
    tokenizer_free(t);
    temp_remove(folder);
}

// A small gpt2 vocabulary: the bytes, one merge, one control token; then one key changed.
static GgufWriter *small_gguf(const char *key, json_t *value) {
    json_t *tokens = json_array(), *types = json_array();
    for (int b = 0; b < 256; b++) {
        Buf text = {0};
        alphabet_from_bytes(&(char){(char)b}, 1, &text);
        json_array_append_new(tokens, json_stringn(text.data, text.length));
        buf_free(&text);
    }
    json_array_append_new(tokens, json_string("ab"));
    json_array_append_new(tokens, json_string("<s>"));
    for (int i = 0; i < 258; i++) json_array_append_new(types, json_integer(i == 257 ? 3 : 1));
    struct {
        const char *key;
        GgufType type;
        bool array;
        json_t *value;
    } rows[] = {{"tokenizer.ggml.model", GGUF_STRING, false, json_string("gpt2")},
                {"tokenizer.ggml.pre", GGUF_STRING, false, json_string("llama-bpe")},
                {"tokenizer.ggml.tokens", GGUF_STRING, true, tokens},
                {"tokenizer.ggml.token_type", GGUF_I32, true, types},
                {"tokenizer.ggml.merges", GGUF_STRING, true, json_pack("[s]", "a b")},
                {"tokenizer.ggml.bos_token_id", GGUF_U32, false, json_integer(257)}};
    GgufWriter *w = gguf_create();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool changed = key != NULL && strcmp(key, rows[i].key) == 0;
        if (changed) json_decref(rows[i].value);
        if (!changed)
            gguf_set(w, rows[i].key, rows[i].type, rows[i].array, rows[i].value);
        else if (value != NULL)
            gguf_set(w, rows[i].key, rows[i].type, rows[i].array, value);
    }
    return w;
}

static void test_gguf_reads_names_of_pre_tokenizers(void **state) {
    (void)state;
    char *folder = temp_folder();
    const char *path = temp_path(folder, "m.gguf");
    Error e = {0};
    assert_true(gguf_write(small_gguf(NULL, NULL), path, &e));
    Tokenizer *t = load(path);
    assert_int_equal(tokenizer_bos(t), 257); // the row's habit, as the file does not say
    TokenList ids = {0};
    tokenizer_encode(t, "ab<s>1234", 9, true, &ids);
    const int32_t want[] = {256, 257, '1', '2', '3', '4'};
    assert_int_equal(ids.count, COUNT_OF(want));
    assert_memory_equal(ids.items, want, sizeof want);
    tokens_free(&ids);
    tokenizer_free(t);
    temp_remove(folder);
}

static void test_gguf_refusals(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *error;
    } cases[] = {{"tokenizer.ggml.model", "\"llama\"", "tokenizer.ggml.model: \"llama\" is not supported"},
                 {"tokenizer.ggml.model", NULL, "tokenizer.ggml.model: \"\""},
                 {"tokenizer.ggml.pre", NULL, "tokenizer.ggml.pre: missing"},
                 {"tokenizer.ggml.pre", "\"odd\"", "tokenizer.ggml.pre: \"odd\" is not a known pre-tokenizer"},
                 {"tokenizer.ggml.tokens", NULL, "tokenizer.ggml.tokens: missing"},
                 {"tokenizer.ggml.tokens", "[\"a\", \"b\"]", "tokenizer.ggml.token_type: 258 entries for 2 tokens"},
                 {"tokenizer.ggml.token_type", NULL, "tokenizer.ggml.token_type: missing"},
                 {"tokenizer.ggml.merges", "[\"a c\"]",
                  "tokenizer.ggml.merges[0]: \"a c\": result \"ac\" is not in the vocabulary"},
                 {"tokenizer.ggml.merges", "[\"ac\"]", "tokenizer.ggml.merges[0]: \"ac\": expected two parts"},
                 {"tokenizer.ggml.merges", "[\"a b\", \"a b\"]", "merge 1 repeats an earlier one"},
                 {"tokenizer.ggml.bos_token_id", "999", "tokenizer.ggml.bos_token_id: missing, or not a token"}};
    char *folder = temp_folder();
    const char *path = temp_path(folder, "m.gguf");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Error e = {0};
        json_t *value = cases[i].value != NULL ? json_loads(cases[i].value, JSON_DECODE_ANY, NULL) : NULL;
        assert_true(gguf_write(small_gguf(cases[i].key, value), path, &e));
        assert_null(tokenizer_load(path, &e));
        assert_error(&e, EXIT_DATA, cases[i].error);
        assert_error(&e, EXIT_DATA, path);
    }
    temp_remove(folder);
}

// What GGUF cannot say is not written.
static void test_gguf_cannot_say_everything(void **state) {
    (void)state;
    char *folder = temp_folder();
    const TokenizerTraining how = request(280);
    train(&how, corpus, folder);
    Tokenizer *t = load(folder);
    GgufWriter *w = gguf_create();
    Error e = {0};
    t->added[0].rstrip = true;
    assert_false(tokenizer_to_gguf(t, w, folder, &e));
    assert_error(&e, EXIT_DATA, "GGUF cannot say lstrip, rstrip or single_word, which added token \"<think>\" has");
    t->added[0].rstrip = false;
    t->pre.steps[0].invert = true;
    assert_false(tokenizer_to_gguf(t, w, folder, &e));
    assert_error(&e, EXIT_DATA, "GGUF has no name for this tokenizer's");
    t->pre.steps[0].invert = false;
    put_file(temp_path(folder, "tokenizer_config.json"), "{\"eos_token\": \"<odd>\"}", 22);
    assert_false(tokenizer_to_gguf(t, w, folder, &e));
    assert_error(&e, EXIT_DATA, "eos_token: \"<odd>\" is not in the vocabulary");
    put_file(temp_path(folder, "config.json"), "{\"vocab_size\": 279}", 19);
    assert_false(tokenizer_to_gguf(t, w, folder, &e));
    assert_error(&e, EXIT_DATA, "vocab_size: 279 is outside 280..");
    assert_true(gguf_write(w, temp_path(folder, "m.gguf"), &e)); // frees the writer
    tokenizer_free(t);
    temp_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_of_ids),
        cmocka_unit_test(test_config_says_what_transformers_needs),
        cmocka_unit_test(test_learning_is_deterministic),
        cmocka_unit_test(test_merges_by_count_then_bytes),
        cmocka_unit_test(test_requests_that_cannot_be_met),
        cmocka_unit_test(test_gguf_keeps_everything),
        cmocka_unit_test(test_gguf_reads_names_of_pre_tokenizers),
        cmocka_unit_test(test_gguf_refusals),
        cmocka_unit_test(test_gguf_cannot_say_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
