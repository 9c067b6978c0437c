// glu_cpu: the gated activations of the feed-forward, eight elements at a time.
// Must not know: which layer calls.
#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum { ELEMENTS_PER_PART = 8192 };

typedef struct GluArgs {
    float *y, *dgate, *dup;
    const float *dy, *gate, *up;
    int act;
} GluArgs;

static vf sigmoid(vf x) { return 1.0f / (1.0f + vf_exp(-x)); }
static vf relu(vf x) { return vf_select(x <= 0.0f, vf_set(0.0f), x); } // NaN stays

static void forward_part(void *context, int64_t begin, int64_t end) {
    const GluArgs *a = context;
    for (int64_t i = begin; i < end; i += VF) {
        vf g = vf_load_n(a->gate + i, end - i), up = vf_load_n(a->up + i, end - i), r = relu(g);
        vf_store_n(a->y + i, (a->act == 0 ? g * sigmoid(g) : r * r) * up, end - i);
    }
}

void glu_forward_cpu(float *y, const float *gate, const float *up, int act, int64_t n) {
    check(act == 0 || act == 1, "glu: unknown activation %d", act);
    GluArgs a = {.y = y, .gate = gate, .up = up, .act = act};
    parallel_range(n, ELEMENTS_PER_PART, forward_part, &a);
}

static void backward_part(void *context, int64_t begin, int64_t end) {
    const GluArgs *a = context;
    for (int64_t i = begin; i < end; i += VF) {
        vf d = vf_load_n(a->dy + i, end - i), g = vf_load_n(a->gate + i, end - i), up = vf_load_n(a->up + i, end - i);
        vf s = sigmoid(g), r = relu(g);
        vf value = a->act == 0 ? g * s : r * r;
        vf slope = a->act == 0 ? s * (1.0f + g * (1.0f - s)) : 2.0f * r;
        vf_store_n(a->dgate + i, d * up * slope, end - i);
        vf_store_n(a->dup + i, d * value, end - i);
    }
}

void glu_backward_cpu(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int act,
                      int64_t n) {
    check(act == 0 || act == 1, "glu: unknown activation %d", act);
    GluArgs a = {.dgate = dgate, .dup = dup, .dy = dy, .gate = gate, .up = up, .act = act};
    parallel_range(n, ELEMENTS_PER_PART, backward_part, &a);
}
