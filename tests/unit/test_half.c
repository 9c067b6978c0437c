// half: all 65536 numbers of both formats round-trip, and every boundary between neighbours rounds to nearest, ties to
// even.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>

#include "core/base/half.h"

typedef struct Format {
    uint16_t (*to)(float);
    float (*from)(uint16_t);
    uint16_t infinity;
} Format;
static const Format formats[] = {{float_to_half, half_to_float, 0x7c00}, {float_to_bfloat, bfloat_to_float, 0x7f80}};

static void test_round_trip(void **state) {
    (void)state;
    for (int f = 0; f < 2; f++) {
        for (uint32_t h = 0; h < 65536; h++) {
            float x = formats[f].from((uint16_t)h);
            bool is_nan = (h & 0x7fff) > formats[f].infinity;
            assert_true((isnan(x) != 0) == is_nan);
            if (!is_nan) assert_int_equal(formats[f].to(x), h);
            if (is_nan) assert_true(isnan(formats[f].from(formats[f].to(x))));
        }
    }
}

// Between neighbours a < b the exact middle goes to the even one, a float32 step to either side to the nearer one.
static void test_rounding(void **state) {
    (void)state;
    for (int f = 0; f < 2; f++) {
        const Format *format = &formats[f];
        for (uint32_t h = 0; h + 1 < format->infinity; h++) {
            double a = format->from((uint16_t)h), b = format->from((uint16_t)(h + 1));
            float middle = (float)((a + b) / 2);
            for (int sign = 0; sign < 2; sign++) {
                float s = sign ? -1.0f : 1.0f;
                uint16_t high = (uint16_t)(sign << 15);
                assert_int_equal(format->to(s * middle), high | (h & 1 ? h + 1 : h));
                assert_int_equal(format->to(s * nextafterf(middle, 0)), high | h);
                assert_int_equal(format->to(s * nextafterf(middle, INFINITY)), high | (h + 1));
            }
        }
    }
}

static void test_ends(void **state) {
    (void)state;
    assert_true(half_to_float(1) == 0x1p-24f && half_to_float(0x3ff) == 1023 * 0x1p-24f &&
                half_to_float(0x400) == 0x1p-14f);
    assert_true(half_to_float(0x3c00) == 1.0f && half_to_float(0xc000) == -2.0f && half_to_float(0x7bff) == 65504.0f);
    assert_int_equal(float_to_half(65519.996f), 0x7bff);
    assert_int_equal(float_to_half(65520.0f), 0x7c00);
    assert_int_equal(float_to_half(1e30f), 0x7c00);
    assert_int_equal(float_to_half(-INFINITY), 0xfc00);
    assert_int_equal(float_to_half(0x1p-25f), 0);
    assert_int_equal(float_to_half(-0.0f), 0x8000);
    assert_true(half_to_float(float_to_half(1e-5f)) == 168 * 0x1p-24f); // the smallest scale of a ternary weight
    assert_int_equal(float_to_bfloat(3.4e38f), 0x7f80);
    assert_int_equal(float_to_bfloat(1.0f), 0x3f80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
