// gemm: the inner kernel of every dense product: C[M,J] (+)= A[M,K] B[K,J] on blocks that fit the caches (Goto & van
// de Geijn 2008). A lies anywhere, with two strides; B is packed in panels of 16 columns. Each element of the result
// is one chain of fused multiply-adds over k = 0..K-1, then one addition to C: its bits do not depend on the other
// rows and columns.
// Must not know: threads, what the matrices mean.
#pragma once
#include "core/base/base.h"

enum { GEMM_PANEL = 16 }; // columns of a packed panel

typedef struct GemmBlock {
    float *c;
    int64_t c_row; // floats between rows of C
    const float *a;
    int64_t a_row, a_k; // A(m, k) = a[m * a_row + k * a_k]
    const float *b;     // panels of [K][16]
    int64_t b_panel;    // floats between panels
    bool add;           // C += instead of C =
} GemmBlock;

void gemm_block(const GemmBlock *g, int64_t M, int64_t J, int64_t K);

// Panels out of B[k][j], rows `stride` floats apart. Columns of the last panel past J become 0.
void gemm_pack(float *panels, int64_t b_panel, const float *b, int64_t stride, int64_t K, int64_t J);
// Panels out of B[j][k].
void gemm_pack_transposed(float *panels, int64_t b_panel, const float *b, int64_t stride, int64_t K, int64_t J);
// to[m][k] (rows `to_stride` floats apart) = from[k][m].
void gemm_transpose(float *to, int64_t to_stride, const float *from, int64_t stride, int64_t K, int64_t M);
