// Token shards: what is packed is read back, and a folder that is not exactly what its manifest says is refused.
#include "tests/unit/support_files.h"

#include <stdlib.h>
#include <string.h>

#include "core/data/shard.h"

enum { DOCUMENTS = 5 };
static const int64_t lengths[DOCUMENTS] = {3, 1, 7, 2, 40};

static int32_t token_of(int document, int64_t at, int64_t vocab) {
    return (int32_t)((document * 31 + at * 7919 + vocab - 1) % vocab);
}

static void make_shard(const char *folder, int64_t vocab) {
    Error e = {0};
    ShardWriter *w = shard_create(folder, vocab, &e);
    if (w == NULL) fail_msg("%s", e.text);
    for (int d = 0; d < DOCUMENTS; d++) {
        int32_t tokens[40];
        uint8_t mask[40];
        for (int64_t i = 0; i < lengths[d]; i++) tokens[i] = token_of(d, i, vocab), mask[i] = i > 0 && i % 3 == 0;
        bool ok = shard_add(w, tokens, d == 2 ? NULL : mask, lengths[d], d % 2 ? "synthetic" : "natural",
                            d == 0 ? "00112233445566778899aabbccddeeff" : NULL, &e);
        if (!ok) fail_msg("%s", e.text);
    }
    json_t *extra = json_pack("{s:s,s:s,s:[]}", "tokenizer_sha256", "abc", "template", "chatml", "inputs");
    if (!shard_finish(w, extra, &e)) fail_msg("%s", e.text);
}

static void check_shard(const char *folder, int64_t vocab) {
    Error e = {0};
    Shard *s = shard_open(folder, true, &e);
    if (s == NULL) fail_msg("%s", e.text);
    assert_true(s->n_documents == DOCUMENTS && s->n_tokens == 53 && s->vocab_size == vocab && s->sources.count == 2);
    assert_string_equal(s->sources.items[0], "natural");
    assert_string_equal(json_string_value(json_object_get(s->manifest, "template")), "chatml");
    int64_t begin = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
        ShardDocument doc = shard_document(s, d);
        assert_true(doc.begin == begin && doc.length == lengths[d] && doc.source == d % 2);
        int32_t tokens[40];
        uint8_t mask[40];
        shard_read(s, d, tokens, mask);
        for (int64_t i = 0; i < doc.length; i++) {
            assert_int_equal(tokens[i], token_of(d, i, vocab));
            assert_int_equal(mask[i], d == 2 ? i > 0 : i > 0 && i % 3 == 0);
        }
        begin += doc.length;
    }
    shard_close(s);
}

static void test_round_trip(void **state) {
    const int64_t vocabs[] = {7, 65536, 65537, 200000}; // two bytes up to 65536, then four
    for (int i = 0; i < 4; i++) {
        char *folder = temp_folder();
        make_shard(temp_path(folder, "a/b"), vocabs[i]);
        check_shard(temp_path(folder, "a/b"), vocabs[i]);
        assert_int_equal(file_size(temp_path(folder, "a/b/tokens.bin")), 64 + 53 * (i < 2 ? 2 : 4));
        make_shard(temp_path(folder, "a/b"), 11); // again over it
        check_shard(temp_path(folder, "a/b"), 11);
        temp_remove(folder);
    }
}

static void test_manifest(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    make_shard(folder, 100);
    json_t *m = json_read_file(temp_path(folder, "manifest.json"), &e);
    json_t *sources = json_pack("[{s:s,s:i,s:i},{s:s,s:i,s:i}]", "name", "natural", "n_documents", 3, "n_tokens", 50,
                                "name", "synthetic", "n_documents", 2, "n_tokens", 3);
    assert_true(json_equal(json_object_get(m, "sources"), sources));
    assert_int_equal(json_integer_value(json_object_get(m, "n_trained_tokens")), 6 + 13);
    HexDigest digest;
    assert_true(sha256_file(temp_path(folder, "mask.bin"), &digest, &e));
    const json_t *file = json_array_get(json_object_get(m, "files"), 1);
    assert_string_equal(json_string_value(json_object_get(file, "name")), "mask.bin");
    assert_string_equal(json_string_value(json_object_get(file, "sha256")), digest.text);
    json_decref(sources);
    json_decref(m);
    temp_remove(folder);
}

static void expect_refusal(const char *folder, bool verify, const char *why) {
    Error e = {0};
    Shard *s = shard_open(folder, verify, &e);
    if (s != NULL) fail_msg("accepted, but expected: %s", why);
    assert_error(&e, EXIT_DATA, why);
}

// One byte of a file changed, or the file cut or grown by one byte.
static void damage(const char *folder, const char *name, int64_t at, uint8_t value, bool verify, const char *why) {
    char *path = temp_path(folder, name);
    Buf b = {0};
    get_file(path, &b);
    uint8_t old = (uint8_t)b.data[at];
    b.data[at] = (char)value;
    put_file(path, b.data, b.length);
    expect_refusal(folder, verify, why);
    b.data[at] = (char)old;
    put_file(path, b.data, b.length - 1);
    expect_refusal(folder, false, "cut off");
    buf_char(&b, 0);
    put_file(path, b.data, b.length);
    expect_refusal(folder, false, "the manifest asks for");
    put_file(path, b.data, b.length - 1);
    buf_free(&b);
}

static void test_damage(void **state) {
    char *folder = temp_folder();
    make_shard(folder, 300);
    for (int at = 0; at < 64; at++) { // every byte of the headers, the padding included
        damage(folder, "tokens.bin", at, 0xee, false, "the header differs");
        damage(folder, "mask.bin", at, 0xee, false, "the header differs");
        damage(folder, "documents.bin", at, 0xee, false, "the header differs");
    }
    damage(folder, "tokens.bin", 64 + 2 * 9 + 1, 0x7f, false, "token 9: id");
    damage(folder, "mask.bin", 64 + 9, 2, false, "byte 9 is neither");
    damage(folder, "mask.bin", 64 + 9, 0, false, "n_trained_tokens is 19, mask.bin has 18");
    damage(folder, "documents.bin", 64 + 32, 9, false, "document 1"); // begin
    damage(folder, "documents.bin", 64 + 8, 0, false, "document 0");  // length
    damage(folder, "documents.bin", 64 + 4 * 32 + 8, 41, false, "document 4");
    damage(folder, "documents.bin", 64 + 12, 2, false, "document 0"); // source
    damage(folder, "documents.bin", 64 + 16, 1, true, "SHA-256");     // the id: only the hash can tell
    damage(folder, "tokens.bin", 64, 99, true, "SHA-256");
    check_shard(folder, 300);
    temp_remove(folder);
}

static void edit_manifest(const char *folder, const char *key, json_t *value, bool verify, const char *why) {
    char *path = temp_path(folder, "manifest.json");
    Error e = {0};
    json_t *m = json_read_file(path, &e), *changed = json_copy(m);
    if (value)
        json_object_set_new(changed, key, value);
    else
        json_object_del(changed, key);
    assert_true(json_write_file(path, changed, &e));
    expect_refusal(folder, verify, why);
    assert_true(json_write_file(path, m, &e));
    json_decref(changed);
    json_decref(m);
}

static void test_manifest_lies(void **state) {
    char *folder = temp_folder();
    make_shard(folder, 300);
    edit_manifest(folder, "format", json_string("other\x1b[2J"), false, "other?[2J");
    edit_manifest(folder, "format", NULL, false, "format");
    edit_manifest(folder, "version", json_integer(2), false, "version");
    edit_manifest(folder, "vocab_size", json_integer(0), false, "vocab_size");
    edit_manifest(folder, "vocab_size", json_integer(INT64_MAX), false, "vocab_size");
    edit_manifest(folder, "vocab_size", json_integer(70000), false, "tokens.bin");
    edit_manifest(folder, "vocab_size", json_integer(20), false, "outside the vocabulary");
    edit_manifest(folder, "n_documents", json_integer(-1), false, "n_documents");
    edit_manifest(folder, "n_documents", json_integer(6), false, "do not add up");
    edit_manifest(folder, "n_tokens", json_integer(1LL << 62), false, "n_tokens");
    edit_manifest(folder, "n_tokens", json_integer(54), false, "do not add up");
    edit_manifest(folder, "n_trained_tokens", json_integer(5), false, "n_trained_tokens");
    edit_manifest(folder, "sources", json_array(), false, "do not add up");
    edit_manifest(folder, "sources", json_pack("[{s:s,s:i,s:i}]", "name", "one", "n_documents", 5, "n_tokens", 53),
                  false, "document 1");
    edit_manifest(folder, "files", json_array(), true, "name");
    check_shard(folder, 300);
    put_file(temp_path(folder, "manifest.json"), "{", 1);
    expect_refusal(folder, false, "manifest.json");
    temp_remove(folder);
}

static void refuse_add(ShardWriter *w, const int32_t *tokens, const uint8_t *mask, int64_t n, const char *source,
                       const char *id, const char *why) {
    Error e = {0};
    assert_false(shard_add(w, tokens, mask, n, source, id, &e));
    assert_error(&e, EXIT_DATA, why);
}

static void test_writer_refuses(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    const int32_t tokens[3] = {1, 2, 3}, negative[2] = {1, -1}, large[2] = {10, 1};
    const uint8_t mask[3] = {0, 1, 2}, first[3] = {1, 1, 1};
    ShardWriter *w = shard_create(folder, 10, &e);
    refuse_add(w, tokens, NULL, 0, "s", NULL, "0 tokens");
    refuse_add(w, negative, NULL, 2, "s", NULL, "token 1 of the document: id -1");
    refuse_add(w, large, NULL, 2, "s", NULL, "id 10 is outside the vocabulary of 10");
    refuse_add(w, tokens, mask, 3, "s", NULL, "mask[2] is 2");
    refuse_add(w, tokens, first, 3, "s", NULL, "mask[0] is 1");
    refuse_add(w, tokens, NULL, 3, "\xff", NULL, "UTF-8");
    refuse_add(w, tokens, NULL, 3, NULL, NULL, "source");
    refuse_add(w, tokens, NULL, 3, "s", "0011", "32 lower-case hex");
    refuse_add(w, tokens, NULL, 3, "s", "00112233445566778899aabbccddeefg", "32 lower-case hex");
    assert_true(shard_add(w, tokens, NULL, 3, "s", NULL, &e));
    assert_false(shard_finish(w, json_pack("{s:i}", "n_tokens", 7), &e));
    assert_error(&e, EXIT_FAIL, "n_tokens");
    StrList left = {0};
    assert_true(folder_list(folder, &left, &e));
    assert_int_equal(left.count, 0); // no half shard, no temp files
    strlist_free(&left);
    temp_remove(folder);
}

static void test_interrupted(void **state) { // an older shard is no shard any more once its replacement has begun
    char *folder = temp_folder();
    Error e = {0};
    make_shard(folder, 300);
    ShardWriter *w = shard_create(folder, 300, &e);
    const int32_t tokens[3] = {1, 2, 3};
    assert_true(shard_add(w, tokens, NULL, 3, "s", NULL, &e));
    expect_refusal(folder, false, "no finished token shard");
    shard_abandon(w);
    expect_refusal(folder, false, "no finished token shard");
    w = shard_create(folder, 300, &e); // no documents at all
    assert_true(shard_finish(w, NULL, &e));
    Shard *s = shard_open(folder, true, &e);
    assert_true(s && s->n_documents == 0 && s->n_tokens == 0);
    shard_close(s);
    temp_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_manifest),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_manifest_lies), cmocka_unit_test(test_writer_refuses), cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
