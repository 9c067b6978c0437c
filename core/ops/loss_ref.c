// loss_ref: the judge of cross-entropy and of the distillation loss (Hinton et al. 2015). Double accumulators.
// Must not know: threads, SIMD, what the weights mean.
#include <math.h>

#include "core/ops/ops.h"

// log of the sum of exp(x / tau) over a row.
static double log_sum_exp(const float *x, double tau, int64_t V) {
    double top = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < V; i++) top = MAX(top, x[i] / tau);
    for (int64_t i = 0; i < V; i++) sum += exp(x[i] / tau - top);
    return top + log(sum);
}

void cross_entropy_ref(float *logits, float *logprob, const int32_t *target, const float *weight, int64_t N,
                       int64_t V) {
    for (int64_t n = 0; n < N; n++) {
        float *row = logits + n * V;
        bool skip = target[n] < 0 || weight[n] == 0.0f;
        check(skip || target[n] < V, "cross_entropy: target %d of %lld", target[n], (long long)V);
        double lse = skip ? 0.0 : log_sum_exp(row, 1.0, V);
        if (!skip) logprob[n] = (float)(row[target[n]] - lse);
        for (int64_t i = 0; i < V; i++) {
            row[i] = skip ? 0.0f : (float)(weight[n] * (exp(row[i] - lse) - (i == target[n] ? 1.0 : 0.0)));
        }
    }
}

void kl_forward_loss_ref(float *dlogits, float *loss, const float *student, const float *teacher, const float *weight,
                         float tau, int64_t N, int64_t V) {
    for (int64_t n = 0; n < N; n++) {
        loss[n] = 0.0f;
        if (weight[n] == 0.0f) continue;
        const float *s = student + n * V, *t = teacher + n * V;
        double s_lse = log_sum_exp(s, tau, V), t_lse = log_sum_exp(t, tau, V), kl = 0.0;
        for (int64_t i = 0; i < V; i++) {
            double log_p = (double)t[i] / tau - t_lse, log_q = (double)s[i] / tau - s_lse, p = exp(log_p);
            if (p > 0.0) kl += p * (log_p - log_q); // the limit of p log p at 0 is 0
            dlogits[n * V + i] = (float)(dlogits[n * V + i] + (double)weight[n] * tau * (exp(log_q) - p));
        }
        loss[n] = (float)(kl * tau * tau);
    }
}
