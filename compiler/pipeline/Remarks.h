// What the compiler decided, and why, as MLIR's remarks (mlir/IR/Remarks.h) tell it.
#pragma once

#include "support/Diagnostic.h"

#include "mlir/IR/MLIRContext.h"

#include <string>
#include <vector>

namespace npuc::pipeline {

/// The categories that remarks are told apart by:
///   fuse      which operations share a group, and why others do not
///   tile      a group's grid of cores and blocks, and the cycles expected of it
///   place     where a tensor between groups lives, and what did not fit where
///   quantize  what stays in floats
///   schedule  the cycles of the schedule beside those expected of the groups
std::vector<std::string> remarkCategories();

/// From now on remarks whose whole category matches `filter`, a regular expression, are appended to
/// `remarks`, which outlives the context, with the severity Note. False, and an error, if it is no regular
/// expression or matches no category.
bool collectRemarks(mlir::MLIRContext &context, const std::string &filter, std::vector<Diagnostic> &remarks,
                    Diagnostics &diagnostics);

} // namespace npuc::pipeline
