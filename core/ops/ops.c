// ops: the two tables of operations, one entry per row of ops.def, and the 2-bit order of ternary codes.
// Must not know: how any operation is computed.
#include <string.h>

#include "core/ops/ops.h"

const Ops ops_ref = {
    .name = "ref",
#define OP(op, args) .op = op##_ref,
#include "core/ops/ops.def"
#undef OP
};

const Ops ops_cpu = {
    .name = "cpu",
#define OP(op, args) .op = op##_cpu,
#include "core/ops/ops.def"
#undef OP
};

// Blocks of 128 codes in 32 bytes: byte j holds codes j, 32 + j, 64 + j, 96 + j at bits 0, 2, 4, 6. Rows are whole
// blocks, so the order does not see them.
void ternary_pack(uint8_t *packed, const int8_t *codes, int64_t O, int64_t I) {
    check(I % 128 == 0, "ternary_pack: %lld inputs are no multiple of 128", (long long)I);
    memset(packed, 0, (size_t)(O * I / 4));
    for (int64_t i = 0; i < O * I; i++) {
        check(codes[i] >= -1 && codes[i] <= 1, "ternary_pack: code %d", codes[i]);
        packed[i / 128 * 32 + i % 32] |= (uint8_t)((codes[i] + 1) << (2 * (i % 128 / 32)));
    }
}

void ternary_unpack(int8_t *codes, const uint8_t *packed, int64_t O, int64_t I) {
    check(I % 128 == 0, "ternary_unpack: %lld inputs are no multiple of 128", (long long)I);
    for (int64_t i = 0; i < O * I; i++) {
        codes[i] = (int8_t)((packed[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3) - 1);
    }
}
