#include "compiler/lower/FastForms.h"

#include "compiler/lower/LinalgBuilder.h"
#include "compiler/lower/Lower.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
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

/// The constants that an argument of the function, or a view of one, holds; null if they are not known.
DenseElementsAttr constantsOf(Value tensor) {
  auto argument = dyn_cast<BlockArgument>(withoutReshapes(tensor));
  if (!argument)
    return {};
  auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
  return function ? function.getArgAttrOfType<DenseElementsAttr>(argument.getArgNumber(), valueAttr)
                  : DenseElementsAttr();
}

/// Every integer up to this magnitude is an f32.
constexpr int64_t mostExact = int64_t(1) << 24;

/// The greatest magnitude of an operand of a multiplication: an input of 8 bits or less, widened.
std::optional<int64_t> greatestOf(Value factor, Block *body) {
  Operation *wide = factor.getDefiningOp();
  if (!isa_and_nonnull<arith::ExtSIOp, arith::ExtUIOp>(wide))
    return std::nullopt;
  Value narrow = wide->getOperand(0);
  if (auto unsignedValue = narrow.getDefiningOp<UnrealizedConversionCastOp>())
    narrow = unsignedValue.getOperand(0);
  auto argument = dyn_cast<BlockArgument>(narrow);
  unsigned width = wide->getOperand(0).getType().getIntOrFloatBitWidth();
  if (!argument || argument.getOwner() != body || width > 8)
    return std::nullopt;
  return int64_t(1) << (isa<arith::ExtUIOp>(wide) ? width : width - 1);
}

/// Whether f32 has all of a tensor's integers: constants, or sums of so few products that none is greater.
bool isExact(Value tensor) {
  if (tensor.getDefiningOp<linalg::GenericOp>()) {
    std::optional<int64_t> most = greatestSum(tensor);
    return most && *most <= mostExact;
  }
  DenseElementsAttr constants = constantsOf(tensor);
  return constants && constants.getElementType().isInteger(32) &&
         llvm::all_of(constants.getValues<APInt>(),
                      [](const APInt &value) { return value.sge(-mostExact) && value.sle(mostExact); });
}

/// float(a + b) as float(a) + float(b): both round once, to the same. A load converts for nothing.
void addAsFloats(linalg::GenericOp op) {
  Block *body = op.getBody();
  auto isExactOperand = [&](Value value) {
    OpOperand *input = inputOf(op, value);
    return input && isExact(input->get());
  };
  for (auto convert : llvm::make_early_inc_range(body->getOps<arith::SIToFPOp>())) {
    auto sum = convert.getIn().getDefiningOp<arith::AddIOp>();
    if (!sum || !sum->hasOneUse() || !convert.getType().isF32() || !sum.getType().isInteger(32) ||
        !llvm::all_of(sum->getOperands(), isExactOperand))
      continue;
    OpBuilder builder(convert);
    auto real = [&](Value value) {
      return arith::SIToFPOp::create(builder, convert.getLoc(), convert.getType(), value);
    };
    Value reals = arith::AddFOp::create(builder, convert.getLoc(), real(sum.getLhs()), real(sum.getRhs()));
    convert.replaceAllUsesWith(reals);
    convert.erase();
    sum.erase();
  }
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
    // Of two values that are not known, the difference may be much less than either; but it is exact of those
    // that the fast type has.
    auto isFast = [&](Value value) {
      auto wide = value.getDefiningOp<arith::ExtFOp>();
      return wide && wide.getIn().getType() == fast;
    };
    return isa<arith::AddFOp, arith::SubFOp>(inner) &&
           (llvm::any_of(inner.getOperands(), numberOf) || llvm::all_of(inner.getOperands(), isFast));
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
    // A sum of integers may be beyond its range.
    bool addsIntegers = isa<arith::AddFOp>(made) && made->getOperand(0).getDefiningOp<arith::SIToFPOp>();
    return isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp>(made) && !addsIntegers;
  }

  /// Of a tensor of constants, whether all are in the type's range.
  bool constantsFit(Value tensor) const {
    DenseElementsAttr values = constantsOf(tensor);
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

std::optional<int64_t> npuc::lower::greatestSum(Value tensor) {
  auto sums = tensor.getDefiningOp<linalg::GenericOp>();
  if (!sums || sums.getNumDpsInputs() != 2 || sums.getNumDpsInits() != 1 ||
      sums.getNumReductionLoops() == 0 || !sums.getDpsInits()[0].getDefiningOp<linalg::FillOp>())
    return std::nullopt;
  Block *body = sums.getBody();
  auto sum = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddIOp>();
  auto product = sum && sum.getLhs() == body->getArgument(2) ? sum.getRhs().getDefiningOp<arith::MulIOp>()
                                                             : arith::MulIOp();
  std::optional<int64_t> a = product ? greatestOf(product.getLhs(), body) : std::nullopt,
                         b = product ? greatestOf(product.getRhs(), body) : std::nullopt;
  if (!a || !b)
    return std::nullopt;
  int64_t most = *a * *b;
  SmallVector<int64_t> extents = sums.getStaticLoopRanges();
  SmallVector<unsigned> reduced;
  sums.getReductionDims(reduced);
  for (unsigned loop : reduced)
    if (llvm::MulOverflow(most, extents[loop], most))
      return std::nullopt;
  return most;
}

void npuc::lower::useFastForms(func::FuncOp function, FloatType fast) {
  if (fast)
    narrowScores(function, fast);
  for (auto op : llvm::make_early_inc_range(function.getOps<linalg::GenericOp>())) {
    if (OpOperand *input = summedBytes(op)) {
      multiplyByOnes(op, *input);
      continue;
    }
    if (fast)
      Narrowing(op, fast).run();
    addAsFloats(op);
  }
}
