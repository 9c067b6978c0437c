// sum: one order of addition for sums over long arrays: blocks of 4096 elements, at most 256 runs of blocks (they
// depend on n alone), runs in order.
// Must not know: what is added.
#pragma once
#include "core/base/base.h"

enum { SUM_BLOCK = 4096 };

// Sum of block(x + b, count) over the blocks of x[n].
double sum_blocks(const float *x, int64_t n, double (*block)(const float *x, int64_t n));
