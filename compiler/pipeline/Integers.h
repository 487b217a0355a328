// What of a model is multiplied as integers on a target.
#pragma once

#include "backends/npu/target/target.pb.h"
#include "compiler/interpret/ConstantReader.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::pipeline {

/// Whether the function, which is nn, quantizes, dequantizes or multiplies integers.
bool isQuantized(mlir::func::FuncOp function);

/// Folds quantization into multiplications of integers as the target has them (see
/// quantize::foldQuantization), and proves that their sums fit its accumulators. A target that multiplies no
/// i8 leaves all as it is. Reads constants. Errors, at their operations, where sums do not fit.
mlir::LogicalResult foldIntegers(mlir::func::FuncOp function, const target::TargetDescription &target,
                                 interpret::ConstantReader &constants);

} // namespace npuc::pipeline
