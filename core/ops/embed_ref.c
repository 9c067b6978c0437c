// embed_ref: the judge of table look-up and its gradient. Plain loops, double accumulators.
// Must not know: threads, SIMD.
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/ops/ops.h"

void embed_forward_ref(float *out, const float *table, const int32_t *ids, int64_t N, int64_t C) {
    for (int64_t n = 0; n < N; n++) memcpy(out + n * C, table + ids[n] * C, (size_t)C * sizeof *out);
}

void embed_backward_ref(float *dtable, const float *dout, const int32_t *ids, int64_t N, int64_t V, int64_t C) {
    double *sum = xcalloc((size_t)(V * C), sizeof *sum);
    for (int64_t i = 0; i < V * C; i++) sum[i] = dtable[i];
    for (int64_t n = 0; n < N; n++) {
        check(ids[n] >= 0 && ids[n] < V, "embed_backward: id %d of %lld", ids[n], (long long)V);
        for (int64_t c = 0; c < C; c++) sum[ids[n] * C + c] += dout[n * C + c];
    }
    for (int64_t i = 0; i < V * C; i++) dtable[i] = (float)sum[i];
    free(sum);
}
