// safetensors: round trips, folders of shards, and headers that lie: each lie is an error with a reason, never a crash.
#include "tests/unit/support_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/data/safetensors.h"

static TensorView view(const char *name, DType dtype, const void *data, int n_dims, int64_t d0, int64_t d1) {
    TensorView t = {.name = name, .dtype = dtype, .n_dims = n_dims, .shape = {d0, d1}, .data = data, .n_elements = 1};
    for (int i = 0; i < n_dims; i++) t.n_elements *= t.shape[i];
    t.bytes = (size_t)dtype_bytes(dtype, t.n_elements);
    return t;
}

static const float floats[6] = {1, -2, 3.5f, 0, 1e-30f, -0.0f};
static const uint8_t bytes[5] = {1, 2, 3, 255, 0};

static void write_small(const char *path) {
    const TensorView t[] = {view("b.weight", DTYPE_F32, floats, 2, 2, 3),
                            view("a \xc3\xa9\"\\", DTYPE_U8, bytes, 1, 5, 0), view("empty", DTYPE_BF16, bytes, 2, 0, 7),
                            view("scalar", DTYPE_F16, floats, 0, 0, 0)};
    Error e = {0};
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    if (!safetensors_write(path, t, 4, metadata, &e)) fail_msg("%s", e.text);
    json_decref(metadata);
}

static void test_round_trip(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "model.safetensors");
    Error e = {0};
    write_small(path);
    const char *places[] = {path, folder};
    for (int i = 0; i < 2; i++) { // by file and by folder
        Safetensors *s = safetensors_open(places[i], &e);
        if (s == NULL) fail_msg("%s", e.text);
        assert_int_equal(safetensors_count(s), 4);
        assert_string_equal(safetensors_metadata(s, "format"), "pt");
        assert_null(safetensors_metadata(s, "absent"));
        const TensorView *t = safetensors_find(s, "b.weight");
        assert_true(t->dtype == DTYPE_F32 && t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 3 &&
                    t->n_elements == 6);
        assert_memory_equal(t->data, floats, sizeof floats);
        assert_memory_equal(safetensors_find(s, "a \xc3\xa9\"\\")->data, bytes, 5);
        assert_int_equal(safetensors_find(s, "empty")->bytes, 0);
        assert_true(safetensors_find(s, "scalar")->n_dims == 0 && safetensors_find(s, "scalar")->n_elements == 1);
        assert_null(safetensors_find(s, "b.weigh"));
        for (int k = 1; k < 4; k++) assert_true(strcmp(safetensors_at(s, k - 1)->name, safetensors_at(s, k)->name) < 0);
        safetensors_close(s);
    }
    temp_remove(folder);
}

static void
test_file_is_plain(void **state) { // another reader must understand it: length, compact JSON, spaces up to 8
    char *folder = temp_folder(), *path = temp_path(folder, "x.safetensors");
    Buf b = {0};
    Error e = {0};
    TensorView t = view("w", DTYPE_F32, floats, 1, 2, 0);
    assert_true(safetensors_write(path, &t, 1, NULL, &e));
    get_file(path, &b);
    static const char expected[] =
        "\x38\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  \0\0\x80\x3f\0\0\0\xc0";
    assert_int_equal(b.length, sizeof expected - 1);
    assert_memory_equal(b.data, expected, b.length);
    buf_free(&b);
    temp_remove(folder);
}

static void expect_refusal(const char *path, const char *why) {
    Error e = {0};
    Safetensors *s = safetensors_open(path, &e);
    if (s != NULL) fail_msg("accepted, but expected: %s", why);
    assert_error(&e, EXIT_DATA, why);
    assert_error(&e, EXIT_DATA, path);
}

static void test_cut_at_every_byte(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "model.safetensors");
    Buf b = {0};
    write_small(path);
    get_file(path, &b);
    for (size_t n = 0; n < b.length; n++) {
        put_file(path, b.data, n);
        expect_refusal(path, n < 8 ? "too short" : "copy or download it again");
    }
    put_file(path, b.data, b.length - 1);
    expect_refusal(path, "scalar: data_offsets: ends at byte"); // the tensor is named
    buf_char(&b, 0);
    put_file(path, b.data, b.length);
    expect_refusal(path, "1 bytes behind the last tensor");
    buf_free(&b);
    temp_remove(folder);
}

// A file out of header text and n bytes of data.
static void put_header(const char *path, const char *header, size_t length, size_t n) {
    Buf b = {0};
    uint64_t size = length;
    buf_add(&b, &size, 8);
    buf_add(&b, header, length);
    for (size_t i = 0; i < n; i++) buf_char(&b, 0);
    put_file(path, b.data, b.length);
    buf_free(&b);
}

#define T(name, shape, begin, end)                                                                                     \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data;
    const char *why;
} lies[] = {
    {"{" T("a", "[4]", "0", "4") "," T("b", "[4]", "3", "7") "}", 7, "b: data_offsets: overlaps"},
    {"{" T("a", "[4]", "0", "4") "," T("b", "[4]", "0", "4") "}", 4, "overlaps"},
    {"{" T("a", "[4]", "0", "4") "," T("b", "[4]", "5", "9") "}", 9, "b: data_offsets: a hole"},
    {"{" T("a", "[4]", "1", "5") "}", 5, "a: data_offsets: a hole"},
    {"{" T("a", "[4]", "0", "4") "}", 5, "1 bytes behind"},
    {"{}", 1, "1 bytes behind"},
    {"{" T("a", "[4]", "4", "0") "}", 4, "is no range"},
    {"{" T("a", "[4]", "-4", "0") "}", 4, "is no range"},
    {"{" T("a", "[4]", "0", "5") "}", 4, "cut off"},
    {"{" T("a", "[4]", "9223372036854775807", "9223372036854775807") "}", 4, "cut off"},
    {"{" T("a", "[4]", "0", "18446744073709551615") "}", 4, "not valid JSON"},
    {"{" T("a", "[5]", "0", "4") "}", 4, "ask for another size"},
    {"{" T("a", "[4194305,4194305,211106198978564]", "0", "4") "}", 4, "overflows"},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, "ask for another size"},
    {"{" T("a", "[-1]", "0", "4") "}", 4, "shape[0]"},
    {"{" T("a", "[4.0]", "0", "4") "}", 4, "shape[0]"},
    {"{" T("a", "[\"4\"]", "0", "4") "}", 4, "shape[0]"},
    {"{" T("a", "[0x4]", "0", "4") "}", 4, "not valid JSON"},
    {"{" T("a", "4", "0", "4") "}", 4, "shape: expected a list"},
    {"{" T("a", "[1,1,1,1,1,1,1,1,4]", "0", "4") "}", 4, "9 dimensions"},
    {"{" T("a", "[4]", "0", "4e0") "}", 4, "data_offsets: expected"},
    {"{" T("a", "[4]", "0", "4,4") "}", 4, "data_offsets: expected"},
    {"{" T("a", "[2]", "0", "2") "," T("a", "[2]", "2", "4") "}", 4, "a: two tensors of this name"},
    {"{" T("a", "[2]", "0", "2") "," T("\\u0061", "[2]", "2", "4") "}", 4, "a: two tensors of this name"},
    {"{" T("a\\u0000b", "[4]", "0", "4") "}", 4, "not valid JSON"},
    {"{" T("\\u001b[2J", "[4]", "0", "4") "}", 4, "?[2J: the name is empty or holds control characters"},
    {"{" T("", "[4]", "0", "4") "}", 4, "the name is empty"},
    {"{" T("\xff", "[4]", "0", "4") "}", 4, "not valid JSON"},
    {"{" T("\\ud800", "[4]", "0", "4") "}", 4, "not valid JSON"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "a: dtype: \"F4\""},
    {"{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "dtype: expected"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "duplicate"},
    {"{\"a\":[]}", 0, "a: expected an object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: only strings"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: expected"},
    {" {}", 0, "no JSON object"},
    {"[]", 0, "no JSON object"},
    {"", 0, "no JSON object"},
    {"\xef\xbb\xbf{}", 0, "no JSON object"},
    {"{}x", 0, "no JSON object"},
    {"{}\n", 0, "no JSON object"},
    {"{}{}", 0, "not valid JSON"},
    {"{" T("a", "[4]", "0", "4") ",}", 4, "not valid JSON"},
    {"{," T("a", "[4]", "0", "4") "}", 4, "not valid JSON"},
    {"{" T("a", "[2]", "0", "2") T("b", "[2]", "2", "4") "}", 4, "not valid JSON"},
    {"{\"a\" {}}", 0, "not valid JSON"},
    {"{\"a\":}", 0, "not valid JSON"},
    {"{7:{}}", 0, "not valid JSON"},
    {"{\"a}", 0, "not valid JSON"},
};

static void test_lies(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "a.safetensors");
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        put_header(path, lies[i].header, strlen(lies[i].header), lies[i].data);
        expect_refusal(path, lies[i].why);
    }
    temp_remove(folder);
}

static void test_header_lengths(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "a.safetensors");
    const uint64_t lengths[] = {UINT64_MAX, 1ull << 63, 1ull << 32, UINT64_MAX - 7, 100000001, 100000000, 3};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        uint8_t file[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        memcpy(file, &lengths[i], 8);
        put_file(path, file, sizeof file);
        expect_refusal(path, lengths[i] > 100000000 ? "header length" : "cut off");
    }
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    put_file(path, lfs, sizeof lfs - 1);
    expect_refusal(path, "Git LFS pointer");
    temp_remove(folder);
}

static void test_legal_oddities(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "a.safetensors");
    static const char *const headers[] = {"{}", "{}      ", "{\"__metadata__\":{}}",
                                          "{" T("z", "[0]", "2", "2") "," T("b", "[2]", "2", "4") "," T(
                                              "y", "[0,9]", "2", "2") "," T("a", "[2]", "0", "2") "}",
                                          "{\"a\":{\"extra\":1,\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}"};
    const size_t data[] = {0, 0, 0, 4, 1}, count[] = {0, 0, 0, 4, 1};
    log_set_quiet(true); // the unknown key is warned of
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        Error e = {0};
        put_header(path, headers[i], strlen(headers[i]), data[i]);
        Safetensors *s = safetensors_open(path, &e);
        if (s == NULL) fail_msg("%s", e.text);
        assert_int_equal(safetensors_count(s), count[i]);
        safetensors_close(s);
    }
    temp_remove(folder);
}

static void test_too_many(void **state) { // the count is bounded before a tree is built
    char *folder = temp_folder(), *path = temp_path(folder, "a.safetensors");
    Buf b = {0};
    buf_char(&b, '{');
    for (int i = 0; i < (1 << 20) + 2; i++) buf_text(&b, "{}");
    buf_char(&b, '}');
    put_header(path, b.data, b.length, 0);
    expect_refusal(path, "more than 1048576 tensors");
    buf_clear(&b);
    for (int i = 0; i < 100000; i++) buf_text(&b, "{\"__metadata__\":");
    for (int i = 0; i < 100000; i++) buf_char(&b, '}');
    put_header(path, b.data, b.length, 0);
    expect_refusal(path, "not valid JSON"); // too deep
    buf_free(&b);
    temp_remove(folder);
}

static void put_shards(const char *folder, const char *weight_map) {
    Error e = {0};
    TensorView a = view("a", DTYPE_F32, floats, 1, 6, 0),
               b[] = {view("b", DTYPE_U8, bytes, 1, 5, 0), view("c", DTYPE_U8, bytes, 1, 1, 0)};
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    assert_true(safetensors_write(temp_path(folder, "model-1.safetensors"), &a, 1, NULL, &e));
    assert_true(safetensors_write(temp_path(folder, "model-2.safetensors"), b, 2, metadata, &e));
    json_decref(metadata);
    char *text = xasprintf("{\"metadata\":{\"total_size\":30},\"weight_map\":%s}", weight_map);
    put_file(temp_path(folder, "model.safetensors.index.json"), text, strlen(text));
    free(text);
}

static void test_shards(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    put_shards(folder, "{\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\",\"c\":\"model-2.safetensors\"}");
    Safetensors *s = safetensors_open(folder, &e);
    if (s == NULL) fail_msg("%s", e.text);
    assert_int_equal(safetensors_count(s), 3);
    assert_memory_equal(safetensors_find(s, "a")->data, floats, sizeof floats);
    assert_memory_equal(safetensors_find(s, "b")->data, bytes, sizeof bytes);
    assert_string_equal(safetensors_at(s, 2)->name, "c");
    assert_string_equal(safetensors_metadata(s, "format"), "pt");
    safetensors_close(s);
    static const char *const bad[][2] = {
        {"{\"a\":\"../model-1.safetensors\"}", "plain name"},
        {"{\"a\":\"/etc/passwd\"}", "plain name"},
        {"{\"a\":\"model-1.bin\"}", "plain name"},
        {"{\"a\":7}", "plain name"},
        {"[]", "weight_map: expected"},
        {"{\"a\":\"model-3.safetensors\"}", "model-3.safetensors"},
        {"{\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\"}", "c is not what"},
        {"{\"a\":\"model-1.safetensors\",\"b\":\"model-1.safetensors\",\"c\":\"model-2.safetensors\"}",
         "b is not what"},
        {"{\"a\":\"model-1.safetensors\",\"d\":\"model-1.safetensors\"}", "d is promised"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        put_shards(folder, bad[i][0]);
        expect_refusal(folder, bad[i][1]);
    }
    assert_true(remove_tree(folder, NULL) && make_folders(folder, NULL));
    expect_refusal(folder, "neither model.safetensors nor");
    temp_remove(folder);
}

static void test_writer_refuses(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "a.safetensors");
    Error e = {0};
    TensorView t[] = {view("a", DTYPE_F32, floats, 1, 6, 0), view("a", DTYPE_F32, floats, 1, 6, 0)};
    assert_false(safetensors_write(path, t, 2, NULL, &e));
    assert_error(&e, EXIT_DATA, "two tensors");
    t[0].name = "\xff";
    assert_false(safetensors_write(path, t, 1, NULL, &e));
    assert_error(&e, EXIT_DATA, "UTF-8");
    float zero[256] = {0};
    TensorView block = view("q", DTYPE_TQ2_0, zero, 1, 256, 0);
    assert_false(safetensors_write(path, &block, 1, NULL, &e));
    assert_error(&e, EXIT_DATA, "TQ2_0");
    json_t *metadata = json_pack("{s:i}", "n", 1);
    assert_false(safetensors_write(path, t + 1, 1, metadata, &e));
    assert_error(&e, EXIT_DATA, "only strings");
    json_decref(metadata);
    assert_false(file_exists(path));
    temp_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),        cmocka_unit_test(test_file_is_plain),
        cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_header_lengths),    cmocka_unit_test(test_legal_oddities),
        cmocka_unit_test(test_too_many),          cmocka_unit_test(test_shards),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
