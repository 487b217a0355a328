#include "compiler/quantize/Ranges.h"

#include "compiler/quantize/Formats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <ranges>

namespace npuc::quantize {
namespace {

constexpr std::array<std::string_view, 6> names = {"min-max", "moving-average",     "percentile",
                                                   "entropy", "mean-squared-error", "output-error"};

int64_t binOf(const Histogram &histogram, double value) {
  auto bin = static_cast<int64_t>(std::floor((value - histogram.edge(0)) / histogram.width()));
  return std::clamp<int64_t>(bin, 0, Histogram::bins - 1);
}

Interval within(Interval range, Interval seen) {
  range.least = std::clamp(range.least, seen.least, seen.greatest);
  range.greatest = std::clamp(range.greatest, range.least, seen.greatest);
  return range;
}

/// [max(least, -t), min(greatest, t)].
Interval clipped(Interval seen, double threshold) {
  auto t = static_cast<float>(threshold);
  return {std::max(seen.least, -t), std::min(seen.greatest, t)};
}

Format formatOf(Interval range, Zero zero) {
  return zero == Zero::Free ? asymmetric(range.least, range.greatest)
                            : symmetric(range.least, range.greatest);
}

/// The numbers that integers of a format stand for: scale · n, n from `first` to `last`.
struct Grid {
  double scale;
  int64_t first, last;

  Grid(Interval range, Zero zero) {
    Format format = formatOf(range, zero);
    scale = format.scale;
    first = (zero == Zero::Free ? -128 : -127) - format.zeroPoint;
    last = 127 - format.zeroPoint;
  }
  double nearest(double x) const {
    return std::clamp(std::nearbyint(x / scale), static_cast<double>(first), static_cast<double>(last));
  }
};

/// The value below which `count` of all values lie.
double quantile(const Histogram &histogram, double count) {
  double below = 0;
  for (int64_t i = 0; i < Histogram::bins; ++i) {
    auto here = static_cast<double>(histogram.counts()[static_cast<size_t>(i)]);
    if (here > 0 && below + here >= count)
      return histogram.edge(i) + std::max(0.0, (count - below) / here) * histogram.width();
    below += here;
  }
  return histogram.edge(Histogram::bins);
}

} // namespace

std::string_view name(RangeMethod method) {
  return names[static_cast<size_t>(method)];
}
std::optional<RangeMethod> rangeMethodFromName(std::string_view name) {
  const auto *found = std::ranges::find(names, name);
  return found == names.end() ? std::nullopt : std::optional(static_cast<RangeMethod>(found - names.begin()));
}
std::vector<std::string> rangeMethodNames() {
  return {names.begin(), names.end()};
}

Interval percentileRange(const Histogram &histogram, Interval seen, double percent) {
  if (histogram.total() == 0)
    return seen;
  auto total = static_cast<double>(histogram.total());
  double outside = total * (100 - percent) / 200;
  return within({static_cast<float>(quantile(histogram, outside)),
                 static_cast<float>(quantile(histogram, total - outside))},
                seen);
}

namespace {

/// Σ P ln(P / Q) as entropyRange says; `from` and `to` are the outermost bins inside of the range.
double divergence(const Histogram &histogram, int64_t from, int64_t to, const Grid &grid) {
  const std::vector<uint64_t> &counts = histogram.counts();
  double inside = 0, below = 0, above = 0;
  for (int64_t i = 0; i < Histogram::bins; ++i)
    (i < from ? below : i > to ? above : inside) += static_cast<double>(counts[static_cast<size_t>(i)]);
  double all = inside + below + above, sum = 0;
  if (inside == 0)
    return std::numeric_limits<double>::infinity();
  for (int64_t i = from; i <= to;) {
    // Bins of one integer.
    double level = grid.nearest(histogram.edge(i) + histogram.width() / 2), mass = 0;
    int64_t end = i, filled = 0;
    for (; end <= to && grid.nearest(histogram.edge(end) + histogram.width() / 2) == level; ++end) {
      mass += static_cast<double>(counts[static_cast<size_t>(end)]);
      filled += counts[static_cast<size_t>(end)] > 0;
    }
    for (; i < end; ++i) {
      auto count = static_cast<double>(counts[static_cast<size_t>(i)]);
      double p = (count + (i == from ? below : 0) + (i == to ? above : 0)) / all;
      if (p > 0)
        sum += p * std::log(p / (count > 0 ? mass / static_cast<double>(filled) / inside : 1e-9));
    }
  }
  return sum;
}

/// The integral of (v - round(v))² from 0 to v: 1/12 for each whole step.
double roundingIntegral(double v) {
  double n = std::nearbyint(v), rest = v - n;
  return n / 12 + rest * rest * rest / 3;
}

/// ∫ (x - end)² dx from a to b.
double clippingIntegral(double a, double b, double end) {
  double p = b - end, q = a - end;
  return (p * p * p - q * q * q) / 3;
}

} // namespace

Interval entropyRange(const Histogram &histogram, Interval seen, Zero zero) {
  if (histogram.total() == 0)
    return seen;
  constexpr int candidates = 128;
  double most = std::max(std::abs(seen.least), std::abs(seen.greatest));
  // A bin for each integer.
  double sides = seen.least < 0 && seen.greatest > 0 ? 2 : 1;
  double least = std::min(most, 256 / sides * histogram.width());
  double best = std::numeric_limits<double>::infinity();
  Interval chosen = seen;
  for (int c = 0; c < candidates; ++c) {
    double t = most - (most - least) * c / (candidates - 1);
    Interval range = clipped(seen, t);
    if (range.least > range.greatest)
      break;
    double found = divergence(histogram, binOf(histogram, range.least), binOf(histogram, range.greatest),
                              Grid(range, zero));
    if (found < best) {
      best = found;
      chosen = range;
    }
  }
  return chosen;
}

double squaredError(const Histogram &histogram, Interval range, Zero zero) {
  if (histogram.total() == 0)
    return 0;
  Grid grid(range, zero);
  double low = grid.scale * static_cast<double>(grid.first),
         high = grid.scale * static_cast<double>(grid.last), width = histogram.width(), sum = 0;
  for (int64_t i = 0; i < Histogram::bins; ++i) {
    uint64_t count = histogram.counts()[static_cast<size_t>(i)];
    if (count == 0)
      continue;
    double a = histogram.edge(i), b = a + width, inA = std::clamp(a, low, high),
           inB = std::clamp(b, low, high);
    double error = clippingIntegral(a, std::min(b, low), low) * (a < low) +
                   clippingIntegral(std::max(a, high), b, high) * (b > high);
    if (inB > inA)
      error += grid.scale * grid.scale * grid.scale *
               (roundingIntegral(inB / grid.scale) - roundingIntegral(inA / grid.scale));
    sum += static_cast<double>(count) * error / width;
  }
  return sum / static_cast<double>(histogram.total());
}

Interval squaredErrorRange(const Histogram &histogram, Interval seen, Zero zero) {
  if (histogram.total() == 0)
    return seen;
  Interval best = seen;
  double least = squaredError(histogram, seen, zero);
  auto attempt = [&](Interval range) {
    double error = squaredError(histogram, range, zero);
    if (error >= least)
      return;
    least = error;
    best = range;
  };
  // The end that `with` puts into a range, in shares of `most`.
  auto search = [&](double most, auto &&with) {
    double found = 1, before = least;
    auto share = [&](double s) {
      attempt(with(static_cast<float>(most * s)));
      if (least < before) {
        before = least;
        found = s;
      }
    };
    for (int i = 0; i <= 64; ++i)
      share(std::exp2(-i / 8.0));
    double middle = found;
    for (int i = -7; i <= 7; ++i)
      if (double s = middle * std::exp2(i / 64.0); s <= 1)
        share(s);
  };
  if (zero == Zero::Fixed) {
    search(std::max(std::abs(seen.least), std::abs(seen.greatest)),
           [&](float t) { return clipped(seen, t); });
    return best;
  }
  for (int turn = 0; turn < 3; ++turn) {
    double before = least;
    if (seen.greatest > 0)
      search(seen.greatest, [&](float end) { return Interval{std::min(best.least, end), end}; });
    if (seen.least < 0)
      search(seen.least, [&](float end) { return Interval{end, std::max(best.greatest, end)}; });
    if (least >= before)
      break;
  }
  return best;
}

//===----------------------------------------------------------------------===//
// Choice for a tensor
//===----------------------------------------------------------------------===//

namespace {

float factorOf(std::span<const float> factors, size_t channel) {
  return factors.empty() ? 1 : factors[channel];
}

/// The widest of all channels' ranges over their factors.
Interval widest(std::span<const float> least, std::span<const float> greatest,
                std::span<const float> factors) {
  Interval range{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (size_t c = 0; c < least.size(); ++c) {
    range.least = std::min(range.least, least[c] / factorOf(factors, c));
    range.greatest = std::max(range.greatest, greatest[c] / factorOf(factors, c));
  }
  return range;
}

/// The reservoir's first rows over the factors.
std::vector<float> scaledRows(const TensorStatistics &tensor, std::span<const float> factors, size_t most) {
  size_t channels = tensor.channels(), rows = std::min(most, tensor.reservoir.size() / channels);
  std::vector<float> scaled(tensor.reservoir.begin(),
                            tensor.reservoir.begin() + static_cast<ptrdiff_t>(rows * channels));
  if (!factors.empty())
    for (size_t i = 0; i < scaled.size(); ++i)
      scaled[i] /= factors[i % channels];
  return scaled;
}

/// Of rows over the factors what their products with the weights lose by integers of a range.
class OutputErrors {
public:
  OutputErrors(const TensorStatistics &tensor, std::span<const float> factors,
               std::span<const Weights> weights, size_t most, ThreadPool &pool)
      : channels(static_cast<int64_t>(tensor.channels())), pool(pool),
        rows(scaledRows(tensor, factors, most)) {
    for (size_t i = 0; i < tensor.outermost.size(); ++i)
      rows.push_back(tensor.outermost[i] / factorOf(factors, i % tensor.channels()));
    PickedColumns picked(weights, channels);
    columns = picked.columns;
    weight = std::move(picked.values);
    for (size_t i = 0; i < weight.size() && !factors.empty(); ++i)
      weight[i] *= factors[i / static_cast<size_t>(columns)];
    exact = product(rows, weight, channels, pool);
  }

  double of(Interval range, Zero zero) {
    Format format = formatOf(range, zero);
    auto low = static_cast<float>((zero == Zero::Free ? -128 : -127) - format.zeroPoint),
         high = static_cast<float>(127 - format.zeroPoint);
    std::vector<float> quantized = rows;
    for (float &x : quantized)
      x = std::clamp(std::nearbyint(x / format.scale), low, high) * format.scale;
    double sum = 0;
    for (double lost : rowLosses(exact, product(quantized, weight, channels, pool), columns))
      sum += lost * lost;
    return sum;
  }

private:
  int64_t channels, columns = 0;
  ThreadPool &pool;
  std::vector<float> rows, weight, exact;
};

} // namespace

ChosenRange chooseRange(const TensorStatistics &tensor, std::span<const float> factors,
                        std::span<const Weights> weights, Zero zero, const RangeOptions &options,
                        ThreadPool &pool) {
  if (tensor.isProbability)
    return {{0, 1}, RangeMethod::MinMax, 0};
  Interval seen = widest(tensor.least, tensor.greatest, factors);
  // Values over factors are known of the reservoir's rows.
  Histogram scaled;
  if (!factors.empty() && !tensor.reservoir.empty()) {
    scaled.widen(seen.least, seen.greatest);
    scaled.add(scaledRows(tensor, factors, std::numeric_limits<size_t>::max()));
  }
  const Histogram &histogram = factors.empty() ? tensor.histogram : scaled;
  auto by = [&](RangeMethod method) {
    switch (method) {
    case RangeMethod::MinMax:
    case RangeMethod::OutputError:
      break;
    case RangeMethod::MovingAverage:
      return within(widest(tensor.averageLeast, tensor.averageGreatest, factors), seen);
    case RangeMethod::Percentile:
      return percentileRange(histogram, seen, options.percentile);
    case RangeMethod::Entropy:
      return entropyRange(histogram, seen, zero);
    case RangeMethod::MeanSquaredError:
      return squaredErrorRange(histogram, seen, zero);
    }
    return seen;
  };
  ChosenRange chosen{by(options.method), options.method, 0};
  if (options.method == RangeMethod::OutputError) {
    std::optional<OutputErrors> outputs;
    if (!weights.empty() && !tensor.reservoir.empty())
      outputs.emplace(tensor, factors, weights, options.rows, pool);
    constexpr std::array methods = {RangeMethod::MinMax, RangeMethod::MovingAverage, RangeMethod::Percentile,
                                    RangeMethod::Entropy, RangeMethod::MeanSquaredError};
    std::array<Interval, methods.size()> ranges;
    pool.run(methods.size(), [&](int64_t i) { ranges[i] = by(methods[i]); });
    double best = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < methods.size(); ++i) {
      if (std::find(ranges.begin(), ranges.begin() + i, ranges[i]) != ranges.begin() + i)
        continue;
      double error = outputs ? outputs->of(ranges[i], zero) : squaredError(histogram, ranges[i], zero);
      if (error < best) {
        best = error;
        chosen = {ranges[i], methods[i], 0};
      }
    }
  }
  if (histogram.total() > 0) {
    auto total = static_cast<double>(histogram.total());
    double outside = 0;
    for (int64_t i = 0; i < Histogram::bins; ++i)
      if (histogram.edge(i) + histogram.width() <= chosen.range.least ||
          histogram.edge(i) >= chosen.range.greatest)
        outside += static_cast<double>(histogram.counts()[static_cast<size_t>(i)]);
    chosen.clippedShare = outside / total;
  }
  return chosen;
}

} // namespace npuc::quantize
