// matmul_cpu: the three matrix products, cut into parts of fixed size that run in parallel, each over blocks of 256
// inner indices in order. With gemm.h's promise the bits of a result depend neither on threads nor on how many rows
// or columns are computed with it: a token's result is the same alone and in any batch.
// Must not know: what the matrices mean. bfloat16 is matmul_bf16.c's, which is asked first.
#include <string.h>

#include "core/base/thread.h"
#include "core/ops/gemm.h"
#include "core/ops/matmul_bf16.h"
#include "core/ops/ops.h"
#include "core/ops/vec_math.h"

enum {
    K_BLOCK = 256,           // inner indices per block: a panel is 16 KiB and stays in the L1 cache
    COLUMNS = 128,           // of a part: 8 panels
    ROWS = 144,              // of a part: 24 groups of the kernel; 144 KiB of A stay in the L2 cache
    A_STRIDE = K_BLOCK + 16, // of packed rows of A: a power of two would crowd a few sets of the cache
    ALONE = 1 << 20          // multiply-adds below which waking another thread costs more than it brings
};

// C[M,J] (+)= A[M,K] B[K,J]
typedef struct Product {
    float *c;
    const float *a, *b, *bias; // bias[J] or NULL
    int64_t M, J, K;
    int64_t a_stride, b_stride; // between rows as they lie in memory
    bool a_transposed;          // memory holds A[k][m]
    bool b_transposed;          // memory holds B[j][k]
    bool accumulate;
} Product;

typedef struct Packed { // copies of one block of k
    _Alignas(64) float b[COLUMNS * K_BLOCK];
    _Alignas(64) float a[ROWS * A_STRIDE];
} Packed;

static void product_block(const Product *p, Packed *pack, int64_t m0, int64_t j0, int64_t k0, int64_t K) {
    int64_t M = MIN(ROWS, p->M - m0), J = MIN(COLUMNS, p->J - j0);
    GemmBlock g = {.c = p->c + m0 * p->J + j0,
                   .c_row = p->J,
                   .a = p->a + m0 * p->a_stride + k0,
                   .a_row = p->a_stride,
                   .a_k = 1,
                   .b = pack->b,
                   .b_panel = K_BLOCK * GEMM_PANEL,
                   .add = p->accumulate || p->bias || k0 > 0};
    if (p->a_transposed) {
        gemm_transpose(pack->a, A_STRIDE, p->a + k0 * p->a_stride + m0, p->a_stride, K, M);
        g.a = pack->a;
        g.a_row = A_STRIDE;
    }
    if (p->b_transposed) {
        gemm_pack_transposed(pack->b, g.b_panel, p->b + j0 * p->b_stride + k0, p->b_stride, K, J);
    } else {
        gemm_pack(pack->b, g.b_panel, p->b + k0 * p->b_stride + j0, p->b_stride, K, J);
    }
    gemm_block(&g, M, J, K);
}

static void product_part(void *context, int64_t part) {
    const Product *p = context;
    Packed pack;
    int64_t column_parts = CEIL_DIV(p->J, COLUMNS), m0 = part / column_parts * ROWS, j0 = part % column_parts * COLUMNS;
    if (p->bias) {
        size_t bytes = (size_t)MIN(COLUMNS, p->J - j0) * sizeof(float);
        for (int64_t m = m0; m < MIN(m0 + ROWS, p->M); m++) memcpy(p->c + m * p->J + j0, p->bias + j0, bytes);
    }
    int64_t k0 = 0;
    do { // once even when K is 0: then C becomes 0
        product_block(p, &pack, m0, j0, k0, MIN(K_BLOCK, p->K - k0));
        k0 += K_BLOCK;
    } while (k0 < p->K);
}

static void product(Product *p) {
    int64_t n_parts = CEIL_DIV(p->M, ROWS) * CEIL_DIV(p->J, COLUMNS);
    if (p->M * p->J * p->K >= ALONE) {
        parallel_for(n_parts, product_part, p);
    } else {
        for (int64_t part = 0; part < n_parts; part++) product_part(p, part);
    }
}

void matmul_forward_cpu(float *y, const float *x, const float *w, const float *bias, int64_t N, int64_t I, int64_t O,
                        bool accumulate) {
    check(!(accumulate && bias), "matmul_forward: bias with accumulate");
    if (matmul_bf16_forward(y, x, w, bias, N, I, O, accumulate)) return;
    Product p = {.c = y,
                 .a = x,
                 .b = w,
                 .bias = bias,
                 .M = N,
                 .J = O,
                 .K = I,
                 .a_stride = I,
                 .b_stride = I,
                 .b_transposed = true,
                 .accumulate = accumulate};
    product(&p);
}

void matmul_backward_input_cpu(float *dx, const float *dy, const float *w, int64_t N, int64_t I, int64_t O,
                               bool accumulate) {
    if (matmul_bf16_backward_input(dx, dy, w, N, I, O, accumulate)) return;
    Product p = {
        .c = dx, .a = dy, .b = w, .M = N, .J = I, .K = O, .a_stride = O, .b_stride = I, .accumulate = accumulate};
    product(&p);
}

typedef struct BiasArgs {
    float *dbias;
    const float *dy;
    int64_t N, O;
} BiasArgs;

// Column sums of dy in blocks of K_BLOCK rows, as the weight gradient's.
static void bias_columns(void *context, int64_t begin, int64_t end) {
    const BiasArgs *a = context;
    for (int64_t o = begin; o < end; o += VF) {
        vf total = vf_load_n(a->dbias + o, end - o);
        for (int64_t block = 0; block < a->N; block += K_BLOCK) {
            vf sum = {0};
            for (int64_t n = block; n < MIN(block + K_BLOCK, a->N); n++)
                sum += vf_load_n(a->dy + n * a->O + o, end - o);
            total += sum;
        }
        vf_store_n(a->dbias + o, total, end - o);
    }
}

void matmul_backward_weight_cpu(float *dw, float *dbias, const float *dy, const float *x, int64_t N, int64_t I,
                                int64_t O) {
    if (dbias) {
        BiasArgs a = {dbias, dy, N, O};
        parallel_range(O, COLUMNS, bias_columns, &a);
    }
    if (matmul_bf16_backward_weight(dw, dy, x, N, I, O)) return;
    Product p = {.c = dw,
                 .a = dy,
                 .b = x,
                 .M = O,
                 .J = I,
                 .K = N,
                 .a_stride = O,
                 .b_stride = I,
                 .a_transposed = true,
                 .accumulate = true};
    product(&p);
}
