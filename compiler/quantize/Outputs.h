// What quantizing some multiplications changes of a model's outputs.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/interpret/HostTensor.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Quantize.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/DenseMap.h"

#include <optional>
#include <vector>

namespace npuc::quantize {

/// Outputs beside those of floats, means over samples, and of several outputs the worst one's. Rows of padded
/// positions and structural values count in none.
struct OutputDifference {
  double cosine = 1;
  /// Of outputs x, and y quantized, the greater of Σ (x - y)² / Σ x² and, where they come out of a
  /// multiplication by weights and may be logits, the mean over rows of the divergence (Kullback-Leibler) of
  /// softmax(y) from softmax(x), which is by how much the perplexity grows.
  double loss = 0;
};

/// The outputs of a function in floats on some samples, and what they become. Keys and values that the
/// function itself attends to do not count: their loss shows in what is computed of them.
class Outputs {
public:
  /// Runs `function` in floats on the first `count` samples, or on as many of them (one at least) as have
  /// outputs of 256 MiB.
  Outputs(mlir::func::FuncOp function, const Samples &samples, size_t count,
          interpret::ConstantReader &reader, unsigned threads, Diagnostics &diagnostics);

  size_t samples() const { return inputs.size(); }

  using Selection = llvm::function_ref<bool(mlir::Operation *)>;
  /// With those multiplications quantized that have ranges and are selected, as their attributes say (see
  /// insertQuantization), on the first `count` samples. Nothing, and errors, if a run fails.
  std::optional<OutputDifference> measure(const GramOf &gramOf, RoundedWeights *rounded, Selection selected,
                                          size_t count, Diagnostics &diagnostics) const;

private:
  /// Operations from number `first` on as a function of values that those before give; results are the
  /// outputs that count.
  struct Part {
    size_t first;
    std::vector<mlir::Value> arguments;
    std::vector<interpret::HostTensor> values; ///< The arguments', of the first sample.
  };
  void cut();
  const Part &partWith(Selection selected) const;
  mlir::OwningOpRef<mlir::func::FuncOp>
  copyOf(const Part &part, Selection selected,
         llvm::DenseMap<mlir::Operation *, mlir::Operation *> &originals) const;
  OutputDifference compare(size_t sample, const std::vector<interpret::HostTensor> &found,
                           ThreadPool &pool) const;

  mlir::func::FuncOp function;
  interpret::ConstantReader &reader;
  unsigned threads;
  /// The outputs that count, and of each whether it may be of logits.
  std::vector<mlir::Value> results;
  std::vector<bool> mayBeLogits;
  /// All operations, and the last of them; so that what comes before those that are quantized runs once.
  std::vector<Part> parts;
  std::vector<std::vector<interpret::HostTensor>> inputs, wanted; ///< Of each sample.
  /// Of each sample and output that counts, the rows that count; empty: all.
  std::vector<std::vector<std::vector<bool>>> rows;
};

} // namespace npuc::quantize
