// gemm: see gemm.h. The micro-kernel keeps 6 x 16 sums in the registers of AVX2 (12 of 16; two columns, one row value).
#include "core/ops/gemm.h"

#include "core/ops/vec_math.h"

enum {
    GROUP = 6, // rows of the micro-kernel
    WIDE = 4   // most panels taken at once when there are only one or two rows
};

typedef struct Tile { // R rows by P panels of a block
    float *c;
    const float *a, *b;
    int64_t c_row, a_row, a_k, b_panel, K, n_columns; // n_columns of c that exist
    bool add;
} Tile;

VEC void put_lanes(float *c, vf sum, int64_t lanes, bool add) {
    if (lanes <= 0) return;
    vf_store_n(c, add ? vf_load_n(c, lanes) + sum : sum, lanes);
}

// R and P are constants at every call. Rows outside, columns inside: one broadcast row value, 2P columns, 2RP sums.
VEC void tile(const Tile *t, int R, int P) {
    vf sum[GROUP * 2];
    for (int i = 0; i < R * P * 2; i++) sum[i] = vf_set(0.0f);
    for (int r = 0; r < R; r++) __builtin_prefetch(t->c + r * t->c_row, 1); // arrives while the sums are made
    const float *a = t->a, *b = t->b;
    for (int64_t k = 0; k < t->K; k++, a += t->a_k, b += GEMM_PANEL) {
        vf column[2 * WIDE];
        for (int j = 0; j < P * 2; j++) column[j] = vf_load(b + j / 2 * t->b_panel + j % 2 * VF);
        for (int r = 0; r < R; r++) {
            vf row = vf_set(a[r * t->a_row]);
            for (int j = 0; j < P * 2; j++) sum[r * P * 2 + j] = vf_fma(row, column[j], sum[r * P * 2 + j]);
        }
    }
    for (int r = 0; r < R; r++) {
        for (int j = 0; j < P * 2; j++) {
            put_lanes(t->c + r * t->c_row + j * VF, sum[r * P * 2 + j], t->n_columns - j * VF, t->add);
        }
    }
}

static void tile_of(const Tile *t, int64_t rows, int64_t panels) {
    switch (rows * 8 + panels) {
    case 1 * 8 + 4:
        tile(t, 1, 4);
        break;
    case 2 * 8 + 2:
        tile(t, 2, 2);
        break;
    case 1 * 8 + 1:
        tile(t, 1, 1);
        break;
    case 2 * 8 + 1:
        tile(t, 2, 1);
        break;
    case 3 * 8 + 1:
        tile(t, 3, 1);
        break;
    case 4 * 8 + 1:
        tile(t, 4, 1);
        break;
    case 5 * 8 + 1:
        tile(t, 5, 1);
        break;
    case 6 * 8 + 1:
        tile(t, 6, 1);
        break;
    default:
        die("gemm: no kernel for %lld rows and %lld panels", (long long)rows, (long long)panels);
    }
}

// Rows of the next group: sixes, the last two groups evened out so that neither is too short to fill the pipeline.
static int64_t next_rows(int64_t left) { return left <= GROUP ? left : left < 2 * GROUP ? (left + 1) / 2 : GROUP; }

// One or two rows have too few chains for the pipeline: they take several panels at once.
static int64_t panels_at_once(int64_t M, int64_t columns) {
    int64_t most = M == 1 ? 4 : M == 2 ? 2 : 1;
    return columns > (most - 1) * GEMM_PANEL ? most : 1;
}

void gemm_block(const GemmBlock *g, int64_t M, int64_t J, int64_t K) {
    Tile t = {.c_row = g->c_row, .a_row = g->a_row, .a_k = g->a_k, .b_panel = g->b_panel, .K = K, .add = g->add};
    for (int64_t j = 0, panels; j < J; j += panels * GEMM_PANEL) {
        panels = panels_at_once(M, J - j);
        t.b = g->b + j / GEMM_PANEL * g->b_panel;
        t.n_columns = J - j;
        for (int64_t m = 0, rows; m < M; m += rows) {
            rows = next_rows(M - m);
            t.a = g->a + m * g->a_row;
            t.c = g->c + m * g->c_row + j;
            tile_of(&t, rows, panels);
        }
    }
}

void gemm_pack(float *panels, int64_t b_panel, const float *b, int64_t stride, int64_t K, int64_t J) {
    int64_t whole = J / GEMM_PANEL * GEMM_PANEL;
    for (int64_t k = 0; k < K; k++) {
        float *to = panels + k * GEMM_PANEL;
        const float *from = b + k * stride;
        for (int64_t j = 0; j < whole; j += GEMM_PANEL, to += b_panel) {
            vf_store(to, vf_load(from + j));
            vf_store(to + VF, vf_load(from + j + VF));
        }
        if (whole == J) continue;
        vf_store(to, vf_load_n(from + whole, J - whole));
        vf_store(to + VF, vf_load_n(from + whole + VF, J - whole - VF));
    }
}

#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

// Four floats from p, four from q.
VEC vf load_halves(const float *p, const float *q) {
    vh halves[2];
    memcpy(&halves[0], p, sizeof(vh));
    memcpy(&halves[1], q, sizeof(vh));
    return MIX(halves[0], halves[1], 0, 1, 2, 3, 4, 5, 6, 7);
}

// Columns k..k+3 of eight rows: rows 0..3 in the lower halves, 4..7 in the upper, so that no shuffle crosses the
// middle.
VEC void transpose_4_columns(float *to, int64_t to_stride, const float *from, int64_t stride) {
    vf r[4], pair[4];
    for (int j = 0; j < 4; j++) r[j] = load_halves(from + j * stride, from + (j + 4) * stride);
    for (int j = 0; j < 4; j += 2) {
        pair[j] = MIX(r[j], r[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pair[j + 1] = MIX(r[j], r[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int j = 0; j < 2; j++) {
        vf_store(to + 2 * j * to_stride, MIX(pair[j], pair[j + 2], 0, 1, 8, 9, 4, 5, 12, 13));
        vf_store(to + (2 * j + 1) * to_stride, MIX(pair[j], pair[j + 2], 2, 3, 10, 11, 6, 7, 14, 15));
    }
}

// to[k][0..8) = from[0..8)[k], k < K; rows of `from` past n_rows read 0.
static void transpose_rows(float *to, int64_t to_stride, const float *from, int64_t stride, int64_t n_rows, int64_t K) {
    int64_t k = 0;
    for (; k + 4 <= K && n_rows >= VF; k += 4) transpose_4_columns(to + k * to_stride, to_stride, from + k, stride);
    for (; k < K; k++) {
        for (int j = 0; j < VF; j++) to[k * to_stride + j] = j < n_rows ? from[j * stride + k] : 0.0f;
    }
}

void gemm_pack_transposed(float *panels, int64_t b_panel, const float *b, int64_t stride, int64_t K, int64_t J) {
    for (int64_t j = 0; j < ROUND_UP(J, GEMM_PANEL); j += VF) {
        float *to = panels + j / GEMM_PANEL * b_panel + j % GEMM_PANEL;
        transpose_rows(to, GEMM_PANEL, b + j * stride, stride, J - j, K);
    }
}

void gemm_transpose(float *to, int64_t to_stride, const float *from, int64_t stride, int64_t K, int64_t M) {
    int64_t whole = K / VF * VF;
    for (int64_t k = 0; k < whole; k += VF) transpose_rows(to + k, to_stride, from + k * stride, stride, VF, M);
    for (int64_t k = whole; k < K; k++) {
        for (int64_t m = 0; m < M; m++) to[m * to_stride + k] = from[k * stride + m];
    }
}
