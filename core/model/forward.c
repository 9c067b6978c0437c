// Forward and backward of the decoder, one layer at a time; backward mirrors forward in reversed order.
// Pre-norm blocks of Llama / Qwen2 / Qwen3 / BitNet:
//     h = RMSNorm(x);  q,k,v = W h (+ b);  [per-head RMSNorm of q,k];  RoPE;  a = attention;  [SubLN];  x += W_o a
//     h = RMSNorm(x);  g = act(W_gate h) * W_up h;  [SubLN];  x += W_down g
// In a ternary model every linear reads its input through activation_quant and its effective (code x scale) weight;
// gradients pass straight through both quantisers (quantizer and STE: "The Era of 1-bit LLMs: Training Tips, Code and
// FAQ", Fig. 3-4).
#include "core/model/model.h"

#include <math.h>
#include <string.h>

typedef struct LayerActs { // kept for backward; N tokens
    float *x_in;           // [N,C] residual stream on entry
    float *h1, *rstd1;     // [N,C] [N]
    float *h1_lin;         // [N,C] what q,k,v read: h1, or its quantised image
    float *q_pre, *k_pre;  // [N,H*D] [N,KV*D] before the per-head norm (== q, k without one)
    float *rstd_q, *rstd_k;
    float *q, *k, *v;
    float *att, *lse; // [N,H*D] [N,H]
    float *att_n, *rstd_a;
    float *att_lin;
    float *x_mid; // [N,C]
    float *h2, *rstd2, *h2_lin;
    float *gate, *up, *glu; // [N,F]
    float *glu_n, *rstd_f;
    float *glu_lin;
} LayerActs;

struct Activations {
    Arena arena;
    int64_t max_tokens;
    bool training;
    LayerActs *layers;
    float *x_out, *rstd_out, *hidden; // [N,C] [N] [N,C]
    // backward scratch
    float *dx, *dh, *dq, *dk, *dv, *dq_pre, *dk_pre, *datt, *datt_in, *dgate, *dup, *dglu, *dglu_in;
};

// One walk serves the plan (base NULL: only counts) and the carving.
typedef struct Carver {
    Arena *arena; // NULL = count
    int64_t bytes;
} Carver;
static float *carve(Carver *c, int64_t n) {
    c->bytes += ROUND_UP(n * (int64_t)sizeof(float), ARENA_ALIGN);
    return c->arena ? arena_take(c->arena, (size_t)n * sizeof(float)) : NULL;
}

static void carve_layer(Carver *k, const ModelConfig *c, int64_t N, LayerActs *a) {
    int64_t C = c->hidden_size, F = c->intermediate_size, Q = c->num_attention_heads * c->head_dim,
            K = c->num_key_value_heads * c->head_dim;
    a->x_in = carve(k, N * C);
    a->h1 = carve(k, N * C), a->rstd1 = carve(k, N);
    a->h1_lin = c->ternary ? carve(k, N * C) : a->h1;
    a->q = carve(k, N * Q), a->k = carve(k, N * K), a->v = carve(k, N * K);
    a->q_pre = c->qk_norm ? carve(k, N * Q) : a->q;
    a->k_pre = c->qk_norm ? carve(k, N * K) : a->k;
    a->rstd_q = c->qk_norm ? carve(k, N * c->num_attention_heads) : NULL;
    a->rstd_k = c->qk_norm ? carve(k, N * c->num_key_value_heads) : NULL;
    a->att = carve(k, N * Q), a->lse = carve(k, N * c->num_attention_heads);
    a->att_n = c->sub_norm ? carve(k, N * Q) : a->att;
    a->rstd_a = c->sub_norm ? carve(k, N) : NULL;
    a->att_lin = c->ternary ? carve(k, N * Q) : a->att_n;
    a->x_mid = carve(k, N * C);
    a->h2 = carve(k, N * C), a->rstd2 = carve(k, N);
    a->h2_lin = c->ternary ? carve(k, N * C) : a->h2;
    a->gate = carve(k, N * F), a->up = carve(k, N * F), a->glu = carve(k, N * F);
    a->glu_n = c->sub_norm ? carve(k, N * F) : a->glu;
    a->rstd_f = c->sub_norm ? carve(k, N) : NULL;
    a->glu_lin = c->ternary ? carve(k, N * F) : a->glu_n;
}

static void carve_backward(Carver *k, const ModelConfig *c, int64_t N, Activations *a) {
    int64_t C = c->hidden_size, F = c->intermediate_size, Q = c->num_attention_heads * c->head_dim,
            K = c->num_key_value_heads * c->head_dim;
    a->dx = carve(k, N * C), a->dh = carve(k, N * C);
    a->dq = carve(k, N * Q), a->dk = carve(k, N * K), a->dv = carve(k, N * K);
    a->dq_pre = c->qk_norm ? carve(k, N * Q) : a->dq;
    a->dk_pre = c->qk_norm ? carve(k, N * K) : a->dk;
    a->datt = carve(k, N * Q);
    a->datt_in = c->sub_norm ? carve(k, N * Q) : a->datt;
    a->dgate = carve(k, N * F), a->dup = carve(k, N * F), a->dglu = carve(k, N * F);
    a->dglu_in = c->sub_norm ? carve(k, N * F) : a->dglu;
}

// Without training all layers share one set of buffers; x_in and x_mid then are the same running stream.
static void carve_all(Carver *k, const Model *m, int64_t N, bool training, Activations *a) {
    const ModelConfig *c = &m->config;
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        if (l && !training)
            a->layers[l] = a->layers[0];
        else
            carve_layer(k, c, N, &a->layers[l]);
    }
    a->x_out = carve(k, N * c->hidden_size), a->rstd_out = carve(k, N), a->hidden = carve(k, N * c->hidden_size);
    if (training) carve_backward(k, c, N, a);
}

int64_t activations_bytes(const Model *m, int64_t max_tokens, bool for_training) {
    Activations a = {.layers = xcalloc((size_t)m->config.num_hidden_layers, sizeof *a.layers)};
    Carver count = {0};
    carve_all(&count, m, max_tokens, for_training, &a);
    free(a.layers);
    return count.bytes;
}

Activations *activations_create(const Model *m, int64_t max_tokens, bool for_training) {
    Activations *a = xcalloc(1, sizeof *a);
    a->max_tokens = max_tokens;
    a->training = for_training;
    a->layers = xcalloc((size_t)m->config.num_hidden_layers, sizeof *a->layers);
    arena_init(&a->arena, "activations", (size_t)activations_bytes(m, max_tokens, for_training));
    Carver carver = {.arena = &a->arena};
    carve_all(&carver, m, max_tokens, for_training, a);
    return a;
}

void activations_free(Activations *a) {
    if (!a) return;
    arena_free(&a->arena);
    free(a->layers);
    free(a);
}

// What a linear reads: the input itself, or its int8 image in a ternary model.
static void linear_input(const Model *m, const Ops *ops, float *lin, const float *x, int64_t N, int64_t I) {
    if (m->config.ternary) ops->activation_quant(lin, NULL, NULL, x, N, I);
}

static void attention_block(const Model *m, const Ops *ops, const Layer *w, LayerActs *a, const Batch *b) {
    const ModelConfig *c = &m->config;
    int64_t N = b->n_tokens, C = c->hidden_size, H = c->num_attention_heads, KV = c->num_key_value_heads,
            D = c->head_dim;
    float eps = (float)c->rms_norm_eps;
    ops->rmsnorm_forward(a->h1, a->rstd1, a->x_in, w->input_layernorm, eps, N, C);
    linear_input(m, ops, a->h1_lin, a->h1, N, C);
    ops->matmul_forward(a->q_pre, a->h1_lin, w->q_proj, w->q_bias, N, C, H * D, false);
    ops->matmul_forward(a->k_pre, a->h1_lin, w->k_proj, w->k_bias, N, C, KV * D, false);
    ops->matmul_forward(a->v, a->h1_lin, w->v_proj, w->v_bias, N, C, KV * D, false);
    if (c->qk_norm) {
        ops->rmsnorm_forward(a->q, a->rstd_q, a->q_pre, w->q_norm, eps, N * H, D);
        ops->rmsnorm_forward(a->k, a->rstd_k, a->k_pre, w->k_norm, eps, N * KV, D);
    }
    ops->rope(a->q, b->positions, m->inv_freq, 1, false, N, H, D);
    ops->rope(a->k, b->positions, m->inv_freq, 1, false, N, KV, D);
    ops->attention_forward(a->att, a->lse, a->q, a->k, a->v, b->starts, b->n_docs, 1 / sqrtf((float)D),
                           c->sliding_window, H, KV, D);
    if (c->sub_norm) ops->rmsnorm_forward(a->att_n, a->rstd_a, a->att, w->attn_sub_norm, eps, N, H * D);
    linear_input(m, ops, a->att_lin, a->att_n, N, H * D);
    memcpy(a->x_mid, a->x_in, (size_t)(N * C) * sizeof(float));
    ops->matmul_forward(a->x_mid, a->att_lin, w->o_proj, NULL, N, H * D, C, true);
}

static void mlp_block(const Model *m, const Ops *ops, const Layer *w, LayerActs *a, float *x_out, int64_t N) {
    const ModelConfig *c = &m->config;
    int64_t C = c->hidden_size, F = c->intermediate_size;
    float eps = (float)c->rms_norm_eps;
    ops->rmsnorm_forward(a->h2, a->rstd2, a->x_mid, w->post_attention_layernorm, eps, N, C);
    linear_input(m, ops, a->h2_lin, a->h2, N, C);
    ops->matmul_forward(a->gate, a->h2_lin, w->gate_proj, NULL, N, C, F, false);
    ops->matmul_forward(a->up, a->h2_lin, w->up_proj, NULL, N, C, F, false);
    ops->glu_forward(a->glu, a->gate, a->up, c->act, N * F);
    if (c->sub_norm) ops->rmsnorm_forward(a->glu_n, a->rstd_f, a->glu, w->ffn_sub_norm, eps, N, F);
    linear_input(m, ops, a->glu_lin, a->glu_n, N, F);
    memcpy(x_out, a->x_mid, (size_t)(N * C) * sizeof(float));
    ops->matmul_forward(x_out, a->glu_lin, w->down_proj, NULL, N, F, C, true);
}

const float *model_forward(const Model *m, const Ops *ops, Activations *a, const Batch *b) {
    const ModelConfig *c = &m->config;
    int64_t N = b->n_tokens, C = c->hidden_size, L = c->num_hidden_layers;
    check(N <= a->max_tokens, "batch of %lld tokens, activations planned for %lld", (long long)N,
          (long long)a->max_tokens);
    const Layer *w = m->effective_layers;
    ops->embed_forward(a->layers[0].x_in, w[0].embed_tokens, b->tokens, N, C);
    for (int64_t l = 0; l < L; l++) {
        attention_block(m, ops, &w[l], &a->layers[l], b);
        mlp_block(m, ops, &w[l], &a->layers[l], l + 1 < L ? a->layers[l + 1].x_in : a->x_out, N);
    }
    ops->rmsnorm_forward(a->hidden, a->rstd_out, a->x_out, w[0].norm, (float)c->rms_norm_eps, N, C);
    return a->hidden;
}

// a->dx enters as d/d(x_out of the block) and leaves as d/d(x_mid).
static void mlp_backward(const Model *m, const Ops *ops, const Layer *w, const Layer *g, const LayerActs *l,
                         Activations *a, int64_t N) {
    const ModelConfig *c = &m->config;
    int64_t C = c->hidden_size, F = c->intermediate_size;
    ops->matmul_backward_input(a->dglu, a->dx, w->down_proj, N, F, C, false);
    ops->matmul_backward_weight(g->down_proj, NULL, a->dx, l->glu_lin, N, F, C);
    if (c->sub_norm) {
        memset(a->dglu_in, 0, (size_t)(N * F) * sizeof(float));
        ops->rmsnorm_backward(a->dglu_in, g->ffn_sub_norm, a->dglu, l->glu, w->ffn_sub_norm, l->rstd_f, N, F);
    }
    ops->glu_backward(a->dgate, a->dup, a->dglu_in, l->gate, l->up, c->act, N * F);
    ops->matmul_backward_input(a->dh, a->dgate, w->gate_proj, N, C, F, false);
    ops->matmul_backward_input(a->dh, a->dup, w->up_proj, N, C, F, true);
    ops->matmul_backward_weight(g->gate_proj, NULL, a->dgate, l->h2_lin, N, C, F);
    ops->matmul_backward_weight(g->up_proj, NULL, a->dup, l->h2_lin, N, C, F);
    ops->rmsnorm_backward(a->dx, g->post_attention_layernorm, a->dh, l->x_mid, w->post_attention_layernorm, l->rstd2, N,
                          C);
}

static void qk_norm_backward(const Model *m, const Ops *ops, const Layer *w, const Layer *g, const LayerActs *l,
                             Activations *a, int64_t N) {
    int64_t H = m->config.num_attention_heads, KV = m->config.num_key_value_heads, D = m->config.head_dim;
    memset(a->dq_pre, 0, (size_t)(N * H * D) * sizeof(float));
    memset(a->dk_pre, 0, (size_t)(N * KV * D) * sizeof(float));
    ops->rmsnorm_backward(a->dq_pre, g->q_norm, a->dq, l->q_pre, w->q_norm, l->rstd_q, N * H, D);
    ops->rmsnorm_backward(a->dk_pre, g->k_norm, a->dk, l->k_pre, w->k_norm, l->rstd_k, N * KV, D);
}

// a->dx enters as d/d(x_mid) and leaves as d/d(x_in).
static void attention_block_backward(const Model *m, const Ops *ops, const Layer *w, const Layer *g, const LayerActs *l,
                                     Activations *a, const Batch *b) {
    const ModelConfig *c = &m->config;
    int64_t N = b->n_tokens, C = c->hidden_size, H = c->num_attention_heads, KV = c->num_key_value_heads,
            D = c->head_dim;
    ops->matmul_backward_input(a->datt, a->dx, w->o_proj, N, H * D, C, false);
    ops->matmul_backward_weight(g->o_proj, NULL, a->dx, l->att_lin, N, H * D, C);
    if (c->sub_norm) {
        memset(a->datt_in, 0, (size_t)(N * H * D) * sizeof(float));
        ops->rmsnorm_backward(a->datt_in, g->attn_sub_norm, a->datt, l->att, w->attn_sub_norm, l->rstd_a, N, H * D);
    }
    ops->attention_backward(a->dq, a->dk, a->dv, a->datt_in, l->att, l->lse, l->q, l->k, l->v, b->starts, b->n_docs,
                            1 / sqrtf((float)D), c->sliding_window, H, KV, D);
    ops->rope(a->dq, b->positions, m->inv_freq, 1, true, N, H, D);
    ops->rope(a->dk, b->positions, m->inv_freq, 1, true, N, KV, D);
    if (c->qk_norm) qk_norm_backward(m, ops, w, g, l, a, N);
    ops->matmul_backward_input(a->dh, a->dq_pre, w->q_proj, N, C, H * D, false);
    ops->matmul_backward_input(a->dh, a->dk_pre, w->k_proj, N, C, KV * D, true);
    ops->matmul_backward_input(a->dh, a->dv, w->v_proj, N, C, KV * D, true);
    ops->matmul_backward_weight(g->q_proj, g->q_bias, a->dq_pre, l->h1_lin, N, C, H * D);
    ops->matmul_backward_weight(g->k_proj, g->k_bias, a->dk_pre, l->h1_lin, N, C, KV * D);
    ops->matmul_backward_weight(g->v_proj, g->v_bias, a->dv, l->h1_lin, N, C, KV * D);
    ops->rmsnorm_backward(a->dx, g->input_layernorm, a->dh, l->x_in, w->input_layernorm, l->rstd1, N, C);
}

void model_backward(const Model *m, const Ops *ops, Activations *a, const Batch *b, float *dhidden, float *grads) {
    check(a->training, "backward over activations that were planned without it");
    check(!m->frozen, "backward through a packed model");
    const ModelConfig *c = &m->config;
    int64_t N = b->n_tokens, C = c->hidden_size;
    const Layer *w = m->effective_layers;
    Layer *g = model_views(m, grads);
    memset(a->dx, 0, (size_t)(N * C) * sizeof(float));
    ops->rmsnorm_backward(a->dx, g[0].norm, dhidden, a->x_out, w[0].norm, a->rstd_out, N, C);
    for (int64_t l = c->num_hidden_layers - 1; l >= 0; l--) {
        mlp_backward(m, ops, &w[l], &g[l], &a->layers[l], a, N);
        attention_block_backward(m, ops, &w[l], &g[l], &a->layers[l], a, b);
    }
    ops->embed_backward(g[0].embed_tokens, a->dx, b->tokens, N, c->vocab_size, C);
    free(g);
}
