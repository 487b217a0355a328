// Which operations become one kernel.
#pragma once

#include "compiler/tile/Plan.h"

namespace npuc::cuda {

/// Cuts a group into what one kernel computes: a contraction with formulas of its sums, reductions of rows
/// with what they read and what reads them, or formulas. In program order of their roots. `contracts`: which
/// operations are contractions.
using Contracts = llvm::function_ref<bool(mlir::linalg::LinalgOp)>;
llvm::SmallVector<tile::Group> splitGroup(const tile::Group &group, Contracts contracts);

/// Takes out of a group of several contractions what makes their operands, and reductions, but for what needs
/// another one's sums: it has to be in memory before.
tile::Group takeOperands(tile::Group &group);

} // namespace npuc::cuda
