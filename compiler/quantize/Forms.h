// Quantized operands as they are written in nn: see docs/quantization.md, Forms.
#pragma once

#include "dialects/nn/IR/NN.h"

namespace npuc::quantize {

/// For each row of the last dimension of `x` (of f32, f16 or bf16) the scale of its integers: max |x| / 127,
/// computed as the program runs, in f32, of x's shape with a last dimension of 1. A row of zeros has scale
/// 1e-20.
mlir::Value rowScales(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// `x` as i8 with those scales, and back: the format int8-token.
mlir::Value aroundRows(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// `x` as `element`, a float of 8 bits, with one scale, and back: the format fp8.
mlir::Value aroundFp8(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x, float scale,
                      mlir::FloatType element);

} // namespace npuc::quantize
