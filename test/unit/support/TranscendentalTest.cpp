// The functions of support/Transcendental.h against the C library in double precision, whose error (below 1
// ulp of double, 2^-29 ulp of float) does not show, and all versions of the array functions against the
// scalar ones.
#include "support/Transcendental.h"
#include "support/TranscendentalArrays.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

namespace t = npuc::transcendental;
using npuc::SimdLevel;

namespace {

struct Case {
  const char *name;
  t::Arrays::Function t::Arrays::*array;
  float (*scalar)(float);
  double (*reference)(double);
  double greatestUlp; ///< What the header states.
};

double rsqrt(double x) {
  return 1 / std::sqrt(x);
}
double sigmoid(double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

const Case cases[] = {
    {"exp", &t::Arrays::exp, t::exp, std::exp, 1.0},
    {"log", &t::Arrays::log, t::log, std::log, 0.85},
    {"tanh", &t::Arrays::tanh, t::tanh, std::tanh, 1.35},
    {"erf", &t::Arrays::erf, t::erf, std::erf, 1.3},
    {"sin", &t::Arrays::sin, t::sin, std::sin, 1.8},
    {"cos", &t::Arrays::cos, t::cos, std::cos, 1.8},
    {"rsqrt", &t::Arrays::rsqrt, t::rsqrt, rsqrt, 1.5},
    {"sigmoid", &t::Arrays::sigmoid, t::sigmoid, sigmoid, 2.1},
};

std::vector<SimdLevel> levels() {
  std::vector<SimdLevel> all;
  for (SimdLevel level : {SimdLevel::Base, SimdLevel::V3, SimdLevel::V4})
    if (level <= npuc::simdLevel())
      all.push_back(level);
  return all;
}

/// Error of `y` in units of the last place that float has at `exact`; subnormal results in units of the least
/// subnormal divided by 1.5 and times `scale`, so that the stated bound for them is the one for the others.
double ulpError(float y, double exact, double scale) {
  float rounded = static_cast<float>(exact);
  if (std::isnan(exact))
    return std::bit_cast<uint32_t>(y) == 0x7fc00000u ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(y))
    return rounded == y ? 0 : INFINITY;
  if (exact == 0)
    return y == 0 && std::signbit(y) == std::signbit(exact) ? 0 : INFINITY;
  if (std::fabs(exact) < 0x1p-126)
    return std::fabs(y - exact) / 0x1p-149 / 1.5 * scale;
  return std::fabs(y - exact) / std::ldexp(1.0, std::ilogb(exact) - 23);
}

struct Worst {
  double ulp = 0;
  float at = 0;
};

/// Worst error over the floats with bits 0, step, 2 step, …; `versions` must give the scalar function's bits.
Worst sweep(const Case &c, uint64_t step, const std::vector<SimdLevel> &versions) {
  constexpr size_t block = 1 << 16;
  std::vector<float> x, y(block), other(block);
  Worst worst;
  for (uint64_t next = 0; next <= 0xffffffffu;) {
    x.clear();
    for (; x.size() < block && next <= 0xffffffffu; next += step)
      x.push_back(std::bit_cast<float>(static_cast<uint32_t>(next)));
    for (size_t i = 0; i < x.size(); ++i)
      y[i] = c.scalar(x[i]);
    for (SimdLevel level : versions) {
      (t::arrays(level).*c.array)(x.data(), other.data(), x.size());
      for (size_t i = 0; i < x.size(); ++i)
        if (std::bit_cast<uint32_t>(y[i]) != std::bit_cast<uint32_t>(other[i]))
          FAIL(c.name << " at level " << int(level) << " differs from the scalar function at " << x[i]);
    }
    for (size_t i = 0; i < x.size(); ++i)
      if (double ulp = ulpError(y[i], c.reference(x[i]), c.greatestUlp); ulp > worst.ulp)
        worst = {ulp, x[i]};
  }
  return worst;
}

void check(const Case &c, uint64_t step) {
  Worst worst = sweep(c, step, levels());
  std::string where = std::string(c.name) + " at " + std::to_string(worst.at);
  INFO(where << ": " << worst.ulp << " ulp");
  CHECK(worst.ulp <= c.greatestUlp);
  CHECK(worst.ulp >= c.greatestUlp - 0.5); // The header's figure says something.
}

} // namespace

TEST_CASE("transcendental functions keep their stated error on four million floats") {
  for (const Case &c : cases)
    check(c, 1021);
}

TEST_CASE("transcendental functions keep their stated error on every float", "[.slow]") {
  for (const Case &c : cases) {
    Worst worst = sweep(c, 1, {npuc::simdLevel()});
    WARN(c.name << ": " << worst.ulp << " ulp at " << worst.at);
    CHECK(worst.ulp <= c.greatestUlp);
  }
}

TEST_CASE("transcendental functions at special values") {
  const float inf = INFINITY, nan = NAN, least = 0x1p-149f;
  auto isNaN = [](float y) { return std::bit_cast<uint32_t>(y) == 0x7fc00000u; };
  auto same = [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); };
  for (const Case &c : cases) {
    INFO(c.name);
    CHECK(isNaN(c.scalar(nan)));
    CHECK(isNaN(c.scalar(-nan)));
    CHECK(isNaN(c.scalar(std::bit_cast<float>(0x7f800001u)))); // signaling
  }
  CHECK(t::exp(inf) == inf);
  CHECK(same(t::exp(-inf), 0.0f));
  CHECK(t::exp(0.0f) == 1.0f);
  CHECK(t::exp(-0.0f) == 1.0f);
  CHECK(t::exp(88.72283f) == Approx(3.4028e38f).epsilon(1e-5)); // ln(max) = 88.722839: no overflow yet
  CHECK(t::exp(88.7229f) == inf);
  CHECK(same(t::exp(-103.2f), least)); // e^-103.2 = 1.5e-45, the least subnormal is 1.4e-45
  CHECK(same(t::exp(-104.0f), 0.0f));  // 6.8e-46 is less than half of it
  CHECK(same(t::log(0.0f), -inf));
  CHECK(same(t::log(-0.0f), -inf));
  CHECK(isNaN(t::log(-1.0f)));
  CHECK(isNaN(t::log(-inf)));
  CHECK(t::log(inf) == inf);
  CHECK(same(t::log(1.0f), 0.0f));
  CHECK(t::log(least) == Approx(-149 * std::log(2.0)));
  CHECK(t::tanh(inf) == 1.0f);
  CHECK(t::tanh(-inf) == -1.0f);
  CHECK(same(t::tanh(-0.0f), -0.0f));
  CHECK(same(t::tanh(-least), -least));
  CHECK(t::erf(inf) == 1.0f);
  CHECK(t::erf(-inf) == -1.0f);
  CHECK(same(t::erf(-0.0f), -0.0f));
  CHECK(isNaN(t::sin(inf)));
  CHECK(isNaN(t::cos(-inf)));
  CHECK(same(t::sin(-0.0f), -0.0f));
  CHECK(t::cos(0.0f) == 1.0f);
  CHECK(t::sin(0x1.921fb6p+1f) == Approx(-8.742278e-08).epsilon(1e-6)); // π rounded up by 8.742278e-08
  CHECK(t::rsqrt(0.0f) == inf);
  CHECK(t::rsqrt(-0.0f) == -inf);
  CHECK(same(t::rsqrt(inf), 0.0f));
  CHECK(isNaN(t::rsqrt(-1.0f)));
  CHECK(isNaN(t::sqrt(-least)));
  CHECK(same(t::sqrt(-0.0f), -0.0f));
  CHECK(t::sigmoid(inf) == 1.0f);
  CHECK(same(t::sigmoid(-inf), 0.0f));
  CHECK(t::sigmoid(0.0f) == 0.5f);
  CHECK(t::sigmoid(-100.0f) == Approx(3.72e-44f).epsilon(0.03)); // a subnormal, not 0
}

TEST_CASE("transcendental functions over arrays work in place and on any length") {
  for (size_t count : {0u, 1u, 7u, 16u, 31u, 1000u}) {
    std::vector<float> x(count), y(count + 1, -7.0f);
    for (size_t i = 0; i < count; ++i)
      x[i] = 0.01f * static_cast<float>(i) - 3;
    t::exp(x, y.data());
    CHECK(y[count] == -7.0f);
    std::vector<float> inPlace = x;
    t::exp(inPlace, inPlace.data());
    for (size_t i = 0; i < count; ++i) {
      CHECK(y[i] == t::exp(x[i]));
      CHECK(inPlace[i] == y[i]);
    }
  }
}
