// What values the multiplications of a model see on samples of its inputs.
#pragma once

#include "compiler/quantize/Observers.h"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npuc::quantize {

/// On a multiplication (nn.linear, nn.matmul, nn.conv, nn.attention): an array with one entry for each of its
/// leading operands that it multiplies and that are no weights, each [least, greatest] as two arrays of
/// floats: of one element, the range of x over its factors (see Quantize.h); or, of the input of an nn.linear
/// by weights, of one for each index of its last dimension, the ranges of x.
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
  /// What errors call a sample.
  virtual std::string nameOf(size_t sample) const { return "calibration sample " + std::to_string(sample); }
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

struct CalibrationOptions {
  unsigned threads = 0;
  ObserverOptions observers = {};
  /// Called with the number and the inputs of each sample before it runs.
  std::function<void(size_t sample, std::span<const NamedArray> inputs)> onSample = {};
};

/// Runs `function` (nn operations in one block, no calls) on each sample and counts what its multiplications
/// of floats read. Nothing, and an error for each sample that is not the model's, that has a NaN or that
/// gives a multiplication NaN or infinity (which names the tensor); of more than eight such samples a count.
std::optional<Statistics> observe(mlir::func::FuncOp function, const Samples &samples,
                                  const CalibrationOptions &options, Diagnostics &diagnostics);

} // namespace npuc::quantize
