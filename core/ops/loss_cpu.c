// loss_cpu: cross-entropy and the distillation loss, rows in parallel, eight columns at a time. Sums over the
// vocabulary run in float over blocks of columns and in double over the blocks.
// Must not know: what the weights mean.
#include <math.h>

#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum { ROWS_PER_PART = 16, COLUMNS_PER_SUM = 1024 };

static float row_top(const float *x, int64_t V) {
    vf top = vf_set(-INFINITY);
    for (int64_t i = 0; i + VF <= V; i += VF) top = vf_max(top, vf_load(x + i));
    float result = vf_top(top);
    for (int64_t i = V / VF * VF; i < V; i++) result = MAX(result, x[i]);
    return result;
}

// Sum of exp((x - top) * inv_tau); the terms are stored in `terms` (which may be x) when not NULL.
static double row_exp(float *terms, const float *x, float top, float inv_tau, int64_t V) {
    double total = 0.0;
    for (int64_t block = 0; block < V; block += COLUMNS_PER_SUM) {
        int64_t end = MIN(block + COLUMNS_PER_SUM, V), i = block;
        vf sum = {0};
        for (; i + VF <= end; i += VF) {
            vf e = vf_exp((vf_load(x + i) - top) * inv_tau);
            if (terms) vf_store(terms + i, e);
            sum += e;
        }
        if (i < end) {
            vf e = vf_exp((vf_load_n(x + i, end - i) - top) * inv_tau);
            if (terms) vf_store_n(terms + i, e, end - i);
            sum += vf_keep(e, end - i);
        }
        total += vf_sum(sum);
    }
    return total;
}

typedef struct CrossEntropyArgs {
    float *logits, *logprob;
    const int32_t *target;
    const float *weight;
    int64_t V;
} CrossEntropyArgs;

static void cross_entropy_rows(void *context, int64_t begin, int64_t end) {
    const CrossEntropyArgs *a = context;
    for (int64_t n = begin; n < end; n++) {
        float *row = a->logits + n * a->V, weight = a->weight[n];
        int32_t target = a->target[n];
        if (target < 0 || weight == 0.0f) {
            memset(row, 0, (size_t)a->V * sizeof *row);
            continue;
        }
        check(target < a->V, "cross_entropy: target %d of %lld", target, (long long)a->V);
        float top = row_top(row, a->V), chosen = row[target];
        double sum = row_exp(row, row, top, 1.0f, a->V);
        a->logprob[n] = (float)((double)chosen - top - log(sum));
        float factor = (float)(weight / sum);
        for (int64_t i = 0; i < a->V; i++) row[i] *= factor;
        row[target] -= weight;
    }
}

void cross_entropy_cpu(float *logits, float *logprob, const int32_t *target, const float *weight, int64_t N,
                       int64_t V) {
    CrossEntropyArgs a = {logits, logprob, target, weight, V};
    parallel_range(N, ROWS_PER_PART, cross_entropy_rows, &a);
}

typedef struct KlArgs {
    float *dlogits, *loss;
    const float *student, *teacher, *weight;
    float tau;
    int64_t V;
} KlArgs;

typedef struct KlRow { // log p = (t - t_top) / tau - t_log, log q likewise
    float s_top, t_top, s_log, t_log, inv_tau, slope;
} KlRow;

// Eight columns: adds to dlogits, returns p * (log p - log q), 0 where p is 0.
VEC vf kl_columns(const KlRow *r, float *dlogits, const float *student, const float *teacher, int64_t lanes) {
    vf log_q = (vf_load_n(student, lanes) - r->s_top) * r->inv_tau - r->s_log;
    vf log_p = (vf_load_n(teacher, lanes) - r->t_top) * r->inv_tau - r->t_log;
    vf p = vf_exp(log_p), q = vf_exp(log_q);
    vf_store_n(dlogits, vf_fma(q - p, vf_set(r->slope), vf_load_n(dlogits, lanes)), lanes);
    return vf_select(p == 0.0f, vf_set(0.0f), p * (log_p - log_q));
}

static double kl_row(const KlRow *r, float *dlogits, const float *student, const float *teacher, int64_t V) {
    double total = 0.0;
    for (int64_t block = 0; block < V; block += COLUMNS_PER_SUM) {
        int64_t end = MIN(block + COLUMNS_PER_SUM, V);
        vf sum = {0};
        for (int64_t i = block; i < end; i += VF) {
            sum += vf_keep(kl_columns(r, dlogits + i, student + i, teacher + i, end - i), end - i);
        }
        total += vf_sum(sum);
    }
    return total;
}

static void kl_rows(void *context, int64_t begin, int64_t end) {
    const KlArgs *a = context;
    int64_t V = a->V;
    for (int64_t n = begin; n < end; n++) {
        a->loss[n] = 0.0f;
        if (a->weight[n] == 0.0f) continue;
        const float *s = a->student + n * V, *t = a->teacher + n * V;
        KlRow r = {
            .s_top = row_top(s, V), .t_top = row_top(t, V), .inv_tau = 1.0f / a->tau, .slope = a->weight[n] * a->tau};
        r.s_log = (float)log(row_exp(NULL, s, r.s_top, r.inv_tau, V));
        r.t_log = (float)log(row_exp(NULL, t, r.t_top, r.inv_tau, V));
        a->loss[n] = (float)(kl_row(&r, a->dlogits + n * V, s, t, V) * a->tau * a->tau);
    }
}

void kl_forward_loss_cpu(float *dlogits, float *loss, const float *student, const float *teacher, const float *weight,
                         float tau, int64_t N, int64_t V) {
    KlArgs a = {dlogits, loss, student, teacher, weight, tau, V};
    parallel_range(N, ROWS_PER_PART, kl_rows, &a);
}
