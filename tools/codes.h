// codes: how often a ternary tensor says -1, 0 and +1.
#pragma once
#include "core/data/safetensors.h"

bool is_ternary(DType t); // TQ1_0 or TQ2_0
// Shares of the codes -1, 0, +1; false for a tensor of another dtype or without elements.
bool ternary_fractions(const TensorView *t, double out[3]);
