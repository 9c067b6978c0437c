// rope_cpu: the rotary embedding in place; the angles of a token are computed once for all its heads.
// Must not know: how inv_freq was made.
#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum { TOKENS_PER_PART = 32 };

typedef struct RopeArgs {
    float *x;
    const int32_t *position;
    const float *inv_freq;
    float scaling;
    bool inverse;
    int64_t heads, D;
} RopeArgs;

static void rotate_tokens(void *context, int64_t begin, int64_t end) {
    const RopeArgs *a = context;
    int64_t half = a->D / 2;
    for (int64_t n = begin; n < end; n++) {
        for (int64_t d = 0; d < half; d += VF) {
            int64_t lanes = half - d;
            vf sine, cosine;
            vf_sincos(vf_load_n(a->inv_freq + d, lanes) * (float)a->position[n], &sine, &cosine);
            cosine *= a->scaling;
            sine *= a->inverse ? -a->scaling : a->scaling;
            for (int64_t h = 0; h < a->heads; h++) {
                float *low = a->x + (n * a->heads + h) * a->D + d, *high = low + half;
                vf p = vf_load_n(low, lanes), q = vf_load_n(high, lanes);
                vf_store_n(low, vf_fma(p, cosine, -(q * sine)), lanes);
                vf_store_n(high, vf_fma(q, cosine, p * sine), lanes);
            }
        }
    }
}

void rope_cpu(float *x, const int32_t *position, const float *inv_freq, float attention_scaling, bool inverse,
              int64_t N, int64_t heads, int64_t D) {
    check(D % 2 == 0, "rope: head_dim %lld is odd", (long long)D);
    RopeArgs a = {x, position, inv_freq, attention_scaling, inverse, heads, D};
    parallel_range(N, TOKENS_PER_PART, rotate_tokens, &a);
}
