#include "compiler/quantize/Grams.h"

#include "compiler/interpret/kernels/Contract.h"
#include "compiler/quantize/OutputLoss.h"

#include <algorithm>
#include <cmath>

namespace npuc::quantize {

std::vector<double> gramMatrix(const TensorStatistics &input, std::span<const float> factors,
                               ThreadPool &pool) {
  auto channels = static_cast<int64_t>(input.channels());
  auto rows = static_cast<int64_t>(input.reservoir.size()) / std::max<int64_t>(1, channels);
  if (rows == 0)
    return {};
  // Each row over the factors and over its own size.
  std::vector<float> x = input.reservoir;
  std::vector<double> squares(static_cast<size_t>(rows));
  for (size_t r = 0, i = 0; r < squares.size(); ++r)
    for (size_t c = 0; c < input.channels(); ++c, ++i) {
      x[i] /= factors.empty() ? 1 : factors[c];
      squares[r] += static_cast<double>(x[i]) * x[i];
    }
  double least = leastSize(squares);
  for (size_t i = 0; i < x.size() && least > 0; ++i)
    x[i] /= static_cast<float>(std::sqrt(std::max(squares[i / input.channels()], least)));
  interpret::Gemm sizes{.m = channels,
                        .n = channels,
                        .k = rows,
                        .aRow = 1,
                        .aColumn = channels,
                        .bRow = channels,
                        .cRow = channels};
  std::vector<float> products(input.channels() * input.channels());
  interpret::gemm(pool, sizes, {{0}, {0}, {0}}, x.data(), x.data(), products.data());
  return {products.begin(), products.end()};
}

} // namespace npuc::quantize
