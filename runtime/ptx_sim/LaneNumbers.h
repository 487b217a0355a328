// Floating-point numbers of every format, for the sources that are compiled once for each level of vector
// instructions.
#pragma once

#include "runtime/ptx_sim/LaneLoops.h"

namespace npuc::ptx::NPUC_SIMD {

NPUC_LANES uint32_t bitsOf(float v) {
  return __builtin_bit_cast(uint32_t, v);
}
NPUC_LANES uint64_t bitsOf(double v) {
  return __builtin_bit_cast(uint64_t, v);
}
NPUC_LANES float floatOf(uint32_t v) {
  return __builtin_bit_cast(float, v);
}
NPUC_LANES double doubleOf(uint64_t v) {
  return __builtin_bit_cast(double, v);
}

/// The NaN that arithmetic of fp32 gives (PTX ISA, "Floating Point Instructions").
NPUC_LANES float canonical(float v) {
  return v == v ? v : floatOf(0x7fffffffu);
}
NPUC_LANES double canonical(double v) {
  return v;
}
NPUC_LANES float flush(float v) {
  return bitsOf(v) & 0x7f800000u ? v : floatOf(bitsOf(v) & 0x80000000u);
}
NPUC_LANES double flush(double v) {
  return v;
}
/// To [0, 1], NaN to 0.
template <typename T>
NPUC_LANES T saturate(T v) {
  return v > T{0} ? (v < T{1} ? v : T{1}) : T{0};
}

/// hi + lo rounded to odd: toward zero, with the last bit set where that is not exact. A further rounding to
/// at least two bits fewer is then that of the sum. hi is the sum rounded to nearest and lo what that lost.
NPUC_LANES double toOdd(double hi, double lo) {
  const uint64_t b = bitsOf(hi);
  const bool exact = lo == 0 || (b & 1) || !(lo == lo); // infinity and NaN too
  return exact ? hi : doubleOf((lo > 0) == (hi > 0) ? b + 1 : b - 1);
}
NPUC_LANES double sumToOdd(double a, double b) {
  const double s = a + b, part = s - a, lo = (a - (s - part)) + (b - part);
  return __builtin_isfinite(s) ? toOdd(s, lo) : s;
}
NPUC_LANES float toOddFloat(double v) {
  const float f = static_cast<float>(v);
  const double back = f;
  const uint32_t b = bitsOf(f);
  // Where rounding went away from zero, one step back; then the last bit. Overflow went to infinity, and
  // stays.
  const uint32_t toward = (back < 0 ? back < v : back > v) ? b - 1 : b;
  return back == v || !(v == v) || !__builtin_isfinite(f) ? f : floatOf(toward | 1);
}

/// fp16, loops over which become vector code.
struct Half {
  NPUC_LANES float load(uint16_t h) {
    const uint32_t magnitude = (h & 0x7fffu) << 13;
    const float scaled = floatOf(magnitude) * 0x1p112f;
    const uint32_t b = magnitude >= 0x7c00u << 13 ? magnitude | 0x7f800000u : bitsOf(scaled);
    return floatOf(b | (h & 0x8000u) << 16);
  }
  NPUC_LANES uint16_t store(float v) {
    const uint32_t sign = bitsOf(v) & 0x80000000u, u = bitsOf(v) ^ sign;
    // Added to one half, a number below 2^-14 has its last bit where that of a subnormal is.
    const uint32_t small = bitsOf(floatOf(u) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (u + 0xc8000fffu + (u >> 13 & 1)) >> 13;
    uint32_t h = u < 0x38800000u ? small : normal;
    h = u >= 0x47800000u ? 0x7c00u : h;
    // The canonical NaN has no sign.
    return static_cast<uint16_t>(u > 0x7f800000u ? 0x7fffu : h | sign >> 16);
  }
  NPUC_LANES uint16_t flush(uint16_t h) { return h & 0x7c00u ? h : h & 0x8000u; }
};
struct Brain {
  NPUC_LANES float load(uint16_t h) { return floatOf(static_cast<uint32_t>(h) << 16); }
  NPUC_LANES uint16_t store(float v) {
    const uint32_t u = bitsOf(v);
    return static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? 0x7fffu
                                                                 : (u + 0x7fffu + (u >> 16 & 1)) >> 16);
  }
  NPUC_LANES uint16_t flush(uint16_t h) { return h & 0x7f80u ? h : h & 0x8000u; }
};

/// A number of few bits: E of exponent, M of fraction, most significant the sign. E4M3 has no infinity and
/// one NaN (Finite).
template <unsigned E, unsigned M, bool Finite>
struct Small {
  static constexpr int bias = (1 << (E - 1)) - 1, least = 1 - bias;
  static constexpr uint32_t infinity = ((1u << E) - 1) << M, nan = (1u << (E + M)) - 1;
  static constexpr uint32_t greatest = Finite ? nan - 1 : infinity - 1;

  /// Rounded once, as the flags say.
  NPUC_LANES uint32_t encode(double v, uint32_t flags) {
    if (v != v)
      return nan;
    const bool negative = bitsOf(v) >> 63;
    if (flags & Relu && negative)
      return 0;
    const uint64_t magnitude = bitsOf(v) & ~(uint64_t{1} << 63);
    const uint32_t sign = static_cast<uint32_t>(negative) << (E + M);
    const int field = static_cast<int>(magnitude >> 52);
    const uint64_t fraction = (magnitude & ((uint64_t{1} << 52) - 1)) | (field ? uint64_t{1} << 52 : 0);
    const int exponent = (field ? field : 1) - 1023;
    const int top = exponent > least ? exponent : least;
    const int shift = top - static_cast<int>(M) - exponent + 52;
    uint64_t kept = shift > 62 ? 0 : fraction >> shift;
    const uint64_t rest = shift > 62 ? (fraction ? 1 : 0) : fraction & ((uint64_t{1} << shift) - 1);
    const uint64_t half = shift > 62 ? 2 : uint64_t{1} << (shift - 1);
    const uint32_t rounding = flags & RoundMask;
    const bool up = flags & RoundAway          ? rest >= half
                    : rounding == RoundNearest ? rest > half || (rest == half && (kept & 1))
                    : rounding == RoundDown    ? negative && rest
                    : rounding == RoundUp      ? !negative && rest
                                               : false;
    kept += up;
    const uint64_t code = kept + (static_cast<uint64_t>(top - least) << M);
    if (code <= greatest)
      return sign | static_cast<uint32_t>(code);
    const bool infinite = magnitude == uint64_t{0x7ff} << 52;
    const bool away = infinite || (flags & RoundAway) || rounding == RoundNearest ||
                      rounding == (negative ? RoundDown : RoundUp);
    if (flags & SatFinite || !away)
      return sign | greatest;
    return Finite ? nan : sign | infinity;
  }

  NPUC_LANES float decode(uint32_t code) {
    const uint32_t magnitude = code & nan, sign = code >> (E + M) << 31;
    const uint32_t field = magnitude >> M, fraction = magnitude & ((1u << M) - 1);
    const uint32_t normal = (field + 127 - bias) << 23 | fraction << (23 - M);
    const float small = static_cast<float>(static_cast<int>(fraction)) *
                        floatOf(static_cast<uint32_t>(127 + least - static_cast<int>(M)) << 23);
    uint32_t b = field ? normal : bitsOf(small);
    if (Finite)
      b = magnitude == nan ? 0x7fffffffu : b;
    else
      b = magnitude > infinity ? 0x7fffffffu : magnitude == infinity ? 0x7f800000u : b;
    return floatOf(b | sign);
  }
};
using E4M3 = Small<4, 3, true>;
using E5M2 = Small<5, 2, false>;
using SmallHalf = Small<5, 10, false>;
using SmallBrain = Small<8, 7, false>;
using TF32 = Small<8, 10, false>;

} // namespace npuc::ptx::NPUC_SIMD
