// half: the two 16-bit float formats, one number at a time. Exact towards float32, round to nearest even back.
// Source: IEEE 754-2019 binary16 (5 exponent bits, 10 fraction bits); bfloat16 is the upper half of binary32.
#pragma once
#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float bfloat_to_float(uint16_t x) { return float_of_bits((uint32_t)x << 16); }

// NaN stays NaN (quiet); overflow goes to infinity.
static inline uint16_t float_to_bfloat(float x) {
    uint32_t bits = float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float half_to_float(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, exponent = x >> 10 & 31u, fraction = x & 1023u;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return float_of_bits(sign | (exponent + 112u) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; // zero and subnormals: fraction * 2^-24, exact
    return float_of_bits(sign | float_bits(magnitude));
}

// NaN stays NaN (quiet); 65520 and above go to infinity; below 2^-14 the result is subnormal, 2^-25 and below is zero.
static inline uint16_t float_to_half(float x) {
    uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 1023u));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) { // normal: exponent bias 127 -> 15, then drop 13 bits
        uint32_t r = magnitude - 0x38000000u;
        return (uint16_t)(sign | (r + 0xfffu + (r >> 13 & 1u)) >> 13);
    }
    if (magnitude < 0x33000000u) return (uint16_t)sign;
    uint32_t shift = 126u - (magnitude >> 23), m = (magnitude & 0x7fffffu) | 0x800000u; // in units of 2^-24: m >> shift
    uint32_t quotient = m >> shift, rest = m & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
    if (rest > middle || (rest == middle && (quotient & 1u))) quotient++;
    return (uint16_t)(sign | quotient);
}
