// ternary_cpu: the two quantisers of BitNet b1.58 (Ma et al. 2024), eight elements at a time, and the integer
// product. The results are the reference's, bit for bit: the quantisers round single numbers the same way, the
// product adds integers.
// Must not know: any file format (the 2-bit order is ops.def's).
#include <math.h>

#include "core/base/half.h"
#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "core/ops/sum.h"
#include "core/ops/vec_math.h"

enum {
    ELEMENTS_PER_PART = 8192,
    TOKENS_PER_PART = 32,
    OUTPUTS_PER_PART = 64,
    TOKENS = 4,     // that share one unpacking of the codes
    ALONE = 1 << 21 // products below which waking another thread costs more than it brings
};
typedef int8_t vb __attribute__((vector_size(8)));

VEC void store_bytes(int8_t *p, vi values, int64_t lanes) {
    vb bytes = __builtin_convertvector(values, vb);
    memcpy(p, &bytes, (size_t)MIN(lanes, VF));
}

// Comparisons are false for NaN, which therefore stays.
VEC vf clamp(vf x, float low, float high) {
    x = vf_select(x < low, vf_set(low), x);
    return vf_select(x > high, vf_set(high), x);
}

static double block_magnitudes(const float *x, int64_t n) {
    vd sum = {0};
    int64_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf v = vf_abs(vf_load(x + i));
        sum += vd_of(v, 0) + vd_of(v, 1);
    }
    double total = vd_sum(sum);
    for (; i < n; i++) total += fabs((double)x[i]);
    return total;
}

typedef struct WeightArgs {
    float *wq;
    int8_t *codes;
    const float *w;
    float scale;
} WeightArgs;

static void quantise_weights(void *context, int64_t begin, int64_t end) {
    const WeightArgs *a = context;
    for (int64_t i = begin; i < end; i += VF) {
        vf code = vf_round(clamp(vf_load_n(a->w + i, end - i) / a->scale, -1.0f, 1.0f));
        vf_store_n(a->wq + i, code * a->scale, end - i);
        if (a->codes) store_bytes(a->codes + i, (code < 0.0f) - (code > 0.0f), end - i); // a true lane is -1
    }
}

void ternary_quant_cpu(float *wq, int8_t *codes, float *scale, const float *w, int64_t n) {
    float mean = (float)(sum_blocks(w, n, block_magnitudes) / (double)n);
    *scale = half_to_float(float_to_half(fmaxf(mean, 1e-5f)));
    WeightArgs a = {wq, codes, w, *scale};
    parallel_range(n, ELEMENTS_PER_PART, quantise_weights, &a);
}

typedef struct ActivationArgs {
    float *xq;
    int8_t *q;
    float *inv_scale;
    const float *x;
    int64_t C;
} ActivationArgs;

static float row_magnitude(const float *x, int64_t C) {
    vf top = vf_set(1e-5f);
    for (int64_t c = 0; c < C; c += VF) top = vf_max(vf_abs(vf_load_n(x + c, C - c)), top);
    return vf_top(top);
}

static void quantise_rows(void *context, int64_t begin, int64_t end) {
    const ActivationArgs *a = context;
    int64_t C = a->C;
    for (int64_t n = begin; n < end; n++) {
        const float *x = a->x + n * C;
        float s = 127.0f / row_magnitude(x, C);
        if (a->inv_scale) a->inv_scale[n] = 1.0f / s;
        for (int64_t c = 0; c < C; c += VF) {
            vf code = vf_round(clamp(vf_load_n(x + c, C - c) * s, -128.0f, 127.0f));
            if (a->xq) vf_store_n(a->xq + n * C + c, code / s, C - c);
            if (!a->q) continue;
            vf number = vf_select(code == code, code, vf_set(0.0f));
            store_bytes(a->q + n * C + c, __builtin_convertvector(number, vi), C - c);
        }
    }
}

void activation_quant_cpu(float *xq, int8_t *q, float *inv_scale, const float *x, int64_t rows, int64_t C) {
    ActivationArgs a = {xq, q, inv_scale, x, C};
    parallel_range(rows, TOKENS_PER_PART, quantise_rows, &a);
}

#ifdef __AVX2__
VEC int32_t sum_lanes(__m256i v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// dots[r] = q[r] . (codes + 1) over I inputs, codes + 1 in 0..2 unsigned. A lane of 16 bits takes 2 products of at most
// 2 * 128 from each of 4 multiplications per block of 128: 8 blocks stay within 16384 before the lanes are widened.
VEC void row_dots(int32_t *dots, const uint8_t *packed, const int8_t *q, int64_t I, int R) {
    const __m256i low = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    __m256i total[TOKENS];
    for (int r = 0; r < R; r++) total[r] = _mm256_setzero_si256();
    for (int64_t run = 0; run < I; run += 8 * 128) {
        __m256i sum[TOKENS];
        for (int r = 0; r < R; r++) sum[r] = _mm256_setzero_si256();
        for (int64_t i = run; i < MIN(run + 8 * 128, I); i += 128) {
            __m256i codes = _mm256_loadu_si256((const __m256i *)(packed + i / 4));
            for (int part = 0; part < 4; part++, codes = _mm256_srli_epi16(codes, 2)) {
                __m256i c = _mm256_and_si256(codes, low);
                for (int r = 0; r < R; r++) {
                    __m256i x = _mm256_loadu_si256((const __m256i *)(q + r * I + i + part * 32));
                    sum[r] = _mm256_add_epi16(sum[r], _mm256_maddubs_epi16(c, x));
                }
            }
        }
        for (int r = 0; r < R; r++) total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(sum[r], ones));
    }
    for (int r = 0; r < R; r++) dots[r] = sum_lanes(total[r]);
}
#else
VEC void row_dots(int32_t *dots, const uint8_t *packed, const int8_t *q, int64_t I, int R) {
    for (int r = 0; r < R; r++) {
        int32_t sum = 0;
        for (int64_t i = 0; i < I; i += 128) {
            const int8_t *x = q + r * I + i;
            for (int j = 0; j < 32; j++) {
                int byte = packed[i / 4 + j];
                sum += x[j] * (byte & 3) + x[j + 32] * (byte >> 2 & 3) + x[j + 64] * (byte >> 4 & 3) +
                       x[j + 96] * (byte >> 6);
            }
        }
        dots[r] = sum;
    }
}
#endif

typedef struct ProductArgs {
    float *y;
    const int8_t *q;
    const float *inv_scale;
    const uint8_t *packed;
    float scale;
    int64_t N, I, O;
} ProductArgs;

static int32_t sum_of(const int8_t *q, int64_t I) {
    int32_t sum = 0;
    for (int64_t i = 0; i < I; i++) sum += q[i];
    return sum;
}

// R tokens from n on against outputs [begin, end): codes enter as code + 1, so the sum of q is taken off once.
VEC void token_outputs(const ProductArgs *a, int64_t n, int64_t begin, int64_t end, int R) {
    int32_t sums[TOKENS], dots[TOKENS];
    for (int r = 0; r < R; r++) sums[r] = sum_of(a->q + (n + r) * a->I, a->I);
    for (int64_t o = begin; o < end; o++) {
        row_dots(dots, a->packed + o * (a->I / 4), a->q + n * a->I, a->I, R);
        for (int r = 0; r < R; r++)
            a->y[(n + r) * a->O + o] = (float)(dots[r] - sums[r]) * a->inv_scale[n + r] * a->scale;
    }
}

static void product_part(void *context, int64_t begin, int64_t end) {
    const ProductArgs *a = context;
    int64_t n = 0;
    for (; n + TOKENS <= a->N; n += TOKENS) token_outputs(a, n, begin, end, TOKENS);
    for (; n < a->N; n++) token_outputs(a, n, begin, end, 1);
}

void ternary_matmul_cpu(float *y, const int8_t *q, const float *inv_scale, const uint8_t *packed, float scale,
                        int64_t N, int64_t I, int64_t O) {
    check(I % 128 == 0, "ternary_matmul: %lld inputs are no multiple of 128", (long long)I);
    ProductArgs a = {y, q, inv_scale, packed, scale, N, I, O};
    if (N * I * O >= ALONE)
        parallel_range(O, OUTPUTS_PER_PART, product_part, &a);
    else
        product_part(&a, 0, O);
}
