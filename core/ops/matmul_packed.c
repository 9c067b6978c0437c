// matmul_packed: see the header. Panels of 16 outputs, each [I,16]; the sums run over blocks of inner indices like
// matmul_cpu's.
#include "core/ops/matmul_packed.h"

#include <string.h>

#include "core/base/thread.h"
#include "core/ops/gemm.h"

enum {
    K_BLOCK = 256,  // as in matmul_cpu.c: it decides the order of additions
    COLUMNS = 64,   // of a part
    ROWS = 144,     // of a part
    ALONE = 1 << 20 // multiply-adds below which waking another thread costs more than it brings
};

typedef struct PackedProduct {
    float *y;
    const float *x, *packed, *bias;
    int64_t N, I, O;
    bool accumulate;
} PackedProduct;

int64_t matmul_packed_floats(int64_t I, int64_t O) { return ROUND_UP(O, GEMM_PANEL) * I; }

void matmul_pack(float *packed, const float *w, int64_t I, int64_t O) {
    gemm_pack_transposed(packed, I * GEMM_PANEL, w, I, I, O);
}

static void packed_part(void *context, int64_t part) {
    const PackedProduct *p = context;
    int64_t column_parts = CEIL_DIV(p->O, COLUMNS), n0 = part / column_parts * ROWS, o0 = part % column_parts * COLUMNS;
    int64_t N = MIN(ROWS, p->N - n0), O = MIN(COLUMNS, p->O - o0);
    float *y = p->y + n0 * p->O + o0;
    for (int64_t n = 0; p->bias && n < N; n++) memcpy(y + n * p->O, p->bias + o0, (size_t)O * sizeof *y);
    for (int64_t k0 = 0; k0 < p->I; k0 += K_BLOCK) {
        GemmBlock g = {.c = y,
                       .c_row = p->O,
                       .a = p->x + n0 * p->I + k0,
                       .a_row = p->I,
                       .a_k = 1,
                       .b_panel = p->I * GEMM_PANEL,
                       .b = p->packed + o0 * p->I + k0 * GEMM_PANEL,
                       .add = p->accumulate || p->bias || k0 > 0};
        gemm_block(&g, N, O, MIN(K_BLOCK, p->I - k0));
    }
}

void matmul_packed(float *y, const float *x, const float *packed, const float *bias, int64_t N, int64_t I, int64_t O,
                   bool accumulate) {
    check(!(accumulate && bias), "matmul_packed: bias with accumulate");
    PackedProduct p = {y, x, packed, bias, N, I, O, accumulate};
    int64_t n_parts = CEIL_DIV(N, ROWS) * CEIL_DIV(O, COLUMNS);
    if (N * I * O >= ALONE)
        parallel_for(n_parts, packed_part, &p);
    else
        for (int64_t part = 0; part < n_parts; part++) packed_part(&p, part);
}
