// support_ops: see support_ops.h.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/thread.h"

enum { FENCE = 32 }; // sentinel floats on either side
static const uint32_t sentinel = 0x7fc0beef;

bool same_bits(const void *a, const void *b, size_t bytes) { return bytes == 0 || memcmp(a, b, bytes) == 0; }

void fill_normal(float *x, int64_t n, uint64_t stream) {
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_normal(7, RNG_TEST | stream << 8, (uint64_t)i);
}

static float *float_copy(const float *from, int64_t n) {
    float *to = xmalloc((size_t)n * sizeof *to + 1);
    memcpy(to, from, (size_t)n * sizeof *to);
    return to;
}

float *case_tensor(Case *c, int64_t n, double tolerance) {
    assert_true(c->n_tensors < (int)COUNT_OF(c->t));
    Tensor *t = &c->t[c->n_tensors];
    *t = (Tensor){.n = n, .written = tolerance > 0, .tolerance = tolerance};
    size_t floats = (size_t)n + 2 * FENCE;
    t->block = xmalloc(floats * sizeof(float));
    for (size_t i = 0; i < floats; i++) memcpy(t->block + i * 4, &sentinel, 4);
    t->data = (float *)(void *)t->block + FENCE;
    fill_normal(t->data, n, 100 + (uint64_t)c->n_tensors);
    c->n_tensors++;
    return t->data;
}

void case_free(Case *c) {
    for (int i = 0; i < c->n_tensors; i++) {
        free(c->t[i].block);
        free(c->t[i].initial);
        free(c->t[i].expected);
    }
    c->n_tensors = 0;
}

static void restore(Case *c) {
    for (int i = 0; i < c->n_tensors; i++) memcpy(c->t[i].data, c->t[i].initial, (size_t)c->t[i].n * sizeof(float));
}

static void check_fences(const Case *c) {
    for (int i = 0; i < c->n_tensors; i++) {
        const Tensor *t = &c->t[i];
        for (int64_t j = 0; j < FENCE; j++) {
            if (!same_bits(t->block + j * 4, &sentinel, 4) ||
                !same_bits(t->block + (FENCE + t->n + j) * 4, &sentinel, 4)) {
                fail_msg("%s: tensor %d: wrote outside, %lld floats off\n", c->name, i, (long long)j);
            }
        }
        if (!t->written && !same_bits(t->data, t->initial, (size_t)t->n * 4))
            fail_msg("%s: input %d changed\n", c->name, i);
    }
}

static void check_close(const Case *c, int tensor) {
    const Tensor *t = &c->t[tensor];
    double squares = 0;
    for (int64_t i = 0; i < t->n; i++) squares += (double)t->expected[i] * t->expected[i];
    double rms = sqrt(squares / (double)MAX(t->n, 1));
    for (int64_t i = 0; i < t->n; i++) {
        double off = fabs((double)t->data[i] - t->expected[i]),
               allowed = t->tolerance * (fabs(t->expected[i]) + rms + c->cancelled);
        if (!(off <= allowed)) {
            fail_msg("%s: tensor %d [%lld of %lld]: %.9g, expected %.9g: off by %.3g, allowed %.3g\n", c->name, tensor,
                     (long long)i, (long long)t->n, t->data[i], t->expected[i], off, allowed);
        }
    }
}

void check_op(Case *c) {
    for (int i = 0; i < c->n_tensors; i++) c->t[i].initial = float_copy(c->t[i].data, c->t[i].n);
    c->run(&ops_ref, c);
    check_fences(c);
    for (int i = 0; i < c->n_tensors; i++) c->t[i].expected = float_copy(c->t[i].data, c->t[i].n);
    float *first[COUNT_OF(c->t)] = {NULL};
    for (int run = 0; run < 6; run++) {
        threads_set(run % 3 + 1);
        restore(c);
        c->run(&ops_cpu, c);
        check_fences(c);
        for (int i = 0; i < c->n_tensors; i++) {
            const Tensor *t = &c->t[i];
            if (run == 0 && t->written) check_close(c, i);
            if (run == 0) first[i] = float_copy(t->data, t->n);
            if (!same_bits(first[i], t->data, (size_t)t->n * 4)) {
                fail_msg("%s: tensor %d: other bits with %d threads\n", c->name, i, run % 3 + 1);
            }
        }
    }
    threads_set(0);
    for (int i = 0; i < c->n_tensors; i++) free(first[i]);
    case_free(c);
}

void check_gradient(Case *c, double (*eval)(Case *c), float *x, const float *dx, int64_t n, double tolerance) {
    const float step = 1.0f / 64;
    for (int64_t i = 0; i < n; i++) {
        float old = x[i];
        x[i] = old + step;
        double up = eval(c), high = x[i];
        x[i] = old - step;
        double down = eval(c), low = x[i];
        x[i] = old;
        double slope = (up - down) / (high - low);
        if (!(fabs(slope - dx[i]) <= tolerance * (1 + fabs(slope)))) {
            fail_msg("%s: gradient [%lld]: %.6g, by difference %.6g\n", c->name, (long long)i, dx[i], slope);
        }
    }
}
