#include "compiler/quantize/Guards.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <random>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Rows of a normal distribution; the value at [row, channel] times `scale(row, channel)` plus `shift`.
template <typename Scale>
TensorStatistics tensorOf(const std::string &name, size_t rows, size_t channels, Scale &&scale,
                          float shift = 0) {
  TensorStatistics tensor(name, channels);
  tensor.isLinearInput = true;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * channels);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = normal(random) * scale(i / channels, i % channels) + shift;
  ThreadPool pool(1);
  tensor.count(values, channels, {}, 512, pool);
  return tensor;
}

Interval seenOf(const TensorStatistics &tensor) {
  return {*std::ranges::min_element(tensor.least), *std::ranges::max_element(tensor.greatest)};
}

/// Warnings of tensors with the ranges that were seen, after many samples of an input that varies.
std::vector<Diagnostic> warnings(const std::vector<GuardedTensor> &tensors) {
  Guards guards;
  for (size_t i = 0; i < 8; ++i)
    guards.see(std::vector<NamedArray>{{"x", {ElementType::I8, {1}, {static_cast<std::byte>(i)}}}});
  Diagnostics diagnostics;
  guards.warn(tensors, diagnostics);
  CHECK_FALSE(diagnostics.hasErrors());
  return diagnostics.all();
}

GuardedTensor guard(const TensorStatistics &tensor, Zero zero = Zero::Free) {
  return {&tensor, seenOf(tensor), {}, zero};
}

auto alike = [](size_t, size_t) { return 1.0f; };

} // namespace

TEST_CASE("an ordinary calibration has no warnings", "[quantize]") {
  TensorStatistics tensor = tensorOf("a", 400, 32, alike);
  CHECK(warnings({guard(tensor), guard(tensor, Zero::Fixed)}).empty());
}

TEST_CASE("few samples, and inputs that are always the same, are warned of", "[quantize]") {
  Guards guards;
  for (size_t i = 0; i < 3; ++i)
    guards.see(std::vector<NamedArray>{{"ids", {ElementType::I8, {1}, {static_cast<std::byte>(i)}}},
                                       {"types", {ElementType::I8, {1}, {std::byte{1}}}},
                                       {"past", {ElementType::I8, {0}, {}}}});
  Diagnostics diagnostics;
  guards.warn({}, diagnostics);
  REQUIRE(diagnostics.all().size() == 2);
  CHECK(diagnostics.all()[0].what == "3 samples are few");
  CHECK(diagnostics.all()[1].where == "calibration: input 'types'");
  CHECK(diagnostics.all()[1].what == "is the same in all 3 samples");
}

TEST_CASE("ranges of nothing, of one value and of one side are warned of", "[quantize]") {
  TensorStatistics nothing("nothing", 4);
  TensorStatistics one = tensorOf("one", 10, 4, [](size_t, size_t) { return 0.0f; }, 2.5f);
  // Around 40: of [0, 44] a tenth at most has values. Around 3.5: above 0, which only a zero point helps.
  TensorStatistics far = tensorOf("far", 100, 4, alike, 40), above = tensorOf("above", 100, 4, alike, 4);
  above.least = {0.25f, 1, 1, 1};
  auto found = warnings({guard(nothing), guard(one), guard(far), guard(above), guard(above, Zero::Fixed)});
  REQUIRE(found.size() == 4);
  CHECK(found[0].where == "calibration: 'nothing'");
  CHECK(found[0].what == "has no range: none of its values counts");
  CHECK(found[1].where == "calibration: 'one'");
  CHECK(found[1].why == "each of its 40 values is 2.5");
  CHECK(found[2].where == "calibration: 'far'");
  CHECK(found[2].what.find("one-sided") != std::string::npos);
  CHECK(found[3].where == "calibration: 'above'");
}

TEST_CASE("a range of one channel or of one row is warned of, unless factors or the range see to it",
          "[quantize]") {
  TensorStatistics channel =
      tensorOf("channel", 400, 32, [](size_t, size_t c) { return c == 7 ? 50.0f : 1.0f; });
  TensorStatistics row = tensorOf("row", 400, 32, [](size_t r, size_t) { return r == 9 ? 50.0f : 1.0f; });
  auto found = warnings({guard(channel), guard(row)});
  REQUIRE(found.size() == 2);
  CHECK(found[0].where == "calibration: 'channel'");
  CHECK(found[0].why.find("channel 7 reaches ") == 0);
  CHECK(found[0].why.find("all but 1 of 32 stay within ") != std::string::npos);
  CHECK(found[1].where == "calibration: 'row'");
  CHECK(found[1].why.find("1 of 400 rows leave [") == 0);
  // With one factor for all the reservoir tells the same of the row.
  std::vector<float> two(32, 2);
  Interval half{seenOf(row).least / 2, seenOf(row).greatest / 2};
  CHECK(warnings({{&row, half, two, Zero::Free}}).size() == 1);

  std::vector<float> factors(32, 1);
  factors[7] = 50;
  CHECK(warnings({{&channel, {-5, 5}, factors, Zero::Free}, {&row, {-5, 5}, {}, Zero::Free}}).empty());
}

TEST_CASE("of many warnings the worst are told", "[quantize]") {
  std::vector<TensorStatistics> tensors;
  for (int i = 0; i < 7; ++i)
    tensors.push_back(tensorOf("t" + std::to_string(i), 100, 32,
                               [&](size_t, size_t c) { return c == 7 ? 30.0f + 30 * i : 1.0f; }));
  std::vector<GuardedTensor> guarded;
  for (const TensorStatistics &tensor : tensors)
    guarded.push_back(guard(tensor));
  auto found = warnings(guarded);
  REQUIRE(found.size() == 6);
  for (size_t i = 0; i < 5; ++i)
    CHECK(found[i].where == "calibration: 't" + std::to_string(6 - i) + "'");
  CHECK(found[5].what == "2 more tensors: few channels have most of its range");
  CHECK(found[4].hint.empty());
  CHECK_FALSE(found[5].hint.empty());
}
