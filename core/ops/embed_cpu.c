// embed_cpu: table look-up and its gradient. The gradient is split by columns: each part walks all tokens in order, so
// that rows which meet in one id are added in the same order whatever the threads.
// Must not know: what the ids mean.
#include <string.h>

#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum { TOKENS_PER_PART = 256, COLUMNS_PER_PART = 64 };

typedef struct EmbedArgs {
    float *to;
    const float *from;
    const int32_t *ids;
    int64_t N, C;
} EmbedArgs;

static void copy_rows(void *context, int64_t begin, int64_t end) {
    const EmbedArgs *a = context;
    size_t bytes = (size_t)a->C * sizeof(float);
    for (int64_t n = begin; n < end; n++) memcpy(a->to + n * a->C, a->from + a->ids[n] * a->C, bytes);
}

void embed_forward_cpu(float *out, const float *table, const int32_t *ids, int64_t N, int64_t C) {
    EmbedArgs a = {out, table, ids, N, C};
    parallel_range(N, TOKENS_PER_PART, copy_rows, &a);
}

static void add_columns(void *context, int64_t begin, int64_t end) {
    const EmbedArgs *a = context;
    for (int64_t n = 0; n < a->N; n++) {
        float *to = a->to + a->ids[n] * a->C;
        const float *from = a->from + n * a->C;
        for (int64_t c = begin; c < end; c += VF) {
            vf_store_n(to + c, vf_load_n(to + c, end - c) + vf_load_n(from + c, end - c), end - c);
        }
    }
}

void embed_backward_cpu(float *dtable, const float *dout, const int32_t *ids, int64_t N, int64_t V, int64_t C) {
    for (int64_t n = 0; n < N; n++) {
        check(ids[n] >= 0 && ids[n] < V, "embed_backward: id %d of %lld", ids[n], (long long)V);
    }
    EmbedArgs a = {dtable, dout, ids, N, C};
    parallel_range(C, COLUMNS_PER_PART, add_columns, &a);
}
