#include "compiler/lower/FastForms.h"

#include "compiler/lower/LinalgBuilder.h"
#include "compiler/lower/Lower.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

/// The input that `op` sums along its one reduction loop, if that is all it does, of 8-bit integers.
OpOperand *summedBytes(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 1)
    return nullptr;
  Block *body = op.getBody();
  auto sum = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddIOp>();
  if (!sum)
    return nullptr;
  Value old = body->getArgument(1), added = sum.getLhs() == old ? sum.getRhs() : sum.getLhs();
  bool adds = sum.getLhs() == old || sum.getRhs() == old;
  Operation *wide = added.getDefiningOp();
  if (!adds || !isa_and_nonnull<arith::ExtSIOp, arith::ExtUIOp>(wide))
    return nullptr;
  Value bytes = wide->getOperand(0);
  if (auto unsignedBytes = bytes.getDefiningOp<UnrealizedConversionCastOp>())
    bytes = unsignedBytes.getOperand(0);
  return bytes == body->getArgument(0) && bytes.getType().isInteger(8) ? op.getDpsInputOperand(0) : nullptr;
}

void multiplyByOnes(linalg::GenericOp op, OpOperand &input) {
  OpBuilder builder(op);
  LinalgBuilder b(builder, op.getLoc());
  SmallVector<unsigned> reduced;
  op.getReductionDims(reduced);
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  Value ones = b.filled({extents[reduced[0]]}, 1, builder.getI8Type());
  Value sums = b.contract({input.get(), op.getMatchingIndexingMap(&input)},
                          {ones, b.dims(extents.size(), {reduced[0]})},
                          op.getMatchingIndexingMap(op.getDpsInitOperand(0)), extents);
  op.replaceAllUsesWith(ValueRange{sums});
  op.erase();
}

/// One formula's operations that can compute in the fast type.
class Narrowing {
public:
  Narrowing(linalg::GenericOp op, FloatType fast) : op(op), fast(fast) {}

  void run() {
    Block *body = op.getBody();
    for (Operation &inner : llvm::reverse(body->without_terminator()))
      if (canNarrow(inner))
        narrowed.insert(&inner);
    // An operand's error would grow to one of the rounded integer.
    for (bool changed = true; changed;) {
      changed = false;
      for (Operation *inner : llvm::to_vector(narrowed)) {
        bool roundsExactly = isa<math::RoundEvenOp>(inner) && !isNarrowed(inner->getOperand(0));
        bool fits = llvm::all_of(inner->getOperands(), [&](Value v) { return isNarrowed(v) || fitsFast(v); });
        if (roundsExactly || !fits || !llvm::all_of(inner->getUsers(), [&](Operation *user) {
              return narrowed.contains(user) || isResult(user);
            }))
          changed |= narrowed.remove(inner);
      }
    }
    if (gain() <= 0)
      return;
    OpBuilder builder(op.getContext());
    for (Operation &inner : *body)
      if (narrowed.contains(&inner))
        rewrite(builder, inner);
  }

private:
  static bool isResult(Operation *user) {
    return isa<arith::FPToSIOp>(user) && user->getResult(0).getType().getIntOrFloatBitWidth() <= 8;
  }

  bool isNarrowed(Value value) const {
    Operation *made = value.getDefiningOp();
    return made && narrowed.contains(made);
  }

  /// Of a kind whose result's relative error is about that of its operands, or whose greatest is known.
  bool canNarrow(Operation &inner) const {
    if (inner.getNumResults() != 1 || !inner.getResult(0).getType().isF32())
      return false;
    if (isa<arith::MulFOp, arith::DivFOp, arith::MaximumFOp, arith::MinimumFOp, arith::NegFOp,
            math::RoundEvenOp, math::ExpOp, math::ErfOp, math::TanhOp>(inner))
      return true;
    // Of two values that are not known, the difference may be much less than either.
    return isa<arith::AddFOp, arith::SubFOp>(inner) && llvm::any_of(inner.getOperands(), numberOf);
  }

  static std::optional<double> numberOf(Value value) {
    APFloat number(0.0f);
    return matchPattern(value, m_ConstantFloat(&number)) ? std::optional(number.convertToDouble())
                                                         : std::nullopt;
  }

  /// A number that the type has with all its bits.
  bool isNormal(double number) const {
    const llvm::fltSemantics &type = fast.getFloatSemantics();
    double magnitude = std::abs(number);
    return magnitude == 0 || (magnitude <= APFloat::getLargest(type).convertToDouble() &&
                              magnitude >= APFloat::getSmallestNormalized(type).convertToDouble());
  }

  /// What the fast type holds as well as is needed: its own values and smaller types', constants in its
  /// range, and what floats compute, which is stored in 16 bits elsewhere too.
  bool fitsFast(Value value) const {
    if (std::optional<double> number = numberOf(value))
      return isNormal(*number);
    if (auto argument = dyn_cast<BlockArgument>(value))
      return constantsFit(op->getOperand(argument.getArgNumber()));
    Operation *made = value.getDefiningOp();
    if (auto widened = dyn_cast<arith::ExtFOp>(made))
      return widened.getIn().getType() == fast;
    return isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp>(made);
  }

  /// Of a tensor of constants, whether all are in the type's range.
  bool constantsFit(Value tensor) const {
    while (Operation *view = tensor.getDefiningOp()) {
      if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(view))
        return false;
      tensor = view->getOperand(0);
    }
    auto argument = cast<BlockArgument>(tensor);
    auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
    auto values = function
                      ? function.getArgAttrOfType<DenseFPElementsAttr>(argument.getArgNumber(), valueAttr)
                      : DenseFPElementsAttr();
    return values && values.getElementType().isF32() &&
           llvm::all_of(values.getValues<APFloat>(),
                        [&](const APFloat &v) { return isNormal(v.convertToDouble()); });
  }

  /// Vector operations that are saved, for each element, if the fast type has two lanes for one of f32.
  double gain() const {
    double saved = 0;
    llvm::SmallPtrSet<void *, 4> converted;
    for (Operation *inner : narrowed) {
      bool clamps = isa<arith::MaximumFOp, arith::MinimumFOp>(inner); // The store does that.
      bool isFunction = isa<arith::DivFOp, math::ExpOp, math::ErfOp, math::TanhOp>(inner);
      saved += clamps ? 0 : isFunction ? 2 : 0.5;
      for (Value operand : inner->getOperands())
        if (operand.getDefiningOp() && !isNarrowed(operand) && !numberOf(operand) &&
            !operand.getDefiningOp<arith::ExtFOp>() && converted.insert(operand.getAsOpaquePointer()).second)
          saved -= 0.5;
    }
    return saved;
  }

  void rewrite(OpBuilder &builder, Operation &inner) {
    builder.setInsertionPoint(&inner);
    for (OpOperand &operand : inner.getOpOperands()) {
      Value value = operand.get();
      if (isNarrowed(value))
        continue;
      if (std::optional<double> number = numberOf(value)) {
        operand.set(arith::ConstantOp::create(builder, inner.getLoc(), builder.getFloatAttr(fast, *number)));
        continue;
      }
      if (auto widened = value.getDefiningOp<arith::ExtFOp>()) {
        operand.set(widened.getIn());
        continue;
      }
      Value &known = roundings[value];
      if (!known)
        known = arith::TruncFOp::create(builder, inner.getLoc(), fast, value);
      operand.set(known);
    }
    inner.getResult(0).setType(fast);
  }

  linalg::GenericOp op;
  FloatType fast;
  llvm::SmallSetVector<Operation *, 16> narrowed;
  llvm::DenseMap<Value, Value> roundings;
};

} // namespace

void npuc::lower::useFastForms(func::FuncOp function, FloatType fast) {
  for (auto op : llvm::make_early_inc_range(function.getOps<linalg::GenericOp>())) {
    if (OpOperand *input = summedBytes(op))
      multiplyByOnes(op, *input);
    else if (fast)
      Narrowing(op, fast).run();
  }
}
