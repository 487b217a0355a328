// The transcendental functions of every device: approximations in fp32, given once, so that the interpreter,
// the simulators and generated GPU code agree to the bit.
//
// Only additions, multiplications, divisions and square roots of IEEE fp32, each rounded to nearest even,
// comparisons and integer operations are used, in the order written: no fused multiply-add, no contraction,
// no flushing of subnormals. Whoever writes them in another language gets the same bits from the same order
// of operations. There are no branches, so that a loop over an array becomes vector code.
//
// Each function's comment states the largest error over all finite arguments, in units in the last place
// (ulp) of the result, where the result is normal; a subnormal result is off by at most 1.5 times the least
// subnormal number. Every NaN that comes out is the quiet one with bits 0x7fc00000. Coefficients are minimax
// fits of the stated function on the stated interval.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace npuc::transcendental {
namespace detail {

#define NPUC_INLINE [[gnu::always_inline]] static inline

NPUC_INLINE uint32_t bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
NPUC_INLINE float fromBits(uint32_t x) {
  return std::bit_cast<float>(x);
}
NPUC_INLINE float magnitude(float x) {
  return fromBits(bits(x) & 0x7fffffffu);
}
/// |x| with the sign of s.
NPUC_INLINE float withSign(float x, float s) {
  return fromBits((bits(x) & 0x7fffffffu) | (bits(s) & 0x80000000u));
}
NPUC_INLINE float orNaN(float x, float y) {
  return x == x ? y : fromBits(0x7fc00000u);
}

inline constexpr float infinity = std::numeric_limits<float>::infinity();
/// Adding it to |x| < 2^22 and taking it off again rounds x to an integer, to nearest even.
inline constexpr float roundToInteger = 0x1.8p23f;

} // namespace detail

/// e^x; 1.0 ulp. Overflows to infinity, underflows through the subnormals to 0.
NPUC_INLINE float exp(float x) {
  using namespace detail;
  // Beyond these the result is infinity or 0 in any case; clamped, the exponent below stays within its bits.
  float clamped = x < -104.0f ? -104.0f : x;
  clamped = clamped > 89.0f ? 89.0f : clamped;
  // x = n ln 2 + r, |r| ≤ 0.3466. ln 2 in two parts, the first of 9 bits, so that its product with n is
  // exact.
  float shifted = clamped * 0x1.715476p+0f + roundToInteger;
  float n = shifted - roundToInteger;
  float r = (clamped - n * 0x1.63p-1f) + n * 0x1.bd0106p-13f;
  // (e^r − 1 − r) / r² on ±0.3466.
  float p = 0x1.6a243ap-10f;
  p = p * r + 0x1.1239ep-7f;
  p = p * r + 0x1.5558f2p-5f;
  p = p * r + 0x1.555492p-3f;
  p = p * r + 0x1.fffffcp-2f;
  float y = (p * (r * r) + r) + 1.0f;
  // 2^n in two factors, so that neither leaves the exponent's range; only the last product rounds.
  int32_t e = static_cast<int32_t>(bits(shifted)) - static_cast<int32_t>(bits(roundToInteger));
  int32_t half = e >> 1;
  float scale = fromBits(static_cast<uint32_t>(half + 127) << 23);
  float rest = fromBits(static_cast<uint32_t>(e - half + 127) << 23);
  return orNaN(x, y * scale * rest);
}

/// Natural logarithm; 0.85 ulp. −infinity for ±0, NaN below.
NPUC_INLINE float log(float x) {
  using namespace detail;
  bool subnormal = x < 0x1p-126f;
  uint32_t b = bits(subnormal ? x * 0x1p25f : x);
  // x = 2^k m, √½ ≤ m < √2.
  int32_t k = static_cast<int32_t>(b - 0x3f3504f3u) >> 23;
  float f = fromBits(b - (static_cast<uint32_t>(k) << 23)) - 1.0f;
  float n = static_cast<float>(k - (subnormal ? 25 : 0));
  // log(1+f) = 2 atanh(s) = f − (f²/2 − s (f²/2 + R)) with s = f/(2+f), R = 2 atanh(s)/s − 2 on ±0.1716.
  float s = f / (2.0f + f);
  float z = s * s;
  float r = 0x1.31e478p-2f;
  r = r * z + 0x1.995eacp-2f;
  r = r * z + 0x1.55557ap-1f;
  r = r * z;
  float h = 0.5f * f * f;
  // ln 2 in two parts, the first of 16 bits, so that its product with n is exact.
  float y = n * 0x1.62e3p-1f - ((h - (s * (h + r) + n * 0x1.2fefa2p-17f)) - f);
  y = x == infinity ? infinity : y;
  y = x < 0.0f ? fromBits(0x7fc00000u) : y;
  return orNaN(x, x == 0.0f ? -infinity : y);
}

/// Hyperbolic tangent; 1.35 ulp.
NPUC_INLINE float tanh(float x) {
  using namespace detail;
  float a = magnitude(x);
  // (tanh x − x) / x³ as a polynomial in x² on |x| ≤ 0.625.
  float z = x * x;
  float p = -0x1.76ac1ap-8f;
  p = p * z + 0x1.5256d8p-6f;
  p = p * z + -0x1.b84448p-5f;
  p = p * z + 0x1.110768p-3f;
  p = p * z + -0x1.555534p-2f;
  float small = withSign(p * z * x + x, x); // of −0 too
  float clamped = a > 10.0f ? 10.0f : a;    // tanh is 1 from 9.02 on.
  float large = withSign(1.0f - 2.0f / (exp(clamped + clamped) + 1.0f), x);
  return orNaN(x, a <= 0.625f ? small : large);
}

/// Error function; 1.3 ulp.
NPUC_INLINE float erf(float x) {
  using namespace detail;
  float a = magnitude(x);
  // erf(x)/x − 1 as a polynomial in x² on |x| ≤ 1.
  float z = x * x;
  float p = 0x1.4ae4dp-14f;
  p = p * z + -0x1.a485ecp-11f;
  p = p * z + 0x1.5419f6p-8f;
  p = p * z + -0x1.b7fbb4p-6f;
  p = p * z + 0x1.ce2d2p-4f;
  p = p * z + -0x1.81273ep-2f;
  p = p * z + 0x1.06eba8p-3f;
  float small = p * x + x;
  // −log(1 − erf(x)) on [1, 4]; erf is 1 from 3.92 on.
  float t = a > 4.0f ? 4.0f : a;
  float q = -0x1.86dd92p-13f;
  q = q * t + 0x1.825bp-9f;
  q = q * t + -0x1.65cb7ap-6f;
  q = q * t + 0x1.a65344p-4f;
  q = q * t + 0x1.46baecp-1f;
  q = q * t + 0x1.2088eap+0f;
  q = q * t + 0x1.661ce4p-12f;
  float large = withSign(1.0f - exp(-q), x);
  return orNaN(x, a <= 1.0f ? small : large);
}

namespace detail {

/// Bits of 2/π behind the binary point, after 32 zeros.
inline constexpr uint32_t twoOverPi[8] = {0,           0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                          0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};

/// |x| = quadrant π/2 + r (quadrant modulo 4), |r| ≤ π/4, for any finite x, by multiplication with those 96
/// bits of 2/π that matter at x's exponent: higher ones give multiples of 2π, lower ones less than 2^−32 of
/// the least r that a float has.
struct Reduced {
  float r;
  uint32_t quadrant;
};
NPUC_INLINE Reduced reduceAngle(float x) {
  uint32_t b = bits(x) & 0x7fffffffu;
  // Below π/4 nothing is reduced; the clamp keeps the table index valid there and for infinity and NaN.
  uint32_t exponent = b >> 23;
  exponent = exponent < 126 ? 126 : exponent;
  exponent = exponent > 254 ? 254 : exponent;
  uint64_t m = (b & 0x7fffffu) | 0x800000u;
  uint32_t first = exponent - 120, word = first >> 5, shift = first & 31;
  uint64_t t0 = twoOverPi[word], t1 = twoOverPi[word + 1], t2 = twoOverPi[word + 2], t3 = twoOverPi[word + 3];
  uint64_t high = (t0 << 32 | t1) << shift | (t2 << shift) >> 32;
  uint64_t low = ((t2 << 32 | t3) << shift) >> 32;
  uint64_t turns = m * high + ((m * low) >> 32); // Quarter turns modulo 4, 62 bits behind the point.
  uint64_t quadrant = (turns + (uint64_t{1} << 61)) >> 62;
  // Times π/2 in integers, so that r is rounded once: π/2 = 0xc90fdaa2 · 2^−31 to 2^−33.
  int64_t fraction = static_cast<int64_t>(turns - (quadrant << 62));
  int64_t low32 = static_cast<int64_t>((static_cast<uint64_t>(fraction) & 0xffffffffu) * 0xc90fdaa2u >> 32);
  float r = static_cast<float>((fraction >> 32) * 0xc90fdaa2ll + low32) * 0x1p-61f;
  bool small = b <= 0x3f490fdau; // π/4 rounded down
  return {small ? fromBits(b) : r, small ? 0 : static_cast<uint32_t>(quadrant & 3)};
}

/// Sine of r, or cosine if `odd`, |r| ≤ π/4.
NPUC_INLINE float sineOrCosine(float r, bool odd) {
  float z = r * r;
  // (sin r − r) / r³ in r².
  float s = 0x1.6cd82ap-19f;
  s = s * z + -0x1.a00f9cp-13f;
  s = s * z + 0x1.111108p-7f;
  s = s * z + -0x1.555556p-3f;
  s = s * z * r + r;
  // (cos r − 1 + r²/2) / r⁴ in r².
  float c = 0x1.9a01fap-16f;
  c = c * z + -0x1.6c0c8ap-10f;
  c = c * z + 0x1.55554ap-5f;
  c = (c * z * z - 0.5f * z) + 1.0f;
  return odd ? c : s;
}

} // namespace detail

/// Sine of x in radians, for every finite x; 1.8 ulp. NaN for ±infinity.
NPUC_INLINE float sin(float x) {
  using namespace detail;
  Reduced a = reduceAngle(x);
  float y = sineOrCosine(a.r, a.quadrant & 1);
  y = fromBits(bits(y) ^ (a.quadrant & 2) << 30 ^ (bits(x) & 0x80000000u));
  return orNaN(x - x, y);
}

/// Cosine of x in radians, for every finite x; 1.8 ulp. NaN for ±infinity.
NPUC_INLINE float cos(float x) {
  using namespace detail;
  Reduced a = reduceAngle(x);
  float y = sineOrCosine(a.r, !(a.quadrant & 1));
  y = fromBits(bits(y) ^ ((a.quadrant + 1) & 2) << 30);
  return orNaN(x - x, y);
}

/// Square root, correctly rounded.
NPUC_INLINE float sqrt(float x) {
  float y = std::sqrt(x);
  return detail::orNaN(y, y);
}

/// 1 / √x; 1.5 ulp. ±infinity for ±0, NaN below.
NPUC_INLINE float rsqrt(float x) {
  return 1.0f / sqrt(x);
}

/// 1 / (1 + e^−x); 2.1 ulp.
NPUC_INLINE float sigmoid(float x) {
  using namespace detail;
  float e = exp(-magnitude(x));
  return orNaN(x, (x < 0.0f ? e : 1.0f) / (1.0f + e));
}

// The same functions over arrays: y[i] = f(x[i]) for i < x.size(); y has x's length and may be x.
void exp(std::span<const float> x, float *y);
void log(std::span<const float> x, float *y);
void tanh(std::span<const float> x, float *y);
void erf(std::span<const float> x, float *y);
void sin(std::span<const float> x, float *y);
void cos(std::span<const float> x, float *y);
void rsqrt(std::span<const float> x, float *y);
void sigmoid(std::span<const float> x, float *y);

} // namespace npuc::transcendental
