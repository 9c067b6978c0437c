// attention_cpu: causal attention inside documents, forward, and one decode step, block by block with a running
// softmax (Dao et al. 2022; Milakov & Gimelshein 2018). Blocks of keys begin at multiples of 64 from the document's
// start, so a row's bits do not depend on which rows are computed with it: a decode step equals the forward pass over
// the same keys.
// Must not know: who fills the caches that a decode step reads.
#include <math.h>

#include "core/base/thread.h"
#include "core/ops/attention_block.h"
#include "core/ops/kv_cache.h"
#include "core/ops/ops.h"

enum { ALONE = 1 << 17 }; // multiply-adds of a decode step below which waking another thread costs more than it brings

typedef struct Heads { // query rows of one document against one key head
    Rows rows;
    const float *q, *k, *v;         // q at row rows.base; k, v at the document's first key
    float *out, *lse;               // lse may be NULL
    int64_t key_stride, lse_stride; // floats between keys; between the lse of two tokens
    int64_t capacity;               // 0; or k, v are a cache of so many keys, in panels already
    float scale;
    int64_t window;
} Heads;

typedef struct Work {
    _Alignas(64) float q[BLOCK * MAX_D];
    _Alignas(64) float out[BLOCK * MAX_D];
    _Alignas(64) float k[BLOCK * MAX_D], v[BLOCK * MAX_D]; // panels
    _Alignas(64) float p[BLOCK * BLOCK];
    float top[BLOCK], sum[BLOCK]; // running maximum and sum of exponentials of each row
} Work;

// Scores p[0..n) of one row, of which those in [first, last] are seen -> exp(score - top); out is rescaled to the new
// top.
static void softmax_block(Work *w, int64_t i, int64_t n, int64_t first, int64_t last, int64_t D) {
    float *p = w->p + i * BLOCK, *out = w->out + i * D;
    vf highest = vf_set(-INFINITY), sum = {0};
    for (int64_t j = 0; j < n; j += VF) {
        vf score = vf_select(key_mask(j, first, last), vf_load(p + j), vf_set(-INFINITY));
        vf_store(p + j, score);
        highest = vf_max(highest, score);
    }
    float top = MAX(w->top[i], vf_top(highest));
    if (top == -INFINITY) top = 0.0f; // nothing seen yet: every exponential below is 0
    for (int64_t j = 0; j < n; j += VF) {
        vf e = vf_exp(vf_load(p + j) - top);
        vf_store(p + j, e);
        sum += e;
    }
    float keep = expf(w->top[i] - top);
    w->sum[i] = w->sum[i] * keep + vf_sum(sum);
    if (w->sum[i] != 0.0f) w->top[i] = top;
    for (int64_t d = 0; d < D && keep != 1.0f; d++) out[d] *= keep;
}

// Rows [r0, r0 + n) against keys [k0, k0 + n_keys).
static void attend_block(Work *w, const Heads *h, int64_t r0, int64_t n, int64_t k0, int64_t n_keys) {
    int64_t D = h->rows.D, columns = ROUND_UP(n_keys, GEMM_PANEL), v_panel = BLOCK * GEMM_PANEL;
    const float *k = w->k, *v = w->v;
    if (h->capacity) {
        k = h->k + kv_cache_key(D, k0, 0);
        v = h->v + kv_cache_value(h->capacity, k0, 0);
        v_panel = h->capacity * GEMM_PANEL;
    } else {
        gemm_pack_transposed(w->k, D * GEMM_PANEL, h->k + k0 * h->key_stride, h->key_stride, D, n_keys);
        gemm_pack(w->v, v_panel, h->v + k0 * h->key_stride, h->key_stride, n_keys, D);
    }
    GemmBlock scores = {.c = w->p, .c_row = BLOCK, .a = w->q, .a_row = D, .a_k = 1, .b = k, .b_panel = D * GEMM_PANEL};
    gemm_block(&scores, n, columns, D);
    for (int64_t i = 0; i < n; i++) {
        int64_t t = (r0 + i) / h->rows.G;
        softmax_block(w, i, columns, first_key(t, h->window) - k0, t - k0, D);
    }
    GemmBlock values = {
        .c = w->out, .c_row = D, .a = w->p, .a_row = BLOCK, .a_k = 1, .b = v, .b_panel = v_panel, .add = true};
    gemm_block(&values, n, D, n_keys);
}

// At most BLOCK rows of one document.
static void attend_rows(const Heads *h, int64_t r0, int64_t n) {
    Work w;
    int64_t D = h->rows.D, t0 = r0 / h->rows.G, t1 = (r0 + n - 1) / h->rows.G;
    gather_rows(w.q, &h->rows, h->q, r0, n, h->scale);
    memset(w.out, 0, (size_t)(n * D) * sizeof *w.out);
    for (int64_t i = 0; i < n; i++) {
        w.top[i] = -INFINITY;
        w.sum[i] = 0.0f;
    }
    for (int64_t k0 = first_key(t0, h->window) / BLOCK * BLOCK; k0 <= t1; k0 += BLOCK) {
        attend_block(&w, h, r0, n, k0, MIN(BLOCK, t1 + 1 - k0));
    }
    for (int64_t i = 0; i < n; i++) {
        float *out = h->out + row_offset(&h->rows, r0 + i), inverse = 1.0f / w.sum[i];
        for (int64_t d = 0; d < D; d++) out[d] = w.out[i * D + d] * inverse;
        int64_t r = r0 + i - h->rows.base;
        if (h->lse) h->lse[r / h->rows.G * h->lse_stride + r % h->rows.G] = w.top[i] + logf(w.sum[i]);
    }
}

typedef struct ForwardArgs {
    float *out, *lse;
    const float *q, *k, *v;
    const int32_t *starts;
    int64_t n_docs, window, H, KV, D;
    float scale;
} ForwardArgs;

static int64_t document_of(const int32_t *starts, int64_t n_docs, int64_t token) {
    int64_t low = 0, high = n_docs - 1; // the last document that begins at or before the token
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (starts[middle] <= token)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// Part: BLOCK rows of the whole batch and one key head; the rows may belong to several documents.
static void forward_part(void *context, int64_t part) {
    const ForwardArgs *a = context;
    int64_t G = a->H / a->KV, kv = part % a->KV;
    int64_t row = a->starts[0] * G + part / a->KV * BLOCK, end = MIN(row + BLOCK, a->starts[a->n_docs] * G);
    while (row < end) {
        int64_t doc = document_of(a->starts, a->n_docs, row / G), start = a->starts[doc];
        int64_t n = MIN(end, a->starts[doc + 1] * G) - row, key = (start * a->KV + kv) * a->D;
        int64_t head = start * a->H + kv * G;
        Heads h = {.rows = {G, a->H, a->D, 0},
                   .q = a->q + head * a->D,
                   .k = a->k + key,
                   .v = a->v + key,
                   .out = a->out + head * a->D,
                   .lse = a->lse + head,
                   .key_stride = a->KV * a->D,
                   .lse_stride = a->H,
                   .scale = a->scale,
                   .window = a->window};
        attend_rows(&h, row - start * G, n);
        row += n;
    }
}

static void check_heads(int64_t H, int64_t KV, int64_t D) {
    check(KV > 0 && H % KV == 0, "attention: %lld heads over %lld key heads", (long long)H, (long long)KV);
    check(D > 0 && D <= MAX_D, "attention: head_dim %lld is not in 1..%d", (long long)D, MAX_D);
}

void attention_forward_cpu(float *out, float *lse, const float *q, const float *k, const float *v,
                           const int32_t *starts, int64_t n_docs, float scale, int64_t window, int64_t H, int64_t KV,
                           int64_t D) {
    check_heads(H, KV, D);
    ForwardArgs a = {out, lse, q, k, v, starts, n_docs, window, H, KV, D, scale};
    int64_t n_rows = (starts[n_docs] - starts[0]) * (H / KV);
    parallel_for(CEIL_DIV(n_rows, BLOCK) * KV, forward_part, &a);
}

typedef struct DecodeArgs {
    float *out;
    const float *q;
    const float *const *keys, *const *values;
    const int32_t *lengths;
    int64_t capacity, window, H, KV, D;
    float scale;
} DecodeArgs;

static void decode_part(void *context, int64_t part) {
    const DecodeArgs *a = context;
    int64_t G = a->H / a->KV, b = part / a->KV, kv = part % a->KV, head = (b * a->H + kv * G) * a->D;
    int64_t row = (int64_t)(a->lengths[b] - 1) * G;
    Heads h = {.rows = {G, a->H, a->D, row},
               .q = a->q + head,
               .k = a->keys[b] + kv_cache_keys_of(a->capacity, a->D, kv),
               .v = a->values[b] + kv_cache_values_of(a->capacity, a->D, kv),
               .capacity = a->capacity,
               .out = a->out + head,
               .scale = a->scale,
               .window = a->window};
    for (int64_t r = row; r < row + G; r += BLOCK) attend_rows(&h, r, MIN(BLOCK, row + G - r));
}

void attention_decode_cpu(float *out, const float *q, const float *const *keys, const float *const *values,
                          const int32_t *lengths, int64_t capacity, float scale, int64_t window, int64_t B, int64_t H,
                          int64_t KV, int64_t D) {
    check_heads(H, KV, D);
    check(capacity % GEMM_PANEL == 0, "attention_decode: a capacity of %lld is no multiple of 16", (long long)capacity);
    int64_t keys_seen = 0;
    for (int64_t b = 0; b < B; b++) {
        check(lengths[b] >= 1 && lengths[b] <= capacity, "attention_decode: sequence %lld has %d tokens", (long long)b,
              lengths[b]);
        keys_seen += lengths[b] - first_key(lengths[b] - 1, window);
    }
    DecodeArgs a = {out, q, keys, values, lengths, capacity, window, H, KV, D, scale};
    if (keys_seen * H * D >= ALONE) {
        parallel_for(B * KV, decode_part, &a);
    } else {
        for (int64_t part = 0; part < B * KV; part++) decode_part(&a, part);
    }
}
