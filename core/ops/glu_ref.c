// glu_ref: the judge of the gated activations of the feed-forward (Shazeer 2020, SwiGLU; ReLU^2: BitNet b1.58 2B4T).
// Must not know: threads, SIMD.
#include <math.h>

#include "core/ops/ops.h"

static double act_value(int act, double x) { return act == 0 ? x / (1.0 + exp(-x)) : x > 0.0 ? x * x : 0.0; }

static double act_slope(int act, double x) {
    if (act != 0) return x > 0.0 ? 2.0 * x : 0.0;
    double s = 1.0 / (1.0 + exp(-x));
    return s * (1.0 + x * (1.0 - s));
}

void glu_forward_ref(float *y, const float *gate, const float *up, int act, int64_t n) {
    check(act == 0 || act == 1, "glu: unknown activation %d", act);
    for (int64_t i = 0; i < n; i++) y[i] = (float)(act_value(act, gate[i]) * up[i]);
}

void glu_backward_ref(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int act,
                      int64_t n) {
    check(act == 0 || act == 1, "glu: unknown activation %d", act);
    for (int64_t i = 0; i < n; i++) {
        double d = dy[i], g = gate[i], u = up[i];
        dgate[i] = (float)(d * u * act_slope(act, g));
        dup[i] = (float)(d * act_value(act, g));
    }
}
