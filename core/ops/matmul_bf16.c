// matmul_bf16: see matmul_bf16.h. Both inputs are converted once per product into memory that is kept and grows to the
// largest product seen; the result is cut into tiles of fixed size, each one oneDNN product on one thread, so the bits
// do not depend on the number of threads. They may depend on the number of rows (oneDNN's choice), which is why
// decoding stays in float32.
#include "core/ops/matmul_bf16.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/half.h"
#include "core/base/mem.h"
#include "core/base/thread.h"
#include "core/ops/dnnl_compat.h"
#include "core/ops/ops.h"

enum { FEWEST_ROWS = 64, TILE_ROWS = 256, TILE_COLUMNS = 512, ELEMENTS_PER_PART = 65536 };

static bool in_use; // set between steps, by the main thread

typedef struct Bf16Buffer {
    uint16_t *data;
    int64_t capacity;
} Bf16Buffer;
static Bf16Buffer buffers[2]; // A and B of the product under way

typedef struct ConvertArgs {
    uint16_t *to;
    const float *from;
} ConvertArgs;

static void convert_part(void *context, int64_t begin, int64_t end) {
    const ConvertArgs *a = context;
    for (int64_t i = begin; i < end; i++) a->to[i] = float_to_bfloat(a->from[i]);
}

static const uint16_t *converted(Bf16Buffer *b, const float *x, int64_t n) {
    if (n > b->capacity) {
        free(b->data);
        b->data = xmalloc((size_t)n * sizeof *b->data);
        b->capacity = n;
    }
    ConvertArgs a = {b->data, x};
    parallel_range(n, ELEMENTS_PER_PART, convert_part, &a);
    return b->data;
}

typedef struct TileArgs {
    float *c;
    const uint16_t *a, *b;
    int64_t M, J, K;
    DnnlMatrix a_view, b_view; // strides
    bool add;
} TileArgs;

static void product_tile(void *context, int64_t part) {
    const TileArgs *t = context;
    int64_t across = CEIL_DIV(t->J, TILE_COLUMNS), m = part / across * TILE_ROWS, j = part % across * TILE_COLUMNS;
    DnnlMatrix a = t->a_view, b = t->b_view;
    a.data = t->a + m * a.row;
    b.data = t->b + j * b.column;
    bool ok = dnnl_product(t->c + m * t->J + j, t->J, a, b, MIN(TILE_ROWS, t->M - m), MIN(TILE_COLUMNS, t->J - j), t->K,
                           true, t->add);
    check(ok, "oneDNN %s refuses a bfloat16 product it accepted before", dnnl_version_text());
}

static void product(TileArgs *t) {
    parallel_for(CEIL_DIV(t->M, TILE_ROWS) * CEIL_DIV(t->J, TILE_COLUMNS), product_tile, t);
}

bool matmul_bf16_forward(float *y, const float *x, const float *w, const float *bias, int64_t N, int64_t I, int64_t O,
                         bool accumulate) {
    if (!in_use || N < FEWEST_ROWS) return false;
    for (int64_t n = 0; bias && n < N; n++) memcpy(y + n * O, bias, (size_t)O * sizeof *y);
    TileArgs t = {.c = y,
                  .a = converted(&buffers[0], x, N * I),
                  .b = converted(&buffers[1], w, O * I),
                  .M = N,
                  .J = O,
                  .K = I,
                  .a_view = {NULL, I, 1},
                  .b_view = {NULL, 1, I},
                  .add = accumulate || bias};
    product(&t);
    return true;
}

bool matmul_bf16_backward_input(float *dx, const float *dy, const float *w, int64_t N, int64_t I, int64_t O,
                                bool accumulate) {
    if (!in_use || N < FEWEST_ROWS) return false;
    TileArgs t = {.c = dx,
                  .a = converted(&buffers[0], dy, N * O),
                  .b = converted(&buffers[1], w, O * I),
                  .M = N,
                  .J = I,
                  .K = O,
                  .a_view = {NULL, O, 1},
                  .b_view = {NULL, I, 1},
                  .add = accumulate};
    product(&t);
    return true;
}

bool matmul_bf16_backward_weight(float *dw, const float *dy, const float *x, int64_t N, int64_t I, int64_t O) {
    if (!in_use || N < FEWEST_ROWS) return false;
    TileArgs t = {.c = dw,
                  .a = converted(&buffers[0], dy, N * O),
                  .b = converted(&buffers[1], x, N * I),
                  .M = O,
                  .J = I,
                  .K = N,
                  .a_view = {NULL, 1, O},
                  .b_view = {NULL, I, 1},
                  .add = true};
    product(&t);
    return true;
}

// The processor multiplies bfloat16, and this oneDNN has the three kinds of product (plain, transposed B, transposed
// A).
static bool supported(void) {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx512bf16")) return false;
#else
    return false;
#endif
    uint16_t one[4] = {0x3f80, 0x3f80, 0x3f80, 0x3f80};
    float c[4] = {0};
    DnnlMatrix straight = {one, 2, 1}, turned = {one, 1, 2};
    return dnnl_product(c, 2, straight, straight, 2, 2, 2, true, false) &&
           dnnl_product(c, 2, straight, turned, 2, 2, 2, true, false) &&
           dnnl_product(c, 2, turned, straight, 2, 2, 2, true, true) && c[3] == 4.0f;
}

bool ops_use_bf16(bool on) {
    in_use = on && supported();
    return in_use == on;
}

const char *ops_describe(void) {
#if defined(__AVX2__) && defined(__FMA__)
    static const char own[] = "float32, own kernels (AVX2, FMA)";
#else
    static const char own[] = "float32, own kernels (no AVX2)";
#endif
    static char text[64];
    if (!in_use) return own;
    snprintf(text, sizeof text, "bfloat16, oneDNN %s", dnnl_version_text());
    return text;
}
