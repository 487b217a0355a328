// Counts what a model has to do, for the lower bound of its time.
#pragma once

#include "backends/npu/timing/LowerBound.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::pipeline {

/// The work of a function of nn operations in one block, shapes and precision as they stand in it, counted by
/// the table of docs/lower-bound.md: multiply-adds of contractions without padding, vector operations for
/// each element of what the others compute, and each constant, input and output once (of a gathered table the
/// rows read).
timing::WorkFacts countWork(mlir::func::FuncOp function);

} // namespace npuc::pipeline
