// load_gguf: a model out of a GGUF file. Internal to core/model: model_load calls it for paths that end in .gguf.
#pragma once
#include "core/data/gguf.h"
#include "core/model/model.h"

// Metadata -> config. Architectures llama, qwen2, qwen3, bitnet; anything else is refused by name.
bool model_config_from_gguf(const Gguf *g, const char *place, ModelConfig *out, Error *e);
// Tensors -> params (float32); sets m->frozen when the linears are ternary blocks. Then the caller runs model_quantize.
bool model_fill_from_gguf(Model *m, const Gguf *g, const char *place, Error *e);
