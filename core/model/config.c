// config.json <-> ModelConfig. Owns: which families exist and which keys change the mathematics. Every such key is
// either honoured or refused by name before a weight is read; keys that do not matter here (dropout, dtype, cache
// flags) are left alone.
#include "core/model/model.h"

#include <math.h>
#include <string.h>

typedef struct ArchRow { // a new architecture of this family is a row here (and perhaps one in model.def)
    const char *model_type, *class_name;
    bool attention_bias, qk_norm, sub_norm, head_dim_required;
    const char *hidden_act; // default
    double rope_theta;      // default of transformers' config class
} ArchRow;
static const ArchRow arch_rows[ARCH_COUNT] = {
    [ARCH_LLAMA] = {"llama", "LlamaForCausalLM", false, false, false, false, "silu", 10000},
    [ARCH_QWEN2] = {"qwen2", "Qwen2ForCausalLM", true, false, false, false, "silu", 10000},
    [ARCH_QWEN3] = {"qwen3", "Qwen3ForCausalLM", false, true, false, true, "silu", 10000},
    [ARCH_BITNET] = {"bitnet", "BitNetForCausalLM", false, false, true, false, "relu2", 500000},
};
static const char *const act_names[] = {"silu", "relu2"}; // index = glu_forward's act

static bool find_arch(const json_t *o, const char *place, Arch *out, Error *e) {
    const char *type = NULL;
    if (!json_get_text(o, "model_type", place, &type, e)) return false;
    for (int i = 0; i < ARCH_COUNT; i++)
        if (!strcmp(arch_rows[i].model_type, type)) {
            *out = (Arch)i;
            return true;
        }
    return fail(e, EXIT_DATA, "%s: model_type: \"%s\" is not supported; known: llama, qwen2, qwen3, bitnet", place,
                type);
}

static bool read_act(const json_t *o, const char *place, const char *fallback, int *act, Error *e) {
    const char *name = fallback;
    if (!json_opt_text(o, "hidden_act", place, &name, e)) return false;
    for (size_t i = 0; i < COUNT_OF(act_names); i++)
        if (!strcmp(act_names[i], name)) {
            *act = (int)i;
            return true;
        }
    return fail(e, EXIT_DATA, "%s: hidden_act: \"%s\" is not supported; known: silu, relu2", place, name);
}

// Keys whose presence with another value would change the mathematics.
static bool refuse_unsupported(const json_t *o, const char *place, Arch arch, Error *e) {
    const json_t *scaling = json_object_get(o, "rope_scaling");
    if (scaling && !json_is_null(scaling))
        return fail(e, EXIT_DATA, "%s: rope_scaling: scaled rotary embeddings are not supported", place);
    double partial = 1;
    bool attention_bias = arch_rows[arch].attention_bias, mlp_bias = false, sliding = false;
    if (!json_opt_real(o, "partial_rotary_factor", place, &partial, e) ||
        !json_opt_bool(o, "attention_bias", place, &attention_bias, e) ||
        !json_opt_bool(o, "mlp_bias", place, &mlp_bias, e) ||
        !json_opt_bool(o, "use_sliding_window", place, &sliding, e))
        return false;
    if (partial != 1)
        return fail(e, EXIT_DATA, "%s: partial_rotary_factor: %g is not supported, only 1", place, partial);
    if (attention_bias != arch_rows[arch].attention_bias)
        return fail(e, EXIT_DATA, "%s: attention_bias: %s is not supported for model_type %s", place,
                    attention_bias ? "true" : "false", arch_rows[arch].model_type);
    if (mlp_bias) return fail(e, EXIT_DATA, "%s: mlp_bias: true is not supported", place);
    if (sliding) return fail(e, EXIT_DATA, "%s: use_sliding_window: true is not supported (per-layer windows)", place);
    return true;
}

// transformers 4 writes rope_theta, transformers 5 writes rope_parameters {rope_theta, rope_type}.
static bool read_rope(const json_t *o, const char *place, double *theta, Error *e) {
    const json_t *parameters = json_object_get(o, "rope_parameters");
    const char *type = "default";
    if (!json_opt_real(o, "rope_theta", place, theta, e)) return false;
    if (parameters && !json_is_null(parameters)) {
        if (!json_is_object(parameters)) return fail(e, EXIT_DATA, "%s: rope_parameters: expected an object", place);
        if (!json_opt_real(parameters, "rope_theta", place, theta, e) ||
            !json_opt_text(parameters, "rope_type", place, &type, e))
            return false;
    }
    if (strcmp(type, "default"))
        return fail(e, EXIT_DATA, "%s: rope_parameters.rope_type: \"%s\" is not supported, only default", place, type);
    if (!(*theta > 0 && isfinite(*theta)))
        return fail(e, EXIT_DATA, "%s: rope_theta: %g is not a positive number", place, *theta);
    return true;
}

static bool read_quantization(const json_t *o, const char *place, bool *ternary, Error *e) {
    const json_t *q = json_object_get(o, "quantization_config");
    *ternary = false;
    if (!q || json_is_null(q)) return true;
    const char *method = NULL;
    if (!json_get_text(q, "quant_method", place, &method, e)) return fail_in(e, "%s: quantization_config", place);
    if (strcmp(method, "bitnet"))
        return fail(e, EXIT_DATA, "%s: quantization_config.quant_method: \"%s\" is not supported, only bitnet", place,
                    method);
    *ternary = true;
    return true;
}

static bool read_sizes(const json_t *o, const char *place, ModelConfig *c, Error *e) {
    const int64_t most = 1 << 24;
    if (!json_get_int(o, "vocab_size", place, 1, most, &c->vocab_size, e) ||
        !json_get_int(o, "hidden_size", place, 1, most, &c->hidden_size, e) ||
        !json_get_int(o, "intermediate_size", place, 1, most, &c->intermediate_size, e) ||
        !json_get_int(o, "num_hidden_layers", place, 1, 1024, &c->num_hidden_layers, e) ||
        !json_get_int(o, "num_attention_heads", place, 1, 65536, &c->num_attention_heads, e))
        return false;
    c->num_key_value_heads = c->num_attention_heads;
    c->head_dim = c->hidden_size / c->num_attention_heads;
    c->max_position_embeddings = 2048;
    if (!json_opt_int(o, "num_key_value_heads", place, 1, 65536, &c->num_key_value_heads, e) ||
        !json_opt_int(o, "head_dim", place, 2, 65536, &c->head_dim, e) ||
        !json_opt_int(o, "max_position_embeddings", place, 1, 1 << 28, &c->max_position_embeddings, e))
        return false;
    if (c->num_attention_heads % c->num_key_value_heads)
        return fail(e, EXIT_DATA, "%s: num_key_value_heads: %lld does not divide num_attention_heads %lld", place,
                    (long long)c->num_key_value_heads, (long long)c->num_attention_heads);
    if (c->head_dim % 2)
        return fail(e, EXIT_DATA, "%s: head_dim: %lld is odd; rotary embeddings need pairs", place,
                    (long long)c->head_dim);
    return true;
}

static bool read_token_id(const json_t *o, const char *field, const char *place, int32_t *out, Error *e) {
    const json_t *v = json_object_get(o, field);
    int64_t id = -1;
    if (json_is_array(v)) v = json_array_get(v, 0); // several end tokens: the first is the one training uses
    if (v && !json_is_null(v)) {
        if (!json_is_integer(v)) return fail(e, EXIT_DATA, "%s: %s: expected an integer", place, field);
        id = json_integer_value(v);
        if (id < -1 || id > 1 << 24)
            return fail(e, EXIT_DATA, "%s: %s: %lld is out of range", place, field, (long long)id);
    }
    *out = (int32_t)id;
    return true;
}

bool model_config_from_json(const json_t *o, const char *place, ModelConfig *c, Error *e) {
    memset(c, 0, sizeof *c);
    if (!json_is_object(o)) return fail(e, EXIT_DATA, "%s: expected a JSON object", place);
    if (!find_arch(o, place, &c->arch, e) || !refuse_unsupported(o, place, c->arch, e) || !read_sizes(o, place, c, e))
        return false;
    const ArchRow *row = &arch_rows[c->arch];
    c->rope_theta = row->rope_theta;
    c->rms_norm_eps = c->arch == ARCH_BITNET ? 1e-5 : 1e-6;
    c->initializer_range = 0.02;
    c->attention_bias = row->attention_bias;
    c->qk_norm = row->qk_norm;
    c->sub_norm = row->sub_norm;
    if (row->head_dim_required && !json_object_get(o, "head_dim")) c->head_dim = 128; // Qwen3Config's default
    if (!read_rope(o, place, &c->rope_theta, e) || !json_opt_real(o, "rms_norm_eps", place, &c->rms_norm_eps, e) ||
        !json_opt_real(o, "initializer_range", place, &c->initializer_range, e) ||
        !json_opt_bool(o, "tie_word_embeddings", place, &c->tie_word_embeddings, e) ||
        !read_act(o, place, row->hidden_act, &c->act, e) || !read_quantization(o, place, &c->ternary, e) ||
        !read_token_id(o, "bos_token_id", place, &c->bos_token_id, e) ||
        !read_token_id(o, "eos_token_id", place, &c->eos_token_id, e) ||
        !read_token_id(o, "pad_token_id", place, &c->pad_token_id, e))
        return false;
    return true;
}

bool model_config_read(const char *folder, ModelConfig *out, Error *e) {
    char *path = path_join(folder, "config.json");
    json_t *o = json_read_file(path, e);
    bool ok = o && model_config_from_json(o, path, out, e);
    json_decref(o);
    free(path);
    return ok;
}

static void set_token_id(json_t *o, const char *field, int32_t id) {
    json_object_set_new(o, field, id < 0 ? json_null() : json_integer(id));
}

json_t *model_config_to_json(const ModelConfig *c) {
    const ArchRow *row = &arch_rows[c->arch];
    json_t *o = json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:b, s:b, s:b}", "architectures",
        row->class_name, "model_type", row->model_type, "vocab_size", (json_int_t)c->vocab_size, "hidden_size",
        (json_int_t)c->hidden_size, "intermediate_size", (json_int_t)c->intermediate_size, "num_hidden_layers",
        (json_int_t)c->num_hidden_layers, "num_attention_heads", (json_int_t)c->num_attention_heads,
        "num_key_value_heads", (json_int_t)c->num_key_value_heads, "head_dim", (json_int_t)c->head_dim,
        "max_position_embeddings", (json_int_t)c->max_position_embeddings, "hidden_act", act_names[c->act],
        "rope_theta", c->rope_theta, "rms_norm_eps", c->rms_norm_eps, "initializer_range", c->initializer_range,
        "tie_word_embeddings", c->tie_word_embeddings, "attention_bias", c->attention_bias, "use_cache", 1);
    check(o, "config.json could not be built");
    set_token_id(o, "bos_token_id", c->bos_token_id);
    set_token_id(o, "eos_token_id", c->eos_token_id);
    set_token_id(o, "pad_token_id", c->pad_token_id);
    if (c->ternary) // latent weights, quantised on the fly: transformers' AutoBitLinear in "online" mode does the same
        json_object_set_new(o, "quantization_config",
                            json_pack("{s:s, s:s, s:s}", "quant_method", "bitnet", "linear_class", "autobitlinear",
                                      "quantization_mode", "online"));
    return o;
}
