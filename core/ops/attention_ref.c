// attention_ref: the judge of causal attention inside documents and of one decode step. Plain loops, double
// accumulators, scores of one query at a time; never optimised.
// Must not know: threads, SIMD, blocks.
#include <math.h>
#include <stdlib.h>

#include "core/base/mem.h"
#include "core/ops/kv_cache.h"
#include "core/ops/ops.h"

static double dot(const float *a, const float *b, int64_t D) {
    double sum = 0.0;
    for (int64_t d = 0; d < D; d++) sum += (double)a[d] * b[d];
    return sum;
}

// p[0..n): scaled scores of n keys (stride floats apart) -> softmax; returns log-sum-exp.
static double softmax_scores(double *p, const float *q, const float *k, int64_t stride, float scale, int64_t n,
                             int64_t D) {
    double top = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        p[j] = dot(q, k + j * stride, D) * scale;
        if (p[j] > top) top = p[j];
    }
    for (int64_t j = 0; j < n; j++) sum += exp(p[j] - top);
    for (int64_t j = 0; j < n; j++) p[j] = exp(p[j] - top) / sum;
    return top + log(sum);
}

static void weighted_values(float *out, const double *p, const float *v, int64_t stride, int64_t n, int64_t D) {
    for (int64_t d = 0; d < D; d++) {
        double sum = 0.0;
        for (int64_t j = 0; j < n; j++) sum += p[j] * v[j * stride + d];
        out[d] = (float)sum;
    }
}

// First key that query t of a document beginning at `start` sees.
static int64_t first_key(int64_t start, int64_t t, int64_t window) {
    return window > 0 ? MAX(start, t - window + 1) : start;
}

void attention_forward_ref(float *out, float *lse, const float *q, const float *k, const float *v,
                           const int32_t *starts, int64_t n_docs, float scale, int64_t window, int64_t H, int64_t KV,
                           int64_t D) {
    check(H % KV == 0, "attention: %lld heads over %lld key heads", (long long)H, (long long)KV);
    double *p = xcalloc((size_t)starts[n_docs] + 1, sizeof *p);
    for (int64_t doc = 0; doc < n_docs; doc++) {
        for (int64_t t = starts[doc]; t < starts[doc + 1]; t++) {
            int64_t first = first_key(starts[doc], t, window), n = t + 1 - first;
            for (int64_t h = 0; h < H; h++) {
                int64_t key = (first * KV + h / (H / KV)) * D, row = t * H + h;
                lse[row] = (float)softmax_scores(p, q + row * D, k + key, KV * D, scale, n, D);
                weighted_values(out + row * D, p, v + key, KV * D, n, D);
            }
        }
    }
    free(p);
}

typedef struct Gradient { // one query head against its keys; strides of KV * D between keys
    const float *dout, *out, *q, *k, *v;
    float *dq;
    double *dk, *dv;
    double lse, scale;
    int64_t n, stride, D;
} Gradient;

// P = exp(S - lse), dP = dout v^T, dS = P * (dP - dout.out): dq = scale dS k, dk += scale dS^T q, dv += P^T dout.
static void query_gradient(const Gradient *g, double *dq) {
    double delta = dot(g->dout, g->out, g->D);
    for (int64_t d = 0; d < g->D; d++) dq[d] = 0.0;
    for (int64_t j = 0; j < g->n; j++) {
        const float *k = g->k + j * g->stride, *v = g->v + j * g->stride;
        double *dk = g->dk + j * g->stride, *dv = g->dv + j * g->stride;
        double p = exp(dot(g->q, k, g->D) * g->scale - g->lse);
        double ds = p * (dot(g->dout, v, g->D) - delta) * g->scale;
        for (int64_t d = 0; d < g->D; d++) {
            dq[d] += ds * k[d];
            dk[d] += ds * g->q[d];
            dv[d] += p * g->dout[d];
        }
    }
    for (int64_t d = 0; d < g->D; d++) g->dq[d] = (float)dq[d];
}

void attention_backward_ref(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *lse,
                            const float *q, const float *k, const float *v, const int32_t *starts, int64_t n_docs,
                            float scale, int64_t window, int64_t H, int64_t KV, int64_t D) {
    check(H % KV == 0, "attention: %lld heads over %lld key heads", (long long)H, (long long)KV);
    int64_t begin = starts[0] * KV * D, end = starts[n_docs] * KV * D;
    double *dk_sum = xcalloc((size_t)end + 1, sizeof *dk_sum), *dv_sum = xcalloc((size_t)end + 1, sizeof *dv_sum);
    double *dq_sum = xcalloc((size_t)D, sizeof *dq_sum);
    for (int64_t doc = 0; doc < n_docs; doc++) {
        for (int64_t row = starts[doc] * H; row < starts[doc + 1] * H; row++) {
            int64_t t = row / H, first = first_key(starts[doc], t, window), key = (first * KV + row % H / (H / KV)) * D;
            Gradient g = {dout + row * D,
                          out + row * D,
                          q + row * D,
                          k + key,
                          v + key,
                          dq + row * D,
                          dk_sum + key,
                          dv_sum + key,
                          lse[row],
                          scale,
                          t + 1 - first,
                          KV * D,
                          D};
            query_gradient(&g, dq_sum);
        }
    }
    for (int64_t i = begin; i < end; i++) {
        dk[i] = (float)dk_sum[i];
        dv[i] = (float)dv_sum[i];
    }
    free(dk_sum);
    free(dv_sum);
    free(dq_sum);
}

void attention_decode_ref(float *out, const float *q, const float *const *keys, const float *const *values,
                          const int32_t *lengths, int64_t capacity, float scale, int64_t window, int64_t B, int64_t H,
                          int64_t KV, int64_t D) {
    check(H % KV == 0, "attention: %lld heads over %lld key heads", (long long)H, (long long)KV);
    float *k = xcalloc((size_t)(capacity * D), sizeof *k), *v = xcalloc((size_t)(capacity * D), sizeof *v);
    double *p = xcalloc((size_t)capacity, sizeof *p);
    for (int64_t row = 0; row < B * H; row++) {
        int64_t b = row / H, kv = row % H / (H / KV);
        check(lengths[b] >= 1 && lengths[b] <= capacity, "attention_decode: sequence %lld has %d tokens", (long long)b,
              lengths[b]);
        int64_t first = first_key(0, lengths[b] - 1, window), n = lengths[b] - first;
        const float *from_k = keys[b] + kv_cache_keys_of(capacity, D, kv),
                    *from_v = values[b] + kv_cache_values_of(capacity, D, kv);
        for (int64_t i = 0; i < n * D; i++) {
            k[i] = from_k[kv_cache_key(D, first + i / D, i % D)];
            v[i] = from_v[kv_cache_value(capacity, first + i / D, i % D)];
        }
        softmax_scores(p, q + row * D, k, D, scale, n, D);
        weighted_values(out + row * D, p, v, D, n, D);
    }
    free(k);
    free(v);
    free(p);
}
