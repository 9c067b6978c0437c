// load_gguf: a model out of a GGUF file, and the naming that quant's writer shares with this reader.
#pragma once
#include "core/data/gguf.h"
#include "core/model/model.h"

// Metadata -> config. Architectures llama, qwen2, qwen3, bitnet, bitnet-b1.58; anything else is refused by name. Sizes
// are checked against the tensors, so that a model of this config may be created.
bool model_config_from_gguf(const Gguf *g, const char *place, ModelConfig *out, Error *e);
// Tensors -> params (float32); sets m->frozen when the linears are ternary blocks. Then the caller runs model_quantize.
bool model_fill_from_gguf(Model *m, const Gguf *g, const char *place, Error *e);

// general.architecture for a config; NULL when none computes what the model does.
const char *gguf_arch_name(const ModelConfig *c);
// Heads whose rows are reordered in GGUF's "llama" (rotary pairs 2j, 2j+1 instead of j, j + D/2); 0 = stored as it is.
int64_t gguf_permuted_heads(const ModelConfig *c, const Weight *w);
// Reorders heads x head_dim rows of row_bytes each between the two conventions. to and from must not overlap.
void gguf_permute_rows(void *to, const void *from, int64_t heads, int64_t head_dim, size_t row_bytes,
                       bool towards_gguf);
