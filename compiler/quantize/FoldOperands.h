// Operands of multiplications of integers with computed scales and zero points, and what their sums become;
// part of foldQuantization alone.
#pragma once

#include "compiler/quantize/FoldPatterns.h"

namespace npuc::quantize {

using Shape = llvm::SmallVector<int64_t>;

/// A scale or zero point; `shape` has an entry for each dimension of the operand that it belongs to (later,
/// of the result): its size, or 1 where it is the same for all indices.
struct Parameter {
  mlir::Value value; ///< Null: there is none.
  Shape shape;

  explicit operator bool() const { return static_cast<bool>(value); }
  bool isSingle() const {
    return llvm::all_of(shape, [](int64_t size) { return size == 1; });
  }
  /// The same for all indices of all dimensions but `axis`.
  bool isAlong(int64_t axis) const {
    return llvm::all_of(llvm::enumerate(shape), [&](auto entry) {
      return static_cast<int64_t>(entry.index()) == axis || entry.value() == 1;
    });
  }
};

/// Integers of 8 bits, or floats of 8 (without a zero point), and what they stand for: scale · (integer -
/// zero).
struct Integers {
  mlir::Value value;
  mlir::TypedAttr constant; ///< In the value's place: a constant that is yet to be made.
  mlir::RankedTensorType type;
  Parameter scale, zero;
  /// A zero point beside `zero`.
  struct {
    std::vector<int32_t> values;
    Shape shape;
  } offset;

  bool hasOffset() const {
    return llvm::any_of(offset.values, [](int32_t value) { return value != 0; });
  }
  bool hasZero() const { return zero || hasOffset(); }
};

/// The integers or floats of 8 bits that `value` is made of: dequantized, or in i32 less a zero point or not,
/// or a constant of i32 that fits.
std::optional<Integers> integersOf(mlir::Value value);

/// Builds what one multiplication becomes.
class Arithmetic {
public:
  Arithmetic(mlir::PatternRewriter &rewriter, mlir::Location loc, Constants constants,
             mlir::RankedTensorType result)
      : b(rewriter), loc(loc), make(constants), result(result) {}

  mlir::Value integers(Integers &operand);
  /// In `element`, of `shape`, which has as many elements.
  mlir::Value shaped(const Parameter &parameter, mlir::Type element, llvm::ArrayRef<int64_t> shape);
  /// The zero point in i32 as it meets the result, in whose dimensions `atResult` gives a shape.
  mlir::Value zero(const Integers &operand, llvm::function_ref<Shape(llvm::ArrayRef<int64_t>)> atResult);
  mlir::Value minus(mlir::Value sums, mlir::Value x, mlir::Value y);
  /// Sums with their scales, which have the result's dimensions (null: they are integers), and the bias,
  /// which broadcasts to the result. Computed in f32, whatever floats are stored in.
  mlir::Value finish(mlir::Value sums, const Parameter &lhs, const Parameter &rhs, int64_t column,
                     mlir::Value bias);
  /// The same of sums in f32 that are yet to be multiplied by `scales`.
  mlir::Value finish(mlir::Value y, llvm::ArrayRef<Parameter> scales, mlir::Value bias);

private:
  template <typename OpTy>
  mlir::Value precise(OpTy op) {
    op->setAttr(inF32Attr, b.getUnitAttr());
    return op;
  }
  mlir::Value scaled(mlir::Value sums, mlir::Value scale, mlir::RankedTensorType wide, int64_t column);

  mlir::PatternRewriter &b;
  mlir::Location loc;
  Constants make;
  mlir::RankedTensorType result;
};

} // namespace npuc::quantize
