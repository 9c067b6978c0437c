// norm_cpu: RMSNorm, eight columns at a time. Rows are independent; the gradient of the weight is summed over rows in
// ascending order by whoever owns a range of columns, so that no result depends on the threads.
// Must not know: what is normalised.
#include <math.h>

#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum { ROWS_PER_PART = 32, COLUMNS_PER_PART = 64, ROWS_PER_SUM = 256 };

typedef struct NormArgs {
    float *y, *rstd, *dx, *dw;
    const float *x, *w, *dy, *saved_rstd;
    float eps;
    int64_t rows, C;
} NormArgs;

static void forward_rows(void *context, int64_t begin, int64_t end) {
    const NormArgs *a = context;
    int64_t C = a->C;
    for (int64_t n = begin; n < end; n++) {
        const float *x = a->x + n * C;
        vf squares = {0};
        for (int64_t c = 0; c < C; c += VF) {
            vf v = vf_load_n(x + c, C - c);
            squares = vf_fma(v, v, squares);
        }
        float r = 1.0f / sqrtf(vf_sum(squares) / (float)C + a->eps);
        a->rstd[n] = r;
        for (int64_t c = 0; c < C; c += VF) {
            vf_store_n(a->y + n * C + c, vf_load_n(x + c, C - c) * r * vf_load_n(a->w + c, C - c), C - c);
        }
    }
}

void rmsnorm_forward_cpu(float *y, float *rstd, const float *x, const float *w, float eps, int64_t rows, int64_t C) {
    NormArgs a = {.y = y, .rstd = rstd, .x = x, .w = w, .eps = eps, .rows = rows, .C = C};
    parallel_range(rows, ROWS_PER_PART, forward_rows, &a);
}

static void backward_rows(void *context, int64_t begin, int64_t end) {
    const NormArgs *a = context;
    int64_t C = a->C;
    for (int64_t n = begin; n < end; n++) {
        const float *x = a->x + n * C, *dy = a->dy + n * C;
        vf sum = {0};
        for (int64_t c = 0; c < C; c += VF) {
            vf g = vf_load_n(dy + c, C - c) * vf_load_n(a->w + c, C - c);
            sum = vf_fma(g, vf_load_n(x + c, C - c), sum);
        }
        float r = a->saved_rstd[n];
        vf slope = vf_set(-r * r * r * (vf_sum(sum) / (float)C));
        for (int64_t c = 0; c < C; c += VF) {
            float *dx = a->dx + n * C + c;
            vf g = vf_load_n(dy + c, C - c) * vf_load_n(a->w + c, C - c);
            vf d = vf_fma(g, vf_set(r), vf_load_n(x + c, C - c) * slope);
            vf_store_n(dx, vf_load_n(dx, C - c) + d, C - c);
        }
    }
}

// Eight columns of dw: float sums over blocks of rows, the blocks added to dw one after the other.
static void weight_columns(const NormArgs *a, int64_t c, int64_t n_columns) {
    vf total = vf_load_n(a->dw + c, n_columns);
    for (int64_t block = 0; block < a->rows; block += ROWS_PER_SUM) {
        vf sum = {0};
        for (int64_t n = block; n < MIN(block + ROWS_PER_SUM, a->rows); n++) {
            vf xhat = vf_load_n(a->x + n * a->C + c, n_columns) * a->saved_rstd[n];
            sum = vf_fma(vf_load_n(a->dy + n * a->C + c, n_columns), xhat, sum);
        }
        total += sum;
    }
    vf_store_n(a->dw + c, total, n_columns);
}

static void backward_columns(void *context, int64_t begin, int64_t end) {
    const NormArgs *a = context;
    for (int64_t c = begin; c < end; c += VF) weight_columns(a, c, end - c);
}

void rmsnorm_backward_cpu(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                          int64_t rows, int64_t C) {
    NormArgs a = {.dx = dx, .dw = dw, .x = x, .w = w, .dy = dy, .saved_rstd = rstd, .rows = rows, .C = C};
    parallel_range(rows, ROWS_PER_PART, backward_rows, &a);
    parallel_range(C, COLUMNS_PER_PART, backward_columns, &a);
}
