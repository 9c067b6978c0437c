// vec_math: exp, sine and cosine against double arithmetic over their whole range; rounding; loads and stores of a
// tail.
#include "tests/unit/support_ops.h"

#include <math.h>
#include <string.h>

#include "core/base/half.h"
#include "core/ops/vec_math.h"

// Distance in units of the last place of the exact value.
static double ulps(float x, double exact) {
    int exponent;
    frexp(exact, &exponent);
    return fabs((double)x - exact) / ldexp(1.0, MAX(exponent - 24, -149));
}

static void test_exp(void **state) {
    (void)state;
    double worst = 0;
    for (uint32_t step = 0; step < 2; step++) { // both signs, every 1021st float32 up to the ends of the range
        uint32_t end = float_bits(step ? 87.3f : 88.7f);
        for (uint32_t bits = 0; bits < end; bits += 1021) {
            float x = float_of_bits(bits | step << 31);
            worst = fmax(worst, ulps(vf_exp(vf_set(x))[5], exp(x)));
        }
    }
    assert_true(worst < 2);
    for (float x = -104; x < -87; x += 1e-3f) assert_true(ulps(vf_exp(vf_set(x))[0], exp(x)) < 2); // subnormal results
}

static void test_exp_ends(void **state) {
    (void)state;
    vf x = {0, -0.0f, 89, INFINITY, -INFINITY, NAN, -1000, 1e30f}, e = vf_exp(x);
    assert_true(e[0] == 1 && e[1] == 1 && e[2] == INFINITY && e[3] == INFINITY && e[4] == 0 && isnan(e[5]) &&
                e[6] == 0);
    assert_true(e[7] == INFINITY && isnan(vf_exp(vf_set(-NAN))[0]));
}

static void test_sincos(void **state) {
    (void)state;
    for (float x = 0; x < 1048576.0f; x += x < 100 ? 0.00317f : 33.77f) {
        vf s, c;
        vf_sincos((vf){x, -x, x, x, x, -x, x, x}, &s, &c);
        assert_true(fabs(s[0] - sin(x)) <= 0x1p-24 && fabs(c[0] - cos(x)) <= 0x1p-24);
        assert_true(s[5] == -s[0] && c[5] == c[0] && s[1] == s[5]);
    }
}

static void test_round(void **state) {
    (void)state;
    for (float x = -300; x < 300; x += 0.125f) assert_true(vf_round(vf_set(x))[3] == rintf(x));
}

static void test_tails_and_sums(void **state) {
    (void)state;
    float from[8] = {1, 2, 4, 8, 16, 32, 64, 128}, to[8];
    for (int n = 0; n <= 8; n++) {
        memset(to, 0, sizeof to);
        vf v = vf_load_n(from, n);
        vf_store_n(to, v, n);
        assert_true(vf_sum(v) == (float)((1 << n) - 1));
        for (int i = 0; i < 8; i++) assert_true(to[i] == (i < n ? from[i] : 0) && v[i] == to[i]);
    }
    vf v = vf_load(from);
    assert_true(vf_top(v) == 128 && vf_top(-v) == -1 && vf_max(v, -v)[2] == 4 && vf_min(v, -v)[2] == -4 &&
                vf_abs(-v)[7] == 128);
    assert_true(vd_sum(vd_of(v, 0)) == 15 && vd_sum(vd_of(v, 1)) == 240);
    assert_true(memcmp(&v, &(vf[]){vf_of(vd_of(v, 0), vd_of(v, 1))}, sizeof v) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),   cmocka_unit_test(test_exp_ends),       cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_round), cmocka_unit_test(test_tails_and_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
