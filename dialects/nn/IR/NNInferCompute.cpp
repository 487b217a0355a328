// Result types and verifiers of contractions, reductions, norms and attention.
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"

namespace npuc::nn {
namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The element type of a contraction of elements `a` and `b`: see nn.matmul.
FailureOr<Type> contracted(std::optional<Location> location, Type a, Type b) {
  a = getElementTypeOrSelf(a), b = getElementTypeOrSelf(b);
  auto isFloat8 = [](Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); };
  if (isFloat8(a) && isFloat8(b))
    return Type(Float32Type::get(a.getContext()));
  if (isa<FloatType>(a) && a == b)
    return a;
  auto narrow = [](Type type) { return type.isInteger() && type.getIntOrFloatBitWidth() <= 8; };
  if ((narrow(a) && narrow(b)) || (a.isInteger(32) && a == b))
    return Type(IntegerType::get(a.getContext(), 32));
  return emitOptionalError(location, "elements of ", a, " and ", b, " do not contract");
}

LogicalResult checkBias(std::optional<Location> location, Value bias, int64_t size, Type element) {
  if (bias && typeOf(bias) != RankedTensorType::get({size}, element))
    return emitOptionalError(location, "bias must be ", RankedTensorType::get({size}, element), ", found ",
                             bias.getType());
  return success();
}

/// The geometry of a sliding window over the spatial dimensions; checks counts and signs.
struct Window {
  ArrayRef<int64_t> kernel, strides, dilations, pads;

  LogicalResult check(std::optional<Location> location, RankedTensorType input) const {
    size_t spatial = kernel.size();
    if (input.getRank() < 3 || spatial != static_cast<size_t>(input.getRank()) - 2 || spatial > 3)
      return emitOptionalError(location, "a kernel of ", spatial, " dimensions does not fit ", input);
    if (strides.size() != spatial || dilations.size() != spatial || pads.size() != 2 * spatial)
      return emitOptionalError(location, "needs ", spatial, " strides, ", spatial, " dilations and ",
                               2 * spatial, " pads");
    auto positive = [](int64_t value) { return value > 0; };
    if (!llvm::all_of(kernel, positive) || !llvm::all_of(strides, positive) ||
        !llvm::all_of(dilations, positive))
      return emitOptionalError(location, "kernel, strides and dilations must be positive");
    if (llvm::any_of(pads, [](int64_t pad) { return pad < 0; }))
      return emitOptionalError(location, "pads must not be negative");
    return success();
  }

  /// The number of positions of the window in spatial dimension d of the given size.
  int64_t positions(size_t d, int64_t size) const {
    int64_t slack = size + pads[d] + pads[kernel.size() + d] - (kernel[d] - 1) * dilations[d] - 1;
    return slack < 0 ? 0 : slack / strides[d] + 1;
  }
};

LogicalResult checkAxis(std::optional<Location> location, int64_t axis, RankedTensorType type) {
  if (axis < 0 || axis >= type.getRank())
    return emitOptionalError(location, "axis ", axis, " is not a dimension of ", type);
  return success();
}

/// Parameters of a norm have its input's type, or are more precise.
bool isParameterOf(RankedTensorType input, RankedTensorType parameter) {
  return parameter.getElementType() == input.getElementType() || parameter.getElementType().isF32();
}

LogicalResult checkNorm(std::optional<Location> location, RankedTensorType input, ValueRange parameters,
                        int64_t axis) {
  if (failed(checkAxis(location, axis, input)))
    return failure();
  for (Value parameter : parameters) {
    RankedTensorType type = typeOf(parameter);
    auto shape = broadcastShapes(type.getShape(), input.getShape());
    if (!shape || ArrayRef(*shape) != input.getShape() || !isParameterOf(input, type))
      return emitOptionalError(location, type, " does not broadcast to ", input);
  }
  return success();
}

/// `type` with `axes` removed, or of size 1 with `keep`.
FailureOr<RankedTensorType> reduced(std::optional<Location> location, RankedTensorType type,
                                    ArrayRef<int64_t> axes, bool keep) {
  SmallVector<bool> drop(type.getRank());
  for (int64_t axis : axes) {
    if (failed(checkAxis(location, axis, type)))
      return failure();
    if (std::exchange(drop[axis], true))
      return emitOptionalError(location, "axis ", axis, " stands twice");
  }
  SmallVector<int64_t> shape;
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (keep || !drop[d])
      shape.push_back(drop[d] ? 1 : type.getDimSize(d));
  return type.clone(shape);
}

} // namespace

LogicalResult MatmulOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType lhs = typeOf(adaptor.getLhs()), rhs = typeOf(adaptor.getRhs());
  if (lhs.getRank() < 2 || rhs.getRank() < 2)
    return emitOptionalError(location, "operands need a rank of at least 2, found ", lhs, " and ", rhs);
  auto shape = broadcastShapes(lhs.getShape().drop_back(2), rhs.getShape().drop_back(2));
  if (!shape || lhs.getShape().back() != *std::prev(rhs.getShape().end(), 2))
    return emitOptionalError(location, lhs, " and ", rhs, " do not multiply");
  FailureOr<Type> element = contracted(location, lhs, rhs);
  if (failed(element))
    return failure();
  shape->push_back(lhs.getDimSize(lhs.getRank() - 2));
  shape->push_back(rhs.getShape().back());
  types.push_back(RankedTensorType::get(*shape, *element));
  return success();
}

LogicalResult LinearOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), weight = typeOf(adaptor.getWeight());
  bool transposed = adaptor.getTransposed();
  if (input.getRank() < 1 || weight.getRank() != 2 ||
      input.getShape().back() != weight.getDimSize(transposed))
    return emitOptionalError(location, input, " and ", transposed ? "transposed " : "", "weight ", weight,
                             " do not multiply");
  FailureOr<Type> element = contracted(location, input, weight);
  int64_t size = weight.getDimSize(!transposed);
  if (failed(element) || failed(checkBias(location, adaptor.getBias(), size, *element)))
    return failure();
  SmallVector<int64_t> shape(input.getShape());
  shape.back() = size;
  types.push_back(RankedTensorType::get(shape, *element));
  return success();
}

LogicalResult ConvOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), weight = typeOf(adaptor.getWeight());
  if (weight.getRank() < 3)
    return emitOptionalError(location, "weight needs a rank of at least 3, found ", weight);
  Window window{weight.getShape().drop_front(2), adaptor.getStrides(), adaptor.getDilations(),
                adaptor.getPads()};
  if (failed(window.check(location, input)))
    return failure();
  int64_t groups = adaptor.getGroups(), outputs = weight.getDimSize(0);
  if (groups < 1 || outputs % groups != 0 || input.getDimSize(1) != groups * weight.getDimSize(1))
    return emitOptionalError(location, input, " and weight ", weight, " do not fit ", groups, " groups");
  FailureOr<Type> element = contracted(location, input, weight);
  if (failed(element) || failed(checkBias(location, adaptor.getBias(), outputs, *element)))
    return failure();
  SmallVector<int64_t> shape{input.getDimSize(0), outputs};
  for (size_t d = 0; d < window.kernel.size(); ++d)
    shape.push_back(window.positions(d, input.getDimSize(d + 2)));
  types.push_back(RankedTensorType::get(shape, *element));
  return success();
}

LogicalResult ConvTransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location> location,
                                                Adaptor adaptor, SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), weight = typeOf(adaptor.getWeight());
  if (weight.getRank() < 3)
    return emitOptionalError(location, "weight needs a rank of at least 3, found ", weight);
  Window window{weight.getShape().drop_front(2), adaptor.getStrides(), adaptor.getDilations(),
                adaptor.getPads()};
  if (failed(window.check(location, input)))
    return failure();
  int64_t groups = adaptor.getGroups(), outputs = weight.getDimSize(1) * groups;
  ArrayRef<int64_t> extra = adaptor.getOutputPadding();
  if (groups < 1 || input.getDimSize(1) != weight.getDimSize(0) || weight.getDimSize(0) % groups != 0 ||
      input.getElementType() != weight.getElementType() || extra.size() != window.kernel.size())
    return emitOptionalError(location, input, " and weight ", weight, " do not fit ", groups, " groups and ",
                             extra.size(), " output paddings");
  if (failed(checkBias(location, adaptor.getBias(), outputs, input.getElementType())))
    return failure();
  SmallVector<int64_t> shape{input.getDimSize(0), outputs};
  for (size_t d = 0; d < window.kernel.size(); ++d) {
    shape.push_back((input.getDimSize(d + 2) - 1) * window.strides[d] +
                    (window.kernel[d] - 1) * window.dilations[d] + 1 + extra[d] - window.pads[d] -
                    window.pads[window.kernel.size() + d]);
    if (shape.back() < 0)
      return emitOptionalError(location, "pads remove more than spatial dimension ", d, " has");
  }
  types.push_back(input.clone(shape));
  return success();
}

LogicalResult PoolOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  Window window{adaptor.getKernel(), adaptor.getStrides(), adaptor.getDilations(), adaptor.getPads()};
  if (failed(window.check(location, input)))
    return failure();
  SmallVector<int64_t> shape(input.getShape().take_front(2));
  for (size_t d = 0; d < window.kernel.size(); ++d)
    shape.push_back(window.positions(d, input.getDimSize(d + 2)));
  types.push_back(input.clone(shape));
  return success();
}

LogicalResult ReduceOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  ReduceKind kind = adaptor.getKind();
  if (input.getElementType().isInteger(1) && kind != ReduceKind::Max && kind != ReduceKind::Min)
    return emitOptionalError(location, "bools reduce by max and min only");
  if (kind == ReduceKind::LogSumExp && !isa<FloatType>(input.getElementType()))
    return emitOptionalError(location, "logsumexp needs floating point elements, found ", input);
  FailureOr<RankedTensorType> type = reduced(location, input, adaptor.getAxes(), adaptor.getKeep());
  if (failed(type))
    return failure();
  types.push_back(*type);
  return success();
}

LogicalResult ArgReduceOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                            Adaptor adaptor, SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  int64_t axis = adaptor.getAxis();
  if (adaptor.getKind() != ReduceKind::Max && adaptor.getKind() != ReduceKind::Min)
    return emitOptionalError(location, "kind must be max or min");
  FailureOr<RankedTensorType> type = reduced(location, input, axis, adaptor.getKeep());
  if (failed(type))
    return failure();
  if (input.getDimSize(axis) == 0)
    return emitOptionalError(location, "dimension ", axis, " of ", input, " has no element to pick");
  types.push_back(type->clone(IntegerType::get(context, 64)));
  return success();
}

LogicalResult TopKOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                       Adaptor adaptor, SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  int64_t axis = adaptor.getAxis(), k = adaptor.getK();
  if (failed(checkAxis(location, axis, input)))
    return failure();
  if (k < 0 || k > input.getDimSize(axis))
    return emitOptionalError(location, "k is ", k, ", and dimension ", axis, " of ", input,
                             " has fewer elements");
  SmallVector<int64_t> shape(input.getShape());
  shape[axis] = k;
  types.push_back(input.clone(shape));
  types.push_back(input.clone(shape, IntegerType::get(context, 64)));
  return success();
}

LogicalResult CumSumOp::verify() {
  return checkAxis(getLoc(), getAxis(), getType());
}
LogicalResult SoftmaxOp::verify() {
  return checkAxis(getLoc(), getAxis(), getType());
}
LogicalResult LogSoftmaxOp::verify() {
  return checkAxis(getLoc(), getAxis(), getType());
}

LogicalResult LayerNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  types.push_back(input);
  return checkNorm(location, input, adaptor.getOperands().drop_front(), adaptor.getAxis());
}

LogicalResult RmsNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  types.push_back(input);
  return checkNorm(location, input, adaptor.getOperands().drop_front(), adaptor.getAxis());
}

LogicalResult GroupNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  int64_t groups = adaptor.getGroups();
  if (input.getRank() < 2 || groups < 1 || input.getDimSize(1) % groups != 0)
    return emitOptionalError(location, "the channels of ", input, " do not divide into ", groups, " groups");
  RankedTensorType channels = input.clone(input.getShape().slice(1, 1));
  for (Value parameter : {adaptor.getScale(), adaptor.getBias()})
    if (typeOf(parameter).getShape() != channels.getShape() || !isParameterOf(input, typeOf(parameter)))
      return emitOptionalError(location, "scale and bias must be ", channels, ", found ",
                               parameter.getType());
  types.push_back(input);
  return success();
}

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType query = typeOf(adaptor.getQuery()), key = typeOf(adaptor.getKey()),
                   value = typeOf(adaptor.getValue());
  if (query.getRank() != 4 || key.getRank() != 4 || value.getRank() != 4)
    return emitOptionalError(location, "query, key and value need rank 4, found ", query, ", ", key, " and ",
                             value);
  ArrayRef<int64_t> q = query.getShape(), k = key.getShape(), v = value.getShape();
  if (q[0] != k[0] || k.take_front(3) != v.take_front(3) || q[3] != k[3] || k[1] == 0 || q[1] % k[1] != 0 ||
      query.getElementType() != key.getElementType() || query.getElementType() != value.getElementType())
    return emitOptionalError(location, "query ", query, ", key ", key, " and value ", value,
                             " do not fit together");
  if (Value mask = adaptor.getMask()) {
    int64_t scores[] = {q[0], q[1], q[2], k[2]};
    auto shape = broadcastShapes(typeOf(mask).getShape(), scores);
    if (!shape || ArrayRef(*shape) != ArrayRef(scores))
      return emitOptionalError(location, "mask ", mask.getType(), " does not broadcast to scores [",
                               ArrayRef(scores), "]");
    Type element = typeOf(mask).getElementType();
    bool fits = query.getElementType().isInteger(8) ? isa<FloatType>(element)
                                                    : element.isF32() || element == query.getElementType();
    if (!element.isInteger(1) && !fits)
      return emitOptionalError(location, "mask must be of i1, f32 or ", query.getElementType(), ", found ",
                               element);
  }
  if (adaptor.getSoftcap().isNegative())
    return emitOptionalError(location, "softcap must not be negative");
  Type element = query.getElementType();
  if (element.isInteger(8))
    element = Float32Type::get(query.getContext());
  types.push_back(RankedTensorType::get({q[0], q[1], q[2], v[3]}, element));
  return success();
}

bool AttentionOp::isCompatibleReturnTypes(TypeRange inferred, TypeRange found) {
  // Of floats the operands' type is the result's, which a verifier of its own holds against it.
  auto a = cast<RankedTensorType>(inferred.front());
  auto b = dyn_cast<RankedTensorType>(found.front());
  return b && a.getShape() == b.getShape() && isa<FloatType>(b.getElementType());
}

LogicalResult GroupedLinearOp::verify() {
  RankedTensorType input = getInput().getType(), weight = getWeight().getType(), scale = getScale().getType();
  if (input.getRank() < 1 || weight.getRank() != 2 || input.getShape().back() != weight.getDimSize(1))
    return emitOpError() << input << " and weight " << weight << " do not multiply";
  if (scale.getRank() != 2 || scale.getDimSize(0) != weight.getDimSize(0) || scale.getDimSize(1) < 1 ||
      weight.getDimSize(1) % scale.getDimSize(1) != 0)
    return emitOpError()
           << "scale must have a row for each of weight's and a column for each of equal groups, found "
           << scale << " for " << weight;
  for (Value like : {getZeroPoint(), getOffset()})
    if (like && typeOf(like).getShape() != scale.getShape())
      return emitOpError() << "zero point and offset must have the shape of " << scale << ", found "
                           << like.getType();
  SmallVector<int64_t> shape(input.getShape());
  shape.back() = weight.getDimSize(0);
  if (getType().getShape() != ArrayRef(shape))
    return emitOpError() << "result must be " << getType().clone(shape) << ", found " << getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  Type element = getQuery().getType().getElementType(), result = getType().getElementType();
  if (!element.isInteger(8) && element != result)
    return emitOpError("of ") << element << " has a result of that type, found " << result;
  return success();
}

LogicalResult RopeOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), cos = typeOf(adaptor.getCos()),
                   sin = typeOf(adaptor.getSin());
  if (input.getRank() != 4 || cos.getRank() != 4 || cos != sin ||
      cos.getElementType() != input.getElementType())
    return emitOptionalError(location, "input, cos and sin need rank 4 and one element type, found ", input,
                             ", ", cos, " and ", sin);
  auto shape = broadcastShapes(cos.getShape().drop_back(), input.getShape().drop_back());
  if (!shape || ArrayRef(*shape) != input.getShape().drop_back() ||
      2 * cos.getDimSize(3) > input.getDimSize(3))
    return emitOptionalError(location, "cos and sin ", cos, " do not rotate ", input);
  types.push_back(input);
  return success();
}

} // namespace npuc::nn
