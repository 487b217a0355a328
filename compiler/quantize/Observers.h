// What values the multiplications of a model see.
#pragma once

#include "compiler/interpret/Interpreter.h"
#include "compiler/quantize/Padding.h"
#include "compiler/quantize/TensorStatistics.h"
#include "support/Diagnostic.h"
#include "support/ThreadPool.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

#include <functional>
#include <span>
#include <vector>

namespace npuc::quantize {

/// The leading operands of a multiplication (nn.linear, nn.matmul, nn.conv, nn.attention) of floats that it
/// multiplies and that are no weights; 0 if `op` is none.
unsigned observedOperands(mlir::Operation *op);

/// The statistics of a function's multiplications. A tensor that several of them read is one.
class Statistics {
public:
  /// With their names, and nothing counted. `function`: one block of nn operations without calls.
  explicit Statistics(mlir::func::FuncOp function, uint64_t seed = 1);

  const std::vector<TensorStatistics> &tensors() const { return tensors_; }
  /// The number of a multiplication's operand (less than observedOperands) among them. Of multiplications
  /// that were in the function when it was observed; whether their operands changed since does not matter.
  size_t index(mlir::Operation *op, unsigned operand) const { return numbers_.at({op, operand}); }
  const TensorStatistics &of(mlir::Operation *op, unsigned operand) const {
    return tensors_[index(op, operand)];
  }
  bool has(mlir::Operation *op, unsigned operand) const { return numbers_.contains({op, operand}); }
  /// Who read tensor number `tensor` first, and as which operand.
  std::pair<mlir::Operation *, unsigned> reader(size_t tensor) const { return readers_[tensor]; }

private:
  friend class Observers;
  std::vector<TensorStatistics> tensors_;
  std::vector<std::pair<mlir::Operation *, unsigned>> readers_;
  llvm::DenseMap<std::pair<mlir::Operation *, unsigned>, size_t> numbers_;
};

struct ObserverOptions {
  size_t reservoirRows = 512;
  uint64_t seed = 1;
};

/// Fills Statistics from runs of the interpreter.
class Observers {
public:
  /// `function` stays as it is while this lives.
  Observers(mlir::func::FuncOp function, ObserverOptions options)
      : options_(std::move(options)), statistics_(function, options_.seed) {}

  /// Counts what one operation reads; to be called for each operation of a run, samples one after another.
  /// The first NaN or infinity is an error that names the tensor; after one nothing is counted. `padding` has
  /// read that sample, and `diagnostics` are its own.
  void observe(const interpret::Observation &seen, const Padding &padding, ThreadPool &pool,
               Diagnostics &diagnostics);

  Statistics take() { return std::move(statistics_); }

private:
  ObserverOptions options_;
  Statistics statistics_;
};

} // namespace npuc::quantize
