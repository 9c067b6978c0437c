// load_gguf: a model out of a GGUF file: metadata -> ModelConfig, tensors -> params. Owns: the names of llama.cpp's
// architectures and what they imply. Every size the metadata claims is compared with the tensors before a model of that
// size is made. Source: gguf-py constants and llama.cpp's loaders (src/llama-arch, src/llama-model).
#include "core/model/load_gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct GgufArch {
    const char *name;       // general.architecture
    const char *model_type; // Hugging Face
    const char *hidden_act; // fixed by the architecture
} GgufArch;
static const GgufArch gguf_archs[] = {
    {"llama", "llama", "silu"},          {"qwen2", "qwen2", "silu"}, {"qwen3", "qwen3", "silu"},
    {"bitnet", "bitnet", "silu"},        // llama.cpp computes SiLU whatever the model was trained with
    {"bitnet-b1.58", "bitnet", "relu2"}, // bitnet.cpp
};

const char *gguf_arch_name(const ModelConfig *c) {
    static const char *const model_types[ARCH_COUNT] = {
        [ARCH_LLAMA] = "llama", [ARCH_QWEN2] = "qwen2", [ARCH_QWEN3] = "qwen3", [ARCH_BITNET] = "bitnet"};
    static const char *const acts[] = {"silu", "relu2"};
    for (size_t i = 0; i < COUNT_OF(gguf_archs); i++)
        if (strcmp(gguf_archs[i].model_type, model_types[c->arch]) == 0 &&
            strcmp(gguf_archs[i].hidden_act, acts[c->act]) == 0)
            return gguf_archs[i].name;
    return NULL;
}

void gguf_permute_rows(void *to, const void *from, int64_t heads, int64_t head_dim, size_t row_bytes,
                       bool towards_gguf) {
    for (int64_t h = 0; h < heads; h++)
        for (int64_t half = 0; half < 2; half++)
            for (int64_t j = 0; j < head_dim / 2; j++) {
                int64_t split = h * head_dim + half * (head_dim / 2) + j, pairs = h * head_dim + 2 * j + half;
                memcpy((char *)to + (size_t)(towards_gguf ? pairs : split) * row_bytes,
                       (const char *)from + (size_t)(towards_gguf ? split : pairs) * row_bytes, row_bytes);
            }
}

int64_t gguf_permuted_heads(const ModelConfig *c, const Weight *w) {
    if (c->arch != ARCH_LLAMA || w->rows == 0) return 0;
    if (strstr(w->gguf_name, ".attn_q.weight")) return c->num_attention_heads;
    return strstr(w->gguf_name, ".attn_k.weight") ? c->num_key_value_heads : 0;
}

// ---- metadata ----

typedef struct Reader {
    const Gguf *g;
    const char *place, *arch;
    json_t *config; // Hugging Face's config.json as far as it is known
    Error *e;
} Reader;

static const json_t *arch_value(const Reader *r, const char *key) {
    char *full = xasprintf("%s.%s", r->arch, key);
    const json_t *value = gguf_get(r->g, full);
    free(full);
    return value;
}

// GGUF stores reals as float32: 1e-6 comes back as 9.99999997e-07. The shortest decimal that is the same float32 was
// meant.
static double meant(double x) {
    char text[40];
    if ((double)(float)x != x) return x;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((float)strtod(text, NULL) == (float)x) break;
    }
    return strtod(text, NULL);
}

// <arch>.<key> -> the config's field; an absent optional key leaves the field alone.
static bool take(Reader *r, const char *key, const char *field, bool real, bool required) {
    const json_t *value = arch_value(r, key);
    if (value == NULL)
        return !required ||
               fail(r->e, EXIT_DATA, "%s: %s.%s: missing; convert the model again", r->place, r->arch, key);
    if (!(real ? json_is_number(value) : json_is_integer(value)))
        return fail(r->e, EXIT_DATA, "%s: %s.%s: expected %s", r->place, r->arch, key,
                    real ? "a number" : "an integer");
    json_object_set_new(r->config, field,
                        real ? json_real(meant(json_number_value(value))) : json_integer(json_integer_value(value)));
    return true;
}

static bool find_arch(Reader *r) {
    const char *name = json_string_value(gguf_get(r->g, "general.architecture"));
    if (name == NULL) return fail(r->e, EXIT_DATA, "%s: general.architecture: missing", r->place);
    for (size_t i = 0; i < COUNT_OF(gguf_archs); i++) {
        if (strcmp(gguf_archs[i].name, name) != 0) continue;
        r->arch = gguf_archs[i].name;
        json_object_set_new(r->config, "model_type", json_string(gguf_archs[i].model_type));
        json_object_set_new(r->config, "hidden_act", json_string(gguf_archs[i].hidden_act));
        return true;
    }
    return fail(
        r->e, EXIT_DATA,
        "%s: general.architecture: \"%.32s\" is not supported; known: llama, qwen2, qwen3, bitnet, bitnet-b1.58",
        r->place, name);
}

// Keys that would change the mathematics in a way that is not implemented.
static bool refuse_unsupported(const Reader *r) {
    static const struct {
        const char *key;
        double harmless;
    } keys[] = {{"rope.scaling.factor", 1}, {"attention.sliding_window", 0}, {"expert_count", 0}};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const json_t *value = arch_value(r, keys[i].key);
        if (value != NULL && (!json_is_number(value) || json_number_value(value) != keys[i].harmless))
            return fail(r->e, EXIT_DATA, "%s: %s.%s is not supported", r->place, r->arch, keys[i].key);
    }
    const json_t *scaling = arch_value(r, "rope.scaling.type");
    const char *type = json_string_value(scaling);
    return scaling == NULL || (type != NULL && strcmp(type, "none") == 0) ||
           fail(r->e, EXIT_DATA, "%s: %s.rope.scaling.type: scaled rotary embeddings are not supported", r->place,
                r->arch);
}

// Whatever has no key of its own in GGUF: llama.cpp's defaults, and what the tensors show.
static bool take_implied(Reader *r) {
    json_int_t C = json_integer_value(json_object_get(r->config, "hidden_size"));
    json_int_t H = json_integer_value(json_object_get(r->config, "num_attention_heads"));
    if (H <= 0) return fail(r->e, EXIT_DATA, "%s: %s.attention.head_count: must be at least 1", r->place, r->arch);
    const TensorView *embedding = gguf_find(r->g, "token_embd.weight"),
                     *linear = gguf_find(r->g, "blk.0.attn_q.weight");
    if (embedding == NULL || embedding->n_dims != 2)
        return fail(r->e, EXIT_DATA, "%s: token_embd.weight: missing or no matrix; this file holds no whole model",
                    r->place);
    json_object_set_new(r->config, "head_dim", json_integer(C / H));
    json_object_set_new(r->config, "rope_theta", json_real(10000));
    json_object_set_new(r->config, "vocab_size", json_integer(embedding->shape[0]));
    json_object_set_new(r->config, "tie_word_embeddings", json_boolean(gguf_find(r->g, "output.weight") == NULL));
    if (linear != NULL && (linear->dtype == DTYPE_TQ1_0 || linear->dtype == DTYPE_TQ2_0))
        json_object_set_new(r->config, "quantization_config", json_pack("{s:s}", "quant_method", "bitnet"));
    static const char *const ids[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                         {"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                         {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        const json_t *id = gguf_get(r->g, ids[i][0]);
        if (id == NULL) continue;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= embedding->shape[0])
            return fail(r->e, EXIT_DATA, "%s: %s: not an id of the vocabulary", r->place, ids[i][0]);
        json_object_set_new(r->config, ids[i][1], json_integer(json_integer_value(id)));
    }
    return true;
}

static bool take_metadata(Reader *r) {
    return find_arch(r) && refuse_unsupported(r) && take(r, "embedding_length", "hidden_size", false, true) &&
           take(r, "block_count", "num_hidden_layers", false, true) &&
           take(r, "feed_forward_length", "intermediate_size", false, true) &&
           take(r, "attention.head_count", "num_attention_heads", false, true) &&
           take(r, "attention.head_count_kv", "num_key_value_heads", false, false) &&
           take(r, "context_length", "max_position_embeddings", false, true) &&
           take(r, "attention.layer_norm_rms_epsilon", "rms_norm_eps", true, true) && take_implied(r) &&
           take(r, "attention.key_length", "head_dim", false, false) &&
           take(r, "rope.freq_base", "rope_theta", true, false);
}

// ---- metadata against tensors ----

static bool same_if_there(const Reader *r, const char *key, int64_t expected) {
    const json_t *value = arch_value(r, key);
    return value == NULL || (json_is_integer(value) && json_integer_value(value) == expected) ||
           fail(r->e, EXIT_DATA, "%s: %s.%s: must be %lld here", r->place, r->arch, key, (long long)expected);
}

static bool has_shape(const Gguf *g, const char *name, int64_t rows, int64_t cols) {
    const TensorView *t = gguf_find(g, name);
    return t != NULL && t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
}

// Each layer's largest matrix must be there: then the model is not larger than the file makes plausible.
static bool check_sizes(const Reader *r, const ModelConfig *c) {
    if (!has_shape(r->g, "token_embd.weight", c->vocab_size, c->hidden_size))
        return fail(r->e, EXIT_DATA, "%s: token_embd.weight: its shape does not fit %s.embedding_length", r->place,
                    r->arch);
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        char q[64], gate[64];
        snprintf(q, sizeof q, "blk.%lld.attn_q.weight", (long long)l);
        snprintf(gate, sizeof gate, "blk.%lld.ffn_gate.weight", (long long)l);
        if (!has_shape(r->g, q, c->num_attention_heads * c->head_dim, c->hidden_size) ||
            !has_shape(r->g, gate, c->intermediate_size, c->hidden_size))
            return fail(r->e, EXIT_DATA,
                        "%s: blk.%lld: attn_q or ffn_gate is missing or has another shape than the metadata says",
                        r->place, (long long)l);
    }
    const json_t *tokens = gguf_get(r->g, "tokenizer.ggml.tokens");
    if (tokens != NULL && json_array_size(tokens) != (size_t)c->vocab_size)
        return fail(r->e, EXIT_DATA, "%s: tokenizer.ggml.tokens: %zu tokens, token_embd.weight has %lld rows", r->place,
                    json_array_size(tokens), (long long)c->vocab_size);
    if (!(c->rms_norm_eps > 0)) return fail(r->e, EXIT_DATA, "%s: layer_norm_rms_epsilon must be positive", r->place);
    return same_if_there(r, "vocab_size", c->vocab_size) && same_if_there(r, "rope.dimension_count", c->head_dim) &&
           same_if_there(r, "attention.value_length", c->head_dim);
}

bool model_config_from_gguf(const Gguf *g, const char *place, ModelConfig *out, Error *e) {
    Reader r = {.g = g, .place = place, .config = json_object(), .e = e};
    bool ok = take_metadata(&r) && model_config_from_json(r.config, place, out, e) && check_sizes(&r, out);
    json_decref(r.config);
    return ok;
}

// ---- tensors ----

static bool is_ternary(DType t) { return t == DTYPE_TQ1_0 || t == DTYPE_TQ2_0; }

// Blocks carry a scale each; the ternary linear of this project has one for the whole weight.
static bool check_one_scale(const Weight *w, const float *x, Error *e) {
    float scale = 0;
    for (int64_t i = 0; i < w->n; i++) scale = fmaxf(scale, fabsf(x[i]));
    for (int64_t i = 0; i < w->n; i++)
        if (x[i] != 0 && fabsf(x[i]) != scale)
            return fail(e, EXIT_DATA,
                        "%s: its blocks have different scales (%g and %g); only one scale per tensor is supported",
                        w->gguf_name, (double)fabsf(x[i]), (double)scale);
    return isfinite(scale) || fail(e, EXIT_DATA, "%s: a block's scale is not a finite number", w->gguf_name);
}

static bool fill_weight(Model *m, const Weight *w, const TensorView *t, Error *e) {
    bool shape = w->rows ? t->n_dims == 2 && t->shape[0] == w->rows && t->shape[1] == w->cols
                         : t->n_dims == 1 && t->shape[0] == w->cols;
    if (!shape) return fail(e, EXIT_DATA, "%s: another shape than the metadata asks for", w->gguf_name);
    if (w->linear && is_ternary(t->dtype) != m->config.ternary)
        return fail(e, EXIT_DATA, "%s: %s; either all linear weights are ternary or none", w->gguf_name,
                    dtype_rows[t->dtype].name);
    float *to = m->params + w->offset;
    if (!dtype_to_f32(t->dtype, t->data, t->n_elements, to))
        return fail(e, EXIT_DATA, "%s: %s holds no weights", w->gguf_name, dtype_rows[t->dtype].name);
    if (w->linear && m->config.ternary && !check_one_scale(w, to, e)) return false;
    int64_t heads = gguf_permuted_heads(&m->config, w);
    if (heads > 0) {
        size_t bytes = (size_t)w->n * sizeof *to;
        float *copy = xmalloc(bytes);
        memcpy(copy, to, bytes);
        gguf_permute_rows(to, copy, heads, m->config.head_dim, (size_t)w->cols * sizeof *to, false);
        free(copy);
    }
    return true;
}

static bool refuse_unknown(const Model *m, const Gguf *g, Error *e) {
    for (int64_t i = 0; i < gguf_count(g); i++) {
        const char *name = gguf_at(g, i)->name;
        bool known = false;
        for (int k = 0; k < m->n_weights && !known; k++) known = strcmp(m->weights[k].gguf_name, name) == 0;
        if (!known) return fail(e, EXIT_DATA, "%s: a tensor that this architecture does not have", name);
    }
    return true;
}

bool model_fill_from_gguf(Model *m, const Gguf *g, const char *place, Error *e) {
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        const TensorView *t = gguf_find(g, w->gguf_name);
        if (t == NULL) return fail(e, EXIT_DATA, "%s: %s: missing", place, w->gguf_name);
        if (!fill_weight(m, w, t, e)) return fail_in(e, "%s", place);
    }
    if (gguf_count(g) != m->n_weights && !refuse_unknown(m, g, e)) return fail_in(e, "%s", place);
    m->frozen = m->config.ternary;
    return true;
}
