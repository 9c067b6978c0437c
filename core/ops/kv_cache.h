// kv_cache: how one layer keeps the keys and values of one sequence, so that attention_decode can multiply with them as
// they lie: panels of 16 as in gemm.h. A cache has room for `capacity` tokens, a multiple of 16; keys and values each
// take kv_cache_floats.
//   keys   [KV, capacity/16, D, 16]      16 tokens side by side
//   values [KV, ceil(D/16), capacity, 16] 16 channels side by side
// Must not know: whose sequence it is, how attention is computed.
#pragma once
#include "core/ops/gemm.h"

static inline int64_t kv_cache_floats(int64_t capacity, int64_t KV, int64_t D) {
    return KV * capacity * ROUND_UP(D, GEMM_PANEL);
}

// Where key head h begins.
static inline int64_t kv_cache_keys_of(int64_t capacity, int64_t D, int64_t h) { return h * capacity * D; }
static inline int64_t kv_cache_values_of(int64_t capacity, int64_t D, int64_t h) {
    return h * capacity * ROUND_UP(D, GEMM_PANEL);
}

// Channel d of token t, from the beginning of its head.
static inline int64_t kv_cache_key(int64_t D, int64_t t, int64_t d) {
    return (t / GEMM_PANEL * D + d) * GEMM_PANEL + t % GEMM_PANEL;
}
static inline int64_t kv_cache_value(int64_t capacity, int64_t t, int64_t d) {
    return (d / GEMM_PANEL * capacity + t) * GEMM_PANEL + d % GEMM_PANEL;
}

// Stores token t: k[KV,D], v[KV,D].
void kv_cache_put(float *keys, float *values, int64_t capacity, int64_t t, const float *k, const float *v, int64_t KV,
                  int64_t D);
// Copies the first n tokens of a cache (of keys, rounded up to 16) into another of the same capacity.
void kv_cache_copy(float *keys, float *values, const float *from_keys, const float *from_values, int64_t capacity,
                   int64_t n, int64_t KV, int64_t D);
