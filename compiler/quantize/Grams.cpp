#include "compiler/quantize/Grams.h"

#include "compiler/interpret/kernels/Contract.h"

namespace npuc::quantize {

/// So many rows are multiplied at once: adding the products to the sums is then a small part of the work.
constexpr size_t rowsAtOnce = 256;

void Grams::add(size_t tensor, size_t channels, std::span<const float> rows, ThreadPool &pool) {
  Sums &sums = sums_[tensor];
  sums.channels = channels;
  while (!rows.empty()) {
    size_t part = std::min(rows.size(), rowsAtOnce * channels - sums.waiting.size());
    sums.waiting.insert(sums.waiting.end(), rows.begin(), rows.begin() + static_cast<ptrdiff_t>(part));
    rows = rows.subspan(part);
    if (sums.waiting.size() == rowsAtOnce * channels)
      addWaiting(sums, pool);
  }
}

void Grams::addWaiting(Sums &sums, ThreadPool &pool) {
  auto channels = static_cast<int64_t>(sums.channels);
  auto rows = static_cast<int64_t>(sums.waiting.size()) / channels;
  if (rows == 0)
    return;
  sums.products.resize(sums.channels * sums.channels);
  interpret::Gemm sizes{.m = channels,
                        .n = channels,
                        .k = rows,
                        .aRow = 1,
                        .aColumn = channels,
                        .bRow = channels,
                        .cRow = channels};
  std::vector<float> products(sums.products.size());
  interpret::gemm(pool, sizes, {{0}, {0}, {0}}, sums.waiting.data(), sums.waiting.data(), products.data());
  pool.run(channels, [&](int64_t r) {
    for (auto i = static_cast<size_t>(r * channels); i < static_cast<size_t>((r + 1) * channels); ++i)
      sums.products[i] += products[i];
  });
  sums.waiting.clear();
}

void Grams::finish(ThreadPool &pool) {
  for (auto &[tensor, sums] : sums_) {
    addWaiting(sums, pool);
    sums.waiting.shrink_to_fit();
  }
}

std::vector<double> Grams::of(size_t tensor, std::span<const float> factors) const {
  auto found = sums_.find(tensor);
  if (found == sums_.end())
    return {};
  const Sums &sums = found->second;
  std::vector<double> gram(sums.products.begin(), sums.products.end());
  for (size_t r = 0; r < sums.channels && !factors.empty(); ++r)
    for (size_t c = 0; c < sums.channels; ++c)
      gram[r * sums.channels + c] /= static_cast<double>(factors[r]) * factors[c];
  return gram;
}

} // namespace npuc::quantize
