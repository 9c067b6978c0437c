// GGUF: round trips, ggml's own vectors, and files that lie: each lie is an error with a reason, never a crash.
#include "tests/unit/support_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/gguf.h"

static TensorView view(const char *name, DType dtype, const void *data, int64_t rows, int64_t cols) {
    TensorView t = {
        .name = name, .dtype = dtype, .n_dims = rows ? 2 : 1, .shape = {rows ? rows : cols, cols}, .data = data};
    t.n_elements = MAX(rows, 1) * cols;
    t.bytes = (size_t)dtype_bytes(dtype, t.n_elements);
    return t;
}

static const float floats[16] = {1, -2, 3.5f, 0, 1e-30f, -0.0f, 7, 8};
static const char tq2_hex[] =
    "441144124822892699649144114412482289269964914411441248228926996426996491441144124822892699649144114412"
    "482289269964914411441248220038";

static GgufWriter *small_writer(uint8_t tq2[66]) {
    GgufWriter *w = gguf_create();
    gguf_set(w, "general.architecture", GGUF_STRING, false, json_string("llama"));
    gguf_set(w, "n.u8", GGUF_U8, false, json_integer(255));
    gguf_set(w, "n.i8", GGUF_I8, false, json_integer(-128));
    gguf_set(w, "n.u16", GGUF_U16, false, json_integer(65535));
    gguf_set(w, "n.i16", GGUF_I16, false, json_integer(-32768));
    gguf_set(w, "n.u32", GGUF_U32, false, json_integer(4294967295));
    gguf_set(w, "n.i32", GGUF_I32, false, json_integer(-2147483648LL));
    gguf_set(w, "n.u64", GGUF_U64, false, json_integer(INT64_MAX));
    gguf_set(w, "n.i64", GGUF_I64, false, json_integer(INT64_MIN));
    gguf_set(w, "x.f32", GGUF_F32, false, json_real(0.5));
    gguf_set(w, "x.f64", GGUF_F64, false, json_real(0.1));
    gguf_set(w, "yes", GGUF_BOOL, false, json_true());
    gguf_set(w, "a.strings", GGUF_STRING, true, json_pack("[s,s%,s]", "a", "nul\0in", 6, "\xc3\xa9"));
    gguf_set(w, "a.numbers", GGUF_I32, true, json_pack("[i,i]", -1, 1));
    gguf_set(w, "a.reals", GGUF_F32, true, json_pack("[f,i]", 0.25, 3));
    gguf_set(w, "a.empty", GGUF_STRING, true, json_array());
    from_hex(tq2_hex, tq2);
    TensorView t[] = {view("one", DTYPE_F32, floats, 0, 5), view("q", DTYPE_TQ2_0, tq2, 1, 256),
                      view("two", DTYPE_F32, floats, 2, 8)};
    for (int i = 0; i < 3; i++) gguf_add_tensor(w, &t[i]);
    return w;
}

static void write_small(const char *path) {
    uint8_t tq2[66];
    Error e = {0};
    if (!gguf_write(small_writer(tq2), path, &e)) fail_msg("%s", e.text);
}

static void test_round_trip(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "m.gguf");
    Error e = {0};
    write_small(path);
    Gguf *g = gguf_open(path, &e);
    if (g == NULL) fail_msg("%s", e.text);
    json_t *expected =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:f,s:f,s:b,s:[s,s%,s],s:[i,i],s:[f,f],s:[]}",
                  "general.architecture", "llama", "n.u8", 255, "n.i8", -128, "n.u16", 65535, "n.i16", -32768, "n.u32",
                  (json_int_t)4294967295, "n.i32", (json_int_t)-2147483648LL, "n.u64", (json_int_t)INT64_MAX, "n.i64",
                  (json_int_t)INT64_MIN, "x.f32", 0.5, "x.f64", 0.1, "yes", 1, "a.strings", "a", "nul\0in", (size_t)6,
                  "\xc3\xa9", "a.numbers", -1, 1, "a.reals", 0.25, 3.0, "a.empty");
    assert_non_null(expected);
    assert_true(json_equal(expected, gguf_metadata(g)));
    assert_string_equal(json_object_iter_key(json_object_iter((json_t *)(uintptr_t)gguf_metadata(g))),
                        "general.architecture");
    assert_null(gguf_get(g, "absent"));
    assert_int_equal(gguf_count(g), 3);
    assert_string_equal(gguf_at(g, 1)->name, "q");
    const TensorView *t = gguf_find(g, "two");
    assert_true(t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 8 && t->bytes == 64);
    assert_memory_equal(t->data, floats, 64);
    float x[256];
    assert_true(dtype_to_f32(DTYPE_TQ2_0, gguf_find(g, "q")->data, 256, x));
    for (int i = 0; i < 256; i++) assert_true(x[i] == 0.5f * (float)((i * 7 + 3) % 11 % 3 - 1));
    assert_null(gguf_find(g, "three"));
    json_decref(expected);
    gguf_close(g);
    temp_remove(folder);
}

static void test_bytes(void **state) { // the file as the specification draws it
    char *folder = temp_folder(), *path = temp_path(folder, "m.gguf");
    static const char expected[] = "GGUF\3\0\0\0"
                                   "\1\0\0\0\0\0\0\0"
                                   "\1\0\0\0\0\0\0\0"
                                   "\1\0\0\0\0\0\0\0k"
                                   "\t\0\0\0"
                                   "\4\0\0\0"
                                   "\2\0\0\0\0\0\0\0"
                                   "\1\0\0\0"
                                   "\2\0\0\0"
                                   "\1\0\0\0\0\0\0\0w"
                                   "\2\0\0\0"
                                   "\3\0\0\0\0\0\0\0"
                                   "\2\0\0\0\0\0\0\0"
                                   "\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\x80\x3f\0\0\0\xc0\0\0\x60\x40\0\0\0\0\x60\x42\xa2\r\0\0\0\x80\0\0\0\0\0\0\0\0";
    GgufWriter *w = gguf_create();
    Buf b = {0};
    gguf_set(w, "k", GGUF_U32, true, json_pack("[i,i]", 1, 2));
    TensorView t = view("w", DTYPE_F32, floats, 2, 3); // ne[0] = 3: the row length first
    gguf_add_tensor(w, &t);
    assert_true(gguf_write(w, path, NULL));
    get_file(path, &b);
    assert_int_equal(b.length, sizeof expected - 1);
    assert_memory_equal(b.data, expected, b.length);
    buf_free(&b);
    temp_remove(folder);
}

static void expect_refusal(const char *path, const char *why) {
    Error e = {0};
    Gguf *g = gguf_open(path, &e);
    if (g != NULL) {
        gguf_close(g);
        fail_msg("accepted, but expected: %s", why);
    }
    assert_error(&e, EXIT_DATA, why);
    assert_error(&e, EXIT_DATA, path);
}

static void test_cut_at_every_byte(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "m.gguf");
    Buf b = {0};
    write_small(path);
    get_file(path, &b);
    for (size_t n = 0; n < b.length; n++) {
        put_file(path, b.data, n);
        expect_refusal(path, "cut off");
    }
    buf_free(&b);
    temp_remove(folder);
}

// A GGUF file piece by piece: `u` u32, `q` u64, `s` string, `b` byte, `f` float32, `z` raw text without length.
static void build(Buf *b, const char *pieces, ...) {
    va_list args;
    va_start(args, pieces);
    for (const char *p = pieces; *p; p++) {
        if (*p == 'u') {
            uint32_t x = va_arg(args, uint32_t);
            buf_add(b, &x, 4);
        } else if (*p == 'q') {
            uint64_t x = va_arg(args, uint64_t);
            buf_add(b, &x, 8);
        } else if (*p == 'f') {
            float x = (float)va_arg(args, double);
            buf_add(b, &x, 4);
        } else if (*p == 'b') {
            buf_char(b, (char)va_arg(args, int));
        } else {
            const char *text = va_arg(args, const char *);
            uint64_t n = strlen(text);
            if (*p == 's') buf_add(b, &n, 8);
            buf_add(b, text, n);
        }
    }
    va_end(args);
}

#define Q(x) ((uint64_t)(x))
#define HEAD(b, n_tensors, n_pairs) build(b, "zuqq", "GGUF", 3, Q(n_tensors), Q(n_pairs))

static void refuse_built(Buf *b, const char *why) {
    static char *folder;
    folder = temp_folder();
    char *path = temp_path(folder, "m.gguf");
    for (int i = 0; i < 256; i++) buf_char(b, 0); // enough for any tensor meant here
    put_file(path, b->data, b->length);
    expect_refusal(path, why);
    buf_clear(b);
    temp_remove(folder);
}

static void test_bad_headers(void **state) {
    Buf b = {0};
    build(&b, "zuqq", "GGML", 3, Q(0), Q(0));
    refuse_built(&b, "no GGUF file");
    const uint32_t versions[] = {0, 1, 2, 4};
    for (int i = 0; i < 4; i++) {
        build(&b, "zuqq", "GGUF", versions[i], Q(0), Q(0));
        refuse_built(&b, "only version 3");
    }
    build(&b, "zuqq", "GGUF", 0x03000000, Q(0), Q(0));
    refuse_built(&b, "big-endian");
    const uint64_t counts[] = {UINT64_MAX, 1ull << 63, 1ull << 40, 20};
    for (int i = 0; i < 4; i++) {
        HEAD(&b, counts[i], 0);
        refuse_built(&b, "do not fit into the file");
        HEAD(&b, 0, counts[i]);
        refuse_built(&b, "cut off");
    }
    buf_free(&b);
}

static void test_bad_pairs(void **state) {
    Buf b = {0};
    const uint64_t lengths[] = {UINT64_MAX, 1ull << 63, 1000};
    for (int i = 0; i < 3; i++) {
        HEAD(&b, 0, 1), build(&b, "q", lengths[i]);
        refuse_built(&b, "does not fit");
        HEAD(&b, 0, 1), build(&b, "suq", "k", GGUF_STRING, lengths[i]);
        refuse_built(&b, "k: byte");
        HEAD(&b, 0, 1), build(&b, "suuq", "k", GGUF_ARRAY, GGUF_STRING, lengths[i]);
        refuse_built(&b, "an array of");
        HEAD(&b, 0, 1), build(&b, "suuq", "k", GGUF_ARRAY, GGUF_U8, lengths[i]);
        refuse_built(&b, "an array of");
    }
    HEAD(&b, 0, 1), build(&b, "suuq", "k", GGUF_ARRAY, GGUF_F64, Q(1) << 61); // count * 8 wraps to 0
    refuse_built(&b, "an array of");
    HEAD(&b, 0, 1), build(&b, "su", "", GGUF_U8);
    refuse_built(&b, "a key that is empty");
    HEAD(&b, 0, 1), build(&b, "su", "\x1b[2J", GGUF_U8);
    refuse_built(&b, "control characters");
    HEAD(&b, 0, 1), build(&b, "sub", "\xff", GGUF_U8, 1);
    refuse_built(&b, "UTF-8");
    HEAD(&b, 0, 1), build(&b, "sus", "k", GGUF_STRING, "\xc0\x80");
    refuse_built(&b, "k: byte 37: a string that is not valid UTF-8");
    HEAD(&b, 0, 1), build(&b, "su", "k", 13);
    refuse_built(&b, "unknown value type 13");
    HEAD(&b, 0, 1), build(&b, "su", "k", UINT32_MAX);
    refuse_built(&b, "unknown value type");
    HEAD(&b, 0, 1), build(&b, "suuq", "k", GGUF_ARRAY, 13, Q(0));
    refuse_built(&b, "an array of unknown value type 13");
    HEAD(&b, 0, 1), build(&b, "sub", "k", GGUF_BOOL, 2);
    refuse_built(&b, "a bool is 0 or 1, not 2");
    HEAD(&b, 0, 1), build(&b, "suf", "k", GGUF_F32, NAN);
    refuse_built(&b, "not a finite number");
    HEAD(&b, 0, 1), build(&b, "suq", "k", GGUF_U64, Q(1) << 63);
    refuse_built(&b, "above 2^63 - 1");
    HEAD(&b, 0, 2), build(&b, "subsub", "k", GGUF_U8, 1, "k", GGUF_U8, 2);
    refuse_built(&b, "k: this key comes twice");
    HEAD(&b, 0, 1), build(&b, "suu", "split.count", GGUF_U32, 2);
    refuse_built(&b, "one of 2 parts");
    HEAD(&b, 0, 1), build(&b, "su", "deep", GGUF_ARRAY);
    for (int i = 0; i < 1000; i++) build(&b, "uq", GGUF_ARRAY, Q(1));
    refuse_built(&b, "nested deeper than 4");
    buf_free(&b);
}

static void test_bad_alignment(void **state) {
    Buf b = {0};
    const uint32_t alignments[] = {0, 3, 1u << 31, 1 << 17};
    for (int i = 0; i < 4; i++) {
        HEAD(&b, 0, 1), build(&b, "suu", "general.alignment", GGUF_U32, alignments[i]);
        refuse_built(&b, "general.alignment");
    }
    HEAD(&b, 0, 1), build(&b, "sus", "general.alignment", GGUF_STRING, "32");
    refuse_built(&b, "general.alignment");
    buf_free(&b);
}

#define TENSOR(b, name, d0, d1, type, offset) build(b, "suqquq", name, 2, Q(d0), Q(d1), type, Q(offset))

static void test_bad_tensors(void **state) {
    Buf b = {0};
    char name64[65];
    memset(name64, 'n', 64);
    name64[64] = 0;
    HEAD(&b, 1, 0), TENSOR(&b, name64, 2, 2, 0, 0);
    refuse_built(&b, "at most 63");
    HEAD(&b, 1, 0), TENSOR(&b, "", 2, 2, 0, 0);
    refuse_built(&b, "empty");
    HEAD(&b, 1, 0), TENSOR(&b, "a\nb", 2, 2, 0, 0);
    refuse_built(&b, "control characters");
    HEAD(&b, 2, 0), TENSOR(&b, "t", 2, 4, 0, 0), TENSOR(&b, "t", 2, 4, 0, 32);
    refuse_built(&b, "t: two tensors of this name");
    HEAD(&b, 1, 0), build(&b, "su", "t", 5);
    refuse_built(&b, "t: 5 dimensions");
    HEAD(&b, 1, 0), build(&b, "su", "t", UINT32_MAX);
    refuse_built(&b, "dimensions");
    const uint64_t shapes[][2] = {{UINT64_MAX, 1}, {1ull << 63, 1}, {(1ull << 42) + 1, 1ull << 22}};
    for (int i = 0; i < 3; i++) {
        HEAD(&b, 1, 0), TENSOR(&b, "t", shapes[i][0], shapes[i][1], 0, 0);
        refuse_built(&b, "t: the number of elements overflows");
    }
    HEAD(&b, 1, 0), TENSOR(&b, "t", 1ull << 62, 1, 0, 0);
    refuse_built(&b, "t: the number of bytes overflows");
    HEAD(&b, 1, 0), TENSOR(&b, "t", 255, 1, 35, 0);
    refuse_built(&b, "t: rows of 255 elements are no multiple of 256");
    HEAD(&b, 1, 0), TENSOR(&b, "t", 8, 32, 35, 0); // 256 elements, but not in one row
    refuse_built(&b, "rows of 8");
    const uint32_t types[] = {4, 5, 31, 36, 43, UINT32_MAX, 1u << 31};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        HEAD(&b, 1, 0), TENSOR(&b, "t", 2, 2, types[i], 0);
        refuse_built(&b, "is not supported here");
    }
    buf_free(&b);
}

static void test_bad_offsets(void **state) {
    Buf b = {0};
    const uint64_t offsets[] = {1, 4, 32, UINT64_MAX, UINT64_MAX - 31, 1ull << 63};
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        HEAD(&b, 1, 0), TENSOR(&b, "t", 2, 2, 0, offsets[i]);
        refuse_built(&b, "t: offset");
    }
    HEAD(&b, 2, 0), TENSOR(&b, "t", 2, 8, 0, 0), TENSOR(&b, "u", 2, 2, 0, 32); // overlap
    refuse_built(&b, "u: offset 32, expected 64");
    HEAD(&b, 2, 0), TENSOR(&b, "t", 2, 2, 0, 0), TENSOR(&b, "u", 2, 2, 0, 64); // hole
    refuse_built(&b, "u: offset 64, expected 32");
    HEAD(&b, 2, 0), TENSOR(&b, "t", 2, 2, 0, 32), TENSOR(&b, "u", 2, 2, 0, 0); // order
    refuse_built(&b, "t: offset 32");
    HEAD(&b, 1, 0), TENSOR(&b, "t", 1000, 1000, 0, 0);
    refuse_built(&b, "t: needs 4000000 bytes");
    HEAD(&b, 1, 0), TENSOR(&b, "t", 1ull << 60, 1, 0, 0);
    refuse_built(&b, "the file is cut off");
    buf_free(&b);
}

// Decisions where specification and ggml differ.
static void test_legal_oddities(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "m.gguf"), name63[64];
    Buf b = {0};
    memset(name63, 'n', 63);
    name63[63] = 0;
    HEAD(&b, 3, 3);
    build(&b, "suu", "general.alignment", GGUF_U32, 1);
    build(&b, "suu", "split.count", GGUF_U32, 1);
    build(&b,
          "suuq"
          "uqbb"
          "uqb",
          "nested", GGUF_ARRAY, GGUF_ARRAY, Q(2), GGUF_U8, Q(2), 7, 8, GGUF_BOOL, Q(1), 1);
    build(&b, "suuq", name63, 0, 0, Q(0));         // no dimensions: one number
    build(&b, "suquq", "empty", 1, Q(0), 0, Q(4)); // no elements
    build(&b, "suquq", "%s%n", 1, Q(3), 24, Q(4)); // 3 bytes, no padding behind
    build(&b, "fz", 2.5, "abc");
    put_file(path, b.data, b.length);
    Error e = {0};
    Gguf *g = gguf_open(path, &e);
    if (g == NULL) fail_msg("%s", e.text);
    float x;
    assert_true(dtype_to_f32(DTYPE_F32, gguf_find(g, name63)->data, 1, &x) && x == 2.5f);
    assert_int_equal(gguf_find(g, "empty")->bytes, 0);
    assert_memory_equal(gguf_find(g, "%s%n")->data, "abc", 3);
    json_t *nested = json_pack("[[i,i],[b]]", 7, 8, 1);
    assert_true(json_equal(gguf_get(g, "nested"), nested));
    json_decref(nested);
    gguf_close(g);
    buf_free(&b);
    temp_remove(folder);
}

static void test_long_arrays(void **state) { // a vocabulary of 150 000 tokens and as many tensors as a large model has
    enum { N = 150000, TENSORS = 3000 };
    char *folder = temp_folder(), *path = temp_path(folder, "m.gguf"), text[32];
    json_t *tokens = json_array();
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "token-%d", i);
        json_array_append_new(tokens, json_string(text));
    }
    GgufWriter *w = gguf_create();
    gguf_set(w, "tokenizer.ggml.tokens", GGUF_STRING, true, json_incref(tokens));
    for (int i = 0; i < TENSORS; i++) {
        snprintf(text, sizeof text, "blk.%d", i);
        TensorView t = view(text, DTYPE_F32, floats, 0, 3);
        gguf_add_tensor(w, &t);
    }
    Error e = {0};
    assert_true(gguf_write(w, path, &e));
    Gguf *g = gguf_open(path, &e);
    if (g == NULL) fail_msg("%s", e.text);
    assert_true(json_equal(gguf_get(g, "tokenizer.ggml.tokens"), tokens));
    assert_int_equal(gguf_count(g), TENSORS);
    assert_memory_equal(gguf_find(g, "blk.2999")->data, floats, 12);
    gguf_close(g);
    json_decref(tokens);
    temp_remove(folder);
}

static void expect_no_write(GgufWriter *w, const char *why) {
    Error e = {0};
    assert_false(gguf_write(w, "/tmp/tristill-not-to-be-written.gguf", &e));
    assert_error(&e, EXIT_FAIL, why);
}

static void test_writer_refuses(void **state) {
    static const struct {
        GgufType type;
        bool array;
        const char *json, *why;
    } bad[] = {
        {GGUF_U8, false, "256", "k: 256 is not in"},
        {GGUF_I8, false, "-129", "is not in"},
        {GGUF_U32, false, "-1", "is not in"},
        {GGUF_U32, false, "4294967296", "is not in"},
        {GGUF_U64, false, "-1", "is not in"},
        {GGUF_U32, false, "1.0", "expected an integer"},
        {GGUF_F32, false, "1e39", "does not fit"},
        {GGUF_F32, false, "\"1\"", "expected a number"},
        {GGUF_BOOL, false, "1", "expected true or false"},
        {GGUF_STRING, false, "1", "expected a string"},
        {GGUF_STRING, true, "\"a\"", "expected an array"},
        {GGUF_U32, true, "[1,-1]", "k: element 1"},
        {GGUF_ARRAY, false, "[]", "cannot be written"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        GgufWriter *w = gguf_create();
        gguf_set(w, "k", bad[i].type, bad[i].array, json_loads(bad[i].json, JSON_DECODE_ANY, NULL));
        gguf_set(w, "after", GGUF_U8, false, json_integer(1));
        expect_no_write(w, bad[i].why);
    }
    GgufWriter *w = gguf_create();
    for (int i = 0; i < 2; i++) gguf_set(w, "k", GGUF_U8, false, json_integer(1));
    expect_no_write(w, "k: set twice");
    TensorView t = view("t", DTYPE_F32, floats, 0, 4), u = view("t", DTYPE_U8, floats, 0, 4);
    w = gguf_create();
    for (int i = 0; i < 2; i++) gguf_add_tensor(w, &t);
    expect_no_write(w, "t: added twice");
    w = gguf_create();
    gguf_add_tensor(w, &u);
    expect_no_write(w, "U8 does not exist in GGUF");
    t = view("t", DTYPE_F32, floats, 2, 8);
    t.dtype = DTYPE_Q8_0;
    w = gguf_create();
    gguf_add_tensor(w, &t);
    expect_no_write(w, "no multiple of 32");
    gguf_abandon(gguf_create());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_pairs),         cmocka_unit_test(test_bad_alignment),
        cmocka_unit_test(test_bad_tensors),       cmocka_unit_test(test_bad_offsets),
        cmocka_unit_test(test_legal_oddities),    cmocka_unit_test(test_long_arrays),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
