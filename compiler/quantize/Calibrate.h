// What values the multiplications of a model see.
#pragma once

#include "support/Diagnostic.h"
#include "support/Npz.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <vector>

namespace npuc::quantize {

/// On a multiplication (nn.linear, nn.matmul, nn.conv, nn.attention): an array with one entry for each of its
/// leading operands that it multiplies and that are no weights, each [least, greatest] as two arrays of
/// floats. Of the input of an nn.linear by weights they have one element for each index of its last
/// dimension, else one.
inline constexpr llvm::StringLiteral rangesAttr = "nn.ranges";

/// The names and arrays of a calibration file as sets of inputs of `function`. An array has its input's shape
/// (one sample), or more in front: a leading dimension that counts samples, or a first dimension that is a
/// multiple of the input's. All arrays have equally many samples. Errors name what does not fit.
std::vector<std::vector<NamedArray>>
samplesOf(mlir::func::FuncOp function, const std::vector<NamedArray> &arrays, Diagnostics &diagnostics);

/// Runs `function` (nn operations in one block, no calls) on each sample and sets the attribute above on
/// every multiplication of floats. The result of a softmax has the range [0, 1] whatever is seen; numbers
/// beyond ±1e30, which stand for a mask, enter no range. A NaN or infinity is an error that names the tensor
/// and the sample.
bool calibrate(mlir::func::FuncOp function, const std::vector<std::vector<NamedArray>> &samples,
               unsigned threads, Diagnostics &diagnostics);

/// The leading operands of a multiplication that `rangesAttr` has entries for; none if `op` is no
/// multiplication.
unsigned observedOperands(mlir::Operation *op);

} // namespace npuc::quantize
