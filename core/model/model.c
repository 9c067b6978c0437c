// The weight table at work: sizes, pointers, initialisation, quantisation of a model. Must not know: files (load.c,
// save.c), losses.
#include "core/model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/base/thread.h"

typedef struct WeightRow {
    const char *hf, *gguf;
    bool per_layer;
    char init;
    bool decay, linear;
    size_t field; // offset in Layer
} WeightRow;
static const WeightRow rows_table[] = {
#define WEIGHT(field, hf, gguf, per_layer, rows, cols, init, decay, linear, present)                                   \
    {hf, gguf, per_layer, init, decay, linear, offsetof(Layer, field)},
#include "core/model/model.def"
#undef WEIGHT
};

// Shape of a row's weight under a config; false when the model has no such weight.
static bool shape_of(const ModelConfig *c, int row, int64_t *out_rows, int64_t *out_cols) {
    const int64_t V = c->vocab_size, C = c->hidden_size, F = c->intermediate_size, H = c->num_attention_heads,
                  KV = c->num_key_value_heads, D = c->head_dim;
    (void)V, (void)C, (void)F, (void)H, (void)KV, (void)D;
    int i = 0;
#define WEIGHT(field, hf, gguf, per_layer, rows, cols, init, decay, linear, present)                                   \
    if (i++ == row) {                                                                                                  \
        *out_rows = rows;                                                                                              \
        *out_cols = cols;                                                                                              \
        return present;                                                                                                \
    }
#include "core/model/model.def"
#undef WEIGHT
    return false;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // the formats are the table's own
static void add_weight(Model *m, int row, int layer) {
    int64_t rows, cols;
    if (!shape_of(&m->config, row, &rows, &cols)) return;
    const WeightRow *r = &rows_table[row];
    Weight *w = &m->weights[m->n_weights++];
    *w = (Weight){.row = row,
                  .layer = layer,
                  .rows = rows,
                  .cols = cols,
                  .offset = m->n_params,
                  .init = r->init,
                  .decay = r->decay,
                  .linear = r->linear};
    w->n = (rows ? rows : 1) * cols;
    snprintf(w->name, sizeof w->name, r->hf, layer);
    snprintf(w->gguf_name, sizeof w->gguf_name, r->gguf, layer);
    m->n_params += w->n;
}
#pragma GCC diagnostic pop

static void build_weights(Model *m) {
    int n_rows = COUNT_OF(rows_table), first = n_rows, last = -1;
    for (int i = 0; i < n_rows; i++)
        if (rows_table[i].per_layer) first = MIN(first, i), last = i;
    m->weights = xcalloc((size_t)n_rows * (size_t)m->config.num_hidden_layers, sizeof *m->weights);
    for (int i = 0; i < first; i++) add_weight(m, i, -1);
    for (int l = 0; l < m->config.num_hidden_layers; l++)
        for (int i = first; i <= last; i++) add_weight(m, i, l);
    for (int i = last + 1; i < n_rows; i++) add_weight(m, i, -1);
}

Layer *model_views(const Model *m, float *arena) {
    Layer *layers = xcalloc((size_t)m->config.num_hidden_layers, sizeof *layers);
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        char *slot = (char *)&layers[MAX(w->layer, 0)] + rows_table[w->row].field;
        *(float **)(void *)slot = arena + w->offset;
    }
    return layers;
}

Model *model_create(const ModelConfig *c) {
    Model *m = xcalloc(1, sizeof *m);
    m->config = *c;
    build_weights(m);
    m->params = xcalloc((size_t)m->n_params, sizeof *m->params);
    m->layers = model_views(m, m->params);
    m->scales = xcalloc((size_t)m->n_weights, sizeof *m->scales);
    m->inv_freq = xcalloc((size_t)c->head_dim / 2, sizeof *m->inv_freq);
    for (int64_t i = 0; i < c->head_dim / 2; i++)
        m->inv_freq[i] = (float)pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
    m->effective = m->params;
    m->effective_layers = m->layers;
    model_set_ternary(m, c->ternary);
    return m;
}

void model_free(Model *m) {
    if (!m) return;
    if (m->effective != m->params) free(m->effective), free(m->effective_layers);
    free(m->weights), free(m->params), free(m->layers), free(m->inv_freq), free(m->scales);
    free(m);
}

void model_init(Model *m, uint64_t seed) {
    double std = m->config.initializer_range, residual = std / sqrt(2.0 * (double)m->config.num_hidden_layers);
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        float *p = m->params + w->offset;
        for (int64_t j = 0; j < w->n; j++) switch (w->init) {
            case 'N':
                p[j] = (float)(std * rng_normal(seed, RNG_INIT, (uint64_t)(w->offset + j)));
                break;
            case 'R':
                p[j] = (float)(residual * rng_normal(seed, RNG_INIT, (uint64_t)(w->offset + j)));
                break;
            case '1':
                p[j] = 1;
                break;
            default:
                p[j] = 0;
            }
    }
    model_quantize(m);
}

void model_set_ternary(Model *m, bool on) {
    m->config.ternary = on;
    if (on && m->effective == m->params) {
        m->effective = xcalloc((size_t)m->n_params, sizeof *m->effective);
        m->effective_layers = model_views(m, m->effective);
    }
    if (!on && m->effective != m->params) {
        free(m->effective), free(m->effective_layers);
        m->effective = m->params;
        m->effective_layers = m->layers;
    }
    model_quantize(m);
}

// A frozen weight already is code x scale: its scale is the largest magnitude, not the mean.
static void keep_frozen(float *to, float *scale, const float *from, int64_t n) {
    float largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(from[i]));
    *scale = largest;
    memcpy(to, from, (size_t)n * sizeof *to);
}

// Embeddings and head of a ternary model compute as float16, which is how its exports store them.
static void round_to_f16(float *to, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = f16_to_f32(f32_to_f16(from[i]));
}

static void quantize_part(void *context, int64_t part) {
    Model *m = context;
    const Weight *w = &m->weights[part];
    const float *from = m->params + w->offset;
    float *to = m->effective + w->offset;
    if (!w->linear && w->rows)
        round_to_f16(to, from, w->n);
    else if (!w->linear)
        memcpy(to, from, (size_t)w->n * sizeof *to);
    else if (m->frozen)
        keep_frozen(to, &m->scales[part], from, w->n);
    else
        ops_cpu.ternary_quant(to, NULL, &m->scales[part], from, w->n);
}

void model_quantize(Model *m) {
    if (!m->config.ternary) return;
    parallel_for(m->n_weights, quantize_part, m);
}

const Weight *model_weight(const Model *m, const char *hf_name) {
    for (int i = 0; i < m->n_weights; i++)
        if (!strcmp(m->weights[i].name, hf_name)) return &m->weights[i];
    return NULL;
}

const float *model_head(const Model *m) {
    const Layer *top = &m->effective_layers[0];
    return m->config.tie_word_embeddings ? top->embed_tokens : top->lm_head;
}

void model_logits(const Model *m, const Ops *ops, const float *hidden, int64_t rows, float *logits) {
    ops->matmul_forward(logits, hidden, model_head(m), NULL, rows, m->config.hidden_size, m->config.vocab_size, false);
}

double model_flops_per_token(const ModelConfig *c, int64_t context, bool backward) {
    double qkv =
        (double)c->hidden_size * (double)(c->num_attention_heads + 2 * c->num_key_value_heads) * (double)c->head_dim;
    double out = (double)c->hidden_size * (double)(c->num_attention_heads * c->head_dim);
    double mlp = 3.0 * (double)c->hidden_size * (double)c->intermediate_size;
    double attention =
        (double)(c->num_attention_heads * c->head_dim) * (double)context; // causal: half of T, for QK^T and PV
    double per_layer = 2 * (qkv + out + mlp) + 2 * attention;
    double forward = (double)c->num_hidden_layers * per_layer + 2.0 * (double)c->vocab_size * (double)c->hidden_size;
    return backward ? 3 * forward : forward;
}
