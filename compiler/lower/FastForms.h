// Formulas in forms that engines compute in less time.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::lower {

/// Rewrites formulas of `function`, which is linalg on tensors:
/// - the sums of integers of 8 bits along a loop become multiplications by ones, which the matrix engine does
/// in
///   the time of a fraction of an operation of the vector engine;
/// - what ends in an integer of 8 bits is computed in `fast`, a float type of at least 11 significant bits
/// that
///   the vector engine computes in faster than in f32 (null: there is none), as far as it is not a sum of
///   integers: an error of 2^-11 of a result is less than a tenth of its last bit;
/// - the scores of an attention whose weights are integers of 8 bits are kept in `fast` (see FastScores.cpp);
/// - a sum of two integers that f32 has, which becomes a float, is added as floats: to the same bits.
void useFastForms(mlir::func::FuncOp function, mlir::FloatType fast);

/// Keeps scores in `fast`.
void narrowScores(mlir::func::FuncOp function, mlir::FloatType fast);

/// The greatest magnitude of a tensor's elements that are sums of products of integers of at most 8 bits, if
/// all that it is reduces from zero; nothing if it is made otherwise.
std::optional<int64_t> greatestSum(mlir::Value tensor);

} // namespace npuc::lower
