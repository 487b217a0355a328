// Result types and verifiers of the operations that move elements.
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"

namespace npuc::nn {
namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

LogicalResult checkAxis(std::optional<Location> location, int64_t axis, RankedTensorType type) {
  if (axis < 0 || axis >= type.getRank())
    return emitOptionalError(location, "axis ", axis, " is not a dimension of ", type);
  return success();
}

/// Checks `axis` and that `a` and `b` have one element type and agree in every dimension but `axis`.
LogicalResult checkJoin(std::optional<Location> location, RankedTensorType a, RankedTensorType b,
                        int64_t axis) {
  bool fits = a.getElementType() == b.getElementType() && a.getRank() == b.getRank();
  for (int64_t d = 0; fits && d < a.getRank(); ++d)
    fits = d == axis || a.getDimSize(d) == b.getDimSize(d);
  if (!fits)
    return emitOptionalError(location, "operands must agree but in dimension ", axis, ", found ", a, " and ",
                             b);
  return success();
}

RankedTensorType withDim(RankedTensorType type, int64_t axis, int64_t size) {
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = size;
  return type.clone(shape);
}

} // namespace

LogicalResult ReshapeOp::verify() {
  if (getInput().getType().getNumElements() != getType().getNumElements())
    return emitOpError("cannot turn ")
           << getInput().getType().getNumElements() << " elements of " << getInput().getType() << " into "
           << getType().getNumElements() << " of " << getType();
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto shape = broadcastShapes(getInput().getType().getShape(), getType().getShape());
  if (!shape || ArrayRef(*shape) != getType().getShape())
    return emitOpError("cannot broadcast ") << getInput().getType() << " to " << getType();
  return success();
}

LogicalResult TriluOp::verify() {
  if (getType().getRank() < 2)
    return emitOpError("needs a rank of at least 2, found ") << getType();
  return success();
}

LogicalResult TransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  ArrayRef<int64_t> permutation = adaptor.getPermutation();
  SmallVector<bool> seen(input.getRank());
  SmallVector<int64_t> shape;
  for (int64_t d : permutation) {
    if (d < 0 || d >= input.getRank() || std::exchange(seen[d], true))
      break;
    shape.push_back(input.getDimSize(d));
  }
  if (permutation.size() != seen.size() || shape.size() != seen.size())
    return emitOptionalError(location, "[", permutation, "] is not a permutation of the dimensions of ",
                             input);
  types.push_back(input.clone(shape));
  return success();
}

LogicalResult SliceOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  ArrayRef<int64_t> starts = adaptor.getStarts(), sizes = adaptor.getSizes(), steps = adaptor.getSteps();
  size_t rank = input.getRank();
  if (starts.size() != rank || sizes.size() != rank || steps.size() != rank)
    return emitOptionalError(location, "starts, sizes and steps need one entry for each dimension of ",
                             input);
  for (size_t d = 0; d < rank; ++d) {
    int64_t size = input.getDimSize(d), last = starts[d] + (sizes[d] - 1) * steps[d];
    if (sizes[d] < 0 || steps[d] == 0)
      return emitOptionalError(location, "dimension ", d, " has size ", sizes[d], " and step ", steps[d]);
    if (sizes[d] > 0 && (starts[d] < 0 || starts[d] >= size || last < 0 || last >= size))
      return emitOptionalError(location, "dimension ", d, " reads from ", starts[d], " to ", last, " of ",
                               size);
  }
  types.push_back(input.clone(sizes));
  return success();
}

LogicalResult ConcatOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  if (adaptor.getInputs().empty())
    return emitOptionalError(location, "needs at least one operand");
  RankedTensorType first = typeOf(adaptor.getInputs()[0]);
  int64_t axis = adaptor.getAxis(), size = 0;
  if (failed(checkAxis(location, axis, first)))
    return failure();
  for (Value input : adaptor.getInputs()) {
    if (failed(checkJoin(location, first, typeOf(input), axis)))
      return failure();
    size += typeOf(input).getDimSize(axis);
  }
  types.push_back(withDim(first, axis, size));
  return success();
}

LogicalResult KvUpdateOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  RankedTensorType past = typeOf(adaptor.getPast()), update = typeOf(adaptor.getUpdate());
  int64_t axis = adaptor.getAxis();
  if (failed(checkAxis(location, axis, past)) || failed(checkJoin(location, past, update, axis)))
    return failure();
  types.push_back(withDim(past, axis, past.getDimSize(axis) + update.getDimSize(axis)));
  return success();
}

LogicalResult PadOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                      SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput());
  ArrayRef<int64_t> low = adaptor.getLow(), high = adaptor.getHigh();
  if (low.size() != static_cast<size_t>(input.getRank()) || high.size() != low.size())
    return emitOptionalError(location, "low and high need one entry for each dimension of ", input);
  if (Value value = adaptor.getValue())
    if (adaptor.getMode() != PadMode::Constant ||
        typeOf(value) != RankedTensorType::get({}, input.getElementType()))
      return emitOptionalError(location, "value must be a scalar of ", input.getElementType(),
                               ", with mode constant");
  SmallVector<int64_t> shape;
  for (int64_t d = 0; d < input.getRank(); ++d) {
    int64_t size = input.getDimSize(d);
    shape.push_back(low[d] + size + high[d]);
    if (shape.back() < 0)
      return emitOptionalError(location, "dimension ", d, " of ", input,
                               " has fewer elements than are removed");
    bool adds = low[d] > 0 || high[d] > 0;
    if (adaptor.getMode() != PadMode::Constant && adds && size == 0)
      return emitOptionalError(location, "dimension ", d, " of ", input, " has no element to repeat");
    if (adaptor.getMode() == PadMode::Reflect && adds && size == 1)
      return emitOptionalError(location, "dimension ", d, " of ", input, " has no element to reflect");
  }
  types.push_back(input.clone(shape));
  return success();
}

LogicalResult GatherOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType table = typeOf(adaptor.getTable()), indices = typeOf(adaptor.getIndices());
  int64_t axis = adaptor.getAxis();
  if (failed(checkAxis(location, axis, table)))
    return failure();
  SmallVector<int64_t> shape(table.getShape().take_front(axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, table.getShape().drop_front(axis + 1));
  types.push_back(table.clone(shape));
  return success();
}

LogicalResult GatherElementsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location,
                                                 Adaptor adaptor, SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), indices = typeOf(adaptor.getIndices());
  int64_t axis = adaptor.getAxis();
  if (failed(checkAxis(location, axis, input)))
    return failure();
  bool fits = input.getRank() == indices.getRank();
  for (int64_t d = 0; fits && d < input.getRank(); ++d)
    fits = d == axis || indices.getDimSize(d) <= input.getDimSize(d);
  if (!fits)
    return emitOptionalError(location, "indices ", indices, " do not fit into ", input, " but for dimension ",
                             axis);
  types.push_back(input.clone(indices.getShape()));
  return success();
}

LogicalResult GatherNdOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), indices = typeOf(adaptor.getIndices());
  int64_t batch = adaptor.getBatchDims(), rank = indices.getRank();
  if (batch < 0 || batch >= rank || batch > input.getRank() ||
      indices.getShape().take_front(batch) != input.getShape().take_front(batch))
    return emitOptionalError(location, "the first ", batch, " dimensions of ", input, " and ", indices,
                             " must be equal");
  int64_t tuple = indices.getDimSize(rank - 1);
  if (batch + tuple > input.getRank())
    return emitOptionalError(location, "tuples of ", tuple, " indices after ", batch,
                             " batch dimensions exceed ", input);
  SmallVector<int64_t> shape(indices.getShape().drop_back());
  llvm::append_range(shape, input.getShape().drop_front(batch + tuple));
  types.push_back(input.clone(shape));
  return success();
}

LogicalResult ScatterElementsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location,
                                                  Adaptor adaptor, SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), indices = typeOf(adaptor.getIndices());
  RankedTensorType updates = typeOf(adaptor.getUpdates());
  int64_t axis = adaptor.getAxis();
  if (failed(checkAxis(location, axis, input)))
    return failure();
  bool fits = input.getRank() == indices.getRank();
  for (int64_t d = 0; fits && d < input.getRank(); ++d)
    fits = d == axis || indices.getDimSize(d) <= input.getDimSize(d);
  if (!fits || updates != input.clone(indices.getShape()))
    return emitOptionalError(location, "indices ", indices, " and updates ", updates, " do not fit ", input);
  types.push_back(input);
  return success();
}

LogicalResult ScatterNdOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType input = typeOf(adaptor.getInput()), indices = typeOf(adaptor.getIndices());
  RankedTensorType updates = typeOf(adaptor.getUpdates());
  if (indices.getRank() == 0 || indices.getShape().back() > input.getRank())
    return emitOptionalError(location, "the last dimension of indices ", indices, " is not a tuple into ",
                             input);
  SmallVector<int64_t> shape(indices.getShape().drop_back());
  llvm::append_range(shape, input.getShape().drop_front(indices.getShape().back()));
  if (updates != input.clone(shape))
    return emitOptionalError(location, "updates must be ", input.clone(shape), ", found ", updates);
  types.push_back(input);
  return success();
}

} // namespace npuc::nn
