#include "compiler/quantize/Smooth.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <random>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Rows of an input and the weights of one linear of it, all normally distributed.
struct Sample {
  int64_t count, channels, columns;
  std::vector<float> rows, weights, least, greatest;

  Sample(int64_t count, int64_t channels, int64_t columns)
      : count(count), channels(channels), columns(columns) {
    std::mt19937 random(4);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count * channels; ++i)
      rows.push_back(normal(random));
    for (int64_t i = 0; i < channels * columns; ++i)
      weights.push_back(normal(random));
  }

  void scaleChannel(int64_t channel, float factor) {
    for (int64_t r = 0; r < count; ++r)
      rows[static_cast<size_t>(r * channels + channel)] *= factor;
  }
  void scaleRow(int64_t row, float factor) {
    for (int64_t k = 0; k < channels; ++k)
      rows[static_cast<size_t>(row * channels + k)] *= factor;
  }

  Smoothing search(ScaleOf scale = ScaleOf::All) {
    least.assign(static_cast<size_t>(channels), 0);
    greatest = least;
    for (size_t i = 0; i < rows.size(); ++i) {
      size_t k = i % static_cast<size_t>(channels);
      least[k] = std::min(least[k], rows[i]);
      greatest[k] = std::max(greatest[k], rows[i]);
    }
    ThreadPool pool(2);
    LinearInput input{rows, least, greatest, {{weights.data(), columns, false}}};
    return searchFactors(input, scale, pool);
  }
};

} // namespace

TEST_CASE("balancing moves outliers from activations to weights", "[smooth]") {
  // 16^0.7 / 1^0.3 and 1, over the geometric mean of both: (16^0.7)^±0.5.
  std::vector<float> factors = balance(std::vector{16.f, 1.f}, std::vector{1.f, 1.f}, 0.7);
  CHECK(factors[0] == Approx(std::pow(16, 0.35)));
  CHECK(factors[1] == Approx(std::pow(16, -0.35)));
  // Large weights pull the other way, by 0.3 of their ratio.
  factors = balance(std::vector{1.f, 1.f}, std::vector{16.f, 1.f}, 0.7);
  CHECK(factors[0] == Approx(std::pow(16, -0.15)));
  // Where nothing is known nothing is moved.
  CHECK(balance(std::vector{0.f, 0.f}, std::vector{1.f, 1.f}, 0.7) == std::vector<float>{1, 1});
}

TEST_CASE("a channel of outliers is smoothed away", "[smooth]") {
  Sample sample(200, 64, 32);
  sample.scaleChannel(5, 60);
  Smoothing found = sample.search();
  CHECK(found.share >= 0.1);
  CHECK(found.factors.size() == 64);
  // The outlier's channel is divided by more than ten times what others are.
  for (size_t k = 0; k < 64; ++k)
    if (k != 5)
      CHECK(found.factors[5] > 10 * found.factors[k]);
  // One step of its range of about ±200 is 1.6, and the error of rounding 64 channels to that, 64 · 1.6² /
  // 12, is that share of y's size for each weight, 63 + 60²; smoothed it must be far less than that of plain
  // rounding.
  CHECK(found.error < 64 * 1.6 * 1.6 / 12 / (63 + 3600) / 3);
}

TEST_CASE("one row of outliers is what scales of rows are for", "[smooth]") {
  Sample sample(200, 64, 32);
  sample.scaleRow(17, 1000);
  Smoothing found = sample.search(), byRow = sample.search(ScaleOf::Row);
  // A step of the common range of about ±3000 is 23, and the other rows lie within ±4: factors can only even
  // out the row itself.
  CHECK(found.error > 100 * byRow.error);
  // Each row on its own: steps of about 2.5 / 127, their error a millionth's hundred: (1/127)² · 2.5² / 12 of
  // both operands.
  CHECK(byRow.error < 2e-4);
}

TEST_CASE("a channel of outliers is smoothed away for scales of rows too", "[smooth]") {
  Sample sample(200, 64, 32);
  sample.scaleChannel(5, 60);
  Smoothing found = sample.search(ScaleOf::Row);
  CHECK(found.share >= 0.1);
  // As above: a row's step is that of its outlier, 60 · 0.8 / 127 in the mean or more, if nothing is
  // smoothed.
  CHECK(found.error < 64 * 0.38 * 0.38 / 12 / (63 + 3600) / 2);
}

TEST_CASE("where channels are alike, little is lost either way", "[smooth]") {
  Sample sample(100, 32, 600); // More columns than are tried.
  CHECK(sample.search().error < 5e-4);
  CHECK(sample.search(ScaleOf::Row).error < 2e-4);
  // Nothing seen: nothing is known.
  ThreadPool pool(1);
  Smoothing none = searchFactors({{}, sample.least, sample.greatest, {}}, ScaleOf::All, pool);
  CHECK(none.factors == std::vector<float>(32, 1));
}
