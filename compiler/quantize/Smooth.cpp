#include "compiler/quantize/Smooth.h"

#include "compiler/interpret/kernels/Contract.h"
#include "compiler/quantize/Gptq.h"

#include <algorithm>
#include <cmath>

namespace npuc::quantize {
namespace {

/// As many columns, and rows, suffice to tell candidates apart.
constexpr int64_t mostColumns = 192, mostRows = 512;

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
    int64_t all = 0;
    for (const interpret::HostTensor &weight : input.weights)
      all += weight.dim(1);
    int64_t step = (all + mostColumns - 1) / mostColumns;
    columns = (all + step - 1) / step;
    picked.resize(static_cast<size_t>(channels * columns));
    most.assign(static_cast<size_t>(channels), 0);
    int64_t before = 0;
    for (const interpret::HostTensor &weight : input.weights) {
      const auto *w = weight.data<float>();
      int64_t width = weight.dim(1);
      for (int64_t k = 0; k < channels; ++k)
        for (int64_t n = 0; n < width; ++n) {
          float &greatest = most[static_cast<size_t>(k)];
          greatest = std::max(greatest, std::abs(w[k * width + n]));
          if ((before + n) % step == 0)
            picked[static_cast<size_t>(k * columns + (before + n) / step)] = w[k * width + n];
        }
      before += width;
    }
    wanted = product(rows, picked);
  }

  const std::vector<float> &greatestWeights() const { return most; }

  /// Of the rows that ranges are taken from, by channel.
  std::vector<float> greatestInputs() const { return magnitudes(least, greatest); }

  /// With the range, by channel, of half of the rows, or of all that was seen.
  double error(const std::vector<float> &factors, ScaleOf scale) const {
    return error(factors, scale, least, greatest);
  }
  double error(const std::vector<float> &factors, ScaleOf scale, std::span<const float> least,
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
    return error(x, rounded(factors));
  }

private:
  /// The weights times the factors as 8-bit integers stand for them, by columns.
  std::vector<float> rounded(const std::vector<float> &factors) const {
    std::vector<float> w = picked;
    pool.run(channels, [&](int64_t k) {
      for (int64_t n = 0; n < columns; ++n)
        w[static_cast<size_t>(k * columns + n)] *= factors[static_cast<size_t>(k)];
    });
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

  std::vector<float> product(const std::vector<float> &x, const std::vector<float> &w) const {
    std::vector<float> y(static_cast<size_t>(count * columns));
    interpret::Gemm sizes{
        .m = count, .n = columns, .k = channels, .aRow = channels, .bRow = columns, .cRow = columns};
    interpret::gemm(pool, sizes, {{0}, {0}, {0}}, x.data(), w.data(), y.data());
    return y;
  }

  double error(const std::vector<float> &x, const std::vector<float> &w) const {
    std::vector<float> y = product(x, w);
    std::vector<double> wrong(static_cast<size_t>(count)), size(wrong);
    double all = 0;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t n = 0; n < columns; ++n) {
        auto at = static_cast<size_t>(r * columns + n);
        double e = y[at] - wanted[at];
        wrong[static_cast<size_t>(r)] += e * e;
        size[static_cast<size_t>(r)] += static_cast<double>(wanted[at]) * wanted[at];
      }
      all += size[static_cast<size_t>(r)];
    }
    if (!(all > 0))
      return 0;
    // A row of next to nothing counts as a thousandth of the mean one: what it gives is lost in a sum.
    double least = 1e-3 * all / static_cast<double>(count), mean = 0;
    for (size_t r = 0; r < wrong.size(); ++r)
      mean += wrong[r] / std::max(size[r], least) / static_cast<double>(count);
    return mean;
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
  Smoothing best{std::vector<float>(input.channels(), 1), -1, 0};
  if (input.rows.size() < 2 * input.channels())
    return best;
  Trial trial(input, pool);
  std::vector<float> half = trial.greatestInputs(), all = magnitudes(input.least, input.greatest);
  double lowest = trial.error(best.factors, scale);
  for (int tenth = 1; tenth <= 10; ++tenth) {
    double share = tenth / 10.0;
    double error = trial.error(balance(half, trial.greatestWeights(), share), scale);
    if (error >= lowest)
      continue;
    lowest = error;
    best.factors = balance(all, trial.greatestWeights(), share);
    best.share = share;
  }
  best.error = trial.error(best.factors, scale, input.least, input.greatest);
  return best;
}

} // namespace npuc::quantize
