#include "compiler/quantize/OutputLoss.h"

#include "compiler/interpret/kernels/Contract.h"

#include <algorithm>
#include <cmath>

namespace npuc::quantize {

PickedColumns::PickedColumns(std::span<const Weights> weights, int64_t channels) : channels(channels) {
  int64_t all = 0, before = 0;
  for (const Weights &weight : weights)
    all += weight.columns;
  int64_t step = std::max<int64_t>(1, (all + mostColumns - 1) / mostColumns);
  columns = (all + step - 1) / step;
  values.resize(static_cast<size_t>(channels * columns));
  for (const Weights &weight : weights) {
    for (int64_t to = (before + step - 1) / step; to * step < before + weight.columns; ++to)
      for (int64_t k = 0; k < channels; ++k)
        values[static_cast<size_t>(k * columns + to)] = weight.at(k, to * step - before, channels);
    before += weight.columns;
  }
}

std::vector<float> product(const std::vector<float> &x, const std::vector<float> &w, int64_t channels,
                           ThreadPool &pool) {
  int64_t rows = static_cast<int64_t>(x.size()) / channels,
          columns = static_cast<int64_t>(w.size()) / channels;
  std::vector<float> y(static_cast<size_t>(rows * columns));
  interpret::Gemm sizes{
      .m = rows, .n = columns, .k = channels, .aRow = channels, .bRow = columns, .cRow = columns};
  interpret::gemm(pool, sizes, {{0}, {0}, {0}}, x.data(), w.data(), y.data());
  return y;
}

std::vector<float> channelMagnitudes(std::span<const Weights> weights, int64_t channels) {
  std::vector<float> most(static_cast<size_t>(channels), 0);
  for (const Weights &weight : weights)
    for (int64_t i = 0; i < channels * weight.columns; ++i) {
      float &greatest = most[static_cast<size_t>(weight.transposed ? i % channels : i / weight.columns)];
      greatest = std::max(greatest, std::abs(weight.data[i]));
    }
  return most;
}

double leastSize(std::span<const double> squares) {
  double mean = 0;
  for (double square : squares)
    mean += std::sqrt(square) / static_cast<double>(squares.size());
  return 1e-3 * mean * mean;
}

std::vector<double> rowLosses(const std::vector<float> &exact, const std::vector<float> &found,
                              int64_t columns) {
  std::vector<double> lost(exact.size() / static_cast<size_t>(columns)), size(lost);
  for (size_t r = 0, i = 0; r < lost.size(); ++r)
    for (int64_t n = 0; n < columns; ++n, ++i) {
      double wanted = exact[i], difference = found[i] - wanted;
      lost[r] += difference * difference;
      size[r] += wanted * wanted;
    }
  double least = leastSize(size);
  for (size_t r = 0; r < lost.size(); ++r)
    lost[r] = least > 0 ? lost[r] / std::max(size[r], least) : 0;
  return lost;
}

} // namespace npuc::quantize
