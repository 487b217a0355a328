// Short forms for the IR of kernels: arithmetic of `index`, which is 32 bits wide here, and memory.
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

namespace npuc::cuda {

inline constexpr unsigned warpSize = 32;
/// LLVM's address spaces of NVPTX.
inline constexpr unsigned globalSpace = 1, sharedSpace = 3;

/// Where an index stands: `base + lane · step` for each of some consecutive lanes. `multiple` divides `base`;
/// 0: it is zero.
struct Position {
  mlir::Value base;
  int64_t step = 0;
  int64_t multiple = 1;
};

struct Emit {
  using Value = mlir::Value;

  mlir::OpBuilder &b;
  mlir::Location loc;

  Value index(int64_t value) const { return mlir::arith::ConstantIndexOp::create(b, loc, value); }
  Value i32(int32_t value) const { return mlir::arith::ConstantIntOp::create(b, loc, value, 32); }
  Value f32(float value) const {
    return mlir::arith::ConstantFloatOp::create(b, loc, b.getF32Type(), llvm::APFloat(value));
  }
  Value zero(mlir::Type type) const { return mlir::arith::ConstantOp::create(b, loc, b.getZeroAttr(type)); }
  /// Of two floats, rounded once, or of two integers, which wrap.
  Value sum(Value x, Value y) const {
    return mlir::isa<mlir::FloatType>(x.getType()) ? mlir::arith::AddFOp::create(b, loc, x, y).getResult()
                                                   : mlir::arith::AddIOp::create(b, loc, x, y).getResult();
  }
  Value toI32(Value index) const { return mlir::arith::IndexCastOp::create(b, loc, b.getI32Type(), index); }
  Value toIndex(Value i32) const { return mlir::arith::IndexCastOp::create(b, loc, b.getIndexType(), i32); }

  /// Of index or i32; constants fold.
  Value add(Value x, Value y) const { return b.createOrFold<mlir::arith::AddIOp>(loc, x, y, noWrap()); }
  Value mul(Value x, Value y) const { return b.createOrFold<mlir::arith::MulIOp>(loc, x, y, noWrap()); }
  Value mul(Value x, int64_t y) const { return mul(x, constantLike(x, y)); }
  Value add(Value x, int64_t y) const { return add(x, constantLike(x, y)); }
  Value div(Value x, int64_t y) const {
    return b.createOrFold<mlir::arith::DivUIOp>(loc, x, constantLike(x, y));
  }
  Value rem(Value x, int64_t y) const {
    return b.createOrFold<mlir::arith::RemUIOp>(loc, x, constantLike(x, y));
  }
  Value bitAnd(Value x, int64_t y) const {
    return b.createOrFold<mlir::arith::AndIOp>(loc, x, constantLike(x, y));
  }
  Value bitXor(Value x, Value y) const { return b.createOrFold<mlir::arith::XOrIOp>(loc, x, y); }
  Value less(Value x, int64_t y) const {
    return b.createOrFold<mlir::arith::CmpIOp>(loc, mlir::arith::CmpIPredicate::ult, x, constantLike(x, y));
  }
  Value both(Value x, Value y) const { return b.createOrFold<mlir::arith::AndIOp>(loc, x, y); }
  Value select(Value c, Value x, Value y) const {
    return b.createOrFold<mlir::arith::SelectOp>(loc, c, x, y);
  }

  Value threadId() const { return toIndex(mlir::NVVM::ThreadIdXOp::create(b, loc, b.getI32Type())); }
  Value blockIdX() const { return toIndex(mlir::NVVM::BlockIdXOp::create(b, loc, b.getI32Type())); }
  Value blockIdY() const { return toIndex(mlir::NVVM::BlockIdYOp::create(b, loc, b.getI32Type())); }
  Value blockIdZ() const { return toIndex(mlir::NVVM::BlockIdZOp::create(b, loc, b.getI32Type())); }
  void barrier() const { mlir::NVVM::Barrier0Op::create(b, loc); }

  /// The index of each of `extents`, in row-major order, in a linear one.
  llvm::SmallVector<Value> delinearize(Value linear, llvm::ArrayRef<int64_t> extents) const;

  /// The address of element `offset` (index) of elements of `type`.
  Value address(Value pointer, mlir::Type type, Value offset) const;
  Value load(mlir::Type type, Value address, unsigned alignment) const;
  void store(Value value, Value address, unsigned alignment) const;
  /// `lanes` as a vector, and back.
  Value pack(llvm::ArrayRef<Value> lanes) const;
  llvm::SmallVector<Value> unpack(Value vector) const;
  /// The lane that is `mask` away: lane id xor mask. Of f32 or i32.
  Value shuffleXor(Value value, unsigned mask) const;

  /// Floats of 8 bits of `element` from their codes as f32, and back (saturating, to nearest even).
  Value decode(mlir::Type element, Value code) const;
  Value encode(mlir::Type element, Value f32) const;

  /// What the function `name` of the library (backends/cuda/math) gives of `operand`.
  Value call(llvm::StringRef name, mlir::Type result, Value operand) const;

  /// Runs `body` where `condition` holds; null: always.
  void when(Value condition, llvm::function_ref<void()> body) const;

private:
  mlir::arith::IntegerOverflowFlags noWrap() const {
    return mlir::arith::IntegerOverflowFlags::nsw | mlir::arith::IntegerOverflowFlags::nuw;
  }
  Value constantLike(Value x, int64_t y) const { return x.getType().isIndex() ? index(y) : i32(int32_t(y)); }
};

/// The type that elements of a tensor have in memory: integers without sign, bools as bytes, floats of 8 bits
/// as their codes.
mlir::Type memoryType(mlir::Type element);

/// Kernels hold them as their codes.
bool isFloat8(mlir::Type element);

} // namespace npuc::cuda
