#include "tools/codes.h"

#include <stdlib.h>

enum { CHUNK = 1 << 14 }; // elements; a multiple of every block

bool is_ternary(DType t) { return t == DTYPE_TQ1_0 || t == DTYPE_TQ2_0; }

bool ternary_fractions(const TensorView *t, double out[3]) {
    if (!is_ternary(t->dtype) || t->n_elements == 0) return false;
    float *values = xmalloc(CHUNK * sizeof *values);
    int64_t counts[3] = {0};
    bool ok = true;
    for (int64_t at = 0; ok && at < t->n_elements; at += CHUNK) {
        int64_t n = MIN((int64_t)CHUNK, t->n_elements - at);
        ok = dtype_to_f32(t->dtype, (const char *)t->data + dtype_bytes(t->dtype, at), n, values);
        for (int64_t i = 0; ok && i < n; i++) counts[(values[i] > 0) - (values[i] < 0) + 1]++;
    }
    for (int c = 0; c < 3; c++) out[c] = (double)counts[c] / (double)t->n_elements;
    free(values);
    return ok;
}
