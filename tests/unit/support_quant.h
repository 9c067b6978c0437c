// support_quant: a small ternary model with a tokenizer, as a folder and in memory, for the tests of exports.
#pragma once
#include "tests/unit/support_files.h"

#include "core/model/model.h"

enum { QUANT_VOCAB = 300 };
// Two layers, 256 wide: the smallest that fits TQ2_0. head_dim * heads != hidden_size except for bitnet, whose GGUF
// wants it.
ModelConfig quant_config(Arch arch);
// Random latent weights, written to `folder` with tokenizer files; the model stays with the caller.
Model *quant_model(const ModelConfig *c, const char *folder);
