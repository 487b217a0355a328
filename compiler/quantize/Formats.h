// Scales: how ranges of floats become integers, and how factors between integers are written.
#pragma once

#include <cstdint>
#include <vector>

namespace npuc::quantize {

/// Where the values of a tensor lie: one entry, or one for each index of its last dimension.
struct Range {
  std::vector<float> least, greatest;
};

/// An integer q of 8 bits, signed, stands for scale · (q - zeroPoint).
struct Format {
  float scale = 1;
  int32_t zeroPoint = 0;
};

/// The integers -128 to 127 laid over [least, greatest], widened to hold 0, which is an integer exactly:
/// scale = (greatest - least) / 255. An empty range has scale 1.
Format asymmetric(float least, float greatest);
/// -127 to 127, zero point 0: scale = max(|least|, |greatest|) / 127.
Format symmetric(float least, float greatest);

/// scale = multiplier · 2^-(31 + shift), multiplier in [2^30, 2^31), to the nearest; `scale` > 0. The shift
/// is kept within [0, 31]: `scale` must be below 1, and one below 2^-33 becomes 2^-32.
struct FixedPoint {
  int32_t multiplier = 0, shift = 0;
};
FixedPoint fixedPoint(double scale);

} // namespace npuc::quantize
