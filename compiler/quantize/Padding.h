// Which rows of a model's tensors belong to positions that only fill a batch up.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "compiler/interpret/Interpreter.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/DenseMap.h"

#include <memory>
#include <optional>
#include <vector>

namespace npuc::quantize {

/// A position is padding if the attention that reads it as a key masks it out for every query. From the keys
/// and values of each nn.attention, or softmax(query · keyᵀ …) · value of single operations, whose mask is
/// computed from the model's inputs, this follows positions to all tensors that hold them: through
/// projections, norms, formulas, reshapes, transposes and residual sums.
class Padding {
public:
  /// `function`: one block of nn operations without calls, which stays as it is while this lives.
  explicit Padding(mlir::func::FuncOp function);

  /// Evaluates the masks on a sample's inputs, with all that they need. False, with errors, if the inputs are
  /// not the model's.
  bool read(std::span<const NamedArray> inputs, Diagnostics &diagnostics);

  /// For each row (the elements of the last dimension) of `value`, of rank 1 or more, whether it counts;
  /// empty if all do.
  std::vector<bool> rowsThatCount(mlir::Value value) const;

  /// The inputs that masks are computed from.
  const std::vector<mlir::BlockArgument> &inputs() const { return inputs_; }
  /// The attentions whose mask is not used for this, each with why.
  struct Unused {
    mlir::Operation *attention; ///< Or its softmax.
    std::string why;
  };
  const std::vector<Unused> &unused() const { return unused_; }

private:
  /// Element f of a tensor in row-major order is of batch (f / batchStride) mod B and of key number offset +
  /// (f / stride) mod `size` of the masked ones. Reshapes leave this as it is.
  struct Layout {
    unsigned mask;
    int64_t batches, batchStride, size, stride, offset;
  };
  /// The masks of the sample: for each [batch · keys + key] whether it counts.
  struct Mask {
    int64_t batches, keys;
    std::vector<bool> counts;
  };
  struct Dims;
  struct Attention;

  static std::optional<Dims> dimsOf(const Layout &layout, mlir::RankedTensorType type);
  static Layout layoutOf(const Layout &like, Dims dims, mlir::RankedTensorType type);
  void spread();
  void give(mlir::Value value, const Layout &layout);
  void giveOthers(mlir::Operation *op, mlir::Value from, const Layout &layout);
  void keep(mlir::Value to, mlir::Value from, const Layout &layout);
  static std::vector<Attention> attentionsOf(mlir::func::FuncOp function);
  void collectMasks(mlir::func::FuncOp function);

  llvm::DenseMap<mlir::Value, Layout> layouts_;
  std::vector<mlir::Value> queue_;
  mlir::OwningOpRef<mlir::func::FuncOp> maskFunction_;
  std::unique_ptr<interpret::Interpreter> interpreter_;
  std::vector<Mask> masks_;
  std::vector<bool> isFill_; ///< Of each mask that it says where scores are replaced.
  std::vector<mlir::BlockArgument> inputs_;
  std::vector<Unused> unused_;
};

} // namespace npuc::quantize
