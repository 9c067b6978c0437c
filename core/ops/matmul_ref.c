// matmul_ref: the judge of the matrix products. Plain loops, double accumulators; never optimised.
// Must not know: oneDNN, threads, SIMD.
#include "core/ops/ops.h"

void matmul_forward_ref(float *y, const float *x, const float *w, const float *bias, int64_t N, int64_t I, int64_t O,
                        bool accumulate) {
    check(!(accumulate && bias), "matmul_forward: bias with accumulate");
    for (int64_t n = 0; n < N; n++) {
        for (int64_t o = 0; o < O; o++) {
            double sum = accumulate ? y[n * O + o] : bias ? bias[o] : 0.0;
            for (int64_t i = 0; i < I; i++) sum += (double)x[n * I + i] * w[o * I + i];
            y[n * O + o] = (float)sum;
        }
    }
}

void matmul_backward_input_ref(float *dx, const float *dy, const float *w, int64_t N, int64_t I, int64_t O,
                               bool accumulate) {
    for (int64_t n = 0; n < N; n++) {
        for (int64_t i = 0; i < I; i++) {
            double sum = accumulate ? dx[n * I + i] : 0.0;
            for (int64_t o = 0; o < O; o++) sum += (double)dy[n * O + o] * w[o * I + i];
            dx[n * I + i] = (float)sum;
        }
    }
}

void matmul_backward_weight_ref(float *dw, float *dbias, const float *dy, const float *x, int64_t N, int64_t I,
                                int64_t O) {
    for (int64_t o = 0; o < O; o++) {
        for (int64_t i = 0; i < I; i++) {
            double sum = dw[o * I + i];
            for (int64_t n = 0; n < N; n++) sum += (double)dy[n * O + o] * x[n * I + i];
            dw[o * I + i] = (float)sum;
        }
        if (!dbias) continue;
        double sum = dbias[o];
        for (int64_t n = 0; n < N; n++) sum += dy[n * O + o];
        dbias[o] = (float)sum;
    }
}
