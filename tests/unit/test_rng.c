// Random numbers: known answers of Philox4x32-10, ranges, unbiased bounds, moments.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // the macro of cmocka; ours is a function
#include <math.h>

#include "core/base/base.h"
#include "core/base/rng.h"

// Random123's kat_vectors, "philox4x32 10"; rng_u64 gives the first two of the block's four words.
static void test_known_answers(void **state) {
    (void)state;
    assert_true(rng_u64(0, 0, 0) == 0xe169c58d6627e8d5u);
    assert_true(rng_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX) == 0x41c83b0e408f276du);
    // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0
    assert_true(rng_u64(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u) == 0x94fdccebd16cfe09u);
}

static void test_uniform_is_in_range_and_even(void **state) {
    (void)state;
    enum { N = 100000, BINS = 10 };
    int bins[BINS] = {0};
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(1, RNG_TEST, (uint64_t)i);
        assert_true(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
    }
    // a bin's count has standard deviation sqrt(N p (1 - p)) = 95; 5 of them are 475
    for (int b = 0; b < BINS; b++) assert_in_range(bins[b], N / BINS - 475, N / BINS + 475);
}

static void test_normal_moments(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum[5] = {0};
    for (int i = 0; i < N; i++) {
        double x = rng_normal(7, RNG_TEST, (uint64_t)i);
        assert_true(isfinite(x));
        for (int p = 1; p <= 4; p++) sum[p] += pow(x, p) / N;
    }
    // standard errors: 1/sqrt(N), sqrt(2/N), sqrt(15/N), sqrt(96/N); five of each
    const double expected[5] = {0, 0, 1, 0, 3}, variance[5] = {0, 1, 2, 15, 96};
    for (int p = 1; p <= 4; p++) assert_true(fabs(sum[p] - expected[p]) < 5 * sqrt(variance[p] / N));
}

static void test_streams_and_seeds_differ(void **state) {
    (void)state;
    assert_true(rng_u64(1, RNG_INIT, 0) != rng_u64(1, RNG_SHUFFLE, 0));
    assert_true(rng_u64(1, RNG_INIT, 0) != rng_u64(2, RNG_INIT, 0));
    assert_true(rng_u64(1, RNG_INIT | 1 << 8, 0) != rng_u64(1, RNG_INIT, 0));
}

static void test_cursor_walks_the_stream(void **state) {
    (void)state;
    Rng r = {.seed = 3, .stream = RNG_TEST, .index = 5};
    assert_true(rng_next(&r) == rng_u64(3, RNG_TEST, 5));
    assert_true(rng_next_uniform(&r) == rng_uniform(3, RNG_TEST, 6));
    assert_true(r.index == 7);
}

static void test_below_is_even(void **state) {
    (void)state;
    enum { N = 60000 };
    Rng r = {.seed = 11, .stream = RNG_TEST};
    int faces[6] = {0};
    for (int i = 0; i < N; i++) {
        uint64_t x = rng_below(&r, 6);
        assert_true(x < 6);
        faces[x]++;
    }
    for (int f = 0; f < 6; f++) assert_in_range(faces[f], N / 6 - 457, N / 6 + 457); // 5 sigma
    assert_true(rng_below(&r, 1) == 0);
    assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_uniform_is_in_range_and_even),
        cmocka_unit_test(test_normal_moments),
        cmocka_unit_test(test_streams_and_seeds_differ),
        cmocka_unit_test(test_cursor_walks_the_stream),
        cmocka_unit_test(test_below_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
