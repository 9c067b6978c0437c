// codes: owns reading the ternary codes and scales of both export formats, byte by byte, from the formats'
// descriptions. It shares nothing with what writes them (core/data/dtype_blocks.c, export_hf.c) or loads them
// (core/model), so that agreement proves something.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/half.h"
#include "core/data/safetensors.h"
#include "quant/quant.h"

enum { BLOCK = 256, QS = 64, BLOCK_BYTES = 66 }; // TQ2_0: 64 bytes of 2-bit codes, then the scale as float16

// Row r of a "llama" GGUF holds, inside its head of D rows, the rotary pairs next to each other: 2j and 2j + 1 are j
// and j + D/2.
static int64_t row_in_model(const ModelConfig *c, const Weight *w, int64_t r) {
    bool reordered = c->arch == ARCH_LLAMA && (strstr(w->name, "q_proj.weight") || strstr(w->name, "k_proj.weight"));
    int64_t D = c->head_dim, in_head = r % D;
    return reordered ? r - in_head + in_head / 2 + in_head % 2 * (D / 2) : r;
}

static bool read_block(const uint8_t *block, int8_t *codes, float *scale, Error *e) {
    uint16_t half;
    bool any = false;
    for (int i = 0; i < BLOCK; i++) {
        int m = i % 32, n = i / 32 % 4, h = i / 128; // element 128 h + m + 32 n: byte 32 h + m, bits 2 n
        int code = (block[32 * h + m] >> (2 * n)) % 4 - 1;
        if (code > 1) return fail(e, EXIT_DATA, "element %d of a block has code 3", i);
        codes[i] = (int8_t)code;
        any |= code != 0;
    }
    memcpy(&half, block + QS, 2);
    float d = half_to_float(half);
    if (!any) return true; // its scale multiplies nothing
    if (*scale != 0 && d != *scale)
        return fail(e, EXIT_DATA, "blocks of different scales, %g and %g", (double)*scale, (double)d);
    *scale = d;
    return true;
}

bool codes_from_gguf(const Gguf *g, const ModelConfig *c, const Weight *w, Codes *out, Error *e) {
    const TensorView *t = gguf_find(g, w->gguf_name);
    *out = (Codes){0};
    if (t == NULL || t->dtype != DTYPE_TQ2_0 || t->n_dims != 2 || t->shape[0] != w->rows || t->shape[1] != w->cols)
        return fail(e, EXIT_DATA, "%s: missing, or not TQ2_0 [%lld, %lld]", w->gguf_name, (long long)w->rows,
                    (long long)w->cols);
    out->codes = xmalloc((size_t)w->n);
    for (int64_t r = 0; r < w->rows; r++) {
        int8_t *row = out->codes + row_in_model(c, w, r) * w->cols;
        const uint8_t *blocks = (const uint8_t *)t->data + r * (w->cols / BLOCK) * BLOCK_BYTES;
        for (int64_t b = 0; b < w->cols / BLOCK; b++) {
            if (read_block(blocks + b * BLOCK_BYTES, row + b * BLOCK, &out->scale, e)) continue;
            free(out->codes);
            return fail_in(e, "%s: row %lld", w->gguf_name, (long long)r);
        }
    }
    return true;
}

// The scale that the codes are to be multiplied with. A weight_scale that divides is 1/scale rounded; scales are
// float16 values.
static bool read_scale(const Safetensors *s, const Weight *w, bool divides, float *out, Error *e) {
    char name[128];
    snprintf(name, sizeof name, "%s_scale", w->name);
    const TensorView *t = safetensors_find(s, name);
    if (t == NULL || t->dtype != DTYPE_F32 || t->n_dims != 1 || t->shape[0] != 1)
        return fail(e, EXIT_DATA, "%s: missing, or not F32 [1]", name);
    memcpy(out, t->data, sizeof *out);
    if (divides) {
        float scale = half_to_float(float_to_half(1 / *out));
        *out = *out == 1 / scale ? scale : 1 / *out;
    }
    return true;
}

bool codes_from_hf(const Safetensors *s, const Weight *w, bool divides, Codes *out, Error *e) {
    const TensorView *t = safetensors_find(s, w->name);
    *out = (Codes){0};
    if (t == NULL || t->dtype != DTYPE_U8 || t->n_dims != 2 || 4 * t->shape[0] != w->rows || t->shape[1] != w->cols)
        return fail(e, EXIT_DATA, "%s: missing, or not U8 [%lld/4, %lld]", w->name, (long long)w->rows,
                    (long long)w->cols);
    if (!read_scale(s, w, divides, &out->scale, e)) return false;
    out->codes = xmalloc((size_t)w->n);
    const uint8_t *bytes = t->data;
    for (int64_t k = 0; k < t->shape[0]; k++)
        for (int64_t j = 0; j < w->cols; j++)
            for (int64_t i = 0; i < 4; i++) { // output row i * rows/4 + k: byte row k, bits 2 i
                int code = (bytes[k * w->cols + j] >> (2 * i)) % 4 - 1;
                out->codes[(i * t->shape[0] + k) * w->cols + j] = (int8_t)code;
                if (code <= 1) continue;
                free(out->codes);
                return fail(e, EXIT_DATA, "%s: code 3 in byte [%lld, %lld]", w->name, (long long)k, (long long)j);
            }
    return true;
}
