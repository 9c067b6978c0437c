// optim_ref: the judge of AdamW (Loshchilov & Hutter 2019) and of the sum of squares. Double arithmetic.
// Must not know: schedules, which parameters decay, threads.
#include <math.h>

#include "core/ops/ops.h"

void adamw_ref(float *param, float *m, float *v, const float *grad, float grad_scale, float lr, float beta1,
               float beta2, float eps, float weight_decay, float bias_correction1, float bias_correction2, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = (double)grad[i] * grad_scale;
        double mean = (double)beta1 * m[i] + (1.0 - beta1) * g;
        double square = (double)beta2 * v[i] + (1.0 - beta2) * g * g;
        double step = mean / bias_correction1 / (sqrt(square / bias_correction2) + eps);
        m[i] = (float)mean;
        v[i] = (float)square;
        param[i] = (float)(param[i] - lr * (step + (double)weight_decay * param[i]));
    }
}

void sum_squares_ref(double *out, const float *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    *out = sum;
}
