#include "compiler/quantize/Histogram.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <random>

using namespace npuc::quantize;

namespace {

/// Values with ranges that grow by ten powers of two, to both sides or to one.
std::vector<float> growing(uint32_t seed, bool oneSided) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(3000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::ldexp(normal(random), static_cast<int>(i / 300)) + (i % 7 ? 0 : 1e-30f);
    values[i] = oneSided ? std::abs(values[i]) + 3 : values[i];
  }
  return values;
}

void add(Histogram &histogram, std::span<const float> values) {
  auto [least, greatest] = std::ranges::minmax(values);
  histogram.widen(least, greatest);
  histogram.add(values);
}

} // namespace

TEST_CASE("a histogram that grew has the counts of its final bins", "[quantize]") {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    std::vector<float> values = growing(seed, seed % 2);
    if (seed % 3 == 0) // A tiny negative number belongs below 0 at every width.
      values.insert(values.begin(), {-1e-38f, 0.0f, -0.0f});
    Histogram histogram;
    for (size_t begin = 0; begin < values.size(); begin += 100)
      add(histogram, std::span(values).subspan(begin, std::min<size_t>(100, values.size() - begin)));
    CHECK(histogram.total() == values.size());
    std::vector<uint64_t> counts(Histogram::bins, 0);
    auto first = static_cast<int64_t>(std::floor(histogram.edge(0) / histogram.width()));
    for (float value : values) {
      auto bin = static_cast<int64_t>(std::floor(static_cast<double>(value) / histogram.width())) - first;
      REQUIRE(bin >= 0);
      REQUIRE(bin < Histogram::bins);
      ++counts[static_cast<size_t>(bin)];
    }
    CHECK(histogram.counts() == counts);
    // What has grown takes half of the bins.
    auto [least, greatest] = std::ranges::minmax(values);
    CHECK((greatest - least) / histogram.width() > Histogram::bins / 2 - 2);
  }
}

TEST_CASE("parts of a histogram add up to it", "[quantize]") {
  std::vector<float> values = growing(1, false);
  Histogram whole, parts;
  add(whole, values);
  auto [least, greatest] = std::ranges::minmax(values);
  parts.widen(least, greatest);
  Histogram a = parts.room(), b = parts.room();
  a.add(std::span(values).first(1000));
  b.add(std::span(values).subspan(1000));
  parts.add(a);
  parts.add(b);
  CHECK(parts.counts() == whole.counts());
  CHECK(parts.total() == whole.total());
}

TEST_CASE("constants and numbers far from 0 have bins", "[quantize]") {
  Histogram histogram;
  add(histogram, std::vector<float>(5, 0.0f));
  CHECK(histogram.total() == 5);
  Histogram far;
  add(far, std::vector<float>{1e6f, 1e6f + 0.0625f});
  CHECK(*std::ranges::max_element(far.counts()) == 2); // 2^-4 is less than 2^-22 of 10^6, a bin.
  add(far, std::vector<float>{-1e29f, 1e29f, 1e-29f});
  CHECK(far.total() == 5);
}
