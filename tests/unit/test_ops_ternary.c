// Ternary: packing order (golden bytes), both quantisers and the integer product: _cpu has the bits of _ref.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/half.h"
#include "core/base/mem.h"
#include "core/base/thread.h"

enum { FENCE = 64 };

static void *fenced(size_t bytes) { // between fences of 0x5a
    char *block = xmalloc(bytes + 2 * FENCE);
    memset(block, 0x5a, bytes + 2 * FENCE);
    return block + FENCE;
}

static void fenced_free(void *data, size_t bytes) {
    char *p = data;
    for (int i = 0; i < FENCE; i++) assert_true(p[-1 - i] == 0x5a && p[bytes + (size_t)i] == 0x5a);
    free(p - FENCE);
}

// Codes ((7i + 3) mod 11) mod 3 - 1, 256 of them: the 64 code bytes of ggml's TQ2_0, made by its own quantiser.
static void test_golden_packing(void **state) {
    (void)state;
    static const char golden[] = "4411441248228926996491441144124822892699649144114412482289269964"
                                 "2699649144114412482289269964914411441248228926996491441144124822";
    int8_t codes[256], back[256];
    uint8_t packed[64];
    char hex[129];
    for (int i = 0; i < 256; i++) codes[i] = (int8_t)((i * 7 + 3) % 11 % 3 - 1);
    ternary_pack(packed, codes, 2, 128);
    for (int i = 0; i < 64; i++) snprintf(hex + 2 * i, 3, "%02x", packed[i]);
    assert_string_equal(hex, golden);
    ternary_unpack(back, packed, 1, 256); // rows are whole blocks: their number does not matter
    assert_memory_equal(codes, back, sizeof codes);
}

typedef struct Quantised {
    float *wq, scale;
    int8_t *codes;
} Quantised;

static void check_weights(const float *w, int64_t n) {
    Quantised ref = {.wq = fenced((size_t)n * 4), .codes = fenced((size_t)n)};
    ternary_quant_ref(ref.wq, ref.codes, &ref.scale, w, n);
    for (int threads = 1; threads <= 3; threads++) {
        threads_set(threads);
        Quantised cpu = {.wq = fenced((size_t)n * 4), .codes = fenced((size_t)n)};
        ternary_quant_cpu(cpu.wq, cpu.codes, &cpu.scale, w, n);
        assert_true(same_bits(&cpu.scale, &ref.scale, 4));
        assert_true(same_bits(cpu.wq, ref.wq, (size_t)n * 4));
        assert_true(same_bits(cpu.codes, ref.codes, (size_t)n));
        memset(cpu.wq, 0, (size_t)n * 4);
        ternary_quant_cpu(cpu.wq, NULL, &cpu.scale, w, n);
        assert_true(same_bits(cpu.wq, ref.wq, (size_t)n * 4));
        fenced_free(cpu.wq, (size_t)n * 4);
        fenced_free(cpu.codes, (size_t)n);
    }
    threads_set(0);
    fenced_free(ref.wq, (size_t)n * 4);
    fenced_free(ref.codes, (size_t)n);
}

static void test_weight_quantiser(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 3, 8, 100, 4096, 8193, 50000};
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        float *w = xmalloc((size_t)sizes[s] * sizeof *w);
        for (int exponent = -30; exponent < 12; exponent += 7) { // from far below the smallest scale
            fill_normal(w, sizes[s], s);
            for (int64_t i = 0; i < sizes[s]; i++) w[i] = ldexpf(w[i], exponent);
            check_weights(w, sizes[s]);
        }
        free(w);
    }
}

static void test_weight_quantiser_by_hand(void **state) {
    (void)state;
    float w[] = {4, -1, 1, 2, -2, 0, -3, 3, 1, -3}, wq[10], scale; // mean |w| = 2
    int8_t codes[10];
    ternary_quant_cpu(wq, codes, &scale, w, 10);
    assert_true(scale == 2.0f);
    static const int8_t expected[] = {1, 0,  0, 1, -1,
                                      0, -1, 1, 0, -1}; // +-1/2 are ties: to even, 0; +-3/2 to 2, clamped to 1
    assert_memory_equal(codes, expected, sizeof codes);
    for (int i = 0; i < 10; i++) assert_true(wq[i] == (float)expected[i] * 2.0f);
    memset(w, 0, sizeof w);
    ternary_quant_cpu(wq, codes, &scale, w, 10);
    assert_true(scale == half_to_float(float_to_half(1e-5f)) && wq[0] == 0.0f && codes[0] == 0);
    w[3] = NAN; // shows in wq, and codes stay codes
    ternary_quant_cpu(wq, codes, &scale, w, 10);
    assert_true(isnan(wq[3]) && codes[3] == 0);
}

static void check_activations(const float *x, int64_t rows, int64_t C) {
    size_t n = (size_t)(rows * C);
    float *xq = fenced(n * 4), *inv = fenced((size_t)rows * 4), *xq_cpu = fenced(n * 4),
          *inv_cpu = fenced((size_t)rows * 4);
    int8_t *q = fenced(n), *q_cpu = fenced(n);
    activation_quant_ref(xq, q, inv, x, rows, C);
    for (int threads = 1; threads <= 3; threads++) {
        threads_set(threads);
        activation_quant_cpu(xq_cpu, q_cpu, inv_cpu, x, rows, C);
        assert_true(same_bits(xq, xq_cpu, n * 4) && same_bits(inv, inv_cpu, (size_t)rows * 4) &&
                    same_bits(q, q_cpu, n));
        activation_quant_cpu(NULL, NULL, NULL, x, rows, C); // each output may be left out
    }
    threads_set(0);
    for (size_t i = 0; i < n; i++) assert_true(fabsf(xq[i] - x[i]) <= 0.5001f * inv[i / (size_t)C]); // half a step
    fenced_free(xq, n * 4);
    fenced_free(xq_cpu, n * 4);
    fenced_free(inv, (size_t)rows * 4);
    fenced_free(inv_cpu, (size_t)rows * 4);
    fenced_free(q, n);
    fenced_free(q_cpu, n);
}

static void test_activation_quantiser(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {1, 8}, {70, 33}, {5, 256}};
    for (size_t s = 0; s < COUNT_OF(shapes); s++) {
        int64_t n = shapes[s][0] * shapes[s][1];
        float *x = xmalloc((size_t)n * sizeof *x);
        fill_normal(x, n, s);
        x[0] = 0.0f;
        check_activations(x, shapes[s][0], shapes[s][1]);
        free(x);
    }
}

static void test_activation_quantiser_by_hand(void **state) {
    (void)state;
    float x[] = {127, -127, 0.5f, 1.5f, -2.5f, 3, NAN, 0}, xq[8], inv;
    int8_t q[8];
    activation_quant_cpu(xq, q, &inv, x, 1, 8); // s = 1: ties to even
    static const int8_t expected[] = {127, -127, 0, 2, -2, 3, 0, 0};
    assert_memory_equal(q, expected, sizeof q);
    assert_true(inv == 1.0f && xq[3] == 2.0f && isnan(xq[6]));
    float zeros[4] = {0};
    activation_quant_cpu(xq, q, &inv, zeros, 1, 4);
    assert_true(xq[0] == 0.0f && q[3] == 0 && isfinite(inv));
}

typedef struct Product {
    int8_t *q;
    float *inv;
    uint8_t *packed;
    int64_t N, I, O;
} Product;

static void check_product(const Product *p) {
    size_t bytes = (size_t)(p->N * p->O) * 4;
    float *ref = fenced(bytes), *cpu = fenced(bytes);
    ternary_matmul_ref(ref, p->q, p->inv, p->packed, 0.37f, p->N, p->I, p->O);
    for (int run = 0; run < 6; run++) {
        threads_set(run % 3 + 1);
        memset(cpu, 0xff, bytes);
        ternary_matmul_cpu(cpu, p->q, p->inv, p->packed, 0.37f, p->N, p->I, p->O);
        assert_true(same_bits(cpu, ref, bytes));
    }
    threads_set(0);
    fenced_free(ref, bytes);
    fenced_free(cpu, bytes);
}

// extreme: every q is -128 or 127 and every code +-1, the largest sums there are.
static void product_case(int64_t N, int64_t I, int64_t O, int extreme) {
    Product p = {.N = N, .I = I, .O = O};
    int8_t *codes = xmalloc((size_t)(O * I));
    p.q = fenced((size_t)(N * I));
    p.inv = xmalloc((size_t)N * sizeof(float));
    p.packed = fenced((size_t)(O * I / 4));
    Rng r = {1, RNG_TEST, 0};
    for (int64_t i = 0; i < N * I; i++)
        p.q[i] = (int8_t)(extreme == 1 ? -128 : extreme == 2 ? 127 : (int)rng_below(&r, 256) - 128);
    for (int64_t i = 0; i < O * I; i++) codes[i] = (int8_t)(extreme ? (i / I % 2 ? 1 : -1) : (int)rng_below(&r, 3) - 1);
    for (int64_t n = 0; n < N; n++) p.inv[n] = (float)rng_next_uniform(&r);
    ternary_pack(p.packed, codes, O, I);
    check_product(&p);
    fenced_free(p.q, (size_t)(N * I));
    fenced_free(p.packed, (size_t)(O * I / 4));
    free(p.inv);
    free(codes);
}

static void test_product(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{1, 128, 1},  {1, 256, 67}, {3, 128, 5},  {4, 384, 64},
                                        {7, 1024, 9}, {2, 1152, 3}, {1, 8960, 2}, {33, 1280, 130}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        for (int extreme = 0; extreme < 3; extreme++) product_case(shapes[i][0], shapes[i][1], shapes[i][2], extreme);
    }
}

// The integer path computes what the float path does on the quantised numbers.
static void test_product_equals_float_product(void **state) {
    (void)state;
    enum { N = 3, I = 256, O = 20 };
    static float x[N * I], w[O * I], xq[N * I], wq[O * I], y[N * O], expected[N * O], inv[N];
    static int8_t q[N * I], codes[O * I];
    static uint8_t packed[O * I / 4];
    float scale;
    fill_normal(x, N * I, 1);
    fill_normal(w, O * I, 2);
    ternary_quant_cpu(wq, codes, &scale, w, O * I);
    activation_quant_cpu(xq, q, inv, x, N, I);
    ternary_pack(packed, codes, O, I);
    ternary_matmul_cpu(y, q, inv, packed, scale, N, I, O);
    matmul_forward_ref(expected, xq, wq, NULL, N, I, O, false);
    for (int i = 0; i < N * O; i++)
        assert_true(fabsf(y[i] - expected[i]) <= 4 * EPS * 16 * (1 + fabsf(expected[i]))); // sqrt(I) = 16
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_packing),
        cmocka_unit_test(test_weight_quantiser),
        cmocka_unit_test(test_weight_quantiser_by_hand),
        cmocka_unit_test(test_activation_quantiser),
        cmocka_unit_test(test_activation_quantiser_by_hand),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_product_equals_float_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
