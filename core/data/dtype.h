// dtype: element types of stored tensors. One row each in dtype.def: safetensors name, ggml type id, block size, bytes.
#pragma once
#include "core/base/base.h"

typedef enum DType {
#define DTYPE(name, safetensors_name, ggml_id, block, bytes) DTYPE_##name,
#include "core/data/dtype.def"
#undef DTYPE
    DTYPE_COUNT
} DType;

typedef struct DTypeRow {
    const char *name;        // "F32"
    const char *safetensors; // NULL when the format does not know it
    int ggml;                // -1 when ggml does not know it
    int block, bytes;        // elements per block, bytes per block
} DTypeRow;
extern const DTypeRow dtype_rows[DTYPE_COUNT];

bool dtype_from_safetensors(const char *name, DType *out);
bool dtype_from_ggml(int id, DType *out);
// Bytes of n elements (n a multiple of the block).
int64_t dtype_bytes(DType t, int64_t n);

// Conversions, exact or round-to-nearest-even.
float bf16_to_f32(uint16_t x);
uint16_t f32_to_bf16(float x);
float f16_to_f32(uint16_t x);
uint16_t f32_to_f16(float x);
// n elements of a dense type (F32 BF16 F16 F8_E4M3) or a block type (TQ1_0 TQ2_0 Q8_0) to float32 and back
// (back: F32 BF16 F16 and, for values that are exactly {-d,0,d} per block, TQ1_0 TQ2_0; Q8_0 quantises).
bool dtype_to_f32(DType t, const void *from, int64_t n, float *to);
bool dtype_from_f32(DType t, const float *from, int64_t n, void *to, Error *e);
