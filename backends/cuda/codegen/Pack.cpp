#include "backends/cuda/codegen/Pack.h"

#include "backends/cuda/codegen/Tensor.h"
#include "compiler/lower/LinalgBuilder.h"
#include "compiler/lower/Lower.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;
using lower::LinalgBuilder;

namespace {

/// Whether a dimension of an operand runs along loops of k alone.
bool isOfK(LinalgOp op, AffineExpr index) {
  AffineMap sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (index.isFunctionOfDim(loop) && sums.isFunctionOfDim(loop))
      return false;
  return true;
}

/// The loops of k of more than one step, from the greatest stride of the first operand to the least.
Dims loopsOfK(LinalgOp op, const OperandView &first) {
  Dims k;
  AffineMap sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (extents[loop] > 1 && !sums.isFunctionOfDim(loop))
      k.loops.push_back(loop);
  llvm::stable_sort(k.loops, [&](unsigned x, unsigned y) { return first.strides[x] > first.strides[y]; });
  k.extents = llvm::map_to_vector(k.loops, [&](unsigned loop) { return extents[loop]; });
  return k;
}

/// An operand's dimensions with those of k last, the second operand's as the first has them; nothing if it
/// can stay as it is.
std::optional<SmallVector<int64_t>> orderOf(LinalgOp op, unsigned input) {
  std::optional<OperandView> first = viewOf(op, 0), own = viewOf(op, input);
  if (!first || !own)
    return std::nullopt;
  Dims k = loopsOfK(op, *first);
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInputOperand(input));
  SmallVector<int64_t> order, last;
  bool hasK = false, endsWithK = false;
  for (auto [dim, index] : llvm::enumerate(map.getResults())) {
    bool ofK = isOfK(op, index);
    (ofK ? last : order).push_back(int64_t(dim));
    if (own->storage.shape[dim] > 1) {
      hasK |= ofK;
      endsWithK = ofK;
    }
  }
  bool stays = !hasK || (input == 0 && endsWithK);
  if (input == 1) {
    if (!map.isProjectedPermutation())
      return std::nullopt;
    auto strideOf = [&](int64_t dim) { return first->strides[map.getDimPosition(unsigned(dim))]; };
    llvm::stable_sort(last, [&](int64_t x, int64_t y) { return strideOf(x) > strideOf(y); });
    // Floats may also have rows of steps of k, if each begins at a chunk; or if those of k would not. (A
    // constant's can be made to.)
    bool constant = bool(constantOf(op.getDpsInputs()[1]));
    SmallVector<Run> runs = k.runs(own->strides);
    int64_t elements = chunkBytes / own->elementBytes;
    auto isRow = [&](const Run &run) {
      return run.stride == 1 || (own->elementBytes > 1 &&
                                 (run.stride % elements == 0 || (k.size() % elements != 0 && !constant)));
    };
    stays |= runs.empty() || (runs.size() == 1 && isRow(runs[0]));
  }
  order.append(last);
  return stays ? std::nullopt : std::optional(order);
}

/// Rows of `shape`'s last `inner` dimensions as the first elements of rows of `whole`'s last dimension.
Value firstOfRows(LinalgBuilder &b, Value whole, ArrayRef<int64_t> shape, size_t inner) {
  SmallVector<int64_t> rows(shape.drop_back(inner)), zeros(rows.size() + 1, 0);
  rows.push_back(computeProduct(shape.take_back(inner)));
  return b.reshape(b.slice(whole, zeros, rows), shape);
}

/// The second operand, a constant with k last, in rows that begin at a chunk.
void padConstant(linalg::GenericOp op, BlockArgument constant, const Dims &k) {
  OpOperand *operand = op.getDpsInputOperand(1);
  auto viewed = cast<RankedTensorType>(operand->get().getType());
  AffineMap map = op.getMatchingIndexingMap(operand);
  size_t inner = llvm::count_if(map.getResults(), [&](AffineExpr index) { return isOfK(op, index); });
  SmallVector<int64_t> rows(viewed.getShape().drop_back(inner));
  int64_t elements = chunkBytes * 8 / viewed.getElementTypeBitWidth();
  SmallVector<int64_t> shape(rows);
  shape.push_back(k.size());
  OpBuilder b(op);
  TypedAttr value = filledUp(valueOf(constant, viewed.clone(shape)), int64_t(rows.size()),
                             llvm::alignTo(k.size(), elements));
  auto whole = cast<RankedTensorType>(value.getType());
  LinalgBuilder builder(b, op.getLoc());
  operand->set(firstOfRows(builder, constantLike(constant, whole, value), viewed.getShape(), inner));
}

/// `whole` with zeros in its last dimension from `first` on.
Value withZeros(LinalgBuilder &b, Value whole, int64_t first) {
  auto type = cast<RankedTensorType>(whole.getType());
  SmallVector<int64_t> offsets(type.getRank(), 0), sizes(type.getShape());
  offsets.back() = first;
  sizes.back() -= first;
  Value zero = b.constant(0, type.getElementType()), part = b.slice(whole, offsets, sizes);
  SmallVector<AffineMap> maps = {b.b.getMultiDimIdentityMap(unsigned(type.getRank()))};
  SmallVector<utils::IteratorType> kinds(type.getRank(), utils::IteratorType::parallel);
  Value zeros = linalg::GenericOp::create(b.b, b.loc, part.getType(), ValueRange(), part, maps, kinds,
                                          [&](OpBuilder &inner, Location loc, ValueRange) {
                                            linalg::YieldOp::create(inner, loc, zero);
                                          })
                    .getResult(0);
  MLIRContext *context = b.b.getContext();
  return tensor::InsertSliceOp::create(
      b.b, b.loc, zeros, whole, getAsIndexOpFoldResult(context, offsets),
      getAsIndexOpFoldResult(context, sizes),
      getAsIndexOpFoldResult(context, SmallVector<int64_t>(type.getRank(), 1)));
}

/// A copy of the first operand with k last and in one piece, in rows that begin at a chunk. What is behind k
/// in a row is zero.
void copyRows(linalg::GenericOp op, const Dims &k) {
  OpOperand *operand = op.getDpsInputOperand(0);
  auto type = cast<RankedTensorType>(operand->get().getType());
  AffineMap map = op.getMatchingIndexingMap(operand);
  SmallVector<int64_t> extents = op.getStaticLoopRanges(), shape;
  SmallVector<unsigned> loops;
  for (unsigned loop = 0; loop < extents.size(); ++loop)
    if (extents[loop] > 1 && map.isFunctionOfDim(loop) && !llvm::is_contained(k.loops, loop))
      loops.push_back(loop);
  SmallVector<int64_t> whole = llvm::map_to_vector(loops, [&](unsigned loop) { return extents[loop]; });
  whole.push_back(llvm::alignTo(k.size(), chunkBytes * 8 / type.getElementTypeBitWidth()));
  loops.append(k.loops);
  OpBuilder b(op);
  LinalgBuilder builder(b, op.getLoc());
  SmallVector<AffineExpr> places(extents.size(), b.getAffineConstantExpr(0));
  for (auto [i, loop] : llvm::enumerate(loops)) {
    places[loop] = b.getAffineDimExpr(unsigned(i));
    shape.push_back(extents[loop]);
  }
  Value rows = bufferization::AllocTensorOp::create(b, op.getLoc(), type.clone(whole), ValueRange());
  if (whole.back() > k.size())
    rows = withZeros(builder, rows, k.size());
  SmallVector<AffineMap> maps = {map.replaceDimsAndSymbols(places, {}, unsigned(loops.size()), 0),
                                 b.getMultiDimIdentityMap(unsigned(loops.size()))};
  SmallVector<utils::IteratorType> kinds(loops.size(), utils::IteratorType::parallel);
  Value copied = linalg::GenericOp::create(b, op.getLoc(), type.clone(shape), operand->get(),
                                           firstOfRows(builder, rows, shape, k.loops.size()), maps, kinds,
                                           [](OpBuilder &inner, Location loc, ValueRange values) {
                                             linalg::YieldOp::create(inner, loc, values[0]);
                                           })
                     .getResult(0);
  operand->set(copied);
  SmallVector<AffineMap> own = op.getIndexingMapsArray();
  own[0] = builder.dims(unsigned(extents.size()), loops);
  op.setIndexingMapsAttr(b.getAffineMapArrayAttr(own));
}

} // namespace

TypedAttr npuc::cuda::filledUp(TypedAttr value, int64_t dim, int64_t size) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  int64_t rest = size - shape[dim];
  if (rest == 0)
    return value;
  shape[dim] = rest;
  RankedTensorType zeros = type.clone(shape);
  shape[dim] = size;
  Builder b(type.getContext());
  TypedAttr parts[] = {value, DenseElementsAttr::get(zeros, b.getZeroAttr(type.getElementType()))};
  return nn::ConcatenatedAttr::get(type.getContext(), parts, dim, type.clone(shape));
}

BlockArgument npuc::cuda::constantOf(Value tensor) {
  auto argument = dyn_cast<BlockArgument>(lower::withoutReshapes(tensor));
  return argument && lower::isConstant(argument) ? argument : BlockArgument();
}

TypedAttr npuc::cuda::valueOf(BlockArgument argument, RankedTensorType viewed) {
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto value = function.getArgAttrOfType<TypedAttr>(argument.getArgNumber(), lower::valueAttr);
  return viewed == argument.getType() ? value
                                      : TypedAttr(nn::ReshapedAttr::get(viewed.getContext(), value, viewed));
}

Value npuc::cuda::constantLike(BlockArgument argument, RankedTensorType type, TypedAttr value) {
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto attributes = NamedAttrList(function.getArgAttrDict(argument.getArgNumber()));
  attributes.set(lower::valueAttr, value);
  unsigned last = function.getNumArguments();
  (void)function.insertArgument(last, type, attributes.getDictionary(type.getContext()), argument.getLoc());
  return function.getArgument(last);
}

void npuc::cuda::eraseUnread(func::FuncOp function, ArrayRef<Value> read) {
  // Views of what is not read any more, and then that.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op) && op.use_empty())
      op.erase();
  for (unsigned i = function.getNumArguments(); i-- > 0;)
    if (lower::isConstant(function.getArgument(i)) && function.getArgument(i).use_empty() &&
        !llvm::is_contained(read, function.getArgument(i)))
      (void)function.eraseArgument(i);
}

void npuc::cuda::packOperands(func::FuncOp function, const Machine &machine) {
  SmallVector<linalg::GenericOp> products;
  function.walk([&](linalg::GenericOp op) {
    if (tile::isContraction(op) && tile::columnLoops(op).any() &&
        llvm::all_of(op.getDpsInputs(),
                     [&](Value input) { return machine.multiplies(getElementTypeOrSelf(input.getType())); }))
      products.push_back(op);
  });
  for (linalg::GenericOp op : products) {
    for (unsigned input : {0u, 1u}) {
      std::optional<SmallVector<int64_t>> order = orderOf(op, input);
      if (!order)
        continue;
      OpOperand *operand = op.getDpsInputOperand(input);
      auto viewed = cast<RankedTensorType>(operand->get().getType());
      auto type = viewed.clone(applyPermutation(viewed.getShape(), *order));
      OpBuilder b(op);
      BlockArgument constant = constantOf(operand->get());
      if (input == 1 && !constant && productOf(op, machine, /*inRegisters=*/true))
        continue; // Transposed on the way to registers.
      operand->set(constant ? constantLike(constant, type,
                                           nn::TransposedAttr::get(b.getContext(), valueOf(constant, viewed),
                                                                   *order, type))
                            : LinalgBuilder(b, op.getLoc()).transpose(operand->get(), *order));
      SmallVector<AffineMap> maps = op.getIndexingMapsArray();
      maps[input] = AffineMap::get(maps[input].getNumDims(), 0,
                                   applyPermutation(maps[input].getResults(), *order), b.getContext());
      op.setIndexingMapsAttr(b.getAffineMapArrayAttr(maps));
    }
    BlockArgument constant = constantOf(op.getDpsInputs()[1]);
    std::optional<OperandView> first = viewOf(op, 0), second = viewOf(op, 1);
    if (!constant || !first || !second || productOf(op, machine))
      continue;
    Dims k = loopsOfK(op, *first);
    if (k.loops.empty())
      continue;
    if (k.runs(second->strides).back().stride == 1 && k.size() * second->elementBytes % chunkBytes)
      padConstant(op, constant, k);
    if (!productOf(op, machine))
      copyRows(op, k);
  }
  eraseUnread(function);
}
