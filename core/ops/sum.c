// sum: see sum.h.
#include "core/ops/sum.h"

#include "core/base/thread.h"

enum { RUNS = 256 };

typedef struct SumArgs {
    const float *x;
    int64_t n, run; // elements of a run
    double (*block)(const float *x, int64_t n);
    double sums[RUNS];
} SumArgs;

static void sum_run(void *context, int64_t part) {
    SumArgs *a = context;
    int64_t begin = part * a->run, end = MIN(begin + a->run, a->n);
    double sum = 0.0;
    for (int64_t i = begin; i < end; i += SUM_BLOCK) sum += a->block(a->x + i, MIN(SUM_BLOCK, end - i));
    a->sums[part] = sum;
}

double sum_blocks(const float *x, int64_t n, double (*block)(const float *x, int64_t n)) {
    int64_t blocks = CEIL_DIV(n, SUM_BLOCK), run = MAX(CEIL_DIV(blocks, RUNS), 1) * SUM_BLOCK;
    SumArgs a = {.x = x, .n = n, .run = run, .block = block};
    int64_t n_parts = CEIL_DIV(n, run);
    parallel_for(n_parts, sum_run, &a);
    double sum = 0.0;
    for (int64_t part = 0; part < n_parts; part++) sum += a.sums[part];
    return sum;
}
