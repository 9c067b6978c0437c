// Matrix products: _cpu against _ref over awkward shapes, independence of a row from its batch, gradients, closed
// forms.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/thread.h"
#include "core/ops/dnnl_compat.h"

// A chain of K fused multiply-adds of unit normals errs by about 0.2 EPS sqrt(K) of the typical result, and blocks of
// 256 shorten it; 4 leaves room for the largest of a million elements.
static double tolerance(int64_t K) { return 4 * EPS * sqrt((double)K + 1); }

static void run_forward(const Ops *ops, Case *c) {
    ops->matmul_forward(c->t[0].data, c->t[1].data, c->t[2].data, c->flag ? c->t[3].data : NULL, c->N, c->I, c->O,
                        c->act);
}

static void forward_case(int64_t N, int64_t I, int64_t O, bool bias, bool accumulate) {
    Case c = {.run = run_forward, .name = "matmul_forward", .N = N, .I = I, .O = O, .flag = bias, .act = accumulate};
    case_tensor(&c, N * O, tolerance(I));
    case_tensor(&c, N * I, 0);
    case_tensor(&c, O * I, 0);
    case_tensor(&c, O, 0);
    check_op(&c);
}

static const int64_t shapes[][3] = {
    {1, 1, 1},   {1, 5, 3},     {2, 7, 9},    {3, 16, 16},  {1, 256, 64},  {1, 300, 65}, {2, 33, 48},   {5, 17, 31},
    {7, 64, 33}, {13, 300, 50}, {6, 256, 16}, {8, 257, 17}, {12, 512, 24}, {11, 3, 100}, {145, 40, 70}, {300, 520, 130},
};

static void test_forward(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        forward_case(shapes[i][0], shapes[i][1], shapes[i][2], false, false);
        forward_case(shapes[i][0], shapes[i][1], shapes[i][2], true, false);
        forward_case(shapes[i][0], shapes[i][1], shapes[i][2], false, true);
    }
}

static void run_backward_input(const Ops *ops, Case *c) {
    ops->matmul_backward_input(c->t[0].data, c->t[1].data, c->t[2].data, c->N, c->I, c->O, c->flag);
}

static void test_backward_input(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(shapes); i++) {
        const int64_t *s = shapes[i / 2];
        Case c = {
            .run = run_backward_input, .name = "matmul_backward_input", .N = s[0], .I = s[1], .O = s[2], .flag = i % 2};
        case_tensor(&c, c.N * c.I, tolerance(c.O));
        case_tensor(&c, c.N * c.O, 0);
        case_tensor(&c, c.O * c.I, 0);
        check_op(&c);
    }
}

static void run_backward_weight(const Ops *ops, Case *c) {
    ops->matmul_backward_weight(c->t[0].data, c->flag ? c->t[1].data : NULL, c->t[2].data, c->t[3].data, c->N, c->I,
                                c->O);
}

static void test_backward_weight(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(shapes); i++) {
        const int64_t *s = shapes[i / 2];
        Case c = {.run = run_backward_weight,
                  .name = "matmul_backward_weight",
                  .N = s[0],
                  .I = s[1],
                  .O = s[2],
                  .flag = i % 2};
        case_tensor(&c, c.O * c.I, tolerance(c.N));
        case_tensor(&c, c.O, tolerance(c.N));
        case_tensor(&c, c.N * c.O, 0);
        case_tensor(&c, c.N * c.I, 0);
        check_op(&c);
    }
}

// The first n rows alone, for every n, have the bits they have among all rows.
static void test_rows_do_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { N = 150, I = 300, O = 70 };
    Case c = {.name = "batch"};
    float *x = case_tensor(&c, N * I, 0), *w = case_tensor(&c, O * I, 0), *all = case_tensor(&c, N * O, 0);
    float *some = case_tensor(&c, N * O, 0);
    matmul_forward_cpu(all, x, w, NULL, N, I, O, false);
    for (int64_t n = 1; n <= N; n++) {
        matmul_forward_cpu(some, x, w, NULL, n, I, O, false);
        assert_memory_equal(some, all, (size_t)(n * O) * sizeof(float));
    }
    for (int64_t n = 0; n < N; n++) { // and one row alone, from anywhere
        matmul_forward_cpu(some, x + n * I, w, NULL, 1, I, O, false);
        assert_memory_equal(some, all + n * O, O * sizeof(float));
    }
    case_free(&c);
}

static void test_identity_and_empty(void **state) {
    (void)state;
    enum { N = 9, C = 21 };
    Case c = {.name = "identity"};
    float *x = case_tensor(&c, N * C, 0), *y = case_tensor(&c, N * C, 0), *w = case_tensor(&c, C * C, 0);
    for (int64_t i = 0; i < C * C; i++) w[i] = i / C == i % C;
    matmul_forward_cpu(y, x, w, NULL, N, C, C, false);
    assert_memory_equal(x, y, N * C * sizeof(float));
    matmul_backward_input_cpu(y, x, w, N, C, C, false);
    assert_memory_equal(x, y, N * C * sizeof(float));
    matmul_forward_cpu(y, x, w, NULL, 0, C, C, false); // no rows: nothing happens
    matmul_backward_weight_cpu(w, NULL, x, x, 0, C, C);
    for (int64_t i = 0; i < C * C; i++) assert_true(w[i] == (i / C == i % C));
    matmul_forward_cpu(y, x, w, NULL, N, 0, C, false); // nothing to sum: zeros
    for (int64_t i = 0; i < N * C; i++) assert_true(y[i] == 0.0f);
    case_free(&c);
}

// NaN and infinity are never lost on the way (a padded panel must not turn them into numbers of others either).
static void test_nan_stays_in_its_row(void **state) {
    (void)state;
    enum { N = 4, I = 20, O = 19 };
    Case c = {.name = "nan"};
    float *x = case_tensor(&c, N * I, 0), *w = case_tensor(&c, O * I, 0), *y = case_tensor(&c, N * O, 0);
    x[2 * I + 3] = NAN;
    matmul_forward_cpu(y, x, w, NULL, N, I, O, false);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t o = 0; o < O; o++) assert_true(isnan(y[n * O + o]) == (n == 2));
    }
    case_free(&c);
}

static double weighted_output(Case *c) {
    double sum = 0;
    matmul_forward_ref(c->t[0].data, c->t[1].data, c->t[2].data, c->t[3].data, c->N, c->I, c->O, false);
    for (int64_t i = 0; i < c->N * c->O; i++) sum += (double)c->t[0].data[i] * c->t[4].data[i];
    return sum;
}

static void test_gradients_by_difference(void **state) {
    (void)state;
    Case c = {.name = "matmul", .N = 3, .I = 5, .O = 4};
    case_tensor(&c, c.N * c.O, 0);
    float *x = case_tensor(&c, c.N * c.I, 0), *w = case_tensor(&c, c.O * c.I, 0), *bias = case_tensor(&c, c.O, 0);
    float *g = case_tensor(&c, c.N * c.O, 0), *dx = case_tensor(&c, c.N * c.I, 0), *dw = case_tensor(&c, c.O * c.I, 0);
    float *dbias = case_tensor(&c, c.O, 0);
    memset(dw, 0, (size_t)(c.O * c.I) * sizeof *dw);
    memset(dbias, 0, (size_t)c.O * sizeof *dbias);
    matmul_backward_input_ref(dx, g, w, c.N, c.I, c.O, false);
    matmul_backward_weight_ref(dw, dbias, g, x, c.N, c.I, c.O);
    check_gradient(&c, weighted_output, x, dx, c.N * c.I, 1e-4); // linear: rounding alone, 64 EPS times a few terms
    check_gradient(&c, weighted_output, w, dw, c.O * c.I, 1e-4);
    check_gradient(&c, weighted_output, bias, dbias, c.O, 1e-4);
    case_free(&c);
}

// The way into oneDNN (strides of all three kinds, adding, tiles inside a larger matrix), in float32, which every
// machine has.
static void test_onednn_product(void **state) {
    (void)state;
    enum { M = 5, J = 7, K = 9, ROW = 12 };
    float a[M * K], at[K * M], b[K * J], bt[J * K], c[M * ROW], expected[M * J];
    fill_normal(a, M * K, 1);
    fill_normal(b, K * J, 2);
    for (int i = 0; i < M * K; i++) at[i % K * M + i / K] = a[i];
    for (int i = 0; i < K * J; i++) bt[i % J * K + i / J] = b[i];
    matmul_forward_ref(expected, a, bt, NULL, M, K, J, false);
    const DnnlMatrix left[2] = {{a, K, 1}, {at, 1, M}}, right[2] = {{b, J, 1}, {bt, 1, K}};
    for (int kind = 0; kind < 8; kind++) {
        for (int i = 0; i < M * ROW; i++) c[i] = 3.0f;
        assert_true(dnnl_product(c, ROW, left[kind & 1], right[kind >> 1 & 1], M, J, K, false, kind & 4));
        for (int i = 0; i < M * ROW; i++) {
            double e = i % ROW < J ? expected[i / ROW * J + i % ROW] + (kind & 4 ? 3 : 0) : 3;
            assert_true(fabs(c[i] - e) <= tolerance(K) * (3 + fabs(e)));
        }
    }
}

// bfloat16 or a refusal: where it is granted, results are those of inputs rounded to 8 bits; where not, nothing
// changes.
static void test_bf16(void **state) {
    (void)state;
    enum { N = 70, I = 40, O = 30 };
    Case c = {.name = "bf16"};
    float *x = case_tensor(&c, N * I, 0), *w = case_tensor(&c, O * I, 0), *y = case_tensor(&c, N * O, 0);
    float *expected = case_tensor(&c, N * O, 0);
    bool granted = ops_use_bf16(true);
    assert_true((strstr(ops_describe(), granted ? "bfloat16" : "float32")) != NULL);
    matmul_forward_cpu(y, x, w, NULL, N, I, O, false);
    assert_true(ops_use_bf16(false));
    assert_non_null(strstr(ops_describe(), "float32"));
    matmul_forward_ref(expected, x, w, NULL, N, I, O, false);
    // bfloat16: I products of size 1, each input off by at most 2^-9 of itself; float32: as everywhere here
    double allowed = granted ? 4 * 0x1p-8 * sqrt((double)I) : 3 * tolerance(I) * sqrt((double)I);
    for (int i = 0; i < N * O; i++) assert_true(fabs((double)y[i] - expected[i]) <= allowed);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward_input),
        cmocka_unit_test(test_backward_weight),
        cmocka_unit_test(test_rows_do_not_depend_on_the_batch),
        cmocka_unit_test(test_identity_and_empty),
        cmocka_unit_test(test_nan_stays_in_its_row),
        cmocka_unit_test(test_gradients_by_difference),
        cmocka_unit_test(test_onednn_product),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
