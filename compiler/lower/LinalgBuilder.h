// Builds the few forms of linalg.generic that nn operations lower to.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Builders.h"

namespace npuc::lower {

inline mlir::RankedTensorType typeOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}
inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value value) {
  return typeOf(value).getShape();
}
/// The loops 0 … n − 1.
inline llvm::SmallVector<unsigned> upTo(unsigned n) {
  return llvm::to_vector(llvm::seq<unsigned>(0, n));
}

/// The tensor that `value` is a reshape of.
mlir::Value withoutReshapes(mlir::Value value);

/// The input of `op` that a value in its body is an element of; null if it is none.
mlir::OpOperand *inputOf(mlir::linalg::LinalgOp op, mlir::Value value);

/// The number that a float constant in a body is.
std::optional<double> numberOf(mlir::Value value);

using Scalars = llvm::ArrayRef<mlir::Value>;
/// Computes with scalars; floats come and go as f32, in reductions integers as i32.
using ScalarBody = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, Scalars)>;

/// An operand as some loops see it.
struct Operand {
  mlir::Value value;
  mlir::AffineMap map;
};

/// A part of an assembled tensor, and the position of its first element.
struct Part {
  mlir::Value value;
  llvm::SmallVector<int64_t> offsets;
};

/// A part of a shape.
struct Box {
  llvm::SmallVector<int64_t> offsets, sizes;
};

/// Boxes that do not overlap and are all of `shape` but the one at `offsets` of `sizes`.
llvm::SmallVector<Box> boxesAround(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> offsets,
                                   llvm::ArrayRef<int64_t> sizes);

class LinalgBuilder {
public:
  LinalgBuilder(mlir::OpBuilder &b, mlir::Location loc) : b(b), loc(loc) {}

  /// A float constant of one value in f32, or an integer of its own type: usable in bodies.
  mlir::Value constant(double value) { return constant(value, b.getF32Type()); }
  mlir::Value constant(double value, mlir::Type type);

  /// `value` seen by loops of `shape`, which it broadcasts to as NumPy does: dimensions that repeat go.
  Operand broadcast(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  Operand identity(mlir::Value value);

  /// result[loops] = body(inputs). The loops are the result's dimensions.
  mlir::Value map(llvm::ArrayRef<Operand> inputs, mlir::RankedTensorType result, ScalarBody body);

  /// result = Σ, maximum or minimum over the loops of `extents` that `resultDims` does not name, of
  /// body(inputs), in `element`, f32 or i32; by default f32, or i32 where the first input's elements are
  /// integers.
  enum class Kind { Sum, Max, Min };
  mlir::Value reduce(Kind kind, llvm::ArrayRef<Operand> inputs, llvm::ArrayRef<int64_t> extents,
                     llvm::ArrayRef<unsigned> resultDims, ScalarBody body, mlir::Type element = {});

  /// sums[loops of `sums`] = Σ lhs · rhs over the other loops; f32, or i32 for integers. With `parts`, each
  /// sum is computed in so many parts, which are added after it: there is one other loop then, of a multiple
  /// of `parts`.
  mlir::Value contract(Operand lhs, Operand rhs, mlir::AffineMap sums, llvm::ArrayRef<int64_t> extents,
                       int64_t parts = 1);

  /// sums + bias, rounded to the result's type. The bias, if there is one, runs along the last dimensions.
  mlir::Value finish(mlir::Value sums, mlir::Value bias, mlir::RankedTensorType result);

  /// A copy whose dimension i is dimension permutation[i] of `value`.
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> permutation);
  /// The same elements in another shape.
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);

  /// A tensor of `parts`, which do not overlap and together are all of it: a destination of its own, into
  /// which they are inserted one after another. See Destinations.h.
  mlir::Value assemble(mlir::RankedTensorType type, llvm::ArrayRef<Part> parts);
  /// The elements at offsets + i · strides; strides of 1 if there are none.
  mlir::Value slice(mlir::Value value, llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> sizes,
                    llvm::ArrayRef<int64_t> strides = {});
  /// `value` with low[d] elements before and high[d] after it in dimension d: assembled of it and of boxes
  /// around it, which `border` makes, or which hold `fill`.
  mlir::Value pad(mlir::Value value, llvm::ArrayRef<int64_t> low, llvm::ArrayRef<int64_t> high,
                  llvm::function_ref<mlir::Value(mlir::RankedTensorType)> border);
  mlir::Value pad(mlir::Value value, llvm::ArrayRef<int64_t> low, llvm::ArrayRef<int64_t> high, double fill);
  /// One number everywhere.
  mlir::Value splat(mlir::RankedTensorType type, double value);

  mlir::Value empty(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// A tensor of `value` everywhere.
  mlir::Value filled(llvm::ArrayRef<int64_t> shape, double value, mlir::Type element);
  mlir::AffineMap dims(unsigned loops, llvm::ArrayRef<unsigned> results);
  /// To f32 from any float; other types stay.
  mlir::Value widen(mlir::OpBuilder &b, mlir::Value scalar);
  /// To `type` from f32; other types stay.
  mlir::Value narrow(mlir::OpBuilder &b, mlir::Value scalar, mlir::Type type);

  /// saturate(round(x) + offset), ties to even: an integer of `type` of a float and of an offset
  /// that is an integer held as f32 (null: 0). The vector engine's store does most of it.
  mlir::Value toInteger(mlir::OpBuilder &b, mlir::Value x, mlir::Value offset, mlir::Type type);

  mlir::OpBuilder &b;
  mlir::Location loc;

private:
  mlir::Value contractParts(Operand lhs, Operand rhs, mlir::AffineMap sums, llvm::ArrayRef<int64_t> extents,
                            int64_t parts);
};

} // namespace npuc::lower
