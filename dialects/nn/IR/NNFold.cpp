// Folders: identities, and what an operation does to a handle of a large constant. Values of small constants
// are folded by the interpreter, which knows every operation's arithmetic.
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"

namespace npuc::nn {
namespace {

/// The one value of a splat constant, as a number: nothing if `value` is not one.
std::optional<double> splatNumber(Attribute value) {
  auto splat = dyn_cast_or_null<SplatElementsAttr>(value);
  if (!splat)
    return std::nullopt;
  Type element = splat.getElementType();
  if (isa<FloatType>(element))
    return splat.getSplatValue<APFloat>().convertToDouble();
  APInt integer = splat.getSplatValue<APInt>();
  bool isUnsigned = element.isUnsignedInteger() || element.isInteger(1);
  return isUnsigned ? integer.roundToDouble(false) : integer.roundToDouble(true);
}

/// `lhs` of a binary operation whose other operand is a splat of the neutral element, if that leaves the type
/// alone.
Value foldNeutral(Operation *op, Attribute rhs, double neutral) {
  if (splatNumber(rhs) == neutral && op->getOperand(0).getType() == op->getResult(0).getType())
    return op->getOperand(0);
  return {};
}

Value foldNeutralEither(Operation *op, Attribute lhs, Attribute rhs, double neutral) {
  if (Value value = foldNeutral(op, rhs, neutral))
    return value;
  if (splatNumber(lhs) == neutral && op->getOperand(1).getType() == op->getResult(0).getType())
    return op->getOperand(1);
  return {};
}

/// x of op(op(x)), for an operation that undoes itself (`involution`) or changes nothing the second time.
template <typename OpTy>
OpFoldResult foldTwice(OpTy op, bool involution) {
  auto inner = op.getInput().template getDefiningOp<OpTy>();
  if (!inner)
    return {};
  return involution ? inner.getInput() : inner.getResult();
}

/// Whether every value of `from` is one of `to`.
bool isExactlyIn(Type from, Type to) {
  if (auto a = dyn_cast<FloatType>(from)) {
    auto b = dyn_cast<FloatType>(to);
    return b && APFloat::isRepresentableBy(a.getFloatSemantics(), b.getFloatSemantics());
  }
  auto a = cast<IntegerType>(from);
  unsigned bits = a.getWidth();
  bool isSigned = !a.isUnsigned() && bits > 1;
  if (auto b = dyn_cast<FloatType>(to))
    return b.getFPMantissaWidth() >= bits && (b.isF32() || b.isF64());
  auto b = cast<IntegerType>(to);
  bool toSigned = !b.isUnsigned() && b.getWidth() > 1;
  return isSigned == toSigned ? b.getWidth() >= bits : toSigned && b.getWidth() > bits;
}

/// What a constant operand gives whose elements are all the same, or that is dense where only its shape
/// changes.
DenseElementsAttr resplat(Attribute value, RankedTensorType type) {
  auto splat = dyn_cast_or_null<SplatElementsAttr>(value);
  return splat ? splat.resizeSplat(type) : DenseElementsAttr();
}

/// `value` if it is a handle.
TypedAttr asHandle(Attribute value) {
  return value && isHandle(value) ? cast<TypedAttr>(value) : TypedAttr();
}

TypedAttr reshapeHandle(TypedAttr source, RankedTensorType type) {
  if (auto inner = dyn_cast<ReshapedAttr>(source))
    source = inner.getSource();
  return source.getType() == type ? source : ReshapedAttr::get(type.getContext(), source, type);
}

SmallVector<int64_t> compose(ArrayRef<int64_t> inner, ArrayRef<int64_t> outer) {
  return llvm::map_to_vector(outer, [&](int64_t d) { return inner[d]; });
}

bool isIdentity(ArrayRef<int64_t> permutation) {
  return llvm::all_of(llvm::enumerate(permutation),
                      [](auto pair) { return int64_t(pair.index()) == pair.value(); });
}

} // namespace

OpFoldResult NegOp::fold(FoldAdaptor) {
  return foldTwice(*this, true);
}
OpFoldResult NotOp::fold(FoldAdaptor) {
  return foldTwice(*this, true);
}
OpFoldResult AbsOp::fold(FoldAdaptor) {
  return foldTwice(*this, false);
}
OpFoldResult ReluOp::fold(FoldAdaptor) {
  return foldTwice(*this, false);
}

OpFoldResult AddOp::fold(FoldAdaptor a) {
  return foldNeutralEither(*this, a.getLhs(), a.getRhs(), 0);
}
OpFoldResult SubOp::fold(FoldAdaptor a) {
  return foldNeutral(*this, a.getRhs(), 0);
}
OpFoldResult MulOp::fold(FoldAdaptor a) {
  return foldNeutralEither(*this, a.getLhs(), a.getRhs(), 1);
}
OpFoldResult DivOp::fold(FoldAdaptor a) {
  return foldNeutral(*this, a.getRhs(), 1);
}
OpFoldResult PowOp::fold(FoldAdaptor a) {
  return foldNeutral(*this, a.getRhs(), 1);
}

OpFoldResult AndOp::fold(FoldAdaptor a) {
  if (!getType().getElementType().isInteger(1))
    return {};
  return foldNeutralEither(*this, a.getLhs(), a.getRhs(), 1);
}

OpFoldResult OrOp::fold(FoldAdaptor a) {
  return foldNeutralEither(*this, a.getLhs(), a.getRhs(), 0);
}

OpFoldResult SelectOp::fold(FoldAdaptor adaptor) {
  if (getOnTrue() == getOnFalse() && getOnTrue().getType() == getType())
    return getOnTrue();
  if (std::optional<double> condition = splatNumber(adaptor.getCondition())) {
    Value chosen = *condition != 0 ? getOnTrue() : getOnFalse();
    if (chosen.getType() == getType())
      return chosen;
  }
  return {};
}

OpFoldResult CastOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (auto inner = getInput().getDefiningOp<CastOp>())
    if (inner.getInput().getType() == getType() &&
        isExactlyIn(getType().getElementType(), inner.getType().getElementType()))
      return inner.getInput();
  if (TypedAttr handle = asHandle(adaptor.getInput()); handle && getSaturate())
    return ConvertedAttr::get(getContext(), handle, getType());
  return {};
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getInput()))
    return dense.reshape(getType());
  if (TypedAttr handle = asHandle(adaptor.getInput()))
    return reshapeHandle(handle, getType());
  if (auto inner = getInput().getDefiningOp<ReshapeOp>()) {
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  return {};
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  ArrayRef<int64_t> permutation = getPermutation();
  if (isIdentity(permutation))
    return getInput();
  if (DenseElementsAttr splat = resplat(adaptor.getInput(), getType()))
    return splat;
  if (TypedAttr handle = asHandle(adaptor.getInput())) {
    auto inner = dyn_cast<TransposedAttr>(handle);
    if (!inner)
      return TransposedAttr::get(getContext(), handle, permutation, getType());
    SmallVector<int64_t> both = compose(inner.getPermutation(), permutation);
    return isIdentity(both) ? inner.getSource()
                            : TransposedAttr::get(getContext(), inner.getSource(), both, getType());
  }
  if (auto inner = getInput().getDefiningOp<TransposeOp>()) {
    setPermutation(compose(inner.getPermutation(), permutation));
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  return {};
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  return resplat(adaptor.getInput(), getType());
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  auto isOne = [](int64_t step) { return step == 1; };
  if (getInput().getType() == getType() && llvm::all_of(getSteps(), isOne))
    return getInput();
  if (DenseElementsAttr splat = resplat(adaptor.getInput(), getType()))
    return splat;
  if (TypedAttr handle = asHandle(adaptor.getInput()))
    return SlicedAttr::get(getContext(), handle, getStarts(), getSteps(), getType());
  return {};
}

OpFoldResult ConcatOp::fold(FoldAdaptor adaptor) {
  // An operand without elements along the axis (the past of a first decoding step) adds nothing.
  int64_t axis = getAxis();
  auto isEmpty = [&](Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(axis) == 0; };
  if (getInputs().size() == 1)
    return getInputs()[0];
  if (llvm::any_of(getInputs(), isEmpty)) {
    SmallVector<Value> kept;
    llvm::copy_if(getInputs(), std::back_inserter(kept), [&](Value value) { return !isEmpty(value); });
    if (kept.empty())
      return getInputs()[0];
    getInputsMutable().assign(kept);
    return getResult();
  }
  bool constant =
      llvm::all_of(adaptor.getInputs(), [](Attribute value) { return isa_and_nonnull<TypedAttr>(value); });
  if (!constant || llvm::none_of(adaptor.getInputs(), isHandle))
    return {};
  auto sources =
      llvm::map_to_vector(adaptor.getInputs(), [](Attribute value) { return cast<TypedAttr>(value); });
  return ConcatenatedAttr::get(getContext(), sources, axis, getType());
}

OpFoldResult PadOp::fold(FoldAdaptor) {
  auto isZero = [](int64_t count) { return count == 0; };
  return llvm::all_of(getLow(), isZero) && llvm::all_of(getHigh(), isZero) ? getInput() : Value();
}

OpFoldResult ReduceOp::fold(FoldAdaptor) {
  return getAxes().empty() ? getInput() : Value();
}

} // namespace npuc::nn
