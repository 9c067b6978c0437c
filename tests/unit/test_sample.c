// sample_token: the filters in their order, ties, the draw's distribution, the reported log-probability.
#include "tests/unit/support_files.h"

#include <math.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/model/infer.h"

enum { MAX_V = 70000 };
static float row[MAX_V];

static const Sampling plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = 1, .seed = 3};

static int32_t sample_from(const float *logits, int64_t V, const Sampling *s, uint64_t position, float *logprob) {
    float ignored;
    memcpy(row, logits, (size_t)V * sizeof *row);
    return sample_token(row, V, s, NULL, 0, 5, position, logprob ? logprob : &ignored);
}

// Which of V <= 64 ids appear in 4000 draws, as a bit set. An id of probability >= 0.02 is missed with (0.98)^4000 <
// 1e-35.
static uint64_t drawn(const float *logits, int64_t V, const Sampling *s) {
    uint64_t set = 0;
    for (uint64_t i = 0; i < 4000; i++) set |= 1ull << sample_from(logits, V, s, i, NULL);
    return set;
}

static void logs(const double *p, int64_t V, float *out) {
    for (int64_t i = 0; i < V; i++) out[i] = (float)log(p[i]);
}

static void greedy_takes_the_lowest_id_of_the_maxima(void **state) {
    float logits[100];
    for (int i = 0; i < 100; i++) logits[i] = (float)(i % 10);
    Sampling s = plain;
    s.temperature = 0;
    assert_int_equal(sample_from(logits, 100, &s, 0, NULL), 9);
    logits[57] = 9.5f;
    assert_int_equal(sample_from(logits, 100, &s, 0, NULL), 57);
    for (int i = 0; i < 100; i++) logits[i] = -INFINITY;
    logits[99] = -3;
    assert_int_equal(sample_from(logits, 100, &s, 0, NULL), 99);
}

static void filters_keep_the_known_sets(void **state) {
    const double p[4] = {0.1, 0.2, 0.3, 0.4};
    float logits[4];
    logs(p, 4, logits);
    struct {
        int64_t top_k;
        double top_p, min_p;
        uint64_t kept;
    } cases[] = {
        {1, 1, 0, 8},       {3, 1, 0, 14},   {4, 1, 0, 15},    {9, 1, 0, 15},    {0, 0.69, 0, 12},
        {0, 0.71, 0, 14},   {0, 0.3, 0, 8},  {0, 0.95, 0, 15}, {0, 1, 0.24, 15}, {0, 1, 0.26, 14},
        {0, 1, 0.74, 12},   {0, 1, 0.76, 8}, {2, 0.5, 0, 8}, // 0.4/0.7 = 0.571 reaches 0.5 alone: top-p sees what top-k
                                                             // left
        {0, 0.41, 0.6, 12},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Sampling s = plain;
        s.top_k = cases[i].top_k, s.top_p = cases[i].top_p, s.min_p = cases[i].min_p;
        uint64_t kept = drawn(logits, 4, &s);
        if (kept != cases[i].kept) print_error("case %zu: kept %llx\n", i, (unsigned long long)kept);
        assert_true(kept == cases[i].kept);
    }
}

static void temperature_comes_before_top_p(void **state) {
    const double p[3] = {0.5, 0.3, 0.2}; // squared: 0.658, 0.237, 0.105; root: 0.415, 0.322, 0.263
    float logits[3];
    logs(p, 3, logits);
    Sampling s = plain;
    s.top_p = 0.6;
    assert_int_equal(drawn(logits, 3, &s), 3);
    s.temperature = 0.5;
    assert_int_equal(drawn(logits, 3, &s), 1);
    s.temperature = 2, s.top_p = 0.8;
    assert_int_equal(drawn(logits, 3, &s), 7);
}

static void penalty_comes_first_and_once_per_id(void **state) {
    const int32_t history[4] = {0, 2, 0, 0};
    float logits[3] = {3, 2, -1}, copy[3], logprob;
    Sampling s = plain;
    s.temperature = 0, s.repetition_penalty = 1.4; // 3 / 1.4 = 2.14 stays first; applied thrice it would be 1.09
    memcpy(copy, logits, sizeof copy);
    assert_int_equal(sample_token(copy, 3, &s, history, 4, 0, 0, &logprob), 0);
    s.repetition_penalty = 1.6;
    memcpy(copy, logits, sizeof copy);
    assert_int_equal(sample_token(copy, 3, &s, history, 4, 0, 0, &logprob), 1);
    s.repetition_penalty = 100, s.temperature = 1; // 0.03, 2, -100: a negative logit is multiplied
    for (uint64_t i = 0; i < 2000; i++) {
        memcpy(copy, logits, sizeof copy);
        assert_int_not_equal(sample_token(copy, 3, &s, history, 4, 0, i, &logprob), 2);
    }
}

static void penalty_reaches_every_id_of_a_large_vocabulary(void **state) {
    static float logits[MAX_V];
    const int32_t history[3] = {65535, 65536, 69999};
    float logprob;
    Sampling s = plain;
    s.temperature = 0, s.repetition_penalty = 2;
    for (int i = 0; i < MAX_V; i++) logits[i] = 0;
    logits[65535] = 4, logits[65536] = 5, logits[69999] = 6, logits[123] = 3.5f;
    assert_int_equal(sample_token(logits, MAX_V, &s, history, 3, 0, 0, &logprob), 123);
}

static void top_k_keeps_ties_and_top_p_breaks_them_by_id(void **state) {
    float logits[6] = {1, 2, 2, 2, 0, -9};
    Sampling s = plain;
    s.top_k = 2;
    assert_int_equal(drawn(logits, 6, &s), 0xE);
    s.top_k = 0, s.top_p = 0.4; // each 2 has 0.268: two of them reach 0.4, the lower ids
    assert_int_equal(drawn(logits, 6, &s), 0x6);
}

// The filters against sorting, on rows of many shapes.
static int64_t kept_by_sorting(const float *logits, int64_t V, double top_p, bool *kept) {
    static int32_t order[512];
    double total = 0, sum = 0;
    for (int64_t i = 0; i < V; i++) {
        int64_t at = i;
        for (; at > 0 && logits[order[at - 1]] < logits[i]; at--) order[at] = order[at - 1];
        order[at] = (int32_t)i;
        total += exp((double)logits[i]);
        kept[i] = false;
    }
    int64_t n = 0;
    while (n < V && sum < top_p * total) {
        kept[order[n]] = true;
        sum += exp((double)logits[order[n++]]);
    }
    return n;
}

static void top_p_agrees_with_sorting(void **state) {
    float logits[512];
    bool kept[512], seen[512];
    for (uint64_t trial = 0; trial < 60; trial++) {
        double spread = 0.05 * (double)(trial + 1), top_p = 0.05 + 0.9 * rng_uniform(1, RNG_TEST, trial);
        for (uint64_t i = 0; i < 512; i++) logits[i] = (float)(spread * rng_normal(2 + trial, RNG_TEST, i));
        kept_by_sorting(logits, 512, top_p, kept);
        memset(seen, 0, sizeof seen);
        Sampling s = plain;
        s.top_p = top_p;
        for (uint64_t i = 0; i < 600; i++) seen[sample_from(logits, 512, &s, i, NULL)] = true;
        for (int i = 0; i < 512; i++) assert_true(kept[i] || !seen[i]);
    }
}

// The smallest kept weight decides the border: with u just below 1 the draw takes the last kept id. Here every id is
// kept but one.
static void top_p_keeps_as_many_as_needed(void **state) {
    float logits[40];
    for (int i = 0; i < 40; i++) logits[i] = (float)i * -0.02f;
    Sampling s = plain;
    double total = 0;
    for (int i = 0; i < 40; i++) total += exp((double)logits[i]);
    s.top_p = 1 - 0.5 * exp((double)logits[39]) / total;
    uint64_t all = drawn(logits, 40, &s);
    assert_true(all == (1ull << 40) - 1); // the last one is still needed to reach p
    s.top_p = 1 - 1.5 * exp((double)logits[39]) / total;
    assert_true(drawn(logits, 40, &s) == (1ull << 39) - 1);
}

// Pearson's statistic over k cells has mean k - 1 and variance 2 (k - 1); six standard deviations is the bound. Seeds
// are fixed, so the test cannot fail by chance from run to run.
static void draws_follow_the_distribution(void **state) {
    enum { V = 50, N = 200000 };
    float logits[V];
    double p[V], total = 0, statistic = 0;
    static int64_t count[V];
    memset(count, 0, sizeof count);
    for (uint64_t i = 0; i < V; i++) {
        logits[i] = (float)rng_normal(11, RNG_TEST, i);
        p[i] = exp((double)logits[i] / 1.3);
        total += p[i];
    }
    Sampling s = plain;
    s.temperature = 1.3;
    for (uint64_t i = 0; i < N; i++) count[sample_from(logits, V, &s, i, NULL)]++;
    for (int i = 0; i < V; i++) {
        double expected = N * p[i] / total, off = (double)count[i] - expected;
        statistic += off * off / expected;
    }
    assert_true(statistic < (V - 1) + 6 * sqrt(2.0 * (V - 1)));
    assert_true(statistic > 5); // so small a value would mean that the draws are not independent
}

// log sum exp in double over float32 exponentials of relative error 2e-7, plus the rounding of the logit itself.
static void logprob_is_of_the_unmodified_distribution(void **state) {
    enum { V = 300 };
    float logits[V], logprob;
    const int32_t history[3] = {1, 5, 250};
    for (uint64_t trial = 0; trial < 200; trial++) {
        double total = 0;
        for (uint64_t i = 0; i < V; i++) logits[i] = (float)(4 * rng_normal(20 + trial, RNG_TEST, i));
        for (int i = 0; i < V; i++) total += exp((double)logits[i]);
        Sampling s = {.temperature = trial % 3 ? 0.3 * (double)(trial % 7) : 0,
                      .top_p = 0.9,
                      .top_k = 40,
                      .min_p = 0.01,
                      .repetition_penalty = 1.3,
                      .seed = trial};
        memcpy(row, logits, sizeof logits);
        int32_t token = sample_token(row, V, &s, history, 3, 1, trial, &logprob);
        double expected = (double)logits[token] - log(total);
        assert_true(fabs((double)logprob - expected) < 2e-7 + 4e-7 * (fabs(expected) + 16));
    }
}

static void same_key_same_token(void **state) {
    float logits[64];
    int different = 0;
    for (uint64_t i = 0; i < 64; i++) logits[i] = (float)rng_normal(31, RNG_TEST, i);
    for (uint64_t i = 0; i < 200; i++) {
        Sampling other = plain;
        other.seed = 4;
        int32_t token = sample_from(logits, 64, &plain, i, NULL);
        assert_int_equal(sample_from(logits, 64, &plain, i, NULL), token);
        different += sample_from(logits, 64, &other, i, NULL) != token;
    }
    assert_true(different > 100);
}

static void streams_use_56_bits(void **state) {
    float logits[64], copy[64], logprob;
    int different = 0;
    for (uint64_t i = 0; i < 64; i++) logits[i] = 0;
    for (uint64_t i = 0; i < 100; i++) {
        memcpy(copy, logits, sizeof copy);
        int32_t a = sample_token(copy, 64, &plain, NULL, 0, 1, i, &logprob);
        memcpy(copy, logits, sizeof copy);
        different += sample_token(copy, 64, &plain, NULL, 0, 1 | 1ull << 55, i, &logprob) != a;
    }
    assert_true(different > 80);
}

static void logits_that_are_no_numbers_are_refused(void **state) {
    float logits[20] = {0};
    logits[13] = NAN;
    assert_int_equal(sample_from(logits, 20, &plain, 0, NULL), -1);
    logits[13] = INFINITY;
    assert_int_equal(sample_from(logits, 20, &plain, 0, NULL), -1);
    for (int i = 0; i < 20; i++) logits[i] = -INFINITY;
    assert_int_equal(sample_from(logits, 20, &plain, 0, NULL), -1);
    logits[3] = 0;
    assert_int_equal(sample_from(logits, 20, &plain, 0, NULL), 3);
}

static void extreme_temperatures_are_sound(void **state) {
    float logits[5] = {1, 5, 2, 4.999f, -1000};
    Sampling s = plain;
    s.temperature = 1e-30;
    assert_int_equal(drawn(logits, 5, &s), 2);
    s.temperature = 1e5;
    assert_int_equal(drawn(logits, 5, &s), 31);
    assert_int_equal(sample_from(logits, 1, &s, 0, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_id_of_the_maxima),
        cmocka_unit_test(filters_keep_the_known_sets),
        cmocka_unit_test(temperature_comes_before_top_p),
        cmocka_unit_test(penalty_comes_first_and_once_per_id),
        cmocka_unit_test(penalty_reaches_every_id_of_a_large_vocabulary),
        cmocka_unit_test(top_k_keeps_ties_and_top_p_breaks_them_by_id),
        cmocka_unit_test(top_p_agrees_with_sorting),
        cmocka_unit_test(top_p_keeps_as_many_as_needed),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(logprob_is_of_the_unmodified_distribution),
        cmocka_unit_test(same_key_same_token),
        cmocka_unit_test(streams_use_56_bits),
        cmocka_unit_test(logits_that_are_no_numbers_are_refused),
        cmocka_unit_test(extreme_temperatures_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
