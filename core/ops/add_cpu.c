// add_cpu: the residual addition.
// Must not know: who adds what.
#include "core/base/thread.h"
#include "core/ops/ops.h"

enum { ELEMENTS_PER_PART = 16384 };

typedef struct AddArgs {
    float *y;
    const float *x;
} AddArgs;

static void add_part(void *context, int64_t begin, int64_t end) {
    const AddArgs *a = context;
    float *restrict y = a->y;
    const float *restrict x = a->x;
    for (int64_t i = begin; i < end; i++) y[i] += x[i];
}

void add_cpu(float *y, const float *x, int64_t n) {
    AddArgs a = {y, x};
    parallel_range(n, ELEMENTS_PER_PART, add_part, &a);
}
