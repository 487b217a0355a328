#include "compiler/quantize/Guards.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace npuc::quantize {
namespace {

constexpr size_t fewSamples = 8;
constexpr size_t mostOfAKind = 5;
/// Fewer rows or channels tell nothing of a hundredth of them.
constexpr size_t leastRows = 100, leastChannels = 16;
constexpr float inner = 0.25f; ///< Of the range.

/// What is wrong with a tensor; the greatest are told.
struct Finding {
  double size;
  std::string why;
};
using Check = std::optional<Finding> (*)(const GuardedTensor &);

struct Kind {
  Check check;
  const char *what, *hint;
};

float reach(Interval range) {
  return std::max(std::abs(range.least), std::abs(range.greatest));
}

bool isConstant(const TensorStatistics &tensor) {
  return std::ranges::min(tensor.least) == std::ranges::max(tensor.greatest);
}

std::optional<Finding> unseen(const GuardedTensor &guarded) {
  const TensorStatistics &tensor = *guarded.tensor;
  if (tensor.values > 0)
    return std::nullopt;
  return Finding{static_cast<double>(tensor.paddedRows),
                 fmt::format("{} rows of it were padding, {} of its values beyond {:g}", tensor.paddedRows,
                             tensor.structuralValues, structural)};
}

std::optional<Finding> constant(const GuardedTensor &guarded) {
  const TensorStatistics &tensor = *guarded.tensor;
  if (tensor.values == 0 || !isConstant(tensor))
    return std::nullopt;
  return Finding{1, fmt::format("each of its {} values is {:g}", tensor.values, tensor.least[0])};
}

std::optional<Finding> oneSided(const GuardedTensor &guarded) {
  auto [least, greatest] = guarded.range;
  if (guarded.tensor->values == 0 || isConstant(*guarded.tensor))
    return std::nullopt;
  bool isFree = guarded.zero == Zero::Free;
  double width = isFree ? std::max(greatest, 0.0f) - std::min(least, 0.0f) : 2.0 * reach(guarded.range);
  double share = (static_cast<double>(greatest) - least) / width;
  bool onOneSide = !isFree && (least >= 0 || greatest <= 0);
  if (!(width > 0) || (share >= 0.25 && !onOneSide))
    return std::nullopt;
  return Finding{1 / share, fmt::format("[{:.4g}, {:.4g}] takes {:.0f} of {} integers", least, greatest,
                                        share * 255, isFree ? 256 : 255)};
}

std::optional<Finding> byChannels(const GuardedTensor &guarded) {
  const TensorStatistics &tensor = *guarded.tensor;
  if (tensor.channels() < leastChannels)
    return std::nullopt;
  std::vector<float> most(tensor.channels());
  for (size_t c = 0; c < most.size(); ++c)
    most[c] =
        reach({tensor.least[c], tensor.greatest[c]}) / (guarded.factors.empty() ? 1 : guarded.factors[c]);
  float limit = inner * reach(guarded.range);
  auto beyond = static_cast<size_t>(std::ranges::count_if(most, [&](float m) { return m > limit; }));
  if (beyond == 0 || beyond > std::max<size_t>(1, most.size() / 100))
    return std::nullopt;
  auto worst = std::ranges::max_element(most) - most.begin();
  float greatest = most[static_cast<size_t>(worst)], others = 0;
  for (float m : most)
    others = std::max(others, m > limit ? 0 : m);
  return Finding{greatest / std::max(others, 1e-30f),
                 fmt::format("channel {} reaches {:.4g}, all but {} of {} stay within {:.4g}", worst,
                             greatest, beyond, most.size(), others)};
}

/// Whose values over the factors leave the inner part of the range.
std::optional<Finding> byRows(const GuardedTensor &guarded) {
  const TensorStatistics &tensor = *guarded.tensor;
  double limit = inner * reach(guarded.range);
  uint64_t rows = 0, beyond = 0;
  if (guarded.factors.empty()) {
    // Bins of TensorStatistics::peaks, to an eighth of an octave.
    double first = limit > 0 ? std::floor(8 * std::log2(limit)) + 513 : 0;
    for (size_t bin = 0; bin < tensor.peaks.size(); ++bin) {
      rows += tensor.peaks[bin];
      beyond += static_cast<double>(bin) >= first ? tensor.peaks[bin] : 0;
    }
  } else {
    size_t channels = tensor.channels();
    for (rows = 0; (rows + 1) * channels <= tensor.reservoir.size(); ++rows) {
      bool leaves = false;
      for (size_t c = 0; c < channels; ++c)
        leaves |= std::abs(tensor.reservoir[rows * channels + c] / guarded.factors[c]) > limit;
      beyond += leaves;
    }
  }
  if (rows < leastRows || beyond == 0 || beyond > rows / 100)
    return std::nullopt;
  return Finding{static_cast<double>(rows) / static_cast<double>(beyond),
                 fmt::format("{} of {} rows leave [{:.4g}, {:.4g}], a quarter of its range", beyond, rows,
                             -limit, limit)};
}

constexpr Kind kinds[] = {
    {unseen, "has no range: none of its values counts", "give samples that reach it"},
    {constant, "had one value in all samples", "give samples in which it varies, or the range in a table"},
    {oneSided, "its range is one-sided: many integers stand for nothing",
     "if accuracy suffers, give its operator another format with --precision-table"},
    {byChannels, "few channels have most of its range",
     "if accuracy suffers, give its operator another format, as int8-token, with --precision-table"},
    {byRows, "few rows have most of its range",
     "if accuracy suffers, clip them with a --calibration-method or a table, or give its operator another "
     "format, as int8-token, with --precision-table"},
};

} // namespace

void Guards::see(std::span<const NamedArray> inputs) {
  for (const NamedArray &input : inputs) {
    const std::vector<std::byte> &data = input.array.data;
    size_t hash = std::hash<std::string_view>()({reinterpret_cast<const char *>(data.data()), data.size()});
    auto [known, isNew] = inputs_.try_emplace(input.name, Seen{hash, data.empty()});
    known->second.varied |= known->second.hash != hash;
  }
  ++samples_;
}

void Guards::warn(std::span<const GuardedTensor> tensors, Diagnostics &diagnostics) const {
  if (samples_ < fewSamples)
    diagnostics.warning(
        "calibration",
        fmt::format("{} sample{} {} few", samples_, samples_ == 1 ? "" : "s", samples_ == 1 ? "is" : "are"),
        "what comes later is clipped to the ranges seen",
        fmt::format("give at least {}; a few dozen typical ones are good", fewSamples));
  for (const auto &[name, seen] : inputs_)
    if (samples_ > 1 && !seen.varied)
      diagnostics.warning(fmt::format("calibration: input '{}'", name),
                          fmt::format("is the same in all {} samples", samples_), "",
                          "if it varies when the model is used, give samples in which it does");
  for (const Kind &kind : kinds) {
    std::vector<std::pair<const TensorStatistics *, Finding>> found;
    for (const GuardedTensor &guarded : tensors)
      if (std::optional<Finding> finding = guarded.tensor->isProbability ? std::nullopt : kind.check(guarded))
        found.emplace_back(guarded.tensor, std::move(*finding));
    std::ranges::stable_sort(found, std::greater(), [](const auto &f) { return f.second.size; });
    // What to do stands below the last.
    size_t told = std::min(found.size(), mostOfAKind), more = found.size() - told;
    for (size_t i = 0; i < told; ++i)
      diagnostics.warning(fmt::format("calibration: '{}'", found[i].first->name), kind.what,
                          found[i].second.why, i + 1 < told || more > 0 ? "" : kind.hint);
    if (more > 0)
      diagnostics.warning("calibration", fmt::format("{} more tensors: {}", more, kind.what),
                          "the worst stand above", kind.hint);
  }
}

} // namespace npuc::quantize
