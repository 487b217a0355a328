#include "backends/cuda/codegen/Pack.h"

#include "backends/cuda/codegen/Tensor.h"
#include "compiler/lower/LinalgBuilder.h"
#include "compiler/lower/Lower.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

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
    // Floats may also have rows of steps of k, if each begins at a chunk; or if those of k would not.
    SmallVector<Run> runs = k.runs(own->strides);
    int64_t elements = chunkBytes / own->elementBytes;
    auto isRow = [&](const Run &run) {
      return run.stride == 1 ||
             (own->elementBytes > 1 && (run.stride % elements == 0 || k.size() % elements != 0));
    };
    stays |= runs.empty() || (runs.size() == 1 && isRow(runs[0]));
  }
  order.append(last);
  return stays ? std::nullopt : std::optional(order);
}

/// The argument that a tensor is all the elements of, in another shape, if that is a constant.
BlockArgument constantOf(Value tensor) {
  auto argument = dyn_cast<BlockArgument>(lower::withoutReshapes(tensor));
  if (!argument)
    return {};
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto role = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), lower::roleAttr);
  return role && role.getValue() == "constant" ? argument : BlockArgument();
}

Value transposedConstant(BlockArgument argument, RankedTensorType viewed, RankedTensorType type,
                         ArrayRef<int64_t> order) {
  auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto value = function.getArgAttrOfType<TypedAttr>(argument.getArgNumber(), lower::valueAttr);
  if (viewed != argument.getType())
    value = nn::ReshapedAttr::get(type.getContext(), value, viewed);
  auto attributes = NamedAttrList(function.getArgAttrDict(argument.getArgNumber()));
  attributes.set(lower::valueAttr, nn::TransposedAttr::get(type.getContext(), value, order, type));
  unsigned last = function.getNumArguments();
  (void)function.insertArgument(last, type, attributes.getDictionary(type.getContext()), argument.getLoc());
  return function.getArgument(last);
}

Value transposedActivation(OpBuilder &b, Location loc, Value tensor, RankedTensorType type,
                           ArrayRef<int64_t> order) {
  Value empty = tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  SmallVector<unsigned> loops(order.size());
  for (auto [loop, dim] : llvm::enumerate(order))
    loops[dim] = unsigned(loop);
  SmallVector<AffineMap> maps = {
      AffineMap::getMultiDimMapWithTargets(unsigned(order.size()), loops, b.getContext()),
      b.getMultiDimIdentityMap(unsigned(order.size()))};
  SmallVector<utils::IteratorType> kinds(order.size(), utils::IteratorType::parallel);
  return linalg::GenericOp::create(b, loc, type, tensor, empty, maps, kinds,
                                   [](OpBuilder &inner, Location loc, ValueRange values) {
                                     linalg::YieldOp::create(inner, loc, values[0]);
                                   })
      .getResult(0);
}

} // namespace

void npuc::cuda::packOperands(func::FuncOp function, const Machine &machine) {
  SmallVector<linalg::GenericOp> products;
  function.walk([&](linalg::GenericOp op) {
    if (tile::isContraction(op) && tile::columnLoops(op).any() &&
        llvm::all_of(op.getDpsInputs(),
                     [&](Value input) { return machine.multiplies(getElementTypeOrSelf(input.getType())); }))
      products.push_back(op);
  });
  for (linalg::GenericOp op : products)
    for (unsigned input : {0u, 1u}) {
      std::optional<SmallVector<int64_t>> order = orderOf(op, input);
      if (!order)
        continue;
      OpOperand *operand = op.getDpsInputOperand(input);
      auto viewed = cast<RankedTensorType>(operand->get().getType());
      auto type = viewed.clone(applyPermutation(viewed.getShape(), *order));
      OpBuilder b(op);
      BlockArgument constant = constantOf(operand->get());
      operand->set(constant ? transposedConstant(constant, viewed, type, *order)
                            : transposedActivation(b, op.getLoc(), operand->get(), type, *order));
      SmallVector<AffineMap> maps = op.getIndexingMapsArray();
      maps[input] = AffineMap::get(maps[input].getNumDims(), 0,
                                   applyPermutation(maps[input].getResults(), *order), b.getContext());
      op.setIndexingMapsAttr(b.getAffineMapArrayAttr(maps));
    }
  // Views of what is not read any more, and then that.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op) && op.use_empty())
      op.erase();
  for (unsigned i = function.getNumArguments(); i-- > 0;) {
    auto role = function.getArgAttrOfType<StringAttr>(i, lower::roleAttr);
    if (role && role.getValue() == "constant" && function.getArgument(i).use_empty())
      (void)function.eraseArgument(i);
  }
}
