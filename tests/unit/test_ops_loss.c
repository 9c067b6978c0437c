// Cross-entropy and the distillation loss: _cpu against _ref, closed forms, skipped rows, gradients by difference.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/thread.h"

// Each probability carries an exp of 2 ulp, a sum of V positive terms and a division; log-probabilities of size up to
// log V + 4 carry the rounding of their subtraction.
static double tolerance(int64_t V) { return 8 * EPS * (4 + log((double)V)); }

static void run_cross_entropy(const Ops *ops, Case *c) {
    ops->cross_entropy(c->t[0].data, c->t[1].data, c->ids, c->t[2].data, c->N, c->V);
}

static const int64_t shapes[][2] = {{1, 1}, {1, 2}, {5, 7}, {3, 8}, {40, 33}, {17, 1000}, {2, 1025}, {3, 5003}};

static void test_cross_entropy(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        Case c = {
            .run = run_cross_entropy, .name = "cross_entropy", .N = shapes[i][0], .V = shapes[i][1], .cancelled = 1};
        int32_t *target = xmalloc((size_t)c.N * sizeof *target);
        case_tensor(&c, c.N * c.V, tolerance(c.V));
        case_tensor(&c, c.N, tolerance(c.V));
        float *weight = case_tensor(&c, c.N, 0); // of both signs
        for (int64_t n = 0; n < c.N; n++) {
            target[n] = (int32_t)(n * 7 % c.V);
            if (n % 5 == 3) weight[n] = 0;
            if (n % 5 == 4) target[n] = -1;
        }
        c.ids = target;
        check_op(&c);
        free(target);
    }
}

static void test_cross_entropy_by_hand(void **state) {
    (void)state;
    float logits[4 * 4] = {2, 2, 2, 2, 0, 0, 0, 0, 1, 2, 3, 4, 900, -900, 0, 0}, logprob[4] = {9, 9, 9, 9};
    int32_t target[] = {1, 2, -1, 0};
    float weight[] = {1, -0.5f, 1, 2};
    cross_entropy_cpu(logits, logprob, target, weight, 4, 4);
    static const float expected[] = {.25f, -.75f, .25f, .25f, -.125f, -.125f, .375f, -.125f, 0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < 16; i++) assert_true(fabsf(logits[i] - expected[i]) < 1e-6f);
    assert_true(fabs(logprob[0] + log(4)) < 1e-6 && fabs(logprob[1] + log(4)) < 1e-6);
    assert_true(logprob[2] == 9 && logprob[3] == 0); // a skipped row's logprob is left alone; a certain one is 0
    float nan_row[3] = {0, NAN, 1};
    cross_entropy_cpu(nan_row, logprob, target, weight, 1, 3);
    assert_true(isnan(logprob[0]) && isnan(nan_row[0])); // a broken model shows
}

static double loss_of(Case *c) {
    float copy[64], logprob[8];
    double sum = 0;
    memcpy(copy, c->t[0].data, (size_t)(c->N * c->V) * sizeof *copy);
    cross_entropy_ref(copy, logprob, c->ids, c->t[1].data, c->N, c->V);
    for (int64_t n = 0; n < c->N; n++) sum -= (double)c->t[1].data[n] * logprob[n];
    return sum;
}

static void test_cross_entropy_gradient(void **state) {
    (void)state;
    Case c = {.name = "cross_entropy", .N = 4, .V = 9, .ids = (int32_t[]){0, 8, 3, 3}};
    float *logits = case_tensor(&c, 36, 0), *weight = case_tensor(&c, 4, 0), d[36], logprob[4];
    memcpy(d, logits, sizeof d);
    cross_entropy_ref(d, logprob, c.ids, weight, 4, 9);
    check_gradient(&c, loss_of, logits, d, 36, 3e-4); // step^2 times a third derivative below 1
    case_free(&c);
}

static void run_kl(const Ops *ops, Case *c) {
    Tensor *t = c->t;
    ops->kl_forward_loss(t[0].data, t[1].data, t[2].data, t[3].data, t[4].data, c->number, c->N, c->V);
}

static void test_kl(void **state) {
    (void)state;
    for (size_t i = 0; i < 3 * COUNT_OF(shapes); i++) {
        Case c = {.run = run_kl,
                  .name = "kl_forward_loss",
                  .N = shapes[i / 3][0],
                  .V = shapes[i / 3][1],
                  .number = i % 3 == 0   ? 1.0f
                            : i % 3 == 1 ? 2.5f
                                         : 5.0f,
                  .cancelled = i % 3 == 0 ? 1 : 25};
        case_tensor(&c, c.N * c.V, tolerance(c.V)); // log p - log q cancels, and tau^2 = 25 magnifies what is left
        case_tensor(&c, c.N, tolerance(c.V));
        case_tensor(&c, c.N * c.V, 0);
        case_tensor(&c, c.N * c.V, 0);
        float *weight = case_tensor(&c, c.N, 0);
        for (int64_t n = 1; n < c.N; n += 3) weight[n] = 0;
        check_op(&c);
    }
}

static void test_kl_by_hand(void **state) {
    (void)state;
    float same[5] = {1, -2, 3, 0, 0.5f}, d[5] = {7, 7, 7, 7, 7}, loss = -1, weight = 1;
    kl_forward_loss_cpu(d, &loss, same, same, &weight, 2.0f, 1, 5);
    assert_true(loss == 0);
    for (int i = 0; i < 5; i++) assert_true(d[i] == 7);
    // teacher certain of the first of two, student undecided: KL = log 2; gradient (1/2, 1/2) - (1, 0)
    float student[2] = {3, 3}, teacher[2] = {0, -INFINITY}, g[2] = {0, 0};
    kl_forward_loss_cpu(g, &loss, student, teacher, &weight, 1.0f, 1, 2);
    assert_true(fabs(loss - log(2)) < 1e-6 && fabsf(g[0] + 0.5f) < 1e-6f && fabsf(g[1] - 0.5f) < 1e-6f);
    weight = 0;
    kl_forward_loss_cpu(g, &loss, student, teacher, &weight, 1.0f, 1, 2);
    assert_true(loss == 0 && fabsf(g[0] + 0.5f) < 1e-6f);
}

static double kl_of(Case *c) {
    float d[64] = {0}, loss[8];
    double sum = 0;
    kl_forward_loss_ref(d, loss, c->t[0].data, c->t[1].data, c->t[2].data, c->number, c->N, c->V);
    for (int64_t n = 0; n < c->N; n++) sum += (double)c->t[2].data[n] * loss[n];
    return sum;
}

static void test_kl_gradient(void **state) {
    (void)state;
    Case c = {.name = "kl_forward_loss", .N = 4, .V = 9, .number = 3.0f};
    float *student = case_tensor(&c, 36, 0), d[36] = {0}, loss[4];
    case_tensor(&c, 36, 0);
    case_tensor(&c, 4, 0);
    kl_forward_loss_ref(d, loss, student, c.t[1].data, c.t[2].data, c.number, 4, 9);
    check_gradient(&c, kl_of, student, d, 36, 3e-4);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_cross_entropy_by_hand),
        cmocka_unit_test(test_cross_entropy_gradient),
        cmocka_unit_test(test_kl),
        cmocka_unit_test(test_kl_by_hand),
        cmocka_unit_test(test_kl_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
