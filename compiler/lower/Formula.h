// Formulas of scalars, as the bodies of linalg operations compute them.
#pragma once

#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace npuc::lower {

/// The vector engine computes with floats, bools and integers of 32 bits, as which it loads smaller ones.
bool isComputable(mlir::Type element);
inline constexpr llvm::StringLiteral computableIntegers =
    "its integers have at most 32 bits, or 16 if they are unsigned";

/// An integer of fewer than 32 bits as i32; anything else stays.
mlir::Value widenInteger(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x);
/// An i32 as an integer of fewer bits that holds its value; of any other type it stays.
mlir::Value narrowInteger(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Type type);

/// Scalar arithmetic in f32, i32 and i1.
struct Formula {
  using Value = mlir::Value;

  mlir::OpBuilder &b;
  mlir::Location loc;

  /// A number of `type`: i1 or i64, i32 for any other integer type, or f32 for any float type and by default.
  Value number(double v, mlir::Type type = {}) const;
  /// The index of a loop, in i32.
  Value index(int64_t loop) const;

  Value add(Value x, Value y) const { return oneOf<mlir::arith::AddFOp, mlir::arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) const { return oneOf<mlir::arith::SubFOp, mlir::arith::SubIOp>(x, y); }
  Value mul(Value x, Value y) const { return oneOf<mlir::arith::MulFOp, mlir::arith::MulIOp>(x, y); }
  Value max(Value x, Value y) const { return oneOf<mlir::arith::MaximumFOp, mlir::arith::MaxSIOp>(x, y); }
  Value min(Value x, Value y) const { return oneOf<mlir::arith::MinimumFOp, mlir::arith::MinSIOp>(x, y); }
  /// Of integers of 32 bits: toward zero.
  Value div(Value x, Value y) const;
  /// The low bits of an i32 as an integer of fewer bits; of any other type it stays.
  Value wrap(Value x, mlir::Type type) const;
  /// An integer as a float.
  Value real(Value x) const;
  Value exp(Value x) const { return call<mlir::math::ExpOp>(x); }
  Value negate(Value x) const;
  Value sigmoid(Value x) const { return div(number(1), add(number(1), exp(negate(x)))); }
  template <typename Op>
  Value call(Value x) const {
    return Op::create(b, loc, x);
  }

  Value both(Value x, Value y) const { return mlir::arith::AndIOp::create(b, loc, x, y); }
  Value any(Value x, Value y) const { return mlir::arith::OrIOp::create(b, loc, x, y); }
  Value differs(Value x, Value y) const { return mlir::arith::XOrIOp::create(b, loc, x, y); }
  Value complement(Value x) const;
  Value select(Value c, Value x, Value y) const { return mlir::arith::SelectOp::create(b, loc, c, x, y); }
  Value compare(nn::ComparePredicate p, Value x, Value y) const;
  Value equal(Value x, Value y) const { return compare(nn::ComparePredicate::Eq, x, y); }
  Value less(Value x, Value y) const { return compare(nn::ComparePredicate::Lt, x, y); }
  Value isNan(Value x) const { return compare(nn::ComparePredicate::Ne, x, x); }

private:
  template <typename FloatOp, typename IntOp>
  Value oneOf(Value x, Value y) const {
    if (mlir::isa<mlir::FloatType>(x.getType()))
      return FloatOp::create(b, loc, x, y);
    return IntOp::create(b, loc, x, y);
  }
};

} // namespace npuc::lower
