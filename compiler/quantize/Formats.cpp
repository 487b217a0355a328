#include "compiler/quantize/Formats.h"

#include <algorithm>
#include <cmath>

namespace npuc::quantize {

Format asymmetric(float least, float greatest) {
  double low = std::min(least, 0.0f), high = std::max(greatest, 0.0f);
  auto scale = static_cast<float>((high - low) / 255);
  if (!(scale > 0))
    return {};
  double zero = std::nearbyint(-128 - low / scale);
  return {scale, static_cast<int32_t>(std::clamp(zero, -128.0, 127.0))};
}

Format symmetric(float least, float greatest) {
  float scale = std::max(std::abs(least), std::abs(greatest)) / 127;
  return {scale > 0 ? scale : 1, 0};
}

FixedPoint fixedPoint(double scale) {
  int exponent = 0;
  double fraction = std::frexp(scale, &exponent); // scale = fraction · 2^exponent, fraction in [1/2, 1)
  auto multiplier = static_cast<int64_t>(std::nearbyint(std::ldexp(fraction, 31)));
  if (multiplier == int64_t{1} << 31) {
    multiplier >>= 1;
    ++exponent;
  }
  if (exponent < -31)
    return {1 << 30, 31};
  return {static_cast<int32_t>(multiplier), -exponent};
}

} // namespace npuc::quantize
