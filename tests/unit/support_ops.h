// support_ops: one operation under judgement: tensors between sentinels, _cpu against _ref, the same bits again and
// with 1, 2 and 3 threads, inputs untouched.
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // cmocka's macro; ours is a function
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), _fail(__FILE__, __LINE__))

#include "core/base/rng.h"
#include "core/ops/ops.h"

#define EPS 1.1920929e-7 // distance from 1 to the next float32

typedef struct Tensor {
    float *data; // what the operation sees
    int64_t n;
    bool written;     // an output (or accumulated into); inputs must stay as they are
    double tolerance; // of an output, relative to |expected| + rms(expected); see check_op
    float *initial, *expected;
    char *block;
} Tensor;

typedef struct Case {
    void (*run)(const Ops *ops, struct Case *c);
    const char *name;
    Tensor t[12];
    int n_tensors;
    int64_t N, I, O, C, V, H, KV, D, n_docs, window;
    bool flag;
    int act;
    float number;
    double cancelled; // size of intermediate sums that may cancel in the outputs: rounding errors have their size
    const int32_t *ids;
    const float *const *keys, *const *values;
} Case;

void fill_normal(float *x, int64_t n, uint64_t stream); // standard normal
// Adds a tensor of n standard normal numbers (its own stream) and returns its data. tolerance 0: input.
float *case_tensor(Case *c, int64_t n, double tolerance);
// Runs _ref once and _cpu with 1, 2, 3 threads, twice each. Outputs must obey |cpu - ref| <= tolerance * (|ref| +
// rms(ref) + cancelled): the size of a rounding error is set by the sums that led to an element, whose typical size is
// the rms of the tensor. Frees the tensors.
void check_op(Case *c);
// Central difference of sum(out * g) in x[i] against the analytic gradient; `eval` runs the forward pass on c and
// returns the sum in double. Steps of 1/64 with float32 results: error about rms(out) * EPS * 64 + O(step^2).
void check_gradient(Case *c, double (*eval)(Case *c), float *x, const float *dx, int64_t n, double tolerance);
void case_free(Case *c);
bool same_bits(const void *a, const void *b, size_t bytes);
