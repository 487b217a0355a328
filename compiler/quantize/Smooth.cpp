#include "compiler/quantize/Smooth.h"

#include "compiler/quantize/Gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace npuc::quantize {
namespace {

/// So many rows suffice to tell candidates apart.
constexpr int64_t mostRows = 512;

std::vector<float> magnitudes(std::span<const float> least, std::span<const float> greatest) {
  std::vector<float> most(least.size());
  for (size_t i = 0; i < most.size(); ++i)
    most[i] = std::max(std::abs(least[i]), std::abs(greatest[i]));
  return most;
}

/// Products of a few rows with some columns of the weights, in floats and as integers would give them.
class Trial {
public:
  Trial(const LinearInput &input, ThreadPool &pool) : pool(pool), weightBits(input.weightBits) {
    channels = static_cast<int64_t>(input.channels());
    group = input.group > 0 ? input.group : channels;
    least.assign(input.channels(), 0);
    greatest = least;
    for (int64_t r = 0; r < std::min(mostRows, static_cast<int64_t>(input.rows.size()) / channels); ++r) {
      std::span<const float> row = input.rows.subspan(static_cast<size_t>(r * channels), input.channels());
      if (r % 2 == 1)
        rows.insert(rows.end(), row.begin(), row.end());
      for (size_t k = 0; r % 2 == 0 && k < row.size(); ++k) {
        least[k] = std::min(least[k], row[k]);
        greatest[k] = std::max(greatest[k], row[k]);
      }
    }
    count = static_cast<int64_t>(rows.size()) / channels;
    PickedColumns some(input.weights, channels);
    columns = some.columns;
    picked = std::move(some.values);
    most = channelMagnitudes(input.weights, channels);
    wanted = product(rows, picked, channels, pool);
  }

  const std::vector<float> &greatestWeights() const { return most; }

  /// Of the rows that ranges are taken from, by channel.
  std::vector<float> greatestInputs() const { return magnitudes(least, greatest); }

  /// With the range, by channel, of half of the rows.
  double error(const std::vector<float> &factors, ScaleOf scale) const {
    return error(quantized(factors, scale, least, greatest), rounded(factors));
  }
  /// With that of all that was seen.
  void measure(Smoothing &smoothing, ScaleOf scale, const LinearInput &input) const {
    const std::vector<float> &factors = smoothing.factors;
    std::vector<float> x = quantized(factors, scale, input.least, input.greatest);
    smoothing.error = error(x, rounded(factors));
    smoothing.ofInput = error(x, multiplied(factors));
  }

private:
  /// The rows over the factors as 8-bit integers stand for them.
  std::vector<float> quantized(const std::vector<float> &factors, ScaleOf scale, std::span<const float> least,
                               std::span<const float> greatest) const {
    float low = 0, high = 0;
    for (size_t k = 0; k < factors.size(); ++k) {
      low = std::min(low, least[k] / factors[k]);
      high = std::max(high, greatest[k] / factors[k]);
    }
    std::vector<float> x = rows;
    pool.run(count, [&](int64_t r) {
      std::span<float> row(&x[static_cast<size_t>(r * channels)], static_cast<size_t>(channels));
      for (size_t k = 0; k < row.size(); ++k)
        row[k] /= factors[k];
      Format format = asymmetric(low, high);
      if (scale == ScaleOf::Row) {
        auto [lowest, highest] = std::ranges::minmax(row);
        format = symmetric(lowest, highest);
      }
      auto zero = static_cast<float>(format.zeroPoint);
      for (float &value : row)
        value =
            (std::clamp(std::nearbyint(value / format.scale) + zero, -128.0f, 127.0f) - zero) * format.scale;
    });
    return x;
  }

  double error(const std::vector<float> &x, const std::vector<float> &w) const {
    std::vector<double> lost = rowLosses(wanted, product(x, w, channels, pool), columns);
    return std::accumulate(lost.begin(), lost.end(), 0.0) / static_cast<double>(count);
  }

  /// The weights times the factors.
  std::vector<float> multiplied(const std::vector<float> &factors) const {
    std::vector<float> w = picked;
    pool.run(channels, [&](int64_t k) {
      for (int64_t n = 0; n < columns; ++n)
        w[static_cast<size_t>(k * columns + n)] *= factors[static_cast<size_t>(k)];
    });
    return w;
  }

  /// The weights times the factors as integers stand for them, by columns.
  std::vector<float> rounded(const std::vector<float> &factors) const {
    std::vector<float> w = multiplied(factors);
    WeightGrid grid = weightGrid(w, channels, columns, weightBits, group, false, {}, pool);
    std::vector<int8_t> q = roundToNearest(w, channels, columns, grid);
    pool.run(channels, [&](int64_t k) {
      for (int64_t n = 0; n < columns; ++n) {
        auto at = static_cast<size_t>(k * columns + n);
        w[at] = q[at] * grid.scales[static_cast<size_t>(k / group * columns + n)];
      }
    });
    return w;
  }

  ThreadPool &pool;
  unsigned weightBits;
  int64_t group = 0, count = 0, channels = 0, columns = 0;
  /// Ranges are those of every second row, and errors those of the rows between: what smooths just these and
  /// clips others is not taken for good.
  std::vector<float> least, greatest, rows;
  std::vector<float> picked, most, wanted;
};

} // namespace

std::vector<float> balance(std::span<const float> activations, std::span<const float> weights, double share) {
  constexpr double floor = 1e-5;
  double mostActivation = *std::ranges::max_element(activations),
         mostWeight = *std::ranges::max_element(weights);
  if (!(mostActivation > 0) || !(mostWeight > 0))
    return std::vector<float>(activations.size(), 1);
  std::vector<double> logs(activations.size());
  double mean = 0;
  for (size_t i = 0; i < logs.size(); ++i) {
    double a = std::max<double>(activations[i], floor * mostActivation),
           w = std::max<double>(weights[i], floor * mostWeight);
    logs[i] = share * std::log(a) - (1 - share) * std::log(w);
    mean += logs[i] / static_cast<double>(logs.size());
  }
  std::vector<float> factors(logs.size());
  for (size_t i = 0; i < logs.size(); ++i)
    factors[i] = static_cast<float>(std::exp(logs[i] - mean));
  return factors;
}

Smoothing searchFactors(const LinearInput &input, ScaleOf scale, ThreadPool &pool) {
  Smoothing none{std::vector<float>(input.channels(), 1), -1, 0};
  if (input.rows.size() < 2 * input.channels())
    return none;
  Trial trial(input, pool);
  std::vector<float> half = trial.greatestInputs(), all = magnitudes(input.least, input.greatest);
  auto errorOf = [&](int tenths) {
    return trial.error(balance(half, trial.greatestWeights(), tenths / 10.0), scale);
  };
  // What is lost has one low over the shares: of the input's integers it falls, and of the weights' it rises.
  int tenths = 6;
  double lowest = errorOf(tenths);
  for (int step : {1, -1}) {
    const int start = tenths;
    while (tenths + step >= 1 && tenths + step <= 10) {
      double next = errorOf(tenths + step);
      if (next >= lowest)
        break;
      lowest = next;
      tenths += step;
    }
    if (tenths != start)
      break;
  }
  trial.measure(none, scale, input);
  if (lowest >= trial.error(none.factors, scale))
    return none;
  Smoothing best{balance(all, trial.greatestWeights(), tenths / 10.0), tenths / 10.0, 0};
  trial.measure(best, scale, input);
  return best.error < none.error ? best : none; // Not, where what only the other half saw tips the balance.
}

} // namespace npuc::quantize
