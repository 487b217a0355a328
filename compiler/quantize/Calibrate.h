// What values the multiplications of a model see on samples of its inputs.
#pragma once

#include "compiler/quantize/Observers.h"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace npuc::quantize {

/// On a multiplication (nn.linear, nn.matmul, nn.conv, nn.attention): an array with one entry for each of its
/// leading operands that it multiplies and that are no weights, each [least, greatest] as two arrays of
/// floats. Of the input of an nn.linear by weights they have one element for each index of its last
/// dimension, else one.
inline constexpr llvm::StringLiteral rangesAttr = "nn.ranges";

/// Sets of a model's inputs, given one at a time and as often as they are asked for.
class Samples {
public:
  virtual ~Samples() = default;
  virtual size_t count() const = 0;
  /// Calls `use` with each sample's number and inputs, in order, until it returns false. False if it did, or,
  /// with errors, if a sample cannot be read.
  virtual bool forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
                       Diagnostics &diagnostics) const = 0;
};

/// Samples in memory.
class SamplesInMemory : public Samples {
public:
  explicit SamplesInMemory(std::vector<std::vector<NamedArray>> samples) : samples_(std::move(samples)) {}
  size_t count() const override { return samples_.size(); }
  bool forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
               Diagnostics &diagnostics) const override;

private:
  std::vector<std::vector<NamedArray>> samples_;
};

/// The names and arrays of a calibration file as sets of inputs of `function`. An array has its input's shape
/// (one sample), or more in front: a leading dimension that counts samples, or a first dimension that is a
/// multiple of the input's. All arrays have equally many samples. Errors name what does not fit.
std::vector<std::vector<NamedArray>>
samplesOf(mlir::func::FuncOp function, const std::vector<NamedArray> &arrays, Diagnostics &diagnostics);

struct CalibrationOptions {
  unsigned threads = 0;
  ObserverOptions observers = {};
};

/// Runs `function` (nn operations in one block, no calls) on each sample and counts what its multiplications
/// of floats read. Nothing, and errors, if a sample is not the model's, or gives a NaN or infinity (which
/// names the tensor and the sample).
std::optional<Statistics> observe(mlir::func::FuncOp function, const Samples &samples,
                                  const CalibrationOptions &options, Diagnostics &diagnostics);

/// Sets the attribute above on every multiplication that was observed, to the least and greatest value seen,
/// of a softmax to [0, 1].
void setRanges(mlir::func::FuncOp function, const Statistics &statistics);

} // namespace npuc::quantize
