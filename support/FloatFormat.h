// Floats of 8 and 16 bits as their codes: given once, for the host and, as bitcode, for kernels.
#pragma once

#include <bit>
#include <cstdint>

namespace npuc::floats {

/// A binary float format of `exponentBits` and `mantissaBits`. `maxFinite` is the code of its largest finite
/// value and `overflow` that of infinity, or of NaN where the format has no infinity; `nan` is a NaN.
struct Format {
  int exponentBits;
  int mantissaBits;
  uint32_t maxFinite;
  uint32_t overflow;
  uint32_t nan;

  constexpr int bias() const { return (1 << (exponentBits - 1)) - 1; }
  constexpr uint32_t sign() const { return uint32_t{1} << (exponentBits + mantissaBits); }
  constexpr bool hasInfinity() const { return overflow != nan; }
};

inline constexpr Format f16 = {5, 10, 0x7bff, 0x7c00, 0x7e00};
inline constexpr Format bf16 = {8, 7, 0x7f7f, 0x7f80, 0x7fc0};
inline constexpr Format f8e4m3 = {4, 3, 0x7e, 0x7f, 0x7f};
inline constexpr Format f8e5m2 = {5, 2, 0x7b, 0x7c, 0x7e};

/// value >> shift, rounded to nearest, ties to even; 0 < shift < 32.
constexpr uint32_t shiftRounded(uint32_t value, int shift) {
  uint32_t half = uint32_t{1} << (shift - 1);
  uint32_t odd = (value >> shift) & 1;
  return (value + half - 1 + odd) >> shift;
}

/// The code of `value`, rounded to nearest even; what is beyond the greatest finite value becomes that if it
/// saturates, `overflow` otherwise.
template <Format f>
[[gnu::always_inline]] inline uint32_t encode(float value, bool saturate) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = bits >> 31 ? f.sign() : 0;
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    if (!f.hasInfinity())
      return sign | f.nan;
    uint32_t payload = (magnitude >> (23 - f.mantissaBits)) & ((uint32_t{1} << f.mantissaBits) - 1);
    return sign | (payload ? f.overflow | payload : f.nan);
  }
  constexpr int rebias = 127 - f.bias();
  constexpr int drop = 23 - f.mantissaBits;
  int exponent = static_cast<int>(magnitude >> 23);
  uint32_t code;
  if (exponent > rebias || rebias == 0) {
    code = shiftRounded(magnitude - (static_cast<uint32_t>(rebias) << 23), drop);
  } else {
    // The result is subnormal: the significand with its hidden one, shifted down to the format's fixed
    // exponent.
    int shift = drop + rebias + 1 - exponent;
    code = shift > 25 ? 0 : shiftRounded((magnitude & 0x7fffff) | 0x800000, shift);
  }
  if (code > f.maxFinite)
    code = saturate ? f.maxFinite : f.overflow;
  return sign | code;
}

/// The value of a code, exactly.
template <Format f>
[[gnu::always_inline]] inline float decode(uint32_t code) {
  uint32_t sign = code & f.sign() ? 0x80000000u : 0;
  uint32_t magnitude = code & (f.sign() - 1);
  constexpr int rebias = 127 - f.bias();
  constexpr int drop = 23 - f.mantissaBits;
  if (magnitude > f.maxFinite) {
    uint32_t payload = f.hasInfinity() ? (magnitude - f.overflow) << drop : 0x400000;
    return std::bit_cast<float>(sign | 0x7f800000 | payload);
  }
  if (magnitude >> f.mantissaBits == 0 && rebias != 0) {
    // A subnormal m is m * 2^(1 - bias - mantissaBits), exact in float.
    float unit = std::bit_cast<float>(static_cast<uint32_t>(127 + 1 - f.bias() - f.mantissaBits) << 23);
    float value = static_cast<float>(magnitude) * unit;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
  return std::bit_cast<float>(sign | ((magnitude << drop) + (static_cast<uint32_t>(rebias) << 23)));
}

} // namespace npuc::floats
