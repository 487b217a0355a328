// Which part of a tensor's values its integers are laid over: the methods that choose a range.
#pragma once

#include "compiler/quantize/Histogram.h"
#include "compiler/quantize/OutputLoss.h"
#include "compiler/quantize/TensorStatistics.h"
#include "support/ThreadPool.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::quantize {

enum class RangeMethod : uint8_t {
  MinMax,
  MovingAverage,
  Percentile,
  Entropy,
  MeanSquaredError,
  OutputError
};
std::string_view name(RangeMethod method);
std::optional<RangeMethod> rangeMethodFromName(std::string_view name);
std::vector<std::string> rangeMethodNames();

/// Values outside of it are clipped. least <= greatest.
struct Interval {
  float least = 0, greatest = 0;
  bool operator==(const Interval &) const = default;
};

/// Whether the integers of 8 bits have a zero point (see asymmetric and symmetric in Formats.h).
enum class Zero : uint8_t { Free, Fixed };

//===----------------------------------------------------------------------===//
// Methods, on a histogram alone. `seen` is what was exactly seen, and bounds every result. An empty
// histogram has the range seen.
//===----------------------------------------------------------------------===//

/// From the value that (100 - percent) / 2 percent of all lie below to the one that as many lie above; within
/// a bin values count as spread evenly.
Interval percentileRange(const Histogram &histogram, Interval seen, double percent);

/// The range [max(least, -t), min(greatest, t)] whose integers tell least about values falsely, of 128
/// thresholds t at equal distances from where a range has a bin for each integer to the greatest magnitude
/// seen. As in TensorRT (Migacz, 8-bit inference, 2017): P are the counts of the bins inside of the range,
/// those outside added to the outermost bins; Q are the counts inside, of the bins whose centres one integer
/// stands for evened out over those that are not empty; both normed to 1. What is least is Σ P ln(P / Q) over
/// the bins with P > 0, where an empty Q counts as 10^-9.
Interval entropyRange(const Histogram &histogram, Interval seen, Zero zero);

/// The mean of (x - Q(x))² over all values, where Q is to the nearest integer of `range` and back; within a
/// bin values count as spread evenly.
double squaredError(const Histogram &histogram, Interval range, Zero zero);

/// The range with the least squaredError, found by turns for both ends: each of 2^(-i/8) of what was seen, i
/// from 0 to 64, then in eighths around the best. Both ends have one magnitude where the zero is fixed.
Interval squaredErrorRange(const Histogram &histogram, Interval seen, Zero zero);

//===----------------------------------------------------------------------===//
// Choice for a tensor.
//===----------------------------------------------------------------------===//

struct RangeOptions {
  RangeMethod method = RangeMethod::OutputError;
  double percentile = 99.99;
  /// Rows of the reservoir that outputs are compared on.
  size_t rows = 256;
};

struct ChosenRange {
  Interval range;
  RangeMethod method = RangeMethod::MinMax; ///< Never OutputError: the one that was best.
  /// Of all values.
  double clippedShare = 0;
};

/// The range of x / factors, where `factors` has one number for each channel, or none. With OutputError, each
/// other method makes a range; where `weights` are given, that one is taken whose integers multiply nearest:
/// least Σ rowLosses² (see OutputLoss.h) of Q(x) W to x W, x the first `options.rows` rows of the reservoir
/// and the outermost rows, over the factors, W some columns of the weights times them; else the one with the
/// least squaredError. The square is for rows that are rare, and lost if they are clipped.
ChosenRange chooseRange(const TensorStatistics &tensor, std::span<const float> factors,
                        std::span<const Weights> weights, Zero zero, const RangeOptions &options,
                        ThreadPool &pool);

} // namespace npuc::quantize
