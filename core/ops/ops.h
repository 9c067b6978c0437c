// ops: arithmetic. Each row of ops.def exists as name_ref and name_cpu with one signature; `ops` is the table in use.
// Must not know: files, models, losses beyond their formula.
#pragma once
#include "core/base/base.h"

typedef struct Ops {
    const char *name; // "ref" or "cpu"
#define OP(name, args) void (*name) args;
#include "core/ops/ops.def"
#undef OP
} Ops;
extern const Ops ops_ref, ops_cpu;

#define OP(name, args) \
    void name##_ref args; \
    void name##_cpu args;
#include "core/ops/ops.def"
#undef OP

// What the matrix products run on: "float32, own kernels (AVX2, FMA)", "bfloat16, oneDNN 2.6.3"; static text.
const char *ops_describe(void);
// bf16 compute for matmul_*_cpu, where machine and oneDNN can (false = refused, float32 stays).
bool ops_use_bf16(bool on);
// 2-bit packing of ternary_matmul: codes[O*I] in {-1,0,1} -> packed[O*I/4] and back.
void ternary_pack(uint8_t *packed, const int8_t *codes, int64_t O, int64_t I);
void ternary_unpack(int8_t *codes, const uint8_t *packed, int64_t O, int64_t I);
