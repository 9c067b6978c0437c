// infer: the engine's memory and the forward pass through its caches; the same mathematics as forward.c, kept in step
// with it. Must not know: requests, sampling, the order of work (generate.c).
//
// The weights are copied once into the order their products read them in: float panels, or 2-bit codes of a ternary
// model. Two ways into attention. Whole prompts go through attention_forward, many prompts in one flat batch.
// Everything else (a decode step, the later pieces of a prompt longer than a step) goes through attention_decode, where
// each row is one query against the cache of its slot, as long as the row's position says.
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/model/engine.h"
#include "core/ops/kv_cache.h"
#include "core/ops/matmul_packed.h"

// One walk serves the plan (no base: it only counts) and the carving.
static void *take(Arena *a, int64_t bytes) {
    if (a->base) return arena_take(a, (size_t)bytes);
    a->used += (size_t)ROUND_UP(bytes, ARENA_ALIGN);
    return NULL;
}
static float *take_floats(Arena *a, int64_t n) { return take(a, n * (int64_t)sizeof(float)); }
static int32_t *take_ints(Arena *a, int64_t n) { return take(a, n * (int64_t)sizeof(int32_t)); }

static int64_t widest_input(const ModelConfig *c) {
    return MAX(MAX(c->hidden_size, c->intermediate_size), c->num_attention_heads * c->head_dim);
}
static int64_t padded(int64_t I) { return ROUND_UP(I, 128); }

static void carve_caches(Engine *g, Arena *a) {
    const ModelConfig *c = &g->model->config;
    int64_t B = g->options.max_batch, S = g->options.max_context;
    g->keys = take_floats(a, c->num_hidden_layers * B * g->cache_floats);
    g->values = take_floats(a, c->num_hidden_layers * B * g->cache_floats);
    g->prompt_end = take_floats(a, B * c->hidden_size);
    g->logits = take_floats(a, B * c->vocab_size);
    g->history = take_ints(a, B * S);
    g->logprobs = take_floats(a, B * S);
    g->chosen = take_ints(a, B);
    g->chosen_logprob = take_floats(a, B);
}

static void carve_rows(Engine *g, Arena *a) {
    const ModelConfig *c = &g->model->config;
    int64_t N = g->max_rows, C = c->hidden_size, F = c->intermediate_size;
    int64_t Q = c->num_attention_heads * c->head_dim, K = c->num_key_value_heads * c->head_dim;
    g->tokens = take_ints(a, N), g->positions = take_ints(a, N), g->slots = take_ints(a, N);
    g->starts = take_ints(a, N + 1), g->lengths = take_ints(a, N);
    g->row_keys = take(a, N * (int64_t)sizeof *g->row_keys);
    g->row_values = take(a, N * (int64_t)sizeof *g->row_values);
    g->x = take_floats(a, N * C), g->h = take_floats(a, N * MAX(C, Q));
    g->q = take_floats(a, N * Q), g->k = take_floats(a, N * K), g->v = take_floats(a, N * K);
    g->raw = c->qk_norm ? take_floats(a, N * Q) : NULL;
    g->att = take_floats(a, N * Q);
    g->gate = take_floats(a, N * F), g->up = take_floats(a, N * F), g->glu = take_floats(a, N * F);
    g->lse = take_floats(a, N * c->num_attention_heads), g->rstd = take_floats(a, N * c->num_attention_heads);
    if (!c->ternary) return;
    int64_t widest = padded(widest_input(c));
    g->codes = take(a, N * widest);
    g->inv_scale = take_floats(a, N);
    if (C % 128 || Q % 128 || F % 128) g->padded = take_floats(a, N * widest);
}

static void carve_linear(Arena *a, bool ternary, Linear *to, int64_t I, int64_t O) {
    Linear made = {.I = I, .I_pad = padded(I), .O = O};
    if (ternary)
        made.codes = take(a, O * made.I_pad / 4);
    else
        made.panels = take_floats(a, matmul_packed_floats(I, O));
    if (to) *to = made;
}

static void carve_weights(Engine *g, Arena *a) {
    const ModelConfig *c = &g->model->config;
    int64_t C = c->hidden_size, F = c->intermediate_size;
    int64_t Q = c->num_attention_heads * c->head_dim, K = c->num_key_value_heads * c->head_dim;
    g->layers = take(a, c->num_hidden_layers * (int64_t)sizeof *g->layers);
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        EngineLayer *to = g->layers ? &g->layers[l] : NULL;
        carve_linear(a, c->ternary, to ? &to->q : NULL, C, Q);
        carve_linear(a, c->ternary, to ? &to->k : NULL, C, K);
        carve_linear(a, c->ternary, to ? &to->v : NULL, C, K);
        carve_linear(a, c->ternary, to ? &to->o : NULL, Q, C);
        carve_linear(a, c->ternary, to ? &to->gate : NULL, C, F);
        carve_linear(a, c->ternary, to ? &to->up : NULL, C, F);
        carve_linear(a, c->ternary, to ? &to->down : NULL, F, C);
    }
    carve_linear(a, false, &g->head, C, c->vocab_size);
}

static void carve(Engine *g, Arena *a) {
    carve_weights(g, a);
    carve_caches(g, a);
    carve_rows(g, a);
}

static Engine sized(const Model *m, const EngineOptions *o) {
    Engine g = {.model = m,
                .options = *o,
                .max_rows = MAX(ENGINE_CHUNK, o->max_batch),
                .capacity = ROUND_UP(o->max_context, 16)};
    g.cache_floats = kv_cache_floats(g.capacity, m->config.num_key_value_heads, m->config.head_dim);
    return g;
}

int64_t engine_bytes(const Model *m, const EngineOptions *o) {
    Engine probe = sized(m, o);
    Arena count = {.name = "plan"};
    carve(&probe, &count);
    return (int64_t)count.used;
}

// Effective weights are code x scale: the codes come back by division, exactly.
static void pack_codes(Linear *to, const float *effective, float scale) {
    int8_t *codes = xcalloc((size_t)to->O, (size_t)to->I_pad);
    for (int64_t o = 0; o < to->O; o++)
        for (int64_t i = 0; i < to->I; i++) {
            float w = effective[o * to->I + i];
            int8_t code = (int8_t)((w > 0) - (w < 0));
            check((float)code * scale == w, "a ternary weight is no multiple of its scale; model_quantize did not run");
            codes[o * to->I_pad + i] = code;
        }
    ternary_pack(to->codes, codes, to->O, to->I_pad);
    to->scale = scale;
    free(codes);
}

static float scale_of(const Model *m, const float *effective) {
    for (int i = 0; i < m->n_weights; i++)
        if (m->effective + m->weights[i].offset == effective) return m->scales[i];
    die("a weight that is in no row of the table");
}

static void set_linear(const Engine *g, Linear *to, const float *w, const float *bias) {
    to->bias = bias;
    if (to->codes)
        pack_codes(to, w, scale_of(g->model, w));
    else
        matmul_pack(to->panels, w, to->I, to->O);
}

static void set_weights(Engine *g) {
    for (int64_t l = 0; l < g->model->config.num_hidden_layers; l++) {
        const Layer *w = &g->model->effective_layers[l];
        EngineLayer *to = &g->layers[l];
        set_linear(g, &to->q, w->q_proj, w->q_bias);
        set_linear(g, &to->k, w->k_proj, w->k_bias);
        set_linear(g, &to->v, w->v_proj, w->v_bias);
        set_linear(g, &to->o, w->o_proj, NULL);
        set_linear(g, &to->gate, w->gate_proj, NULL);
        set_linear(g, &to->up, w->up_proj, NULL);
        set_linear(g, &to->down, w->down_proj, NULL);
    }
    set_linear(g, &g->head, model_head(g->model), NULL);
}

static bool fits(const Model *m, const EngineOptions *o, Error *e) {
    int64_t limit = m->config.max_position_embeddings;
    if (o->max_batch < 1) return fail(e, EXIT_USAGE, "max_batch: %lld; expected at least 1", (long long)o->max_batch);
    if (o->max_context < 2 || o->max_context > limit)
        return fail(e, EXIT_USAGE, "max_context: %lld; the model's max_position_embeddings allows 2 to %lld",
                    (long long)o->max_context, (long long)limit);
    double need = (double)engine_bytes(m, o), have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return need <= have ||
           fail(e, EXIT_MEMORY,
                "generation: max_batch %lld x max_context %lld needs %.1f GiB, this machine has %.1f GiB; "
                "lower max_batch or max_tokens",
                (long long)o->max_batch, (long long)o->max_context, need / 0x1p30, have / 0x1p30);
}

Engine *engine_create(const Model *m, const EngineOptions *o, Error *e) {
    if (!fits(m, o, e)) return NULL;
    Engine *g = xcalloc(1, sizeof *g);
    *g = sized(m, o);
    arena_init(&g->arena, "generation", (size_t)engine_bytes(m, o));
    carve(g, &g->arena);
    set_weights(g);
    return g;
}

void engine_free(Engine *g) {
    if (!g) return;
    arena_free(&g->arena);
    free(g);
}

// ---- the layers ----

// What the next linears read: x itself, or its int8 codes, which they share.
static void read_input(Engine *g, const float *x, int64_t rows, int64_t I) {
    if (!g->model->config.ternary) return;
    int64_t wide = padded(I);
    const float *from = x;
    if (wide != I) { // zeros change neither the largest magnitude nor the sums
        for (int64_t n = 0; n < rows; n++) {
            memcpy(g->padded + n * wide, x + n * I, (size_t)I * sizeof *x);
            memset(g->padded + n * wide + I, 0, (size_t)(wide - I) * sizeof *x);
        }
        from = g->padded;
    }
    ops_cpu.activation_quant(NULL, g->codes, g->inv_scale, from, rows, wide);
}

static void linear(Engine *g, float *y, const float *x, const Linear *w, int64_t rows) {
    if (w->panels) {
        matmul_packed(y, x, w->panels, w->bias, rows, w->I, w->O, false);
        return;
    }
    ops_cpu.ternary_matmul(y, g->codes, g->inv_scale, w->codes, w->scale, rows, w->I_pad, w->O);
    if (w->bias)
        for (int64_t n = 0; n < rows; n++) ops_cpu.add(y + n * w->O, w->bias, w->O);
}

// x += W y: into the residual stream.
static void linear_add(Engine *g, const float *y, const Linear *w, int64_t rows) {
    if (w->panels) {
        matmul_packed(g->x, y, w->panels, NULL, rows, w->I, w->O, true);
        return;
    }
    linear(g, g->h, y, w, rows);
    ops_cpu.add(g->x, g->h, rows * w->O);
}

static float *cache_of(const Engine *g, float *cache, int64_t layer, int64_t slot) {
    return cache + (layer * g->options.max_batch + slot) * g->cache_floats;
}

static void fill_caches(Engine *g, int64_t layer, int64_t rows) {
    int64_t KV = g->model->config.num_key_value_heads, D = g->model->config.head_dim;
    for (int64_t n = 0; n < rows; n++) {
        float *keys = cache_of(g, g->keys, layer, g->slots[n]), *values = cache_of(g, g->values, layer, g->slots[n]);
        kv_cache_put(keys, values, g->capacity, g->positions[n], g->k + n * KV * D, g->v + n * KV * D, KV, D);
        g->row_keys[n] = keys;
        g->row_values[n] = values;
    }
}

static void project_qkv(Engine *g, const Layer *w, const EngineLayer *e, int64_t rows) {
    const ModelConfig *c = &g->model->config;
    int64_t H = c->num_attention_heads, KV = c->num_key_value_heads, D = c->head_dim;
    float eps = (float)c->rms_norm_eps;
    read_input(g, g->h, rows, c->hidden_size);
    linear(g, c->qk_norm ? g->raw : g->q, g->h, &e->q, rows);
    if (c->qk_norm) ops_cpu.rmsnorm_forward(g->q, g->rstd, g->raw, w->q_norm, eps, rows * H, D);
    linear(g, c->qk_norm ? g->raw : g->k, g->h, &e->k, rows);
    if (c->qk_norm) ops_cpu.rmsnorm_forward(g->k, g->rstd, g->raw, w->k_norm, eps, rows * KV, D);
    linear(g, g->v, g->h, &e->v, rows);
    ops_cpu.rope(g->q, g->positions, g->model->inv_freq, 1, false, rows, H, D);
    ops_cpu.rope(g->k, g->positions, g->model->inv_freq, 1, false, rows, KV, D);
}

static void attention_block(Engine *g, int64_t layer, int64_t rows, int64_t n_docs) {
    const ModelConfig *c = &g->model->config;
    const Layer *w = &g->model->effective_layers[layer];
    int64_t C = c->hidden_size, H = c->num_attention_heads, KV = c->num_key_value_heads, D = c->head_dim;
    float eps = (float)c->rms_norm_eps, scale = 1 / sqrtf((float)D);
    ops_cpu.rmsnorm_forward(g->h, g->rstd, g->x, w->input_layernorm, eps, rows, C);
    project_qkv(g, w, &g->layers[layer], rows);
    fill_caches(g, layer, rows);
    if (n_docs)
        ops_cpu.attention_forward(g->att, g->lse, g->q, g->k, g->v, g->starts, n_docs, scale, c->sliding_window, H, KV,
                                  D);
    else
        ops_cpu.attention_decode(g->att, g->q, g->row_keys, g->row_values, g->lengths, g->capacity, scale,
                                 c->sliding_window, rows, H, KV, D);
    float *out = c->sub_norm ? g->q : g->att;
    if (c->sub_norm) ops_cpu.rmsnorm_forward(out, g->rstd, g->att, w->attn_sub_norm, eps, rows, H * D);
    read_input(g, out, rows, H * D);
    linear_add(g, out, &g->layers[layer].o, rows);
}

static void mlp_block(Engine *g, int64_t layer, int64_t rows) {
    const ModelConfig *c = &g->model->config;
    const Layer *w = &g->model->effective_layers[layer];
    const EngineLayer *e = &g->layers[layer];
    int64_t C = c->hidden_size, F = c->intermediate_size;
    float eps = (float)c->rms_norm_eps;
    ops_cpu.rmsnorm_forward(g->h, g->rstd, g->x, w->post_attention_layernorm, eps, rows, C);
    read_input(g, g->h, rows, C);
    linear(g, g->gate, g->h, &e->gate, rows);
    linear(g, g->up, g->h, &e->up, rows);
    ops_cpu.glu_forward(g->glu, g->gate, g->up, c->act, rows * F);
    float *out = c->sub_norm ? g->gate : g->glu;
    if (c->sub_norm) ops_cpu.rmsnorm_forward(out, g->rstd, g->glu, w->ffn_sub_norm, eps, rows, F);
    read_input(g, out, rows, F);
    linear_add(g, out, &e->down, rows);
}

void engine_step(Engine *g, int64_t n_rows, int64_t n_docs) {
    const ModelConfig *c = &g->model->config;
    for (int64_t n = 0; n < n_rows; n++) g->lengths[n] = g->positions[n] + 1;
    ops_cpu.embed_forward(g->x, g->model->effective_layers[0].embed_tokens, g->tokens, n_rows, c->hidden_size);
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        attention_block(g, l, n_rows, n_docs);
        mlp_block(g, l, n_rows);
    }
}

void engine_head(Engine *g, int64_t rows) {
    const ModelConfig *c = &g->model->config;
    const Layer *top = &g->model->effective_layers[0];
    ops_cpu.rmsnorm_forward(g->h, g->rstd, g->x, top->norm, (float)c->rms_norm_eps, rows, c->hidden_size);
    linear(g, g->logits, g->h, &g->head, rows);
}

void engine_copy_prompt(Engine *g, int64_t to, int64_t from, int64_t length) {
    const ModelConfig *c = &g->model->config;
    for (int64_t l = 0; l < c->num_hidden_layers; l++)
        kv_cache_copy(cache_of(g, g->keys, l, to), cache_of(g, g->values, l, to), cache_of(g, g->keys, l, from),
                      cache_of(g, g->values, l, from), g->capacity, length, c->num_key_value_heads, c->head_dim);
    size_t width = (size_t)c->hidden_size;
    memcpy(g->prompt_end + (size_t)to * width, g->prompt_end + (size_t)from * width, width * sizeof(float));
}
