// The tokenizer against ids of Hugging Face tokenizers (tests/golden/tokenizer), its refusals, scanners, NFC,
// streaming, linear time. With TRISTILL_CONFORMANCE=folder set, also against the vocabularies and cases found there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/base/thread.h"
#include "core/data/tokenizer_internal.h"
#include "tests/unit/support_files.h"

#define GOLDEN "tests/golden/tokenizer/"

static json_t *golden(const char *name) {
    Error e = {0};
    char *path = path_join(GOLDEN, name);
    json_t *root = json_read_file(path, &e);
    if (root == NULL) fail_msg("%s (run from the repository root)", e.text);
    free(path);
    return root;
}

static Tokenizer *tokenizer_in(const json_t *root) {
    Error e = {0};
    Tokenizer *t = tokenizer_from_json(json_object_get(root, "tokenizer"), "golden", &e);
    if (t == NULL) fail_msg("%s", e.text);
    return t;
}

static void assert_ids(const Tokenizer *t, const char *text, size_t length, bool special, const json_t *want) {
    TokenList got = {0};
    tokenizer_encode(t, text, length, special, &got);
    bool same = got.count == json_array_size(want);
    for (size_t i = 0; i < got.count && same; i++) same = json_integer_value(json_array_get(want, i)) == got.items[i];
    if (!same) {
        Buf b = {0};
        for (size_t i = 0; i < got.count; i++) buf_printf(&b, " %d", got.items[i]);
        char *wanted = json_dumps(want, JSON_COMPACT);
        fail_msg("\"%s\" (special %d): got%s, want %s", text, special, b.data, wanted);
    }
    tokens_free(&got);
}

static void assert_cases(const Tokenizer *t, const json_t *cases) {
    const json_t *one;
    size_t i;
    assert_true(json_array_size(cases) > 0);
    json_array_foreach(cases, i, one) {
        const json_t *text = json_array_get(one, 0), *plain = json_array_get(one, 2);
        assert_ids(t, json_string_value(text), json_string_length(text), true, json_array_get(one, 1));
        assert_ids(t, json_string_value(text), json_string_length(text), false,
                   json_is_null(plain) ? json_array_get(one, 1) : plain);
    }
}

// The texts as a whole, and token by token: every piece valid UTF-8, together the same text.
static void assert_decode(const Tokenizer *t, const json_t *ids, const json_t *text, bool skip) {
    TokenList list = {0};
    Buf whole = {0}, streamed = {0};
    DecodeStream s = {0};
    for (size_t i = 0; i < json_array_size(ids); i++)
        tokens_add(&list, (int32_t)json_integer_value(json_array_get(ids, i)));
    tokenizer_decode(t, list.items, list.count, skip, &whole);
    assert_int_equal(whole.length, json_string_length(text));
    assert_memory_equal(whole.data != NULL ? whole.data : "", json_string_value(text), whole.length);
    for (size_t i = 0; i < list.count; i++) {
        size_t before = streamed.length;
        tokenizer_stream(t, &s, list.items[i], skip, &streamed);
        if (streamed.length > before) assert_true(utf8_valid(streamed.data + before, streamed.length - before));
    }
    tokenizer_stream_end(&s, &streamed);
    assert_int_equal(streamed.length, whole.length);
    if (whole.length > 0) assert_memory_equal(streamed.data, whole.data, whole.length);
    tokens_free(&list);
    buf_free(&whole);
    buf_free(&streamed);
}

static void assert_golden(const char *name) {
    json_t *root = golden(name), *one;
    Tokenizer *t = tokenizer_in(root);
    assert_cases(t, json_object_get(root, "cases"));
    size_t i;
    json_array_foreach(json_object_get(root, "decode"), i, one) {
        assert_decode(t, json_array_get(one, 0), json_array_get(one, 1), false);
        assert_decode(t, json_array_get(one, 0), json_array_get(one, 2), true);
    }
    tokenizer_free(t);
    json_decref(root);
}

static void test_same_ids_as_hugging_face(void **state) {
    (void)state;
    assert_golden("qwen2.json");
    assert_golden("gpt2.json");
    assert_golden("llama3.json");
}

static void test_every_way_to_split(void **state) {
    (void)state;
    json_t *root = golden("splits.json"), *variant;
    size_t i;
    json_array_foreach(json_object_get(root, "variants"), i, variant) {
        json_object_set(json_object_get(root, "tokenizer"), "pre_tokenizer", json_object_get(variant, "pre_tokenizer"));
        Tokenizer *t = tokenizer_in(root);
        assert_cases(t, json_object_get(variant, "cases"));
        tokenizer_free(t);
    }
    json_decref(root);
}

static void test_lookups(void **state) {
    (void)state;
    json_t *root = golden("llama3.json");
    Tokenizer *t = tokenizer_in(root);
    int32_t end = tokenizer_id(t, "<|im_end|>"), think = tokenizer_id(t, "<think>"), letter = tokenizer_id(t, "T");
    size_t n;
    assert_int_equal(tokenizer_bos(t), tokenizer_id(t, "<|endoftext|>"));
    assert_int_equal(end, tokenizer_vocab_size(t) - 1);
    assert_true(tokenizer_is_special(t, end));
    assert_true(think >= 0 && !tokenizer_is_special(t, think));
    assert_memory_equal(tokenizer_bytes(t, end, &n), "<|im_end|>", 10);
    assert_int_equal(n, 10);
    assert_memory_equal(tokenizer_bytes(t, letter, &n), "T", 1);
    assert_int_equal(tokenizer_id(t, "no such token"), -1);
    assert_null(tokenizer_bytes(t, -1, &n));
    assert_null(tokenizer_bytes(t, end + 1, &n));
    assert_int_equal(n, 0);
    tokenizer_free(t);
    json_decref(root);
}

// ---- refusals ----

// The golden tokenizer with the member at `path` replaced; "-" removes it.
static json_t *edited(const char *path, const char *value) {
    json_t *root = golden("qwen2.json"), *all = json_incref(json_object_get(root, "tokenizer")), *at = all;
    char *copy = xstrdup(path), *dot, *name = copy;
    json_decref(root);
    for (; (dot = strchr(name, '.')) != NULL; name = dot + 1) {
        *dot = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(name)) : json_object_get(at, name);
    }
    json_t *new = strcmp(value, "-") == 0 ? NULL : json_loads(value, JSON_DECODE_ANY, NULL);
    if (new == NULL)
        json_object_del(at, name);
    else if (json_is_array(at))
        json_array_set_new(at, (size_t)atoi(name), new);
    else
        json_object_set_new(at, name, new);
    free(copy);
    return all;
}

static const struct {
    const char *path, *value, *error;
} bad[] = {
    {"model", "-", "model: missing"},
    {"model.type", "\"Unigram\"", "model.type: \"Unigram\" is not supported"},
    {"model.dropout", "0.1", "model.dropout"},
    {"model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix"},
    {"model.ignore_merges", "3", "model.ignore_merges: expected true or false"},
    {"model.vocab", "-", "model.vocab: expected an object"},
    {"model.vocab.t", "-", "model.vocab: no token for the byte 0x74"},
    {"model.vocab.t", "0", "id 0 is used twice"},
    {"model.vocab.t", "\"5\"", "model.vocab[\"t\"]: expected an integer"},
    {"model.vocab.t", "5000000", "id 5000000 is outside"},
    {"model.vocab.t", "-1", "id -1 is outside"},
    {"model.merges", "7", "model.merges: expected a list"},
    {"model.merges.3", "\"q Zx\"", "model.merges[3]: \"q Zx\": right part \"Zx\" is not in the vocabulary"},
    {"model.merges.3", "\"qx Z\"", "model.merges[3]: \"qx Z\": left part \"qx\" is not in the vocabulary"},
    {"model.merges.12", "[\"q\", \"Z\"]", "model.merges[12]: result \"qZ\" is not in the vocabulary"},
    {"model.merges.3", "\"qZ\"", "model.merges[3]: \"qZ\": expected two parts"},
    {"model.merges.3", "\"a b c\"", "model.merges[3]: \"a b c\": expected two parts"},
    {"model.merges.3", "[\"a\"]", "model.merges[3]: expected"},
    {"model.merges", "[[\"e\", \"r\"], [\"e\", \"r\"]]", "merge 1 repeats an earlier one"},
    {"normalizer.type", "\"NFKC\"", "normalizer.type: \"NFKC\" is not supported"},
    {"normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}]}",
     "normalizer.normalizers[0].type"},
    {"pre_tokenizer", "null", "pre_tokenizer: expected an object"},
    {"pre_tokenizer.type", "\"Metaspace\"", "pre_tokenizer.type: \"Metaspace\" is not supported"},
    {"pre_tokenizer.pretokenizers", "[]", "no ByteLevel step"},
    {"pre_tokenizer.pretokenizers.0.type", "\"Punctuation\"", "pre_tokenizer.pretokenizers[0].type: \"Punctuation\""},
    {"pre_tokenizer.pretokenizers.0", "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
     "a step behind ByteLevel"},
    {"pre_tokenizer.pretokenizers.0.behavior", "\"Kept\"", "pre_tokenizer.pretokenizers[0].behavior: expected Removed"},
    {"pre_tokenizer.pretokenizers.0.pattern", "{}", "pre_tokenizer.pretokenizers[0].pattern: expected"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"(a\"", "pattern.Regex: the pattern does not compile"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"\\\\w+\"",
     "the pattern has \\w at byte 0, which is not supported"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"[a&&b]\"", "&& inside a class"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"[[:alpha:]]\"", "a [ inside a class"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"(?m:a)\"", "an unusual group"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"a{1,3}+\"", "}+"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"[\\\\P{L}]\"", "a negated property inside a class"},
    {"pre_tokenizer.pretokenizers.0.pattern.Regex", "\"\\\\\"", "a lonely backslash"},
    {"post_processor", "{\"type\": \"RobertaProcessing\"}",
     "post_processor.type: \"RobertaProcessing\" is not supported"},
    {"post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\"}}, "
     "{\"SpecialToken\": {\"id\": \"<|im_end|>\"}}]}",
     "post_processor.single[1]: only one token before"},
    {"decoder.type", "\"WordPiece\"", "decoder.type"},
    {"added_tokens", "{}", "added_tokens: expected a list"},
    {"added_tokens.0.content", "\"\"", "added_tokens[0]: an added token is empty"},
    {"added_tokens.0.content", "\"a\"", "added_tokens[0]: \"a\" has id"},
    {"added_tokens.0.id", "3", "added_tokens[0]: \"<think>\" has id 3, which is another token's"},
    {"added_tokens.0.id", "1.5", "added_tokens[0]: expected an object"},
    {"added_tokens.0.lstrip", "\"no\"", "added_tokens[0].lstrip: expected true or false"},
};

static void test_bad_files_are_refused_with_their_place(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Error e = {0};
        json_t *root = edited(bad[i].path, bad[i].value);
        Tokenizer *t = tokenizer_from_json(root, "some/tokenizer.json", &e);
        if (t != NULL) fail_msg("%s = %s was accepted", bad[i].path, bad[i].value);
        assert_error(&e, EXIT_DATA, bad[i].error);
        assert_error(&e, EXIT_DATA, "some/tokenizer.json: ");
        json_decref(root);
    }
}

static void test_load_by_path(void **state) {
    (void)state;
    char *folder = temp_folder();
    json_t *root = golden("qwen2.json");
    Error e = {0};
    assert_null(tokenizer_load(folder, &e));
    assert_error(&e, EXIT_DATA, "no tokenizer.json in this folder");
    const char *file = temp_path(folder, "tokenizer.json");
    assert_true(json_write_file(file, json_object_get(root, "tokenizer"), &e));
    Tokenizer *a = tokenizer_load(folder, &e), *b = tokenizer_load(file, &e);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(tokenizer_hash(a).text, tokenizer_hash(b).text);
    put_file(file, "{\"model\": ", 10);
    assert_null(tokenizer_load(file, &e));
    assert_error(&e, EXIT_DATA, "not valid JSON");
    tokenizer_free(a);
    tokenizer_free(b);
    json_decref(root);
    temp_remove(folder);
}

// What changes ids changes the hash.
static void test_hash_tells_tokenizers_apart(void **state) {
    (void)state;
    static const char *const edits[][2] = {{"normalizer", "null"},
                                           {"model.ignore_merges", "true"},
                                           {"model.merges", "[]"},
                                           {"added_tokens.0.lstrip", "true"},
                                           {"added_tokens.2.special", "false"},
                                           {"pre_tokenizer.pretokenizers.0.invert", "true"},
                                           {"pre_tokenizer.pretokenizers.0.behavior", "\"Removed\""},
                                           {"pre_tokenizer.pretokenizers.1.add_prefix_space", "true"},
                                           {"version", "\"1.0\""}};
    HexDigest seen[COUNT_OF(edits)];
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        Error e = {0};
        json_t *root = edited(edits[i][0], edits[i][1]);
        Tokenizer *t = tokenizer_from_json(root, "edited", &e);
        if (t == NULL) fail_msg("%s", e.text);
        seen[i] = tokenizer_hash(t);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(seen[i].text, seen[k].text);
        tokenizer_free(t);
        json_decref(root);
    }
}

// ---- bytes ----

static void test_invalid_utf8_becomes_replacement_characters(void **state) {
    (void)state;
    // Python: bytes.decode("utf-8", "replace")
    static const char *const cases[][2] = {{"a\xFF", "a\uFFFD"},
                                           {"\xE4\xBD", "\uFFFD"},
                                           {"\xE4\xBDx", "\uFFFDx"},
                                           {"\xF0\x9F\x98", "\uFFFD"},
                                           {"a\xC0\xAF", "a\uFFFD\uFFFD"},
                                           {"\xED\xA0\x80!", "\uFFFD\uFFFD\uFFFD!"},
                                           {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
                                           {"\xF0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
                                           {"\xE4\xBD\xA0\x80\xE4\xBD\xA0", "\u4F60\uFFFD\u4F60"}};
    json_t *root = golden("qwen2.json");
    Tokenizer *t = tokenizer_in(root);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Buf clean = {0};
        TokenList got = {0}, want = {0};
        utf8_clean(cases[i][0], strlen(cases[i][0]), &clean);
        assert_string_equal(clean.data, cases[i][1]);
        assert_false(utf8_valid(cases[i][0], strlen(cases[i][0])));
        tokenizer_encode(t, cases[i][0], strlen(cases[i][0]), true, &got);
        tokenizer_encode(t, cases[i][1], strlen(cases[i][1]), true, &want);
        assert_int_equal(got.count, want.count);
        assert_memory_equal(got.items, want.items, got.count * sizeof *got.items);
        buf_free(&clean);
        tokens_free(&got);
        tokens_free(&want);
    }
    tokenizer_free(t);
    json_decref(root);
}

// 300,000 marks in the worst order: ordering them pair by pair would never end.
static void test_nfc_orders_a_long_run_of_marks(void **state) {
    (void)state;
    enum { N = 150000 };
    Buf text = {0}, form = {0};
    NfcScratch s = {0};
    buf_char(&text, 'q');
    for (int i = 0; i < N; i++) buf_text(&text, "\u0301"); // class 230
    for (int i = 0; i < N; i++) buf_text(&text, "\u0323"); // class 220
    assert_false(nfc_is_certain(text.data, text.length));
    nfc_append(&s, text.data, text.length, &form);
    assert_int_equal(form.length, text.length);
    for (int i = 0; i < N; i++) {
        assert_memory_equal(form.data + 1 + 2 * i, "\u0323", 2);
        assert_memory_equal(form.data + 1 + 2 * (N + i), "\u0301", 2);
    }
    buf_clear(&form);
    static const char mixed[] = "\u1100\u1161\u11A8e\u0301\u212B\u0958\U0001D160\u0390";
    nfc_append(&s, mixed, strlen(mixed), &form);
    assert_string_equal(form.data, "\uAC01\u00E9\u00C5\u0915\u093C\U0001D158\U0001D165\U0001D16E\u0390");
    nfc_scratch_free(&s);
    buf_free(&text);
    buf_free(&form);
}

// ---- scanners ----

typedef struct Ends {
    const char *text;
    size_t *ends, count;
} Ends;

static void note_end(void *context, const char *word, size_t length) {
    Ends *e = context;
    e->ends[e->count++] = (size_t)(word - e->text) + length;
}

static void assert_same_words(PreTokenizer *p, PreScratch *s, const Buf *text) {
    size_t *ends = xcalloc(text->length * 2 + 2, sizeof *ends);
    Ends fast = {text->data, ends, 0}, slow = {text->data, ends + text->length + 1, 0};
    ScanFn scan = p->steps[0].scan;
    assert_non_null(scan);
    pretokenize(p, s, text->data, text->length, note_end, &fast);
    p->steps[0].scan = NULL; // now PCRE2 judges
    pretokenize(p, s, text->data, text->length, note_end, &slow);
    p->steps[0].scan = scan;
    if (fast.count != slow.count || memcmp(fast.ends, slow.ends, fast.count * sizeof *ends) != 0) {
        fail_msg("%s\n  cuts \"%s\" differently", p->steps[0].pattern, text->data);
    }
    free(ends);
}

// Letters, digits, spaces, apostrophes and line ends in all neighbourhoods; now and then any code point.
static void random_text(Rng *r, Buf *out) {
    static const char *const pieces[] = {
        " ",      "  ",         "\n",         "\r",         "\t",         "'",        "s",      "S",      "T",
        "re",     "vE",         "m",          "lL",         "d",          "\u017F",   "1",      "22",     "\u00BD",
        "a",      "\u00E9",     "\u4F60",     ".",          "!",          "_",        "\u00A0", "\u3000", "\u180E",
        "\u0301", "\U0001F642", "\U0001F1E9", "\U00031350", "\U00010D40", "\xC2\x85", "\u2028"};
    buf_clear(out);
    for (uint64_t n = 1 + rng_below(r, 24); n > 0; n--) {
        char bytes[4];
        uint32_t c = (uint32_t)rng_below(r, rng_below(r, 2) == 0 ? 0x3000 : 0x110000);
        if (rng_below(r, 5) > 0 || (c >= 0xD800 && c < 0xE000))
            buf_text(out, pieces[rng_below(r, COUNT_OF(pieces))]);
        else
            buf_add(out, bytes, utf8_write(c, bytes));
    }
}

static void test_scanners_equal_pcre2(void **state) {
    (void)state;
    static const char *const patterns[] = {PATTERN_QWEN2, PATTERN_LLAMA3, PATTERN_GPT2};
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        PreTokenizer p = {.prefix_at = -1};
        PreScratch s = {0};
        Buf text = {0};
        Rng r = {.seed = 7, .stream = RNG_TEST | i << 8};
        Error e = {0};
        assert_true(pretokenize_add(&p, patterns[i], false, SPLIT_ISOLATED, false, &e));
        for (int k = 0; k < 20000; k++) {
            random_text(&r, &text);
            assert_same_words(&p, &s, &text);
        }
        buf_clear(&text);
        for (uint32_t c = 0; c < 0x20000; c++) { // every code point of the first two planes, once among words
            char bytes[4];
            if (c >= 0xD800 && c < 0xE000) continue;
            buf_text(&text, "'x ");
            buf_add(&text, bytes, utf8_write(c, bytes));
            buf_text(&text, "7");
        }
        assert_same_words(&p, &s, &text);
        buf_free(&text);
        pre_scratch_free(&s);
        pretokenize_free(&p);
    }
}

// ---- time ----

// Queue steps of one word of n letters; n log n when all is well, n * n otherwise.
static uint64_t steps_for(const Tokenizer *t, const char *letters, size_t n) {
    BpeScratch s = {0};
    TokenList out = {0};
    char *word = xmalloc(n);
    size_t period = strlen(letters);
    for (size_t i = 0; i < n; i++) word[i] = letters[i % period];
    bpe_encode(&t->bpe, &s, (const uint8_t *)word, n, &out);
    size_t bytes = 0;
    for (size_t i = 0; i < out.count; i++) {
        size_t length;
        tokenizer_bytes(t, out.items[i], &length);
        bytes += length;
    }
    assert_int_equal(bytes, n);
    uint64_t steps = s.steps;
    bpe_scratch_free(&s);
    tokens_free(&out);
    free(word);
    return steps;
}

static void test_long_words_take_linear_time(void **state) {
    (void)state;
    static const char *const words[] = {"e", "there", "erer tt", "the "};
    json_t *root = golden("qwen2.json");
    Tokenizer *t = tokenizer_in(root);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        uint64_t small = steps_for(t, words[i], 1 << 16), large = steps_for(t, words[i], 1 << 20);
        assert_true(large <= 64ull << 20);        // 3 n candidates, log2 of their number each
        assert_true(large <= small * 16 * 3 / 2); // 16 times the letters: at most log2 more
    }
    tokenizer_free(t);
    json_decref(root);
}

// ---- threads ----

typedef struct Shared {
    const Tokenizer *t;
    const json_t *cases;
    bool wrong[64];
} Shared;

static void encode_all(void *context, int64_t part) {
    Shared *s = context;
    for (size_t i = 0; i < json_array_size(s->cases); i++) {
        const json_t *one = json_array_get(s->cases, i), *want = json_array_get(one, 1);
        TokenList got = {0};
        tokenizer_encode(s->t, json_string_value(json_array_get(one, 0)), json_string_length(json_array_get(one, 0)),
                         true, &got);
        bool same = got.count == json_array_size(want);
        for (size_t k = 0; k < got.count && same; k++)
            same = json_integer_value(json_array_get(want, k)) == got.items[k];
        s->wrong[part] = s->wrong[part] || !same;
        tokens_free(&got);
    }
}

static void test_many_threads_encode_at_once(void **state) {
    (void)state;
    json_t *root = golden("qwen2.json");
    Tokenizer *t = tokenizer_in(root);
    Shared s = {.t = t, .cases = json_object_get(root, "cases")};
    threads_set(4);
    parallel_for(COUNT_OF(s.wrong), encode_all, &s);
    for (size_t i = 0; i < COUNT_OF(s.wrong); i++) assert_false(s.wrong[i]);
    threads_set(0);
    tokenizer_free(t);
    json_decref(root);
}

// ---- vocabularies held elsewhere ----

static void assert_case_file(const char *folder, const char *model, const char *cases) {
    Error e = {0};
    Buf texts = {0}, ids = {0};
    char *model_path = path_join(folder, model), *in = xasprintf("%s/%s.inp", folder, cases),
         *out = xasprintf("%s/%s.out", folder, cases);
    Tokenizer *t = tokenizer_load(model_path, &e);
    if (t == NULL || !file_read(in, 0, &texts, &e) || !file_read(out, 0, &ids, &e)) fail_msg("%s", e.text);
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char *line = ids.data;
    for (char *text = texts.data, *next; text != NULL; text = next) {
        char *end = strstr(text, mark);
        next = end != NULL ? end + strlen(mark) : NULL;
        json_t *want = json_array();
        while (*line != '\n' && *line != '\0') {
            json_array_append_new(want, json_integer(strtol(line, &line, 10)));
            line += strspn(line, " ");
        }
        line += *line == '\n';
        assert_ids(t, text, end != NULL ? (size_t)(end - text) : strlen(text), false, want);
        json_decref(want);
    }
    tokenizer_free(t);
    buf_free(&texts);
    buf_free(&ids);
    free(model_path);
    free(in);
    free(out);
}

static void test_published_vocabularies(void **state) {
    (void)state;
    const char *base = getenv("TRISTILL_CONFORMANCE");
    if (base == NULL) {
        print_message("TRISTILL_CONFORMANCE is not set: published vocabularies are not tested\n");
        skip();
    }
    char *folder = path_join(base, "tokenizers");
    assert_case_file(folder, "qwen2/tokenizer.json", "qwen2/cases");
    assert_case_file(folder, "gpt-2.gguf", "gpt-2");
    assert_case_file(folder, "deepseek-llm.gguf", "deepseek-llm");
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_ids_as_hugging_face),
        cmocka_unit_test(test_every_way_to_split),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_bad_files_are_refused_with_their_place),
        cmocka_unit_test(test_load_by_path),
        cmocka_unit_test(test_hash_tells_tokenizers_apart),
        cmocka_unit_test(test_invalid_utf8_becomes_replacement_characters),
        cmocka_unit_test(test_nfc_orders_a_long_run_of_marks),
        cmocka_unit_test(test_scanners_equal_pcre2),
        cmocka_unit_test(test_long_words_take_linear_time),
        cmocka_unit_test(test_many_threads_encode_at_once),
        cmocka_unit_test(test_published_vocabularies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
