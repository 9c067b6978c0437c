// sample: one token out of one row of logits. Owns the filters, the draw and the reported log-probability.
// Must not know: models, batches, what a token means.
//
// Order: repetition penalty over prompt and answer, temperature, top-k, top-p, min-p, draw (the order of Hugging Face's
// logits processors; each filter sees what the one before it left). Without sorting: weights lie in [0, 1], where the
// bits of a float order like the number, so the k-th largest weight, or the one where the summed weight reaches p, is
// found digit by digit in three passes of 10 bits, in time linear in V and without memory of its own.
#include <math.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/model/infer.h"

enum { BLOCK = 256, SKIP = 64, DIGIT_BITS = 10, DIGITS = 1 << DIGIT_BITS, PENALTY_WINDOW = 1 << 16 };

typedef union FloatBits {
    float value;
    uint32_t bits;
} FloatBits;

// e^x for x <= 0, relative error below 2e-7, exactly 1 at 0, exactly 0 from -87 down. Arithmetic alone, comparisons on
// the bits, so that the compiler can vectorise it and every machine gets the same result. Range reduction by ln 2 in
// two parts (Cody and Waite 1980), then the Taylor polynomial.
static inline float exp_nonpositive(float x) {
    const float to_integer = 12582912.0f; // 1.5 * 2^23: adding and subtracting it rounds to an integer
    const uint32_t low = 0xC2AE0000u;     // the bits of -87; more negative floats have larger bits
    FloatBits at = {.value = x}, power;
    uint32_t keep = at.bits < low ? ~0u : 0;
    at.bits = at.bits < low ? at.bits : low;
    float n = (at.value * 1.44269504f + to_integer) - to_integer;
    float r = (at.value - n * 0.693145752f) - n * 1.42860677e-6f;
    float y = 1.0f / 5040;
    y = y * r + 1.0f / 720;
    y = y * r + 1.0f / 120;
    y = y * r + 1.0f / 24;
    y = y * r + 1.0f / 6;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    power.bits = (uint32_t)((int32_t)n + 127) << 23 & keep;
    return y * power.value;
}

static float largest(const float *x, int64_t n) {
    float top[8];
    for (int lane = 0; lane < 8; lane++) top[lane] = -INFINITY;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int lane = 0; lane < 8; lane++) top[lane] = x[i + lane] > top[lane] ? x[i + lane] : top[lane];
    for (; i < n; i++) top[0] = x[i] > top[0] ? x[i] : top[0];
    for (int lane = 1; lane < 8; lane++) top[0] = top[lane] > top[0] ? top[lane] : top[0];
    return top[0];
}

// In a fixed order: four sums side by side, then their sum.
static double sum_of(const float *x, int64_t n) {
    double sum[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int lane = 0; lane < 4; lane++) sum[lane] += (double)x[i + lane];
    for (; i < n; i++) sum[0] += (double)x[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

// log sum exp of a row; NaN when a logit is NaN or +inf, or all are -inf.
static double log_sum_exp(const float *logits, int64_t V) {
    float top = largest(logits, V), e[BLOCK];
    if (!isfinite(top)) return NAN;
    double sum = 0;
    int nans = 0;
    for (int64_t begin = 0; begin < V; begin += BLOCK) {
        int64_t n = MIN(BLOCK, V - begin);
        for (int64_t i = 0; i < n; i++) e[i] = exp_nonpositive(logits[begin + i] - top);
        for (int64_t i = 0; i < n; i++) nans += logits[begin + i] != logits[begin + i];
        sum += sum_of(e, n);
    }
    return nans ? NAN : (double)top + log(sum);
}

static float penalised(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }
static float unpenalised(float logit, float penalty) { return logit > 0 ? logit * penalty : logit / penalty; }

// Each distinct id of the history once: a bitmap over a window of ids at a time keeps the memory fixed.
static void apply_penalty(float *logits, int64_t V, const int32_t *history, int64_t n_history, float penalty) {
    uint64_t seen[PENALTY_WINDOW / 64];
    for (int64_t base = 0; base < V; base += PENALTY_WINDOW) {
        memset(seen, 0, sizeof seen);
        for (int64_t i = 0; i < n_history; i++) {
            int64_t id = history[i], at = id - base;
            if (at < 0 || at >= PENALTY_WINDOW || id >= V || (seen[at / 64] >> (at % 64) & 1)) continue;
            seen[at / 64] |= 1ull << (at % 64);
            logits[id] = penalised(logits[id], penalty);
        }
    }
}

static bool in_history(const int32_t *history, int64_t n_history, int32_t id) {
    for (int64_t i = 0; i < n_history; i++)
        if (history[i] == id) return true;
    return false;
}

static inline uint32_t bits_of(float x) { return (FloatBits){.value = x}.bits; }

typedef struct Cut {
    uint32_t bits;  // of the smallest weight that stays
    double missing; // how much of the goal the weights above it leave open
} Cut;

// One digit more of the cut: of the weights above `floor` that share the digits known so far, the amount at each digit;
// then down from the largest until what is missing is reached. Few weights matter in most rows: blocks without any are
// passed over.
static void refine_cut(Cut *cut, const float *weights, int64_t V, int shift, float floor, bool by_mass) {
    double amount[DIGITS] = {0};
    int lowest = DIGITS - 1;
    for (int64_t begin = 0; begin < V; begin += SKIP) {
        int64_t end = MIN(V, begin + SKIP);
        if (largest(weights + begin, end - begin) <= floor) continue;
        for (int64_t i = begin; i < end; i++) {
            uint32_t bits = bits_of(weights[i]);
            if (weights[i] <= floor || (bits >> shift) >> DIGIT_BITS != cut->bits) continue;
            int digit = (int)(bits >> shift) & (DIGITS - 1);
            amount[digit] += by_mass ? (double)weights[i] : 1;
            lowest = MIN(lowest, digit);
        }
    }
    int digit = DIGITS - 1;
    while (digit > lowest && amount[digit] < cut->missing) cut->missing -= amount[digit--];
    cut->bits = cut->bits << DIGIT_BITS | (uint32_t)digit;
}

// Walks the weights above `floor` from the largest down until `goal` of them (by_mass: of their sum) is reached.
static Cut find_cut(const float *weights, int64_t V, float floor, double goal, bool by_mass) {
    Cut cut = {.bits = 0, .missing = goal};
    for (int shift = 2 * DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        refine_cut(&cut, weights, V, shift, floor, by_mass);
        float below = shift && cut.bits ? (FloatBits){.bits = (cut.bits << shift) - 1}.value : 0;
        floor = MAX(floor, below);
    }
    return cut;
}

// The k largest, and all that equal the k-th.
static void keep_top_k(float *weights, int64_t V, int64_t k) {
    Cut cut = find_cut(weights, V, 0, (double)k, false);
    for (int64_t i = 0; i < V; i++) weights[i] = bits_of(weights[i]) < cut.bits ? 0 : weights[i];
}

// The fewest weights, largest first, whose sum reaches p of the whole; of equal ones at the border the lower ids. All
// weights up to (1 - p) / V of the whole together are no more than what is left out, so that the border lies above.
static void keep_top_p(float *weights, int64_t V, double p) {
    double sum = sum_of(weights, V);
    Cut cut = find_cut(weights, V, (float)(0.999 * (1 - p) * sum / (double)V), p * sum, true);
    float border = (FloatBits){.bits = cut.bits}.value;
    for (int64_t i = 0; i < V; i++) weights[i] = bits_of(weights[i]) < cut.bits ? 0 : weights[i];
    double room = cut.missing;
    for (int64_t i = 0; i < V; i++) {
        if (weights[i] != border) continue;
        if (room <= 0) weights[i] = 0;
        room -= (double)border;
    }
}

static void keep_min_p(float *weights, int64_t V, double min_p) {
    float floor = (float)min_p * largest(weights, V);
    for (int64_t i = 0; i < V; i++) weights[i] = weights[i] < floor ? 0 : weights[i];
}

// Inverse of the cumulative sum in id order; u in [0, 1).
static int32_t draw(const float *weights, int64_t V, double u) {
    double target = u * sum_of(weights, V), sum = 0;
    int32_t last = 0;
    for (int64_t begin = 0; begin < V && sum <= target; begin += SKIP) {
        int64_t end = MIN(V, begin + SKIP);
        if (largest(weights + begin, end - begin) <= 0) continue;
        for (int64_t i = begin; i < end && sum <= target; i++) {
            if (weights[i] > 0) last = (int32_t)i;
            sum += (double)weights[i];
        }
    }
    return last; // rounding may leave the target a hair above the whole sum
}

static int32_t first_maximum(const float *logits, int64_t V) {
    float top = largest(logits, V);
    for (int64_t i = 0; i < V; i++)
        if (logits[i] == top) return (int32_t)i;
    return 0;
}

int32_t sample_token(float *logits, int64_t V, const Sampling *s, const int32_t *history, int64_t n_history,
                     uint64_t stream, uint64_t position, float *logprob) {
    double norm = log_sum_exp(logits, V);
    if (isnan(norm)) return -1;
    float penalty = (float)s->repetition_penalty;
    if (penalty != 1) apply_penalty(logits, V, history, n_history, penalty);
    int32_t token;
    double chosen; // the chosen token's logit
    if (s->temperature == 0) {
        token = first_maximum(logits, V);
        chosen = (double)logits[token];
    } else {
        float top = largest(logits, V), inverse = (float)(1 / s->temperature);
        inverse = MIN(inverse, 1e30f); // 0 * inf is no weight
        for (int64_t i = 0; i < V; i++) logits[i] = exp_nonpositive((logits[i] - top) * inverse);
        if (s->top_k > 0 && s->top_k < V) keep_top_k(logits, V, s->top_k);
        if (s->top_p < 1) keep_top_p(logits, V, s->top_p);
        if (s->min_p > 0) keep_min_p(logits, V, s->min_p);
        token = draw(logits, V, rng_uniform(s->seed, RNG_SAMPLE | stream << 8, position));
        chosen = (double)top + log((double)logits[token]) * s->temperature;
    }
    if (penalty != 1 && in_history(history, n_history, token)) chosen = (double)unpenalised((float)chosen, penalty);
    *logprob = (float)(chosen - norm);
    return token;
}
