#include "core/ops/matmul_bf16.h"
#include "core/ops/ops.h"
bool matmul_bf16_forward(float *y, const float *x, const float *w, const float *bias, int64_t N, int64_t I, int64_t O,
                         bool accumulate) { return false; }
bool matmul_bf16_backward_input(float *dx, const float *dy, const float *w, int64_t N, int64_t I, int64_t O,
                                bool accumulate) { return false; }
bool matmul_bf16_backward_weight(float *dw, const float *dy, const float *x, int64_t N, int64_t I, int64_t O) { return false; }
const char *ops_describe(void) { return "float32 (avx2)"; }
bool ops_use_bf16(bool on) { return !on; }
