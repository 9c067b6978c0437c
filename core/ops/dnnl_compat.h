// dnnl_compat: one matrix product through oneDNN's C API, which changed between 2.x and 3.x: nobody else includes
// dnnl.h.
// Must not know: which products are worth it, how work is split.
#pragma once
#include "core/base/base.h"

// A view of a matrix in memory: element (r, c) is data[r * row + c * column], one of the two strides being 1.
typedef struct DnnlMatrix {
    const void *data; // bfloat16 (uint16_t) or float32
    int64_t row, column;
} DnnlMatrix;

// C[M,J] (+)= A[M,K] B[K,J]; c is float32, rows `c_row` floats apart, sums in float32. Runs on the calling thread
// alone. Returns false, with c untouched, when this oneDNN has no such product for this machine.
bool dnnl_product(float *c, int64_t c_row, DnnlMatrix a, DnnlMatrix b, int64_t M, int64_t J, int64_t K, bool bf16,
                  bool add);

// "2.6.3"; static text of the library that runs (not of the headers).
const char *dnnl_version_text(void);
