// rope_ref: the judge of the rotary embedding (Su et al. 2021), half-split pairs (d, d + D/2). Never optimised.
// Must not know: threads, SIMD, how inv_freq was made.
#include <math.h>

#include "core/ops/ops.h"

void rope_ref(float *x, const int32_t *position, const float *inv_freq, float attention_scaling, bool inverse,
              int64_t N, int64_t heads, int64_t D) {
    check(D % 2 == 0, "rope: head_dim %lld is odd", (long long)D);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < heads; h++) {
            float *low = x + (n * heads + h) * D, *high = low + D / 2;
            for (int64_t d = 0; d < D / 2; d++) {
                float angle = (float)position[n] * inv_freq[d]; // rounded to float32, as Hugging Face does
                double c = cos(angle) * attention_scaling, s = sin(angle) * attention_scaling;
                if (inverse) s = -s;
                double a = low[d], b = high[d];
                low[d] = (float)(a * c - b * s);
                high[d] = (float)(b * c + a * s);
            }
        }
    }
}
