#include "compiler/quantize/Grams.h"

#include "compiler/interpret/kernels/Contract.h"

#include <algorithm>

namespace npuc::quantize {

std::vector<double> gramMatrix(const TensorStatistics &input, std::span<const float> factors,
                               ThreadPool &pool) {
  auto channels = static_cast<int64_t>(input.channels());
  auto rows = static_cast<int64_t>(input.reservoir.size()) / std::max<int64_t>(1, channels);
  if (rows == 0)
    return {};
  interpret::Gemm sizes{.m = channels,
                        .n = channels,
                        .k = rows,
                        .aRow = 1,
                        .aColumn = channels,
                        .bRow = channels,
                        .cRow = channels};
  std::vector<float> products(input.channels() * input.channels());
  interpret::gemm(pool, sizes, {{0}, {0}, {0}}, input.reservoir.data(), input.reservoir.data(),
                  products.data());
  std::vector<double> gram(products.begin(), products.end());
  for (size_t r = 0; r < input.channels() && !factors.empty(); ++r)
    for (size_t c = 0; c < input.channels(); ++c)
      gram[r * input.channels() + c] /= static_cast<double>(factors[r]) * factors[c];
  return gram;
}

} // namespace npuc::quantize
