#include "compiler/quantize/Formats.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <random>

using namespace npuc::quantize;

TEST_CASE("an asymmetric format lays 256 integers over the range", "[quantize]") {
  // (2 - -0.55) / 255 = 0.01; the zero point is -128 + 55.
  Format format = asymmetric(-0.55f, 2);
  CHECK(format.scale == Approx(0.01));
  CHECK(format.zeroPoint == -73);
}

TEST_CASE("every range is widened to hold 0, which is an integer", "[quantize]") {
  // [1, 5.1] becomes [0, 5.1]: scale 0.02, and 0 is the least integer.
  CHECK(asymmetric(1, 5.1f).scale == Approx(0.02));
  CHECK(asymmetric(1, 5.1f).zeroPoint == -128);
  CHECK(asymmetric(-5.1f, -1).zeroPoint == 127);
  // Nothing but 0 has no scale of its own.
  CHECK(asymmetric(0, 0).scale == 1);
  CHECK(symmetric(0, 0).scale == 1);
}

TEST_CASE("an asymmetric format gives every value back within half a step", "[quantize]") {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-10, 10);
  for (int i = 0; i < 1000; ++i) {
    float a = number(random), b = number(random), least = std::min({a, b, 0.0f}),
          greatest = std::max({a, b, 0.0f});
    Format format = asymmetric(least, greatest);
    for (float x : {least, greatest, (least + greatest) / 3}) {
      double q = std::nearbyint(x / format.scale) + format.zeroPoint;
      // The zero point is rounded too, so the ends may fall one step outside.
      q = std::min(127.0, std::max(-128.0, q));
      CHECK(std::abs((q - format.zeroPoint) * format.scale - x) <= format.scale * 1.001);
    }
  }
}

TEST_CASE("a symmetric format has 127 steps to each side", "[quantize]") {
  CHECK(symmetric(-2.54f, 1).scale == Approx(0.02));
  CHECK(symmetric(-1, 2.54f).scale == Approx(0.02));
  CHECK(symmetric(-1, 2.54f).zeroPoint == 0);
}

TEST_CASE("a scale is a multiplier of 31 bits and a shift", "[quantize]") {
  // 0.25 = 2^30 · 2^-32: shift 1.
  CHECK(fixedPoint(0.25).multiplier == 1 << 30);
  CHECK(fixedPoint(0.25).shift == 1);
  // The greatest double below 1 rounds up to 2^31, which is 2^30 with one shift less: exactly 1.
  CHECK(fixedPoint(1 - 0x1p-53).multiplier == 1 << 30);
  CHECK(fixedPoint(1 - 0x1p-53).shift == -1);
  CHECK(fixedPoint(0x1p-40).multiplier == 1 << 30);
  CHECK(fixedPoint(0x1p-40).shift == 31);
  std::mt19937 random(2);
  std::uniform_real_distribution<double> exponent(-31, 0);
  for (int i = 0; i < 1000; ++i) {
    double scale = std::exp2(exponent(random));
    FixedPoint point = fixedPoint(scale);
    CHECK(point.multiplier >= 1 << 30);
    CHECK(std::abs(std::ldexp(point.multiplier, -31 - point.shift) - scale) <= scale * 0x1p-31);
  }
}
