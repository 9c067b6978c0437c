// Attention: _cpu against _ref over awkward heads, lengths and windows; decode equals forward; closed forms; gradients.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/thread.h"
#include "core/ops/kv_cache.h"

// Scores are sums of D products, outputs sums of up to T probabilities times values, and an error d of a score is a
// relative error d of its probability: about EPS (sqrt(D) + sqrt(T)) with unit normals; the backward pass does it twice
// over.
static double tolerance(const Case *c, int64_t T) { return 8 * EPS * (sqrt((double)c->D) + sqrt((double)T)); }

enum { MAX_DOCS = 64 };
typedef struct Layout {
    int n;
    int32_t starts[MAX_DOCS + 1];
    int64_t longest;
} Layout;

static Layout layout_of(const int *lengths, int n) {
    Layout l = {.n = n};
    for (int i = 0; i < n; i++) {
        l.starts[i + 1] = l.starts[i] + lengths[i];
        l.longest = MAX(l.longest, lengths[i]);
    }
    return l;
}

static void run_forward(const Ops *ops, Case *c) {
    Tensor *t = c->t;
    ops->attention_forward(t[0].data, t[1].data, t[2].data, t[3].data, t[4].data, c->ids, c->n_docs, c->number,
                           c->window, c->H, c->KV, c->D);
}

static void run_backward(const Ops *ops, Case *c) {
    Tensor *t = c->t;
    ops->attention_backward(t[0].data, t[1].data, t[2].data, t[3].data, t[4].data, t[5].data, t[6].data, t[7].data,
                            t[8].data, c->ids, c->n_docs, c->number, c->window, c->H, c->KV, c->D);
}

static void both_cases(const Layout *l, int64_t H, int64_t KV, int64_t D, int64_t window) {
    int64_t N = l->starts[l->n];
    Case c = {.run = run_forward,
              .name = "attention_forward",
              .ids = l->starts,
              .n_docs = l->n,
              .window = window,
              .H = H,
              .KV = KV,
              .D = D,
              .number = 1 / sqrtf((float)D)};
    case_tensor(&c, N * H * D, tolerance(&c, l->longest));
    case_tensor(&c, N * H, tolerance(&c, l->longest));
    case_tensor(&c, N * H * D, 0);
    case_tensor(&c, N * KV * D, 0);
    case_tensor(&c, N * KV * D, 0);
    check_op(&c);

    c.name = "attention_backward";
    c.run = run_backward;
    c.cancelled = 1; // ds = p * (dout.v - dout.out), two sums of size sqrt(D), times the scale 1/sqrt(D)
    for (int i = 0; i < 3; i++) case_tensor(&c, N * (i ? KV : H) * D, 2 * tolerance(&c, l->longest));
    case_tensor(&c, N * H * D, 0); // dout
    float *out = case_tensor(&c, N * H * D, 0), *lse = case_tensor(&c, N * H, 0);
    float *q = case_tensor(&c, N * H * D, 0), *k = case_tensor(&c, N * KV * D, 0), *v = case_tensor(&c, N * KV * D, 0);
    attention_forward_ref(out, lse, q, k, v, l->starts, l->n, c.number, window, H, KV, D);
    check_op(&c);
}

static void test_heads_of_all_shapes(void **state) {
    (void)state;
    Layout l = layout_of((int[]){5, 1, 70, 2, 33}, 5);
    both_cases(&l, 4, 2, 32, 0);
    both_cases(&l, 3, 3, 20, 0); // head_dim no multiple of 8
    both_cases(&l, 7, 1, 5, 0);
    both_cases(&l, 1, 1, 1, 0);
    both_cases(&l, 2, 1, 128, 0);
    both_cases(&l, 2, 2, 256, 0);
    Layout small = layout_of((int[]){3, 1}, 2);
    both_cases(&small, 130, 1, 8, 0); // more query heads than a block has rows
}

static void test_lengths(void **state) {
    (void)state;
    Layout many = {.n = MAX_DOCS, .longest = 3}; // 1, 2, 3, 1, ... and some empty
    for (int i = 0; i < many.n; i++) many.starts[i + 1] = many.starts[i] + i % 4;
    both_cases(&many, 4, 2, 16, 0);
    both_cases(&(Layout){.n = 1, .starts = {0, 1}, .longest = 1}, 4, 4, 16, 0);
    Layout edges = layout_of((int[]){63, 64, 65, 128, 129}, 5);
    both_cases(&edges, 2, 1, 16, 0);
    Layout late = {.n = 2, .starts = {4, 10, 12}, .longest = 6}; // tokens before the first document belong to nobody
    both_cases(&late, 2, 1, 8, 0);
    both_cases(&(Layout){.n = 1, .starts = {0, 0}}, 2, 1, 8, 0); // no token at all
}

static void test_windows(void **state) {
    (void)state;
    Layout l = layout_of((int[]){150, 9, 64}, 3);
    for (int64_t window = 1; window < 200; window = window * 2 + 1) both_cases(&l, 4, 2, 8, window);
}

// A decode step at length n has the bits of row n - 1 of the forward pass, in any company.
static void test_decode_equals_forward(void **state) {
    (void)state;
    enum { N = 140, H = 6, KV = 2, D = 24, CAPACITY = 144 };
    for (int64_t window = 0; window < 140; window += 50) {
        Case c = {.name = "decode"};
        float *out = case_tensor(&c, N * H * D, 0), *lse = case_tensor(&c, N * H, 0),
              *q = case_tensor(&c, N * H * D, 0);
        float *k = case_tensor(&c, N * KV * D, 0), *v = case_tensor(&c, N * KV * D, 0),
              *one = case_tensor(&c, N * H * D, 0);
        attention_forward_cpu(out, lse, q, k, v, (int32_t[]){0, N}, 1, 0.2f, window, H, KV, D);
        float *key_cache = case_tensor(&c, kv_cache_floats(CAPACITY, KV, D), 0),
              *value_cache = case_tensor(&c, kv_cache_floats(CAPACITY, KV, D), 0); // what is not filled is noise
        const float *keys[N], *values[N];
        int32_t lengths[N];
        for (int i = 0; i < N; i++) {
            kv_cache_put(key_cache, value_cache, CAPACITY, i, k + i * KV * D, v + i * KV * D, KV, D);
            keys[i] = key_cache;
            values[i] = value_cache;
            lengths[i] = i + 1;
        }
        attention_decode_cpu(one, q, keys, values, lengths, CAPACITY, 0.2f, window, N, H, KV, D);
        assert_memory_equal(one, out, N * H * D * sizeof(float));
        attention_decode_cpu(one, q + 77 * H * D, keys, values, lengths + 77, CAPACITY, 0.2f, window, 1, H, KV, D);
        assert_memory_equal(one, out + 77 * H * D, H * D * sizeof(float));
        float *key_copy = case_tensor(&c, kv_cache_floats(CAPACITY, KV, D), 0),
              *value_copy = case_tensor(&c, kv_cache_floats(CAPACITY, KV, D), 0);
        kv_cache_copy(key_copy, value_copy, key_cache, value_cache, CAPACITY, 77, KV, D);
        keys[0] = key_copy;
        values[0] = value_copy;
        attention_decode_cpu(one, q + 76 * H * D, keys, values, lengths + 76, CAPACITY, 0.2f, window, 1, H, KV, D);
        assert_memory_equal(one, out + 76 * H * D, H * D * sizeof(float));
        case_free(&c);
    }
}

static void run_decode(const Ops *ops, Case *c) {
    ops->attention_decode(c->t[0].data, c->t[1].data, c->keys, c->values, c->ids, c->C, c->number, c->window, c->N,
                          c->H, c->KV, c->D);
}

static void test_decode(void **state) {
    (void)state;
    int32_t lengths[] = {1, 2, 64, 65, 200, 7};
    for (int64_t window = 0; window < 80; window += 70) {
        Case c = {.run = run_decode,
                  .name = "attention_decode",
                  .N = 6,
                  .H = 10,
                  .KV = 2,
                  .D = 20,
                  .C = 208, // capacity
                  .number = 0.3f,
                  .ids = lengths,
                  .window = window};
        case_tensor(&c, c.N * c.H * c.D, tolerance(&c, 200));
        case_tensor(&c, c.N * c.H * c.D, 0);
        const float *keys[6], *values[6];
        for (int b = 0; b < 6; b += 2) { // two sequences share a cache's memory: only the lengths differ
            keys[b] = keys[b + 1] = case_tensor(&c, kv_cache_floats(c.C, c.KV, c.D), 0);
            values[b] = values[b + 1] = case_tensor(&c, kv_cache_floats(c.C, c.KV, c.D), 0);
        }
        c.keys = keys;
        c.values = values;
        check_op(&c);
    }
}

static void test_closed_forms(void **state) {
    (void)state;
    enum { N = 100, D = 8 };
    float q[N * D], k[N * D], v[N * D], out[N * D], lse[N];
    fill_normal(q, N * D, 1);
    fill_normal(v, N * D, 2);
    memset(k, 0, sizeof k); // equal scores: the mean of the values seen, lse = log of their number
    attention_forward_cpu(out, lse, q, k, v, (int32_t[]){0, N}, 1, 1.0f, 0, 1, 1, D);
    double sum = 0;
    for (int t = 0; t < N; t++) {
        sum += v[t * D + 3];
        assert_true(fabs(out[t * D + 3] - sum / (t + 1)) < 1e-5);
        assert_true(fabs(lse[t] - log(t + 1)) < 1e-5);
    }
    int32_t ones[N + 1]; // documents of one token: the value itself
    for (int i = 0; i <= N; i++) ones[i] = i;
    attention_forward_cpu(out, lse, q, k, v, ones, N, 1.0f, 0, 1, 1, D);
    assert_memory_equal(out, v, sizeof v);
}

// Scores of +-2000 overflow any exp that is not taken from the running maximum.
static void test_extreme_scores(void **state) {
    (void)state;
    enum { N = 130 };
    float q[N], k[N], v[N], out[N], lse[N];
    for (int i = 0; i < N; i++) {
        q[i] = 1.0f;
        k[i] = (i % 2 ? -2000.0f : 2000.0f) - (float)(i < 100 ? 100 - i : 0) * 10.0f;
        v[i] = (float)i;
    }
    attention_forward_cpu(out, lse, q, k, v, (int32_t[]){0, N}, 1, 1.0f, 0, 1, 1, 1);
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(out[i]) && isfinite(lse[i]));
        if (i < 100) assert_true(fabsf(out[i] - (float)(i - i % 2)) < 1e-3f); // the newest even key wins by 20
    }
}

static double weighted_output(Case *c) {
    double sum = 0;
    Tensor *t = c->t;
    attention_forward_ref(t[0].data, t[1].data, t[2].data, t[3].data, t[4].data, c->ids, c->n_docs, c->number,
                          c->window, c->H, c->KV, c->D);
    for (int64_t i = 0; i < t[0].n; i++) sum += (double)t[0].data[i] * t[5].data[i];
    return sum;
}

static void test_gradients_by_difference(void **state) {
    (void)state;
    Layout l = layout_of((int[]){4, 1, 6}, 3);
    for (int64_t window = 0; window < 4; window += 3) {
        Case c = {.name = "attention",
                  .ids = l.starts,
                  .n_docs = l.n,
                  .window = window,
                  .H = 4,
                  .KV = 2,
                  .D = 3,
                  .number = 0.5f};
        int64_t N = 11;
        float *out = case_tensor(&c, N * 12, 0), *lse = case_tensor(&c, N * 4, 0), *q = case_tensor(&c, N * 12, 0);
        float *k = case_tensor(&c, N * 6, 0), *v = case_tensor(&c, N * 6, 0), *g = case_tensor(&c, N * 12, 0);
        float *dq = case_tensor(&c, N * 12, 0), *dk = case_tensor(&c, N * 6, 0), *dv = case_tensor(&c, N * 6, 0);
        weighted_output(&c);
        attention_backward_ref(dq, dk, dv, g, out, lse, q, k, v, c.ids, c.n_docs, c.number, window, c.H, c.KV, c.D);
        check_gradient(&c, weighted_output, q, dq, N * 12, 1e-3); // step^2 times a third derivative of about 1
        check_gradient(&c, weighted_output, k, dk, N * 6, 1e-3);
        check_gradient(&c, weighted_output, v, dv, N * 6, 1e-3);
        case_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_of_all_shapes),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_decode_equals_forward),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_extreme_scores),
        cmocka_unit_test(test_gradients_by_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
