// Result types and verifiers of constants, pointwise operations and quantization.
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"

namespace npuc::nn {

std::optional<SmallVector<int64_t>> broadcastShapes(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  SmallVector<int64_t> shape(a);
  for (auto [size, other] : llvm::zip(MutableArrayRef(shape).take_back(b.size()), b)) {
    if (size != other && size != 1 && other != 1)
      return std::nullopt;
    size = size == 1 ? other : size;
  }
  return shape;
}

namespace {

/// The broadcast shape of all `operands`.
FailureOr<SmallVector<int64_t>> broadcastAll(std::optional<Location> location, TypeRange operands) {
  SmallVector<int64_t> shape;
  for (Type operand : operands) {
    auto next = broadcastShapes(shape, cast<RankedTensorType>(operand).getShape());
    if (!next)
      return emitOptionalError(location, "operands do not broadcast: ", operands);
    shape = std::move(*next);
  }
  return shape;
}

LogicalResult sameElements(std::optional<Location> location, TypeRange operands) {
  if (!llvm::all_equal(llvm::map_range(operands, [](Type type) { return getElementTypeOrSelf(type); })))
    return emitOptionalError(location, "operands must have one element type, found ", operands);
  return success();
}

/// Checks the parameters (scale or zero point) of quantization along `axis`, see nn.quantize.
LogicalResult verifyParameters(Operation *op, StringRef name, RankedTensorType input,
                               RankedTensorType parameters, int64_t axis, int64_t block) {
  if (block < 0)
    return op->emitOpError("block_size must not be negative, found ") << block;
  ArrayRef<int64_t> shape = parameters.getShape();
  if (block == 0 && parameters.getNumElements() == 1 && shape.size() <= 1)
    return success();
  if (axis < 0 || axis >= input.getRank())
    return op->emitOpError("axis ") << axis << " is not a dimension of " << input;
  SmallVector<int64_t> expected;
  if (block == 0) {
    expected = {input.getDimSize(axis)};
  } else {
    expected.assign(input.getShape().begin(), input.getShape().end());
    expected[axis] = llvm::divideCeil(expected[axis], block);
  }
  if (shape != ArrayRef(expected))
    return op->emitOpError() << name << " must have shape [" << expected << "] for " << input << ", axis "
                             << axis << " and block_size " << block << ", found [" << shape << "]";
  return success();
}

template <typename OpTy>
LogicalResult verifyQuantization(OpTy op, RankedTensorType quantized) {
  RankedTensorType input = op.getInput().getType(), result = op.getResult().getType();
  if (input.getShape() != result.getShape())
    return op.emitOpError("input and result must have one shape, found ") << input << " and " << result;
  RankedTensorType scale = op.getScale().getType();
  if (failed(verifyParameters(op, "scale", input, scale, op.getAxis(), op.getBlockSize())))
    return failure();
  if (!op.getZeroPoint())
    return success();
  RankedTensorType zero = op.getZeroPoint().getType();
  if (zero.getElementType() != quantized.getElementType())
    return op.emitOpError("zero point must have the element type of ") << quantized << ", found " << zero;
  return verifyParameters(op, "zero point", input, zero, op.getAxis(), op.getBlockSize());
}

} // namespace

namespace detail {

Type boolLike(Type tensor) {
  return cast<RankedTensorType>(tensor).clone(IntegerType::get(tensor.getContext(), 1));
}

LogicalResult inferBroadcast(std::optional<Location> location, TypeRange operands,
                             SmallVectorImpl<Type> &types) {
  if (failed(sameElements(location, operands)))
    return failure();
  FailureOr<SmallVector<int64_t>> shape = broadcastAll(location, operands);
  if (failed(shape))
    return failure();
  types.push_back(RankedTensorType::get(*shape, getElementTypeOrSelf(operands.front())));
  return success();
}

} // namespace detail

LogicalResult CompareOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                          Adaptor adaptor, SmallVectorImpl<Type> &types) {
  SmallVector<Type> broadcast;
  if (failed(detail::inferBroadcast(location, adaptor.getOperands().getTypes(), broadcast)))
    return failure();
  ComparePredicate predicate = adaptor.getPredicate();
  if (getElementTypeOrSelf(broadcast[0]).isInteger(1) && predicate != ComparePredicate::Eq &&
      predicate != ComparePredicate::Ne)
    return emitOptionalError(location, "bools have no order: only eq and ne compare them");
  types.push_back(detail::boolLike(broadcast[0]));
  return success();
}

LogicalResult SelectOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  TypeRange operands = adaptor.getOperands().getTypes();
  if (failed(sameElements(location, operands.drop_front())))
    return failure();
  FailureOr<SmallVector<int64_t>> shape = broadcastAll(location, operands);
  if (failed(shape))
    return failure();
  types.push_back(RankedTensorType::get(*shape, getElementTypeOrSelf(operands[1])));
  return success();
}

LogicalResult RangeOp::verify() {
  RankedTensorType type = getType();
  if (type.getRank() != 1)
    return emitOpError("result must have rank 1, found ") << type;
  for (TypedAttr value : {getStart(), getStep()})
    if (value.getType() != type.getElementType())
      return emitOpError("start and step must be of type ")
             << type.getElementType() << ", found " << value.getType();
  return success();
}

LogicalResult QuantizeOp::verify() {
  return verifyQuantization(*this, getType());
}

LogicalResult DequantizeOp::verify() {
  return verifyQuantization(*this, getInput().getType());
}

LogicalResult RequantizeOp::verify() {
  bool fixed = getKind() == RequantizeKind::FixedPoint;
  size_t count = fixed ? getMultipliers().size() : getScales().size();
  if (fixed ? !getScales().empty() || getShifts().size() != count
            : !getMultipliers().empty() || !getShifts().empty())
    return emitOpError("of kind float takes scales; of kind fixedpoint as many multipliers as shifts");
  for (int32_t multiplier : getMultipliers())
    if (multiplier < (1 << 30))
      return emitOpError("multipliers must be in [2^30, 2^31), found ") << multiplier;
  for (int32_t shift : getShifts())
    if (shift < -31 || shift > 31)
      return emitOpError("shifts must be in [-31, 31], found ") << shift;
  if (count == 1)
    return success();
  RankedTensorType type = getInput().getType();
  if (getAxis() >= static_cast<uint64_t>(type.getRank()) ||
      type.getDimSize(getAxis()) != static_cast<int64_t>(count))
    return emitOpError("needs one factor, or one for each index of axis ")
           << getAxis() << " of " << type << ", found " << count;
  return success();
}

} // namespace npuc::nn
