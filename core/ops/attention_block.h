// attention_block: what forward and backward share: how the query rows of one key head are numbered, gathered and
// masked. The G = H/KV query heads of a key head see the same keys, so row r of a document stands for token r / G and
// head r % G of the group; rows and keys are taken in blocks of 64.
// Must not know: softmax, gradients.
#pragma once
#include <string.h>

#include "core/ops/gemm.h"
#include "core/ops/vec_math.h"

enum { BLOCK = 64, MAX_D = 256 }; // query rows and keys of a block; the largest head_dim

typedef struct Rows {
    int64_t G, H, D;
    int64_t base; // row that lies at the start of memory
} Rows;

// Offset of row r in a tensor [.., H, D] that starts at row `base`, first head of the group.
VEC int64_t row_offset(const Rows *s, int64_t r) { return ((r - s->base) / s->G * s->H + (r - s->base) % s->G) * s->D; }

// Rows [r0, r0 + n) times `factor` -> to[n][D].
static inline void gather_rows(float *to, const Rows *s, const float *from, int64_t r0, int64_t n, float factor) {
    for (int64_t i = 0; i < n; i++) {
        const float *row = from + row_offset(s, r0 + i);
        for (int64_t d = 0; d < s->D; d += VF)
            vf_store_n(to + i * s->D + d, vf_load_n(row + d, s->D - d) * factor, s->D - d);
    }
}

// First key that token t of a document sees; window 0 = all.
VEC int64_t first_key(int64_t t, int64_t window) { return window > 0 ? MAX(0, t - window + 1) : 0; }

// All ones in the lanes whose key (j is that of lane 0) lies in [first, last].
VEC vi key_mask(int64_t j, int64_t first, int64_t last) {
    vi key = (int32_t)j + (vi){0, 1, 2, 3, 4, 5, 6, 7};
    return (key >= (int32_t)first) & (key <= (int32_t)last);
}
