// dtype_blocks: owns the byte layouts of Q8_0, TQ1_0 and TQ2_0 (source: ggml's ggml-common.h and ggml-quants.c).
// Must not know: files. Ternary blocks are packed only from values that already are {-d, 0, d}: ggml's own quantiser
// takes d = max|x| of a block and would zero most of a weight that was never ternary.
#include "core/data/dtype_blocks.h"

#include <math.h>
#include <string.h>

#include "core/data/dtype.h"

enum { Q8_BLOCK = 32, Q8_BYTES = 34, TQ_BLOCK = 256, TQ1_BYTES = 54, TQ1_SCALE = 52, TQ2_BYTES = 66, TQ2_SCALE = 64 };

static float load_f16(const uint8_t *at) {
    uint16_t x;
    memcpy(&x, at, sizeof x);
    return f16_to_f32(x);
}

static void store_f16(uint8_t *at, float value) {
    uint16_t x = f32_to_f16(value);
    memcpy(at, &x, sizeof x);
}

void q8_0_to_f32(const void *from, int64_t n, float *to) {
    for (int64_t b = 0; b < n / Q8_BLOCK; b++) {
        const uint8_t *block = (const uint8_t *)from + b * Q8_BYTES;
        float d = load_f16(block);
        for (int i = 0; i < Q8_BLOCK; i++) to[b * Q8_BLOCK + i] = d * (float)(int8_t)block[2 + i];
    }
}

static bool q8_0_block(const float *x, uint8_t *block, int64_t b, Error *e) {
    float largest = 0;
    for (int i = 0; i < Q8_BLOCK; i++) {
        if (!isfinite(x[i]))
            return fail(e, EXIT_DATA, "element %lld is not a finite number; Q8_0 cannot hold it",
                        (long long)(b * Q8_BLOCK + i));
        largest = fmaxf(largest, fabsf(x[i]));
    }
    float d = largest / 127, inverse = d > 0 ? 1 / d : 0;
    if (!isfinite(f16_to_f32(f32_to_f16(d))))
        return fail(e, EXIT_DATA, "block %lld: scale %g does not fit into float16; write F32", (long long)b, (double)d);
    if (!isfinite(inverse)) inverse = 0; // d this small is zero in float16
    store_f16(block, d);
    for (int i = 0; i < Q8_BLOCK; i++) block[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    return true;
}

bool q8_0_from_f32(const float *from, int64_t n, void *to, Error *e) {
    for (int64_t b = 0; b < n / Q8_BLOCK; b++)
        if (!q8_0_block(from + b * Q8_BLOCK, (uint8_t *)to + b * Q8_BYTES, b, e)) return false;
    return true;
}

// Codes 0, 1, 2 of one block and its scale; refuses what is not exactly {-d, 0, d} with d a float16 value.
static bool ternary_codes(const char *type, const float *x, int64_t b, uint8_t code[TQ_BLOCK], float *d, Error *e) {
    *d = 0;
    for (int i = 0; i < TQ_BLOCK; i++) *d = fmaxf(*d, fabsf(x[i]));
    for (int i = 0; i < TQ_BLOCK; i++) {
        if (x[i] != 0 && fabsf(x[i]) != *d) // also true for NaN
            return fail(
                e, EXIT_DATA,
                "element %lld: %.9g is neither 0 nor +-%.9g, the scale of its block; %s holds only ternary values, so "
                "quantise the weights first",
                (long long)(b * TQ_BLOCK + i), (double)x[i], (double)*d, type);
        code[i] = (uint8_t)(1 + (x[i] > 0) - (x[i] < 0));
    }
    if (f16_to_f32(f32_to_f16(*d)) != *d || !isfinite(*d))
        return fail(e, EXIT_DATA, "block %lld: scale %.9g is no float16 value; %s cannot hold it exactly", (long long)b,
                    (double)*d, type);
    return true;
}

// TQ1_0 keeps the digit of position n (0 = most significant) of a byte at element first + n * stride.
static uint8_t base3_pack(const uint8_t *code, int stride, int digits) {
    int q = 0;
    for (int n = 0; n < 5; n++) q = q * 3 + (n < digits ? code[n * stride] : 0);
    return (uint8_t)((q * 256 + 242) / 243); // rounded up: multiplying by 3^n brings digit n to the top exactly
}

static void base3_unpack(uint8_t byte, int stride, int digits, float d, float *to) {
    for (int n = 0; n < digits; n++) {
        to[n * stride] = (float)((byte * 3 >> 8) - 1) * d;
        byte = (uint8_t)(byte * 3);
    }
}

void tq1_0_to_f32(const void *from, int64_t n, float *to) {
    for (int64_t b = 0; b < n / TQ_BLOCK; b++, to += TQ_BLOCK) {
        const uint8_t *block = (const uint8_t *)from + b * TQ1_BYTES;
        float d = load_f16(block + TQ1_SCALE);
        for (int m = 0; m < 32; m++) base3_unpack(block[m], 32, 5, d, to + m);
        for (int m = 0; m < 16; m++) base3_unpack(block[32 + m], 16, 5, d, to + 160 + m);
        for (int m = 0; m < 4; m++) base3_unpack(block[48 + m], 4, 4, d, to + 240 + m);
    }
}

bool tq1_0_from_f32(const float *from, int64_t n, void *to, Error *e) {
    for (int64_t b = 0; b < n / TQ_BLOCK; b++) {
        uint8_t code[TQ_BLOCK], *block = (uint8_t *)to + b * TQ1_BYTES;
        float d;
        if (!ternary_codes("TQ1_0", from + b * TQ_BLOCK, b, code, &d, e)) return false;
        for (int m = 0; m < 32; m++) block[m] = base3_pack(code + m, 32, 5);
        for (int m = 0; m < 16; m++) block[32 + m] = base3_pack(code + 160 + m, 16, 5);
        for (int m = 0; m < 4; m++) block[48 + m] = base3_pack(code + 240 + m, 4, 4);
        store_f16(block + TQ1_SCALE, d);
    }
    return true;
}

void tq2_0_to_f32(const void *from, int64_t n, float *to) {
    for (int64_t b = 0; b < n / TQ_BLOCK; b++, to += TQ_BLOCK) {
        const uint8_t *block = (const uint8_t *)from + b * TQ2_BYTES;
        float d = load_f16(block + TQ2_SCALE);
        for (int i = 0; i < TQ_BLOCK; i++) {
            int byte = i / 128 * 32 + i % 32, shift = i % 128 / 32 * 2;
            to[i] = (float)((block[byte] >> shift & 3) - 1) * d;
        }
    }
}

bool tq2_0_from_f32(const float *from, int64_t n, void *to, Error *e) {
    for (int64_t b = 0; b < n / TQ_BLOCK; b++) {
        uint8_t code[TQ_BLOCK], *block = (uint8_t *)to + b * TQ2_BYTES;
        float d;
        if (!ternary_codes("TQ2_0", from + b * TQ_BLOCK, b, code, &d, e)) return false;
        memset(block, 0, TQ2_SCALE);
        for (int i = 0; i < TQ_BLOCK; i++) block[i / 128 * 32 + i % 32] |= (uint8_t)(code[i] << i % 128 / 32 * 2);
        store_f16(block + TQ2_SCALE, d);
    }
    return true;
}
