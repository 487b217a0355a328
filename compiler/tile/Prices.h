// What a plan needs to know of a machine: sizes, and what the parts of a program cost. Handed in by the
// backend, so that planning knows shapes and loops and no machine.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace npuc::tile {

/// Where the other end of a transfer from or to a core's scratchpad is.
enum class Place : uint8_t { Dram, Shared, OtherCore };

class Prices {
public:
  virtual ~Prices() = default;

  int64_t cores = 1, scratchpadBytes = 0, lanesN = 1, lanesK = 1;
  /// Queues of DMA commands that a core has.
  int64_t queues = 1;
  /// One command can bring the same bytes to several cores.
  bool multicast = false;
  bool hasShared = false;

  /// Cycles that one core's engine takes for `op` over loops of `extents`, all operands at hand.
  virtual double compute(mlir::linalg::LinalgOp op, llvm::ArrayRef<int64_t> extents) const = 0;
  /// Cycles of one transfer of `bytes` between `place` and a core, start to end.
  virtual double transfer(Place place, int64_t bytes) const = 0;
  /// Cycles for which `bytes` keep DRAM, which all cores share, busy.
  virtual double dram(int64_t bytes) const = 0;
};

} // namespace npuc::tile
