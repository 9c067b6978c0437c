// ternary_cpu
#include "core/ops/ops.h"
void ternary_quant_cpu(float *wq, int8_t *codes, float *scale, const float *w, int64_t n) { ternary_quant_ref(wq, codes, scale, w, n); }
void activation_quant_cpu(float *xq, int8_t *q, float *inv_scale, const float *x, int64_t rows, int64_t C) { activation_quant_ref(xq, q, inv_scale, x, rows, C); }
void ternary_matmul_cpu(float *y, const int8_t *q, const float *inv_scale, const uint8_t *packed, float scale, int64_t N, int64_t I, int64_t O) { ternary_matmul_ref(y, q, inv_scale, packed, scale, N, I, O); }
