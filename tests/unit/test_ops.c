// Norm, rotary embedding, gated activations, table look-up, addition, AdamW, sum of squares: _cpu against _ref over
// awkward shapes, closed forms, gradients by difference.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/thread.h"

static void test_tables_are_whole(void **state) {
    (void)state;
    assert_string_equal(ops_ref.name, "ref");
    assert_string_equal(ops_cpu.name, "cpu");
#define OP(op, args) assert_true(ops_ref.op == op##_ref && ops_cpu.op == op##_cpu);
#include "core/ops/ops.def"
#undef OP
}

static void run_norm(const Ops *ops, Case *c) {
    ops->rmsnorm_forward(c->t[0].data, c->t[1].data, c->t[2].data, c->t[3].data, 1e-5f, c->N, c->C);
}

static void run_norm_backward(const Ops *ops, Case *c) {
    ops->rmsnorm_backward(c->t[0].data, c->t[1].data, c->t[2].data, c->t[3].data, c->t[4].data, c->t[5].data, c->N,
                          c->C);
}

// Sums of C squares (all positive: their relative error is at most EPS sqrt(C)); over rows N terms for dw.
static void test_norm(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {65, 33}, {1, 256}, {300, 70}, {600, 64}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        Case c = {.run = run_norm, .name = "rmsnorm_forward", .N = shapes[i][0], .C = shapes[i][1]};
        case_tensor(&c, c.N * c.C, 4 * EPS * sqrt((double)c.C));
        case_tensor(&c, c.N, 4 * EPS * sqrt((double)c.C));
        case_tensor(&c, c.N * c.C, 0);
        case_tensor(&c, c.C, 0);
        check_op(&c);

        c.name = "rmsnorm_backward";
        c.run = run_norm_backward;
        case_tensor(&c, c.N * c.C, 8 * EPS * sqrt((double)c.C));
        case_tensor(&c, c.C, 4 * EPS * sqrt((double)c.N));
        for (int t = 0; t < 2; t++) case_tensor(&c, c.N * c.C, 0);
        case_tensor(&c, c.C, 0);
        float *rstd = case_tensor(&c, c.N, 0);
        for (int64_t n = 0; n < c.N; n++) rstd[n] = 1.0f + fabsf(rstd[n]);
        c.cancelled = 4; // g and its projection on xhat, times rstd^2
        check_op(&c);
    }
}

static double norm_output(Case *c) {
    double sum = 0;
    run_norm(&ops_ref, c);
    for (int64_t i = 0; i < c->N * c->C; i++) sum += (double)c->t[0].data[i] * c->t[4].data[i];
    return sum;
}

static void test_norm_gradient(void **state) {
    (void)state;
    Case c = {.name = "rmsnorm", .N = 3, .C = 5};
    case_tensor(&c, 15, 0);
    float *rstd = case_tensor(&c, 3, 0), *x = case_tensor(&c, 15, 0), *w = case_tensor(&c, 5, 0),
          *g = case_tensor(&c, 15, 0);
    float *dx = case_tensor(&c, 15, 0), *dw = case_tensor(&c, 5, 0);
    memset(dx, 0, 15 * sizeof *dx);
    memset(dw, 0, 5 * sizeof *dw);
    norm_output(&c);
    rmsnorm_backward_ref(dx, dw, g, x, w, rstd, 3, 5);
    check_gradient(&c, norm_output, x, dx, 15, 3e-3); // step^2 = 2.4e-4 times a third derivative of about 6
    check_gradient(&c, norm_output, w, dw, 5, 1e-4);
    case_free(&c);
}

static void run_rope(const Ops *ops, Case *c) {
    ops->rope(c->t[0].data, c->ids, c->t[1].data, c->number, c->flag, c->N, c->H, c->D);
}

// Angles are the same float32 in both; sine and cosine err by EPS/2, the two products and their sum by 3 EPS/2.
static void test_rope(void **state) {
    (void)state;
    static const int64_t heads[][2] = {{1, 2}, {3, 6}, {2, 32}, {5, 40}, {1, 128}};
    int32_t position[70];
    for (int i = 0; i < 70; i++) position[i] = i < 60 ? i * i : 1000000 - i; // long contexts too
    for (size_t i = 0; i < 2 * COUNT_OF(heads); i++) {
        Case c = {.run = run_rope,
                  .name = "rope",
                  .N = 70,
                  .H = heads[i / 2][0],
                  .D = heads[i / 2][1],
                  .flag = i % 2,
                  .ids = position,
                  .number = i < 4 ? 1.0f : 1.3f};
        case_tensor(&c, c.N * c.H * c.D, 4 * EPS);
        float *inv_freq = case_tensor(&c, c.D / 2, 0);
        for (int64_t d = 0; d < c.D / 2; d++) inv_freq[d] = powf(10000.0f, -2.0f * (float)d / (float)c.D);
        check_op(&c);
    }
}

static void test_rope_by_hand(void **state) {
    (void)state;
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, freq[2] = {1.0f, 0.25f};
    rope_cpu(x, (int32_t[]){0, 3}, freq, 1.0f, false, 2, 1, 4);
    static const float still[4] = {1, 2, 3, 4};
    assert_memory_equal(x, still, sizeof still); // position 0 does not turn
    assert_true(fabs(x[4] - (5 * cos(3) - 7 * sin(3))) < 1e-6 && fabs(x[6] - (7 * cos(3) + 5 * sin(3))) < 2e-6);
    assert_true(fabs(x[5] - (6 * cos(.75) - 8 * sin(.75))) < 1e-6 && fabs(x[7] - (8 * cos(.75) + 6 * sin(.75))) < 2e-6);
    rope_cpu(x, (int32_t[]){0, 3}, freq, 1.0f, true, 2, 1, 4);
    for (int i = 0; i < 8; i++) assert_true(fabsf(x[i] - (float)(i + 1)) < 4e-6f);
}

static void run_glu(const Ops *ops, Case *c) {
    ops->glu_forward(c->t[0].data, c->t[1].data, c->t[2].data, c->act, c->N);
}

static void run_glu_backward(const Ops *ops, Case *c) {
    ops->glu_backward(c->t[0].data, c->t[1].data, c->t[2].data, c->t[3].data, c->t[4].data, c->act, c->N);
}

// A handful of rounded steps after an exp of 2 ulp: 8 EPS.
static void test_glu(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 7, 8, 100, 8192, 20001};
    for (size_t i = 0; i < 2 * COUNT_OF(sizes); i++) {
        Case c = {.run = run_glu, .name = "glu_forward", .N = sizes[i / 2], .act = i % 2};
        case_tensor(&c, c.N, 8 * EPS);
        float *gate = case_tensor(&c, c.N, 0);
        for (int64_t j = 0; j < c.N; j++) gate[j] *= j % 3 ? 1.0f : 30.0f; // exp from 1e-39 to 1e39
        case_tensor(&c, c.N, 0);
        check_op(&c);

        c.name = "glu_backward";
        c.run = run_glu_backward;
        for (int t = 0; t < 5; t++) case_tensor(&c, c.N, t < 2 ? 8 * EPS : 0);
        for (int64_t j = 0; j < c.N; j++) c.t[3].data[j] *= j % 3 ? 1.0f : 30.0f;
        c.cancelled = 1; // 1 - sigmoid
        check_op(&c);
    }
}

static double glu_output(Case *c) {
    double sum = 0;
    run_glu(&ops_ref, c);
    for (int64_t i = 0; i < c->N; i++) sum += (double)c->t[0].data[i] * c->t[3].data[i];
    return sum;
}

static void test_glu_gradient(void **state) {
    (void)state;
    for (int act = 0; act < 2; act++) {
        Case c = {.name = "glu", .N = 20, .act = act};
        for (int i = 0; i < 6; i++) case_tensor(&c, 20, 0);
        float *gate = c.t[1].data, *up = c.t[2].data, *g = c.t[3].data, *dgate = c.t[4].data, *dup = c.t[5].data;
        for (int i = 0; i < 20; i++) gate[i] += copysignf(0.05f, gate[i]); // ReLU^2 bends at 0: stay a step away
        glu_backward_ref(dgate, dup, g, gate, up, act, 20);
        check_gradient(&c, glu_output, gate, dgate, 20, 5e-4);
        check_gradient(&c, glu_output, up, dup, 20, 1e-4);
        case_free(&c);
    }
}

static void test_glu_extremes(void **state) {
    (void)state;
    float gate[] = {-INFINITY, -1e30f, -200, 200, 1e30f, NAN, 0}, up[7], y[7];
    for (int i = 0; i < 7; i++) up[i] = 2;
    glu_forward_cpu(y, gate, up, 0, 7);
    assert_true(isnan(y[0])); // -infinity * 0, as the formula has it
    assert_true(y[1] == 0 && y[2] == 0 && y[3] == 400 && y[4] == 2e30f && isnan(y[5]) && y[6] == 0);
    glu_forward_cpu(y, gate, up, 1, 7);
    assert_true(y[0] == 0 && y[2] == 0 && y[3] == 80000 && isnan(y[5]) && y[6] == 0);
}

static void run_embed(const Ops *ops, Case *c) { ops->embed_forward(c->t[0].data, c->t[1].data, c->ids, c->N, c->C); }

static void run_embed_backward(const Ops *ops, Case *c) {
    ops->embed_backward(c->t[0].data, c->t[1].data, c->ids, c->N, c->V, c->C);
}

static void test_embed(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 1}, {700, 5, 33}, {300, 50, 130}, {9, 3, 64}}; // N, V, C: ids meet often
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        Case c = {.run = run_embed, .name = "embed_forward", .N = shapes[i][0], .V = shapes[i][1], .C = shapes[i][2]};
        int32_t *ids = xmalloc((size_t)c.N * sizeof *ids);
        for (int64_t n = 0; n < c.N; n++) ids[n] = (int32_t)(rng_u64(3, RNG_TEST, (uint64_t)n) % (uint64_t)c.V);
        c.ids = ids;
        case_tensor(&c, c.N * c.C, EPS * 1e-6); // a copy
        case_tensor(&c, c.V * c.C, 0);
        check_op(&c);
        c.name = "embed_backward";
        c.run = run_embed_backward;
        case_tensor(&c, c.V * c.C, 4 * EPS * sqrt((double)c.N)); // sums of up to N terms
        case_tensor(&c, c.N * c.C, 0);
        check_op(&c);
        free(ids);
    }
}

static void run_add(const Ops *ops, Case *c) { ops->add(c->t[0].data, c->t[1].data, c->N); }

static void run_adamw(const Ops *ops, Case *c) {
    ops->adamw(c->t[0].data, c->t[1].data, c->t[2].data, c->t[3].data, 0.7f, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.19f,
               0.0975f, c->N);
}

static void run_squares(const Ops *ops, Case *c) {
    double sum;
    ops->sum_squares(&sum, c->t[1].data, c->N);
    memcpy(c->t[0].data, &(float){(float)sum}, sizeof(float));
}

static void test_elementwise(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 7, 4096, 4097, 50001};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        Case c = {.run = run_add, .name = "add", .N = sizes[i]};
        case_tensor(&c, c.N, EPS); // one rounding
        case_tensor(&c, c.N, 0);
        check_op(&c);
        c.name = "adamw";
        c.run = run_adamw;
        for (int t = 0; t < 3; t++) case_tensor(&c, c.N, 8 * EPS); // about ten roundings
        case_tensor(&c, c.N, 0);
        for (int64_t j = 0; j < c.N; j++) c.t[2].data[j] = fabsf(c.t[2].data[j]);
        check_op(&c);
        c.name = "sum_squares";
        c.run = run_squares;
        case_tensor(&c, 1, EPS); // sums in double, one rounding to float32 here
        case_tensor(&c, c.N, 0);
        check_op(&c);
    }
}

// The first step moves every parameter by lr against the sign of its gradient; decay takes lr * weight_decay of it.
static void test_adamw_first_step(void **state) {
    (void)state;
    float p[] = {1, 1, 2}, m[3] = {0}, v[3] = {0}, g[] = {5, -1e-3f, 0};
    adamw_cpu(p, m, v, g, 1.0f, 0.1f, 0.9f, 0.999f, 1e-12f, 0.5f, 1.0f - 0.9f, 1.0f - 0.999f, 3);
    assert_true(fabs(p[0] - (1 - 0.1 - 0.05)) < 1e-5 && fabs(p[1] - (1 + 0.1 - 0.05)) < 1e-5 &&
                fabs(p[2] - 1.9) < 1e-6);
    double sum;
    sum_squares_cpu(&sum, g, 0);
    assert_true(sum == 0);
}

// 27 million in threes squared: float32 has no odd numbers above 2^24.
static void test_sum_squares_is_double(void **state) {
    (void)state;
    int64_t n = 3000001;
    float *x = xmalloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = 3.0f;
    double sum;
    sum_squares_cpu(&sum, x, n);
    assert_true(sum == 9.0 * 3000001);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_whole),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_norm_gradient),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_rope_by_hand),
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_glu_gradient),
        cmocka_unit_test(test_glu_extremes),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_adamw_first_step),
        cmocka_unit_test(test_sum_squares_is_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
