#include "compiler/quantize/Ranges.h"

#include "compiler/quantize/Formats.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

using namespace npuc;
using namespace npuc::quantize;

namespace {

struct Distribution {
  std::string name;
  std::vector<float> values;
};

std::vector<Distribution> distributions() {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::exponential_distribution<float> exponential;
  std::uniform_real_distribution<float> uniform(-3, 1);
  std::vector<Distribution> all = {{"normal", {}},   {"laplace", {}},   {"uniform", {}},
                                   {"outliers", {}}, {"one-sided", {}}, {"constant", {}}};
  for (int i = 0; i < 4000; ++i) {
    all[0].values.push_back(normal(random));
    all[1].values.push_back((i % 2 ? 1 : -1) * exponential(random));
    all[2].values.push_back(uniform(random));
    all[3].values.push_back(normal(random) * (i % 200 == 0 ? 25 : 1));
    all[4].values.push_back(exponential(random));
    all[5].values.push_back(-2.5f);
  }
  return all;
}

Histogram histogramOf(std::span<const float> values) {
  Histogram histogram;
  auto [least, greatest] = std::ranges::minmax(values);
  histogram.widen(least, greatest);
  histogram.add(values);
  return histogram;
}

Interval seenOf(std::span<const float> values) {
  auto [least, greatest] = std::ranges::minmax(values);
  return {least, greatest};
}

/// To the nearest integer of 8 bits and back.
double rounded(double x, Interval range, Zero zero) {
  Format f =
      zero == Zero::Free ? asymmetric(range.least, range.greatest) : symmetric(range.least, range.greatest);
  double q = std::nearbyint(x / f.scale) + f.zeroPoint;
  return (std::clamp(q, zero == Zero::Free ? -128.0 : -127.0, 127.0) - f.zeroPoint) * f.scale;
}

double errorOf(std::span<const float> values, Interval range, Zero zero) {
  double sum = 0;
  for (float x : values) {
    double difference = x - rounded(x, range, zero);
    sum += difference * difference;
  }
  return sum / static_cast<double>(values.size());
}

/// Σ P ln(P / Q) as Ranges.h defines it, by the letter.
double divergenceOf(std::span<const float> values, const Histogram &bins, Interval range, Zero zero) {
  auto binOf = [&](double x) { return static_cast<int64_t>(std::floor(x / bins.width())); };
  int64_t from = binOf(range.least), to = binOf(range.greatest);
  std::map<int64_t, double> p, inside;
  double all = 0, counted = 0;
  for (float x : values) {
    int64_t bin = binOf(x);
    p[std::clamp(bin, from, to)] += 1;
    ++all;
    if (bin < from || bin > to)
      continue;
    inside[bin] += 1;
    ++counted;
  }
  std::map<double, std::vector<int64_t>> integers;
  for (const auto &[bin, count] : inside)
    integers[rounded((static_cast<double>(bin) + 0.5) * bins.width(), range, zero)].push_back(bin);
  std::map<int64_t, double> q;
  for (const auto &[integer, of] : integers) {
    double mass = 0;
    for (int64_t bin : of)
      mass += inside[bin];
    for (int64_t bin : of)
      q[bin] = mass / static_cast<double>(of.size()) / counted;
  }
  double sum = 0;
  for (const auto &[bin, count] : p)
    sum += count / all * std::log(count / all / (q.contains(bin) ? q[bin] : 1e-9));
  return sum;
}

TensorStatistics statisticsOf(const std::vector<float> &rows, size_t channels) {
  TensorStatistics t;
  t.isLinearInput = true;
  t.least.assign(channels, std::numeric_limits<float>::infinity());
  t.greatest.assign(channels, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < rows.size(); ++i) {
    t.least[i % channels] = std::min(t.least[i % channels], rows[i]);
    t.greatest[i % channels] = std::max(t.greatest[i % channels], rows[i]);
  }
  t.averageLeast = t.least;
  t.averageGreatest = t.greatest;
  t.histogram = histogramOf(rows);
  t.reservoir = rows;
  t.values = rows.size();
  return t;
}

} // namespace

TEST_CASE("a percentile's range leaves out as many values on each side", "[quantize]") {
  for (const Distribution &d : distributions()) {
    Histogram histogram = histogramOf(d.values);
    std::vector<float> sorted = d.values;
    std::ranges::sort(sorted);
    for (double percent : {99.99, 99.9, 98.0, 50.0}) {
      INFO(d.name << " " << percent);
      Interval range = percentileRange(histogram, seenOf(d.values), percent);
      // The value that so many lie below is the one of that rank, found to the width of a bin.
      auto outside = static_cast<size_t>(std::llround(4000 * (100 - percent) / 200));
      double width = histogram.width();
      CHECK(range.least >= sorted[outside == 0 ? 0 : outside - 1] - width);
      CHECK(range.least <= sorted[outside] + width);
      CHECK(range.greatest <= sorted[3999 - (outside == 0 ? 0 : outside - 1)] + width);
      CHECK(range.greatest >= sorted[3999 - outside] - width);
    }
    Interval all = percentileRange(histogram, seenOf(d.values), 100);
    CHECK(all.least == sorted.front());
    CHECK(all.greatest == sorted.back());
  }
}

TEST_CASE("the squared error of a histogram is that of its values", "[quantize]") {
  for (const Distribution &d : distributions()) {
    Histogram histogram = histogramOf(d.values);
    Interval seen = seenOf(d.values);
    if (d.name == "constant") // One bin, 2^-12 wide, around a value that is an integer's.
      CHECK(squaredError(histogram, seen, Zero::Free) <= histogram.width() * histogram.width());
    else
      for (Zero zero : {Zero::Free, Zero::Fixed})
        for (float share : {1.0f, 0.7f, 0.3f, 0.1f}) {
          INFO(d.name << " " << share);
          Interval range{seen.least * share, seen.greatest * share};
          CHECK(squaredError(histogram, range, zero) ==
                Approx(errorOf(d.values, range, zero)).epsilon(0.03).margin(1e-7));
        }
  }
}

TEST_CASE("no other range has a much smaller squared error", "[quantize]") {
  for (const Distribution &d : distributions()) {
    Histogram histogram = histogramOf(d.values);
    Interval seen = seenOf(d.values);
    INFO(d.name);
    double both = errorOf(d.values, squaredErrorRange(histogram, seen, Zero::Fixed), Zero::Fixed),
           free = errorOf(d.values, squaredErrorRange(histogram, seen, Zero::Free), Zero::Free);
    if (d.name == "constant") {
      CHECK(both < 1e-6);
      CHECK(free < 1e-6);
      continue;
    }
    double leastBoth = both, leastFree = free;
    float most = std::max(std::abs(seen.least), seen.greatest);
    for (int i = 1; i <= 200; ++i) {
      float t = most * static_cast<float>(i) / 200;
      leastBoth = std::min(
          leastBoth, errorOf(d.values, {std::max(seen.least, -t), std::min(seen.greatest, t)}, Zero::Fixed));
    }
    for (int i = 1; i <= 30; ++i)
      for (int j = 1; j <= 30; ++j)
        leastFree = std::min(leastFree, errorOf(d.values,
                                                {std::min(0.0f, seen.least) * static_cast<float>(i) / 30,
                                                 seen.greatest * static_cast<float>(j) / 30},
                                                Zero::Free));
    CHECK(both <= leastBoth * 1.03);
    CHECK(free <= leastFree * 1.03);
  }
}

TEST_CASE("the range by entropy is that of the least divergence", "[quantize]") {
  for (const Distribution &d : distributions()) {
    Histogram histogram = histogramOf(d.values);
    Interval seen = seenOf(d.values);
    for (Zero zero : {Zero::Free, Zero::Fixed}) {
      INFO(d.name);
      Interval range = entropyRange(histogram, seen, zero);
      if (d.name == "constant") {
        CHECK(range.least == -2.5f);
        CHECK(range.greatest == -2.5f);
        continue;
      }
      double found = divergenceOf(d.values, histogram, range, zero), least = found;
      double most = std::max(std::abs(seen.least), seen.greatest);
      double first = std::min(most, (seen.least < 0 ? 128 : 256) * histogram.width());
      for (int i = 0; i < 128; ++i) {
        auto t = static_cast<float>(most - (most - first) * i / 127);
        least = std::min(least, divergenceOf(d.values, histogram,
                                             {std::max(seen.least, -t), std::min(seen.greatest, t)}, zero));
      }
      CHECK(found <= least + 1e-9);
    }
  }
}

TEST_CASE("nothing seen has the range seen", "[quantize]") {
  Histogram none;
  for (Interval range : {percentileRange(none, {0, 0}, 99), entropyRange(none, {0, 0}, Zero::Free),
                         squaredErrorRange(none, {0, 0}, Zero::Fixed)}) {
    CHECK(range.least == 0);
    CHECK(range.greatest == 0);
  }
}

TEST_CASE("methods have names", "[quantize]") {
  REQUIRE(rangeMethodNames().size() == 6);
  for (const std::string &text : rangeMethodNames())
    CHECK(name(*rangeMethodFromName(text)) == text);
  CHECK_FALSE(rangeMethodFromName("minimum"));
}

TEST_CASE("a range follows what its outputs need", "[quantize]") {
  // Two channels, of which one has rare outliers. Where its weights are 0 they are best clipped; where
  // nothing else is multiplied, no more than that.
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> rows;
  for (int i = 0; i < 512; ++i) {
    rows.push_back(normal(random));
    rows.push_back(normal(random) * (i % 100 == 0 ? 100 : 1));
  }
  TensorStatistics tensor = statisticsOf(rows, 2);
  ThreadPool pool(2);
  std::vector<float> onlyFirst = {1, 0.5f, 0, 0}, onlyOutliers = {0, 0, 1, 0.5f};
  for (bool transposed : {false, true}) {
    auto choose = [&](std::vector<float> w) {
      if (transposed)
        std::swap(w[1], w[2]);
      std::vector<Weights> weights = {{w.data(), 2, transposed}};
      return chooseRange(tensor, {}, weights, Zero::Free, {.method = RangeMethod::OutputError, .rows = 512},
                         pool);
    };
    ChosenRange clipping = choose(onlyFirst), whole = choose(onlyOutliers);
    CHECK(clipping.range.greatest - clipping.range.least < (tensor.greatest[1] - tensor.least[1]) * 0.6f);
    CHECK(clipping.clippedShare > 0);
    CHECK(clipping.clippedShare < 0.01);
    CHECK(whole.range.greatest - whole.range.least >= clipping.range.greatest - clipping.range.least);

    // No method's range has a smaller error, computed by the letter.
    std::vector<float> w = {0.3f, -0.2f, 0.1f, 0.4f}; // [channels, columns]
    auto outputError = [&](Interval range) {
      std::vector<double> error(512), size(512);
      double all = 0, sum = 0;
      for (size_t r = 0; r < 512; ++r) {
        for (size_t n = 0; n < 2; ++n) {
          double exact = 0, found = 0;
          for (size_t k = 0; k < 2; ++k) {
            double x = rows[2 * r + k], v = w[2 * k + n];
            exact += x * v;
            found += rounded(x, range, Zero::Free) * v;
          }
          error[r] += (exact - found) * (exact - found);
          size[r] += exact * exact;
        }
        all += std::sqrt(size[r]);
      }
      for (size_t r = 0; r < 512; ++r) {
        double lost = error[r] / std::max(size[r], all / 512 * (all / 512) / 1000);
        sum += lost * lost;
      }
      return sum;
    };
    ChosenRange best = choose(w);
    for (const std::string &method : rangeMethodNames()) {
      if (method == "output-error")
        continue;
      ChosenRange other =
          chooseRange(tensor, {}, {}, Zero::Free, {.method = *rangeMethodFromName(method)}, pool);
      CHECK(outputError(best.range) <= outputError(other.range) * 1.0001);
      if (name(best.method) == method)
        CHECK(outputError(best.range) == Approx(outputError(other.range)));
    }
  }
}

TEST_CASE("factors divide what a range is of", "[quantize]") {
  std::vector<float> rows;
  for (int i = 0; i < 300; ++i) {
    rows.push_back(static_cast<float>(i % 30));          // [0, 29]
    rows.push_back(static_cast<float>(i % 21 - 20) * 8); // [-160, 0]
  }
  TensorStatistics tensor = statisticsOf(rows, 2);
  ThreadPool pool(1);
  std::vector<float> factors = {0.5f, 16};
  for (const std::string &method : rangeMethodNames()) {
    INFO(method);
    RangeOptions options{.method = *rangeMethodFromName(method), .percentile = 100};
    ChosenRange chosen = chooseRange(tensor, factors, {}, Zero::Free, options, pool);
    // [0, 58] and [-10, 0].
    CHECK(chosen.range.least >= -10);
    CHECK(chosen.range.greatest <= 58);
    CHECK(chosen.range.greatest > 20);
    if (method == "min-max" || method == "moving-average" || method == "percentile") {
      CHECK(chosen.range.least == -10);
      CHECK(chosen.range.greatest == 58);
    }
  }
}

TEST_CASE("a softmax's range needs no values", "[quantize]") {
  TensorStatistics tensor;
  tensor.isProbability = true;
  ThreadPool pool(1);
  ChosenRange chosen = chooseRange(tensor, {}, {}, Zero::Fixed, {}, pool);
  CHECK(chosen.range.least == 0);
  CHECK(chosen.range.greatest == 1);
}
