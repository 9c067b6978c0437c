#include "core/base/rng.h"

#include <math.h>

static void philox(uint32_t counter[4], uint32_t key[2]) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * counter[2];
        uint32_t c0 = (uint32_t)(p1 >> 32) ^ counter[1] ^ key[0];
        uint32_t c2 = (uint32_t)(p0 >> 32) ^ counter[3] ^ key[1];
        counter[1] = (uint32_t)p1;
        counter[3] = (uint32_t)p0;
        counter[0] = c0;
        counter[2] = c2;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

static void block(uint64_t seed, uint64_t stream, uint64_t index, uint64_t out[2]) {
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox(counter, key);
    out[0] = (uint64_t)counter[1] << 32 | counter[0];
    out[1] = (uint64_t)counter[3] << 32 | counter[2];
}

static double to_uniform(uint64_t bits) { return (double)(bits >> 11) * 0x1.0p-53; }

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index) {
    uint64_t out[2];
    block(seed, stream, index, out);
    return out[0];
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return to_uniform(rng_u64(seed, stream, index));
}

double rng_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    uint64_t out[2];
    block(seed, stream, index, out);
    double radius = sqrt(-2.0 * log(1.0 - to_uniform(out[0]))); // 1 - u is in (0, 1]
    return radius * cos(6.283185307179586 * to_uniform(out[1]));
}

uint64_t rng_next(Rng *r) { return rng_u64(r->seed, r->stream, r->index++); }

uint64_t rng_below(Rng *r, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    for (;;) {
        uint64_t x = rng_next(r);
        if (x < limit) return x % n;
    }
}

double rng_next_uniform(Rng *r) { return to_uniform(rng_next(r)); }
