// kv_cache: see the header.
#include "core/ops/kv_cache.h"

#include <string.h>

void kv_cache_put(float *keys, float *values, int64_t capacity, int64_t t, const float *k, const float *v, int64_t KV,
                  int64_t D) {
    for (int64_t h = 0; h < KV; h++, k += D, v += D) {
        float *to_key = keys + kv_cache_keys_of(capacity, D, h) + kv_cache_key(D, t, 0);
        for (int64_t d = 0; d < D; d++) to_key[d * GEMM_PANEL] = k[d];
        float *to_value = values + kv_cache_values_of(capacity, D, h);
        for (int64_t d = 0; d < D; d += GEMM_PANEL)
            memcpy(to_value + kv_cache_value(capacity, t, d), v + d, (size_t)MIN(GEMM_PANEL, D - d) * sizeof *v);
    }
}

void kv_cache_copy(float *keys, float *values, const float *from_keys, const float *from_values, int64_t capacity,
                   int64_t n, int64_t KV, int64_t D) {
    size_t key_bytes = (size_t)(ROUND_UP(n, GEMM_PANEL) * D) * sizeof *keys,
           value_bytes = (size_t)(n * GEMM_PANEL) * sizeof *values;
    for (int64_t h = 0; h < KV; h++) {
        int64_t key = kv_cache_keys_of(capacity, D, h), value = kv_cache_values_of(capacity, D, h);
        memcpy(keys + key, from_keys + key, key_bytes);
        for (int64_t d = 0; d < D; d += GEMM_PANEL) {
            int64_t panel = value + kv_cache_value(capacity, 0, d);
            memcpy(values + panel, from_values + panel, value_bytes);
        }
    }
}
