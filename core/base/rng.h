// rng: counter-based random numbers. No hidden state: the value at (seed, stream, index) is a pure function, so that
// results do not depend on threads, batches, ranks or restarts.
// Source: Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include <stdint.h>

// Streams of the whole project: one row each, so that no two uses share numbers.
enum {
    RNG_INIT = 1,    // weight initialisation; index = element
    RNG_SHUFFLE = 2, // order of samples; index = position
    RNG_SAMPLE = 3,  // sampling of tokens; index = position in the text
    RNG_WORLD = 4,   // the small world's generator
    RNG_MIX = 5,     // which documents enter a mix
    RNG_TEST = 6,
    RNG_BACKOFF = 7 // jitter of retries
};

// 64 random bits for (seed, stream, index). `stream` may carry a sub-stream in its upper bits (stream | id << 8).
uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index);
// Uniform in [0, 1), 53 bits.
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);
// Standard normal (Box-Muller over two draws of the same block).
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index);

// A cursor over one (seed, stream) for code that draws a varying number of values.
typedef struct Rng {
    uint64_t seed, stream, index;
} Rng;
uint64_t rng_next(Rng *r);
// Uniform integer in [0, n), unbiased (rejection). n >= 1.
uint64_t rng_below(Rng *r, uint64_t n);
double rng_next_uniform(Rng *r);
