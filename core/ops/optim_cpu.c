// optim_cpu: the AdamW step and the sum of squares, in parts of fixed size.
// Must not know: schedules, which parameters decay.
#include <math.h>

#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/sum.h"
#include "core/ops/vec_math.h"

enum { ELEMENTS_PER_PART = 8192 };

typedef struct AdamArgs {
    float *param, *m, *v;
    const float *grad;
    float grad_scale, lr, beta1, beta2, eps, weight_decay, inverse1, inverse2; // inverse: 1 / bias correction
} AdamArgs;

static void adamw_part(void *context, int64_t begin, int64_t end) {
    const AdamArgs a = *(const AdamArgs *)context;
    float *restrict param = a.param, *restrict m = a.m, *restrict v = a.v;
    const float *restrict grad = a.grad;
    float rest1 = 1.0f - a.beta1, rest2 = 1.0f - a.beta2;
    for (int64_t i = begin; i < end; i++) {
        float g = grad[i] * a.grad_scale;
        m[i] = a.beta1 * m[i] + rest1 * g;
        v[i] = a.beta2 * v[i] + rest2 * (g * g);
        float step = m[i] * a.inverse1 / (sqrtf(v[i] * a.inverse2) + a.eps);
        param[i] -= a.lr * (step + a.weight_decay * param[i]);
    }
}

void adamw_cpu(float *param, float *m, float *v, const float *grad, float grad_scale, float lr, float beta1,
               float beta2, float eps, float weight_decay, float bias_correction1, float bias_correction2, int64_t n) {
    AdamArgs a = {param,
                  m,
                  v,
                  grad,
                  grad_scale,
                  lr,
                  beta1,
                  beta2,
                  eps,
                  weight_decay,
                  1.0f / bias_correction1,
                  1.0f / bias_correction2};
    parallel_range(n, ELEMENTS_PER_PART, adamw_part, &a);
}

static double block_squares(const float *x, int64_t n) {
    vd sum = {0};
    int64_t i = 0;
    for (; i + VF <= n; i += VF) {
        vd low = vd_of(vf_load(x + i), 0), high = vd_of(vf_load(x + i), 1);
        sum += low * low + high * high;
    }
    double total = vd_sum(sum);
    for (; i < n; i++) total += (double)x[i] * x[i];
    return total;
}

void sum_squares_cpu(double *out, const float *x, int64_t n) { *out = sum_blocks(x, n, block_squares); }
