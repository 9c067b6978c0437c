// The element types: 16-bit floats exhaustively and at their ties, E4M3, and ggml's blocks against vectors made with
// ggml.
#include "tests/unit/support_files.h"

#include <math.h>
#include <string.h>

#include "core/data/dtype.h"

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

// The value of a float16, from its definition and not from our bit tricks.
static double f16_value(uint16_t x) {
    int exponent = x >> 10 & 31, fraction = x & 1023;
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction ? NAN : INFINITY)
                                : ldexp(1024 + fraction, exponent - 25);
    return x & 0x8000 ? -v : v;
}

static void test_f16_all(void **state) {
    for (uint32_t x = 0; x <= 0xffff; x++) {
        double expected = f16_value((uint16_t)x);
        float found = f16_to_f32((uint16_t)x);
        if (isnan(expected)) {
            assert_true(isnan(found));
            assert_true(isnan(f16_value(f32_to_f16(found))));
            continue;
        }
        assert_true((double)found == expected && !signbit(found) == !signbit(expected));
        assert_int_equal(f32_to_f16(found), x);
    }
}

static void test_bf16_all(void **state) {
    for (uint32_t x = 0; x <= 0xffff; x++) {
        float found = bf16_to_f32((uint16_t)x);
        assert_int_equal(bits_of(found), x << 16);
        if (isnan(found))
            assert_true(isnan(bf16_to_f32(f32_to_bf16(found))));
        else
            assert_int_equal(f32_to_bf16(found), x);
    }
}

// Between neighbours a < b the middle goes to the one with an even last bit, and its own neighbours to the nearer one.
static void check_ties(uint16_t a, float (*up)(uint16_t), uint16_t (*down)(float)) {
    float low = up(a), high = up((uint16_t)(a + 1)), middle = (float)(((double)low + (double)high) / 2);
    uint16_t even = (a & 1) ? (uint16_t)(a + 1) : a;
    assert_int_equal(down(middle), even);
    assert_int_equal(down(nextafterf(middle, 0)), a);
    assert_int_equal(down(nextafterf(middle, INFINITY)), a + 1);
    assert_int_equal(down(-middle), even | 0x8000);
}

static void test_ties(void **state) {
    for (uint16_t a = 0; a < 0x7bff; a++) check_ties(a, f16_to_f32, f32_to_f16);
    for (uint16_t a = 1; a < 0x7f7f; a++) check_ties(a, bf16_to_f32, f32_to_bf16);
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(0x1p-25f), 0); // a tie with zero
    assert_int_equal(f32_to_f16(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(f32_to_bf16(float_of(0x7f7fffff)), 0x7f80);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(0x7f800001))))); // NaN must not turn into infinity
    assert_true(isnan(f16_to_f32(f32_to_f16(float_of(0x7f800001)))));
}

static void test_f8_e4m3(void **state) {
    uint8_t all[256];
    float x[256];
    for (int i = 0; i < 256; i++) all[i] = (uint8_t)i;
    assert_true(dtype_to_f32(DTYPE_F8_E4M3, all, 256, x));
    assert_true(x[0] == 0 && x[1] == 0x1p-9f && x[7] == 7 * 0x1p-9f && x[8] == 0x1p-6f && x[0x38] == 1 &&
                x[0x7e] == 448);
    assert_true(isnan(x[0x7f]) && isnan(x[0xff]) && signbit(x[0x80]) && x[0xb8] == -1);
    for (int i = 1; i < 0x7f; i++) assert_true(x[i] > x[i - 1]);
}

// t[i] = ((7 i + 3) mod 11) mod 3 - 1 with d = 0.5, packed by ggml's own code.
static const char tq1_hex[] =
    "226020b63dbf95dd9f3567226020b63dbf95dd9f3567226020b63dbf95dd9f356cd36d455d437a46cf17ca6cd36d455d0da2"
    "0d8f0038";
static const char tq2_hex[] =
    "441144124822892699649144114412482289269964914411441248228926996426996491441144124822892699649144114412"
    "482289269964914411441248220038";

static void golden_values(float x[256]) {
    for (int i = 0; i < 256; i++) x[i] = 0.5f * (float)((i * 7 + 3) % 11 % 3 - 1);
}

static void check_golden(DType t, const char *hex) {
    uint8_t expected[66], packed[66];
    float x[256], back[256];
    size_t bytes = (size_t)dtype_bytes(t, 256);
    assert_int_equal(strlen(hex), 2 * bytes);
    from_hex(hex, expected);
    golden_values(x);
    assert_true(dtype_from_f32(t, x, 256, packed, NULL));
    assert_memory_equal(packed, expected, bytes);
    assert_true(dtype_to_f32(t, expected, 256, back));
    assert_memory_equal(back, x, sizeof x);
}

static void test_ternary_golden(void **state) {
    check_golden(DTYPE_TQ1_0, tq1_hex);
    check_golden(DTYPE_TQ2_0, tq2_hex);
}

// Every combination of five digits comes back, whatever the position in its byte.
static void test_ternary_round_trip(void **state) {
    for (int start = 0; start < 243; start++) {
        float x[512], back[512];
        uint8_t packed[2 * 66];
        for (int i = 0, q = start; i < 512; i++, q = i % 5 ? q / 3 : (start + 7 * i) % 243)
            x[i] = (float)(q % 3 - 1) * (i < 256 ? 0.25f : 0x1p-24f);
        const DType types[] = {DTYPE_TQ1_0, DTYPE_TQ2_0};
        for (int t = 0; t < 2; t++) {
            assert_true(dtype_from_f32(types[t], x, 512, packed, NULL));
            assert_true(dtype_to_f32(types[t], packed, 512, back));
            for (int i = 0; i < 512; i++) assert_true(back[i] == x[i]);
        }
    }
}

static void refuse(DType t, const float *x, int64_t n, const char *why) {
    uint8_t packed[4 * 256];
    Error e = {0};
    assert_false(dtype_from_f32(t, x, n, packed, &e));
    assert_error(&e, EXIT_DATA, why);
}

static void test_ternary_refuses(void **state) {
    float x[256];
    const DType types[] = {DTYPE_TQ1_0, DTYPE_TQ2_0};
    for (int t = 0; t < 2; t++) {
        golden_values(x);
        x[17] = 0.25f;
        refuse(types[t], x, 256, "element 17");
        golden_values(x);
        x[255] = NAN;
        refuse(types[t], x, 256, "element 255");
        for (int i = 0; i < 256; i++) x[i] = i % 2 ? 0.1f : 0; // 0.1 is no float16 value
        refuse(types[t], x, 256, "no float16 value");
        for (int i = 0; i < 256; i++) x[i] = i % 2 ? INFINITY : 0;
        refuse(types[t], x, 256, "no float16 value");
        refuse(types[t], x, 255, "multiple of 256");
        float zero[256] = {0}, back[256];
        uint8_t packed[66];
        assert_true(dtype_from_f32(types[t], zero, 256, packed, NULL));
        assert_true(dtype_to_f32(types[t], packed, 256, back));
        assert_memory_equal(back, zero, sizeof zero);
    }
}

static void test_q8_0(void **state) {
    float x[64], back[64];
    uint8_t packed[68];
    for (int i = 0; i < 64; i++) x[i] = i < 32 ? (float)(i - 16) : 0;
    x[0] = -25.4f; // d = 0.2, in float16 0.199951171875
    assert_true(dtype_from_f32(DTYPE_Q8_0, x, 64, packed, NULL));
    uint16_t d;
    memcpy(&d, packed, 2);
    assert_int_equal(d, f32_to_f16(25.4f / 127));
    assert_int_equal((int8_t)packed[2], -127);
    assert_int_equal((int8_t)packed[2 + 17], 5); // 1 / 0.2
    assert_true(dtype_to_f32(DTYPE_Q8_0, packed, 64, back));
    for (int i = 0; i < 64; i++) assert_true(fabsf(back[i] - x[i]) <= 0.11f); // d/2 and the rounding of d itself
    for (int i = 32; i < 64; i++) assert_true(back[i] == 0);
    x[5] = NAN;
    refuse(DTYPE_Q8_0, x, 64, "element 5");
    x[5] = 3e38f;
    refuse(DTYPE_Q8_0, x, 64, "does not fit into float16");
    for (int i = 0; i < 64; i++) x[i] = 1e-44f; // the scale is zero in float16
    assert_true(dtype_from_f32(DTYPE_Q8_0, x, 64, packed, NULL));
    assert_true(dtype_to_f32(DTYPE_Q8_0, packed, 64, back));
    assert_true(back[0] == 0);
}

static void test_dense(void **state) {
    const float x[5] = {1.5f, -0.0f, INFINITY, 65519.0f, 0x1p-24f};
    uint8_t bytes[21];
    float back[5];
    const DType types[] = {DTYPE_F32, DTYPE_F16};
    for (int t = 0; t < 2; t++) { // at an odd address, as in a mapped file
        assert_true(dtype_from_f32(types[t], x, 5, bytes + 1, NULL));
        assert_true(dtype_to_f32(types[t], bytes + 1, 5, back));
        assert_true(back[0] == x[0] && signbit(back[1]) && isinf(back[2]) && back[4] == x[4]);
        assert_true(back[3] == (t ? 65504.0f : x[3]));
    }
    const float large[2] = {0, -70000.0f};
    refuse(DTYPE_F16, large, 2, "element 1");
    assert_true(dtype_from_f32(DTYPE_BF16, large, 2, bytes, NULL));
    refuse(DTYPE_I8, x, 5, "I8");
    assert_false(dtype_to_f32(DTYPE_I32, bytes, 2, back));
    assert_false(dtype_to_f32(DTYPE_Q8_0, bytes, 5, back));
}

static void test_names(void **state) {
    DType t;
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (dtype_rows[i].safetensors)
            assert_true(dtype_from_safetensors(dtype_rows[i].safetensors, &t) && (int)t == i);
        if (dtype_rows[i].ggml >= 0) assert_true(dtype_from_ggml(dtype_rows[i].ggml, &t) && (int)t == i);
    }
    assert_false(dtype_from_safetensors("F4", &t));
    assert_false(dtype_from_ggml(-1, &t));
    assert_false(dtype_from_ggml(31, &t));
    assert_int_equal(dtype_bytes(DTYPE_TQ1_0, 512), 108);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_all),
        cmocka_unit_test(test_bf16_all),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_f8_e4m3),
        cmocka_unit_test(test_ternary_golden),
        cmocka_unit_test(test_ternary_round_trip),
        cmocka_unit_test(test_ternary_refuses),
        cmocka_unit_test(test_q8_0),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
