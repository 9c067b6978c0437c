// matmul_packed: the product of matmul_forward with weights that were put into the kernel's order once instead of at
// every call: for generation, where few rows meet the same weights again and again. The bits are those of
// matmul_forward_cpu in float32. Must not know: whose weights they are.
#pragma once
#include "core/base/base.h"

int64_t matmul_packed_floats(int64_t I, int64_t O);                    // size of the packed copy
void matmul_pack(float *packed, const float *w, int64_t I, int64_t O); // from w[O,I]
// y[N,O] = x[N,I] W^T (+ bias[O] when not NULL); accumulate: y += (then bias must be NULL)
void matmul_packed(float *y, const float *x, const float *packed, const float *bias, int64_t N, int64_t I, int64_t O,
                   bool accumulate);
