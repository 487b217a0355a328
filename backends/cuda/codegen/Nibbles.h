// Weights of 4 bits on their way to tensor cores: as they are to shared memory, and there apart in registers.
#pragma once

#include "backends/cuda/codegen/FourBits.h"

namespace npuc::cuda {

/// The second operand of a tile of `columns`. A step of the block's loop is one block of k for each of
/// `warpsK` warps. In a stage of shared memory lie blocks of weights, as in global memory, then the scales,
/// offsets and zero points of the step's groups.
class Nibbles {
public:
  struct Place {
    mlir::Value thread, lane, warpN, warpK, firstN;
  };
  Nibbles(Kernel &kernel, const FourBits &weights, int64_t columns, int64_t warpsN, int64_t warpsK,
          const Place &place);
  /// Of a stage.
  static int64_t bytes(const FourBits &weights, int64_t columns, int64_t warpsK);

  /// All threads copy what step `step` needs to `memory`.
  void load(mlir::Value step, mlir::Value memory);
  /// The warp reads its block of step `step`, which is at `memory`.
  void enter(mlir::Value step, mlir::Value memory);
  /// So many steps of mma have a scale in common.
  int64_t stepsOfGroup() const;
  /// The warp reads the scales and zero points of mma steps from `first` on.
  void enterGroup(int64_t first);
  /// Two registers for each eight of the warp's columns.
  llvm::SmallVector<mlir::Value> columns(int64_t step) const;
  /// With what an mma of column tile `n` begins to sum a group.
  llvm::SmallVector<mlir::Value> begin(int64_t n) const;
  /// sums += scale · group.
  void finish(int64_t n, llvm::ArrayRef<mlir::Value> group, llvm::MutableArrayRef<mlir::Value> sums) const;

private:
  /// Numbers for each group and column, in shared memory from `begin` of a stage on.
  struct Parameters {
    mlir::Value tensor;
    int64_t bytes, begin;
  };
  static int64_t groupsOfStep(const FourBits &weights, int64_t warpsK);
  void copy(mlir::Value tensor, mlir::Value from, mlir::Value to, mlir::Value inside) const;
  /// Of a group of the step and a column of the tile.
  mlir::Value parameter(const Parameters &of, mlir::Value column, int64_t count) const;
  mlir::Value mask(mlir::Value word, uint32_t kept, uint32_t flipped) const;

  Kernel &kernel;
  Emit e;
  const FourBits &w;
  int64_t tileN, warpsN, warpsK, blockBytes, stepGroups;
  Place at;
  Parameters scales, offsets, zeroPoints;
  // Where the warp is.
  mlir::Value stage, block, row;
  llvm::SmallVector<mlir::Value> words, scaleOf, offsetOf, zeroOf;
};

} // namespace npuc::cuda
