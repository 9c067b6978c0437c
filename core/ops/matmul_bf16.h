// matmul_bf16: the matrix products with inputs rounded to bfloat16 and sums in float32, by oneDNN, where the machine
// multiplies bfloat16 faster than float32 (AVX-512 BF16, AMX). Each function returns false when it does not take the
// product: bfloat16 is off, or there are too few rows to pay for the conversion; float32 is then the caller's.
// Must not know: who chose bfloat16.
#pragma once
#include "core/base/base.h"

bool matmul_bf16_forward(float *y, const float *x, const float *w, const float *bias, int64_t N, int64_t I, int64_t O,
                         bool accumulate);
bool matmul_bf16_backward_input(float *dx, const float *dy, const float *w, int64_t N, int64_t I, int64_t O,
                                bool accumulate);
bool matmul_bf16_backward_weight(float *dw, const float *dy, const float *x, int64_t N, int64_t I, int64_t O);
