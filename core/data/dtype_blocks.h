// dtype_blocks: the block types of ggml that we read and write, for dtype.c alone. n is a multiple of the block.
#pragma once
#include "core/base/base.h"

// 32 elements: float16 d, int8 q[32]; x = q d.
void q8_0_to_f32(const void *from, int64_t n, float *to);
bool q8_0_from_f32(const float *from, int64_t n, void *to, Error *e);
// 256 elements: five ternary digits per byte, float16 d; x = (digit - 1) d.
void tq1_0_to_f32(const void *from, int64_t n, float *to);
bool tq1_0_from_f32(const float *from, int64_t n, void *to, Error *e);
// 256 elements: four 2-bit codes per byte, float16 d; x = (code - 1) d.
void tq2_0_to_f32(const void *from, int64_t n, float *to);
bool tq2_0_from_f32(const float *from, int64_t n, void *to, Error *e);
