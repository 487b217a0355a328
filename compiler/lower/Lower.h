// From nn to linalg on tensors.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>

namespace npuc::lower {

/// Names of attributes of the lowered function's arguments: the buffer's name, its role ("input", "output",
/// "constant", "state"), and of a constant its value, a dense tensor or an nn handle.
inline constexpr llvm::StringLiteral nameAttr = "npu.name", roleAttr = "npu.role", valueAttr = "npu.value";
/// `argument` is one of a lowered function and a constant.
bool isConstant(mlir::BlockArgument argument);
/// Of an input or output whose elements have fewer bits than in the model: the type that the model declares.
inline constexpr llvm::StringLiteral narrowedAttr = "nn.narrowed";

/// Of a quantize operation whose input may be NaN, for which its formula asks then.
inline constexpr llvm::StringLiteral mayBeNaNAttr = "nn.may_be_nan";

/// What setFloatType stores in 16 bits: all floats, or only what is multiplied as floats and the products.
enum class Narrowed : uint8_t { All, Multiplied };

/// Makes float tensors of 16 bits or more of `function`, which is nn, tensors of `type` (f16 or bf16).
/// Arguments and results keep their types, but for f64, which becomes f32, and are converted at the border;
/// finite constants beyond the range of `type` become its greatest finite values, so that a mask's lowest
/// number stays finite. Constants that are only scales of integers, or scales and biases of norms, stay as
/// they are, and so do the sums of residual streams, softmaxes of inputs and what makes angles: see
/// docs/numerics.md. With Narrowed::Multiplied, for models that came with integers, the floats between them
/// stay in f32, so that integers are rounded from what the model's own arithmetic gives; where constants hold
/// infinity or NaN, quantize operations get the attribute above.
void setFloatType(mlir::func::FuncOp function, mlir::FloatType type, Narrowed narrowed = Narrowed::All);

/// Why the nn operation cannot be lowered, in one sentence that names its kind; empty if it can.
std::string obstacle(mlir::Operation *op);

/// Rewrites every nn operation of `function` as linalg on tensors. Floats are stored in their tensors' types
/// and computed in f32. Constants and results become arguments: see the attributes above. Errors name every
/// operation that has no lowering.
mlir::LogicalResult lowerToLinalg(mlir::func::FuncOp function);

} // namespace npuc::lower
