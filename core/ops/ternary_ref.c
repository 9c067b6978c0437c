// ternary_ref: the judge of the two quantisers of BitNet b1.58 (Ma et al. 2024) and of the integer product.
// Must not know: threads, SIMD, any file format (the 2-bit order is ops.def's).
#include <math.h>

#include "core/base/half.h"
#include "core/ops/ops.h"

void ternary_quant_ref(float *wq, int8_t *codes, float *scale, const float *w, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)w[i]);
    float s = half_to_float(float_to_half(fmaxf((float)(sum / (double)n), 1e-5f)));
    *scale = s;
    for (int64_t i = 0; i < n; i++) {
        float code = rintf(w[i] / s) + 0.0f; // half to even; -0 becomes +0, the only zero a code has
        code = code < -1.0f ? -1.0f : code > 1.0f ? 1.0f : code;
        wq[i] = code * s;
        if (codes) codes[i] = (int8_t)((code > 0.0f) - (code < 0.0f)); // a NaN weight has code 0 and wq NaN
    }
}

void activation_quant_ref(float *xq, int8_t *q, float *inv_scale, const float *x, int64_t rows, int64_t C) {
    for (int64_t n = 0; n < rows; n++) {
        float top = 1e-5f;
        for (int64_t c = 0; c < C; c++) top = fmaxf(top, fabsf(x[n * C + c]));
        float s = 127.0f / top;
        if (inv_scale) inv_scale[n] = 1.0f / s;
        for (int64_t c = 0; c < C; c++) {
            float code = rintf(x[n * C + c] * s) + 0.0f;
            code = code < -128.0f ? -128.0f : code > 127.0f ? 127.0f : code;
            if (xq) xq[n * C + c] = code / s;
            if (q) q[n * C + c] = isnan(code) ? 0 : (int8_t)code;
        }
    }
}

void ternary_matmul_ref(float *y, const int8_t *q, const float *inv_scale, const uint8_t *packed, float scale,
                        int64_t N, int64_t I, int64_t O) {
    check(I % 128 == 0, "ternary_matmul: %lld inputs are no multiple of 128", (long long)I);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t o = 0; o < O; o++) {
            int32_t sum = 0;
            for (int64_t i = 0; i < I; i++) {
                uint8_t byte = packed[o * (I / 4) + i / 128 * 32 + i % 32];
                sum += q[n * I + i] * ((byte >> (2 * (i % 128 / 32)) & 3) - 1);
            }
            y[n * O + o] =
                (float)sum * inv_scale[n] * scale; // in this order, so that every version gives the same bits
        }
    }
}
