// model: config.json -> Model; the weight table (model.def) drives sizes, pointers, load, init, decay, ternary, save.
// Two orthogonal axes: which loss is the trainer's affair; which linear (float or ternary) is a property of the model,
// held here. Families: Llama 2/3, Qwen2, Qwen3, BitNet (SubLN). What is not supported is refused naming the config.json
// key, before weights are read.
#pragma once
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/data/dtype.h"
#include "core/ops/ops.h"

typedef enum Arch { ARCH_LLAMA, ARCH_QWEN2, ARCH_QWEN3, ARCH_BITNET, ARCH_COUNT } Arch;

typedef struct ModelConfig { // Hugging Face names
    Arch arch;
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
        head_dim;
    int64_t max_position_embeddings, sliding_window; // 0 = none
    double rope_theta, rms_norm_eps, initializer_range;
    bool tie_word_embeddings, attention_bias, qk_norm, sub_norm;
    int act;      // glu_forward's act
    bool ternary; // linears are BitLinear: quantization_config.quant_method = "bitnet"
    int32_t bos_token_id, eos_token_id, pad_token_id; // -1 = none
} ModelConfig;

// One weight tensor of a model: a row of model.def at a layer.
typedef struct Weight {
    char name[96]; // Hugging Face
    char gguf_name[64];
    int row, layer;     // row of model.def; layer or -1
    int64_t rows, cols; // rows 0 = vector
    int64_t offset, n;  // elements in the parameter arena
    char init;
    bool decay, linear;
} Weight;

typedef struct Layer { // pointers into an arena of float32; NULL when the model has no such weight
#define WEIGHT(field, hf, gguf, per_layer, rows, cols, init, decay, linear, present) float *field;
#include "core/model/model.def"
#undef WEIGHT
} Layer; // per-layer fields in layers[l], the others in layers[0]

typedef struct Model {
    ModelConfig config;
    Weight *weights; // in file order of model.def: embed, layer 0, layer 1, ..., norm, lm_head
    int n_weights;
    int64_t n_params;
    float *params;   // master weights, float32 [n_params]; owned
    Layer *layers;   // views of params
    float *inv_freq; // [D/2]
    // Ternary models: effective weights (linears code * scale, embeddings and head rounded to float16, norms as they
    // are), refreshed from params by model_quantize; forward reads these.
    float *effective; // == params for a float model
    Layer *effective_layers;
    float *scales; // [n_weights], 0 for weights that are not ternary
    bool frozen;   // read from a packed export: the linears in params already are code x scale and cannot be trained
                   // further
} Model;

// config.json alone; checks every key that changes the mathematics.
bool model_config_read(const char *folder, ModelConfig *out, Error *e);
bool model_config_from_json(const json_t *object, const char *place, ModelConfig *out, Error *e);
json_t *model_config_to_json(const ModelConfig *c);

Model *model_create(const ModelConfig *c);     // zeroed weights
void model_init(Model *m, uint64_t seed);      // by the table's init column
Model *model_load(const char *path, Error *e); // a Hugging Face folder or a .gguf; weights become float32
// Hugging Face folder: config.json, generation_config.json, model.safetensors (dtype F32, BF16 or F16); tokenizer files
// are copied from tokenizer_folder when not NULL. Atomic per file.
bool model_save(const Model *m, const char *folder, DType dtype, const char *tokenizer_folder, Error *e);
// What stands beside the weights: config.json (takes the reference), generation_config.json, the tokenizer's files.
bool model_save_around(const Model *m, const char *folder, json_t *config, const char *tokenizer_folder, Error *e);
void model_free(Model *m);
// Same config with ternary linears switched on (weights shared by copy): what quantization-aware training starts from.
void model_set_ternary(Model *m, bool on);
void model_quantize(
    Model *m); // params -> effective, scales; no-op for float models. Call after every update of params.
const Weight *model_weight(const Model *m, const char *hf_name);
// Views of any arena with the layout of params (gradients, moments): layers[max(1,L)]. malloc'ed.
Layer *model_views(const Model *m, float *arena);

// --- training-side forward and backward over N tokens laid end to end ---
typedef struct Batch { // all arrays owned by the caller
    int64_t n_tokens, n_docs;
    const int32_t *tokens;    // [N]
    const int32_t *positions; // [N] restart at 0 in each document
    const int32_t *starts;    // [n_docs + 1]
} Batch;

typedef struct Activations Activations; // sized once for max_tokens; see model_plan
Activations *activations_create(const Model *m, int64_t max_tokens, bool for_training);
int64_t activations_bytes(const Model *m, int64_t max_tokens, bool for_training);
void activations_free(Activations *a);

// Final hidden states after the last norm: [N, C], valid until the next call. ops: &ops_cpu or &ops_ref.
const float *model_forward(const Model *m, const Ops *ops, Activations *a, const Batch *b);
// Backward from d(loss)/d(hidden) [N, C] (overwritten); adds into grads [n_params]. Must follow model_forward on the
// same batch.
void model_backward(const Model *m, const Ops *ops, Activations *a, const Batch *b, float *dhidden, float *grads);

// The head, in chunks: logits = hidden . head^T. Whoever wants a loss asks for chunks of rows.
const float *model_head(const Model *m); // [V, C], effective weights
void model_logits(const Model *m, const Ops *ops, const float *hidden, int64_t rows, float *logits); // [rows, V]

// FLOPs of forward+backward per token at context T (matrix products and causal attention), for MFU and plans.
double model_flops_per_token(const ModelConfig *c, int64_t context, bool backward);
