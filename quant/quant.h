// quant: what its two commands share: writing the two export formats, and reading them back by other code than wrote
// them. Must not know: training; how a model computes (core/model).
#pragma once
#include "core/base/program.h"
#include "core/data/gguf.h"
#include "core/model/model.h"

extern const Command quant_export_command, quant_verify_command;

// ---- writing ----
// A ternary model whose every number is finite; `model` names it in errors. What both formats need.
bool export_check(const Model *m, const char *model, Error *e);
// GGUF: linears TQ2_0, embeddings and head as `head`, vectors F32, the tokenizer of a folder. Atomic.
bool export_gguf(const Model *m, DType head, const char *name, const char *tokenizer, const char *path, Error *e);
// Packed Hugging Face folder: linears uint8 [rows/4, cols] with weight_scale [1], everything else F32. config.json
// states the convention: autobitlinear/offline (weight_scale = scale, multiplies), or bitlinear (1/scale, divides) for
// models with biases.
bool export_hf(const Model *m, const char *tokenizer, const char *folder, Error *e);
// codes in {-1,0,1} [rows, cols] -> packed [rows/4, cols]: row i * rows/4 + k goes to byte row k, bits 2i, as code + 1.
void hf_pack(uint8_t *packed, const float *effective, int64_t rows, int64_t cols);

// ---- reading back ----
typedef struct Codes {
    int8_t *codes; // [rows, cols] in the order of the Hugging Face weight; malloc'ed
    float scale;   // 0 when no code is different from 0 and the format stores the scale in blocks
} Codes;
// The codes of weight w as they stand in the file. Decoded from the formats' descriptions, not with the writers' code.
bool codes_from_gguf(const Gguf *g, const ModelConfig *c, const Weight *w, Codes *out, Error *e);
// divides: linear_class bitlinear, whose weight_scale is 1/scale.
bool codes_from_hf(const Safetensors *s, const Weight *w, bool divides, Codes *out, Error *e);

// ---- comparing ----
typedef struct Texts { // token sequences laid end to end
    TokenList tokens;
    int64_t *starts; // [n + 1]
    int64_t n;
} Texts;
// From a record file (text, or each message's content), cut to max_tokens; path "" = pseudo-random ids below
// vocab_size.
bool texts_read(Texts *t, const char *path, const char *tokenizer, int64_t vocab_size, int64_t n, int64_t max_tokens,
                Error *e);
void texts_free(Texts *t);

typedef struct LogitsReport {
    int64_t n_tokens;
    double against_training, training_max; // relative RMS and largest absolute difference to the training forward
    double agreement;                      // share of positions with the same largest logit
    double against_engine; // largest absolute difference to generation with the trained model itself: 0 when all
                           // weights agree
    double bound;          // on against_training
} LogitsReport;
// Logits of the export (int8 x 2-bit integer products) against those of the trained model.
bool compare_logits(const Model *trained, const Model *exported, const Texts *texts, LogitsReport *out, Error *e);

// ---- --json ----
// Counts and results of a finished run on stdout.
bool print_results(const Run *run, Error *e);
