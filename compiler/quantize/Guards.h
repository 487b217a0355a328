// Warnings about a calibration: samples and ranges that may not be those of what a model will see.
#pragma once

#include "compiler/quantize/Ranges.h"
#include "compiler/quantize/TensorStatistics.h"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace npuc::quantize {

/// A tensor that is multiplied in integers with one scale, laid over `range`, that of x over `factors`.
struct GuardedTensor {
  const TensorStatistics *tensor;
  Interval range;
  std::span<const float> factors; ///< One for each channel, or none.
  Zero zero;
};

class Guards {
public:
  /// To be called with each sample.
  void see(std::span<const NamedArray> inputs);

  /// Warns of fewer than eight samples, of inputs that are the same in all of them, and of tensors
  /// - of which no value was counted, or only one was ever seen;
  /// - whose values lie so far to one side that they take less than a quarter of the integers, or without a
  ///   zero point on one side at all;
  /// - a hundredth of whose channels, or a hundredth of whose rows, alone leave a quarter of the range.
  /// Of more than five tensors of a kind, the worst five and how many more there are.
  void warn(std::span<const GuardedTensor> tensors, Diagnostics &diagnostics) const;

private:
  struct Seen {
    size_t hash = 0;
    bool varied = false;
  };
  size_t samples_ = 0;
  std::map<std::string, Seen> inputs_;
};

} // namespace npuc::quantize
