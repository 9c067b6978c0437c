// dtype: owns the table of element types and the conversion of runs of elements to and from float32.
// Must not know: files, tensors, models. Block types are in dtype_blocks.c.
#include "core/data/dtype.h"

#include <math.h>
#include <string.h>

#include "core/base/half.h"
#include "core/data/dtype_blocks.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor files are little-endian and are used in place");

const DTypeRow dtype_rows[DTYPE_COUNT] = {
#define DTYPE(name, safetensors_name, ggml_id, block, bytes) {#name, safetensors_name, ggml_id, block, bytes},
#include "core/data/dtype.def"
#undef DTYPE
};

bool dtype_from_safetensors(const char *name, DType *out) {
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (dtype_rows[t].safetensors == NULL || strcmp(dtype_rows[t].safetensors, name) != 0) continue;
        *out = (DType)t;
        return true;
    }
    return false;
}

bool dtype_from_ggml(int id, DType *out) {
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (dtype_rows[t].ggml < 0 || dtype_rows[t].ggml != id) continue;
        *out = (DType)t;
        return true;
    }
    return false;
}

int64_t dtype_bytes(DType t, int64_t n) {
    check(n >= 0 && n % dtype_rows[t].block == 0, "%lld elements are no whole number of %s blocks", (long long)n,
          dtype_rows[t].name);
    return n / dtype_rows[t].block * dtype_rows[t].bytes;
}

float bf16_to_f32(uint16_t x) { return bfloat_to_float(x); }
uint16_t f32_to_bf16(float x) { return float_to_bfloat(x); }
float f16_to_f32(uint16_t x) { return half_to_float(x); }
uint16_t f32_to_f16(float x) { return float_to_half(x); }

// The finite-only E4M3 of Micikevicius et al. 2022: no infinity, 0x7f and 0xff are NaN.
static float f8_e4m3_to_f32(uint8_t x) {
    int exponent = x >> 3 & 15, mantissa = x & 7;
    float value = exponent == 15 && mantissa == 7 ? NAN
                  : exponent == 0                 ? (float)mantissa * 0x1p-9f
                                                  : ldexpf((float)(8 + mantissa), exponent - 10);
    return x & 0x80 ? -value : value;
}

// Sources may lie at any byte of a mapped file, so that they are read by memcpy.
static uint16_t load_u16(const void *from, int64_t i) {
    uint16_t x;
    memcpy(&x, (const uint8_t *)from + 2 * i, sizeof x);
    return x;
}

bool dtype_to_f32(DType t, const void *from, int64_t n, float *to) {
    if (n < 0 || n % dtype_rows[t].block != 0) return false;
    switch (t) {
    case DTYPE_F32:
        if (n > 0) memcpy(to, from, (size_t)n * 4);
        return true;
    case DTYPE_F16:
        for (int64_t i = 0; i < n; i++) to[i] = half_to_float(load_u16(from, i));
        return true;
    case DTYPE_BF16:
        for (int64_t i = 0; i < n; i++) to[i] = bfloat_to_float(load_u16(from, i));
        return true;
    case DTYPE_F8_E4M3:
        for (int64_t i = 0; i < n; i++) to[i] = f8_e4m3_to_f32(((const uint8_t *)from)[i]);
        return true;
    case DTYPE_Q8_0:
        q8_0_to_f32(from, n, to);
        return true;
    case DTYPE_TQ1_0:
        tq1_0_to_f32(from, n, to);
        return true;
    case DTYPE_TQ2_0:
        tq2_0_to_f32(from, n, to);
        return true;
    default:
        return false; // integers are no weights
    }
}

// A finite number must not become infinite on its way into a file.
static bool halves_from_f32(DType t, const float *from, int64_t n, void *to, Error *e) {
    float largest = t == DTYPE_F16 ? 65520.0f : float_of_bits(0x7f7f8000); // the first to round to infinity
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(from[i]) && fabsf(from[i]) >= largest)
            return fail(e, EXIT_DATA, "element %lld: %g does not fit into %s; write F32", (long long)i, (double)from[i],
                        dtype_rows[t].name);
        uint16_t x = t == DTYPE_F16 ? float_to_half(from[i]) : float_to_bfloat(from[i]);
        memcpy((uint8_t *)to + 2 * i, &x, sizeof x);
    }
    return true;
}

bool dtype_from_f32(DType t, const float *from, int64_t n, void *to, Error *e) {
    const DTypeRow *row = &dtype_rows[t];
    if (n < 0 || n % row->block != 0)
        return fail(e, EXIT_DATA, "%lld elements are no multiple of %d, the block of %s", (long long)n, row->block,
                    row->name);
    switch (t) {
    case DTYPE_F32:
        if (n > 0) memcpy(to, from, (size_t)n * 4);
        return true;
    case DTYPE_F16:
    case DTYPE_BF16:
        return halves_from_f32(t, from, n, to, e);
    case DTYPE_Q8_0:
        return q8_0_from_f32(from, n, to, e);
    case DTYPE_TQ1_0:
        return tq1_0_from_f32(from, n, to, e);
    case DTYPE_TQ2_0:
        return tq2_0_from_f32(from, n, to, e);
    default:
        return fail(e, EXIT_DATA, "%s cannot be written from float32; use F32, BF16, F16, Q8_0, TQ1_0 or TQ2_0",
                    row->name);
    }
}
