// vec_math: eight floats at a time, in C that any compiler with vector extensions takes; AVX2 + FMA where the target
// has them. Owns: loads with a tail, fused multiply-add, fixed-order sums, exp, sin and cos.
// Must not know: any operation.
//
// Errors, in units in the last place of the exact result (tests/unit/test_ops_vec_math.c walks the whole range):
//   vf_exp    < 2 ulp (1.01 found) up to 88.7, gradual underflow below -87.3 included; above: +infinity; NaN stays NaN
//   vf_sincos < 2^-24 absolute for |x| < 2^20
#pragma once
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif
#pragma GCC diagnostic ignored "-Wpsabi" // everything here is inlined: no vector crosses a call

#define VF 8 // lanes
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
typedef float vh __attribute__((vector_size(16)));  // half of a vf
typedef double vd __attribute__((vector_size(32))); // that half in double
typedef int64_t vl __attribute__((vector_size(32)));

#define VEC static inline __attribute__((always_inline))

VEC vf vf_set(float x) { return (vf){x, x, x, x, x, x, x, x}; }

VEC vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

VEC void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }

// All ones in lanes 0..n-1.
VEC vi vf_first(int64_t n) {
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return lane < (int32_t)(n > VF ? VF : n < 0 ? 0 : n);
}

// The first n of eight lanes (all when n >= 8, none when n <= 0); the others read 0, their memory is not touched.
VEC vf vf_load_n(const float *p, int64_t n) {
    if (n >= VF) return vf_load(p);
#ifdef __AVX2__
    return _mm256_maskload_ps(p, (__m256i)vf_first(n));
#else
    vf v = {0};
    if (n > 0) memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
#endif
}

VEC void vf_store_n(float *p, vf v, int64_t n) {
    if (n >= VF) {
        vf_store(p, v);
        return;
    }
#ifdef __AVX2__
    _mm256_maskstore_ps(p, (__m256i)vf_first(n), v);
#else
    if (n > 0) memcpy(p, &v, (size_t)n * sizeof *p);
#endif
}

// a * b + c, rounded once where the machine can.
VEC vf vf_fma(vf a, vf b, vf c) {
#if defined(__AVX2__) && defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

VEC vf vf_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
VEC vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); } // b where either is NaN
VEC vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
VEC vf vf_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }

// The first n lanes; 0 in the others.
VEC vf vf_keep(vf v, int64_t n) { return (vf)((vi)v & vf_first(n)); }

// Sum of the lanes: ((0+4) + (2+6)) + ((1+5) + (3+7)).
VEC float vf_sum(vf v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

VEC float vf_top(vf v) {
    float top = v[0];
    for (int i = 1; i < VF; i++) top = v[i] > top ? v[i] : top;
    return top;
}

// The lower (part 0) or upper (part 1) four lanes in double.
VEC vd vd_of(vf v, int part) {
    vh half;
    memcpy(&half, (const char *)&v + part * sizeof half, sizeof half);
    return __builtin_convertvector(half, vd);
}

VEC vf vf_of(vd low, vd high) {
    vh parts[2] = {__builtin_convertvector(low, vh), __builtin_convertvector(high, vh)};
    return vf_load((const float *)parts);
}

VEC double vd_sum(vd v) { return (v[0] + v[2]) + (v[1] + v[3]); }

// Nearest integer, halves to even, for |x| < 2^22.
VEC vf vf_round(vf x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

// exp(x) = 2^k e^r, k = round(x / ln 2), |r| <= ln 2 / 2; e^r by the polynomial of Cephes (Moshier, expf).
VEC vf vf_exp(vf x) {
    x = vf_select(x < -104.0f, vf_set(-104.0f), x); // comparisons are false for NaN, which therefore stays
    x = vf_select(x > 89.0f, vf_set(89.0f), x);
    vf shifted = vf_fma(x, vf_set(0x1.715476p+0f), vf_set(0x1.8p23f));
    vf k = shifted - 0x1.8p23f;
    vf r = vf_fma(k, vf_set(-0.693359375f), x); // ln 2 in two parts, the first exact in nine bits
    r = vf_fma(k, vf_set(2.12194440e-4f), r);
    vf p = vf_fma(vf_set(1.9875691500e-4f), r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_fma(p, r * r, r) + 1.0f;
    vi exponent = (vi)shifted - 0x4b400000, first = exponent >> 1, second = exponent - first; // 2^k in two steps:
    return p * (vf)((vu)(first + 127) << 23) * (vf)((vu)(second + 127) << 23); // no step over- or underflows
}

// Sine and cosine in double: reduction by pi/2 in two parts (fdlibm), then the Taylor polynomials on [-pi/4, pi/4].
VEC void vd_sincos(vd x, vd *sine, vd *cosine) {
    vd shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p52, k = shifted - 0x1.8p52;
    vd r = (x - k * 1.57079632673412561417e+00) - k * 6.07710050650619224932e-11, z = r * r;
    vd s = r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880))));
    vd c = 1.0 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800)))));
    vl quadrant = (vl)shifted,
       odd = -(quadrant & 1); // all ones where the quadrant is odd: sine and cosine change places
    vl s_bits = (odd & (vl)c) | (~odd & (vl)s), c_bits = (odd & (vl)s) | (~odd & (vl)c);
    *sine = (vd)(s_bits ^ ((quadrant & 2) << 62));
    *cosine = (vd)(c_bits ^ (((quadrant + 1) & 2) << 62));
}

VEC void vf_sincos(vf x, vf *sine, vf *cosine) {
    vd s[2], c[2];
    for (int part = 0; part < 2; part++) vd_sincos(vd_of(x, part), &s[part], &c[part]);
    *sine = vf_of(s[0], s[1]);
    *cosine = vf_of(c[0], c[1]);
}
