// engine: what the two halves of generation share: infer.c (memory and the layers' mathematics) and generate.c (who
// runs when). Private to core/model; users include infer.h.
#pragma once
#include "core/model/infer.h"

enum { ENGINE_CHUNK = 1024 }; // tokens of one prefill step

// One linear: float32 panels (core/ops/matmul_packed.h), or 2-bit codes over inputs padded with zeros to I_pad (a
// multiple of 128).
typedef struct Linear {
    float *panels;     // NULL: ternary
    uint8_t *codes;    // [O, I_pad/4]
    float scale;       // of the codes
    const float *bias; // [O] or NULL
    int64_t I, I_pad, O;
} Linear;

typedef struct EngineLayer {
    Linear q, k, v, o, gate, up, down;
} EngineLayer;

struct Engine {
    const Model *model;
    EngineOptions options;
    int64_t max_rows;               // tokens of one step: max(chunk, max_batch)
    int64_t capacity, cache_floats; // of one cache (core/ops/kv_cache.h): tokens; floats
    Arena arena;
    EngineLayer *layers;
    Linear head; // float in every model

    float *keys, *values; // [L, max_batch, cache_floats]
    float *prompt_end;    // [max_batch, C]: residual stream after the last prompt token of the request in that slot

    // One step: n_rows tokens, each at a position of a slot.
    int32_t *tokens, *positions, *slots;  // [max_rows]
    int32_t *starts;                      // [max_rows + 1]: whole prompts laid end to end
    int32_t *lengths;                     // [max_rows]: positions + 1
    const float **row_keys, **row_values; // [max_rows]: the caches of the rows' slots in the layer at work
    float *x, *h, *raw, *q, *k, *v, *att, *gate, *up, *glu; // [max_rows, ...]: activations
    float *lse, *rstd;
    float *padded;    // [max_rows, max I_pad] when an input is no multiple of 128
    int8_t *codes;    // [max_rows, max I_pad]
    float *inv_scale; // [max_rows]

    float *logits;    // [max_batch, V]
    int32_t *history; // [max_batch, max_context]: prompt + answer of the request in that slot
    float *logprobs;  // [max_batch, max_context]: of the answer
    int32_t *chosen;  // [max_batch]
    float *chosen_logprob;
};

// Runs the rows set in tokens/positions/slots through all layers and writes their keys and values into the caches; x
// then holds the residual stream. n_docs > 0: whole prompts from position 0, laid end to end as in starts. 0: each row
// attends to its slot's cache.
void engine_step(Engine *g, int64_t n_rows, int64_t n_docs);
// x[rows, C] -> logits[rows, V]; rows <= max_batch.
void engine_head(Engine *g, int64_t rows);
// Copies the first `length` cache rows and the prompt's end from one slot to another.
void engine_copy_prompt(Engine *g, int64_t to, int64_t from, int64_t length);
