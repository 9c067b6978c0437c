// attention_backward_cpu: gradients of causal attention inside documents from the kept log-sum-exp (Dao et al. 2022).
// One part owns a document and a key head, hence its dk, dv and the dq of the group: nothing is added by two threads,
// and the order (blocks of keys, then blocks of rows, ascending) is the document's own.
// Must not know: how the forward pass was blocked.
#include "core/base/thread.h"
#include "core/ops/attention_block.h"
#include "core/ops/ops.h"

typedef struct BackwardArgs {
    float *dq, *dk, *dv;
    const float *dout, *out, *lse, *q, *k, *v;
    const int32_t *starts;
    int64_t window, H, KV, D;
    float scale;
} BackwardArgs;

typedef struct Head { // the tensors of one document at its key head
    Rows rows;
    float *dq, *dk, *dv;
    const float *dout, *out, *lse, *q, *k, *v;
    int64_t length, key_stride, window;
    float scale;
} Head;

typedef struct Work { // [rows or keys of a block][D]; "panels" as gemm.h packs them
    _Alignas(64) float q[BLOCK * MAX_D], dout[BLOCK * MAX_D], dq[BLOCK * MAX_D];
    _Alignas(64) float q_panels[BLOCK * MAX_D], dout_panels[BLOCK * MAX_D];
    _Alignas(64) float k_columns[BLOCK * MAX_D], v_columns[BLOCK * MAX_D]; // panels of K^T, V^T: [D][keys]
    _Alignas(64) float k_panels[BLOCK * MAX_D];                            // panels of K: [keys][D]
    _Alignas(64) float dk[BLOCK * MAX_D], dv[BLOCK * MAX_D];
    _Alignas(64) float p[BLOCK * BLOCK], ds[BLOCK * BLOCK];
} Work;

static float row_dot(const float *a, const float *b, int64_t D) {
    vf sum = {0};
    for (int64_t d = 0; d < D; d += VF) sum = vf_fma(vf_load_n(a + d, D - d), vf_load_n(b + d, D - d), sum);
    return vf_sum(sum);
}

// p: scores -> probabilities; ds: dout v^T -> p * (ds - delta). Keys outside [first, last] get 0.
static void softmax_gradient(float *p, float *ds, int64_t n, int64_t first, int64_t last, float lse, float delta) {
    for (int64_t j = 0; j < n; j += VF) {
        vi seen = key_mask(j, first, last);
        vf e = vf_select(seen, vf_exp(vf_load(p + j) - lse), vf_set(0.0f));
        vf_store(p + j, e);
        vf_store(ds + j, vf_select(seen, e * (vf_load(ds + j) - delta), vf_set(0.0f)));
    }
}

static void pack_keys(Work *w, const Head *h, int64_t k0, int64_t n_keys) {
    int64_t D = h->rows.D;
    const float *k = h->k + k0 * h->key_stride, *v = h->v + k0 * h->key_stride;
    gemm_pack_transposed(w->k_columns, D * GEMM_PANEL, k, h->key_stride, D, n_keys);
    gemm_pack_transposed(w->v_columns, D * GEMM_PANEL, v, h->key_stride, D, n_keys);
    gemm_pack(w->k_panels, BLOCK * GEMM_PANEL, k, h->key_stride, n_keys, D);
    memset(w->dk, 0, (size_t)(n_keys * D) * sizeof *w->dk);
    memset(w->dv, 0, (size_t)(n_keys * D) * sizeof *w->dv);
}

// p, ds of n rows from r0 on against the packed keys.
static void block_probabilities(Work *w, const Head *h, int64_t r0, int64_t n, int64_t k0, int64_t n_keys) {
    int64_t D = h->rows.D, columns = ROUND_UP(n_keys, GEMM_PANEL);
    GemmBlock scores = {
        .c = w->p, .c_row = BLOCK, .a = w->q, .a_row = D, .a_k = 1, .b = w->k_columns, .b_panel = D * GEMM_PANEL};
    GemmBlock dp = {
        .c = w->ds, .c_row = BLOCK, .a = w->dout, .a_row = D, .a_k = 1, .b = w->v_columns, .b_panel = D * GEMM_PANEL};
    gemm_block(&scores, n, columns, D);
    gemm_block(&dp, n, columns, D);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = r0 + i, t = r / h->rows.G;
        float delta = row_dot(w->dout + i * D, h->out + row_offset(&h->rows, r), D);
        float lse = h->lse[t * h->rows.H + r % h->rows.G];
        softmax_gradient(w->p + i * BLOCK, w->ds + i * BLOCK, columns, first_key(t, h->window) - k0, t - k0, lse,
                         delta);
    }
}

// q carries the scale, so ds^T q needs none; dq gets it when added.
static void block_gradients(Work *w, const Head *h, int64_t r0, int64_t n, int64_t k0, int64_t n_keys) {
    int64_t D = h->rows.D;
    gather_rows(w->q, &h->rows, h->q, r0, n, h->scale);
    gather_rows(w->dout, &h->rows, h->dout, r0, n, 1.0f);
    gemm_pack(w->q_panels, BLOCK * GEMM_PANEL, w->q, D, n, D);
    gemm_pack(w->dout_panels, BLOCK * GEMM_PANEL, w->dout, D, n, D);
    block_probabilities(w, h, r0, n, k0, n_keys);
    GemmBlock dv = {.c = w->dv,
                    .c_row = D,
                    .a = w->p,
                    .a_row = 1,
                    .a_k = BLOCK,
                    .b = w->dout_panels,
                    .b_panel = BLOCK * GEMM_PANEL,
                    .add = true};
    GemmBlock dk = {.c = w->dk,
                    .c_row = D,
                    .a = w->ds,
                    .a_row = 1,
                    .a_k = BLOCK,
                    .b = w->q_panels,
                    .b_panel = BLOCK * GEMM_PANEL,
                    .add = true};
    GemmBlock dq = {
        .c = w->dq, .c_row = D, .a = w->ds, .a_row = BLOCK, .a_k = 1, .b = w->k_panels, .b_panel = BLOCK * GEMM_PANEL};
    gemm_block(&dv, n_keys, D, n);
    gemm_block(&dk, n_keys, D, n);
    gemm_block(&dq, n, D, n_keys);
    for (int64_t i = 0; i < n; i++) {
        float *to = h->dq + row_offset(&h->rows, r0 + i);
        for (int64_t d = 0; d < D; d++) to[d] += w->dq[i * D + d] * h->scale;
    }
}

static void head_gradients(const Head *h) {
    Work w;
    int64_t D = h->rows.D, G = h->rows.G, n_rows = h->length * G;
    for (int64_t r = 0; r < n_rows; r++) memset(h->dq + row_offset(&h->rows, r), 0, (size_t)D * sizeof(float));
    for (int64_t k0 = 0; k0 < h->length; k0 += BLOCK) {
        int64_t n_keys = MIN(BLOCK, h->length - k0);
        int64_t end = h->window > 0 ? MIN(n_rows, (k0 + n_keys - 1 + h->window) * G) : n_rows; // rows that see a key
        pack_keys(&w, h, k0, n_keys);
        for (int64_t r0 = k0 * G; r0 < end; r0 += BLOCK) {
            int64_t n = MIN(BLOCK, end - r0), seen = (r0 + n - 1) / G + 1 - k0; // keys up to the last row's own
            block_gradients(&w, h, r0, n, k0, MIN(seen, n_keys));
        }
        for (int64_t j = 0; j < n_keys; j++) {
            memcpy(h->dk + (k0 + j) * h->key_stride, w.dk + j * D, (size_t)D * sizeof(float));
            memcpy(h->dv + (k0 + j) * h->key_stride, w.dv + j * D, (size_t)D * sizeof(float));
        }
    }
}

static void backward_part(void *context, int64_t part) {
    const BackwardArgs *a = context;
    int64_t G = a->H / a->KV, doc = part / a->KV, kv = part % a->KV, start = a->starts[doc];
    int64_t row = start * a->H + kv * G, head = row * a->D, key = (start * a->KV + kv) * a->D;
    Head h = {.rows = {G, a->H, a->D, 0},
              .dq = a->dq + head,
              .dk = a->dk + key,
              .dv = a->dv + key,
              .dout = a->dout + head,
              .out = a->out + head,
              .lse = a->lse + row,
              .q = a->q + head,
              .k = a->k + key,
              .v = a->v + key,
              .length = a->starts[doc + 1] - start,
              .key_stride = a->KV * a->D,
              .window = a->window,
              .scale = a->scale};
    head_gradients(&h);
}

void attention_backward_cpu(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *lse,
                            const float *q, const float *k, const float *v, const int32_t *starts, int64_t n_docs,
                            float scale, int64_t window, int64_t H, int64_t KV, int64_t D) {
    check(KV > 0 && H % KV == 0, "attention: %lld heads over %lld key heads", (long long)H, (long long)KV);
    check(D > 0 && D <= MAX_D, "attention: head_dim %lld is not in 1..%d", (long long)D, MAX_D);
    BackwardArgs a = {dq, dk, dv, dout, out, lse, q, k, v, starts, window, H, KV, D, scale};
    parallel_for(n_docs * KV, backward_part, &a);
}
