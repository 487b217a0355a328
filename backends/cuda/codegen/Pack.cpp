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

/// The second operand's dimensions, those of sums first; nothing if k is last already.
std::optional<SmallVector<int64_t>> orderOf(LinalgOp op) {
  OpOperand *operand = op.getDpsInputOperand(1);
  AffineMap map = op.getMatchingIndexingMap(operand),
            sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (!map.isProjectedPermutation())
    return std::nullopt;
  SmallVector<int64_t> order, k;
  for (auto [dim, expr] : llvm::enumerate(map.getResults()))
    (sums.isFunctionOfDim(cast<AffineDimExpr>(expr).getPosition()) ? order : k).push_back(int64_t(dim));
  order.append(k);
  if (llvm::is_sorted(order))
    return std::nullopt;
  return order;
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

void npuc::cuda::packBytes(func::FuncOp function, const Machine &machine) {
  SmallVector<linalg::GenericOp> products;
  function.walk([&](linalg::GenericOp op) {
    auto second =
        op.getNumDpsInputs() == 2 ? dyn_cast<RankedTensorType>(op.getDpsInputs()[1].getType()) : nullptr;
    if (second && second.getElementTypeBitWidth() == 8 && tile::isContraction(op))
      products.push_back(op);
  });
  for (linalg::GenericOp op : products) {
    std::optional<SmallVector<int64_t>> order = orderOf(op);
    if (!order)
      continue;
    OpOperand *operand = op.getDpsInputOperand(1);
    auto viewed = cast<RankedTensorType>(operand->get().getType());
    auto type = viewed.clone(applyPermutation(viewed.getShape(), *order));
    OpBuilder b(op);
    BlockArgument constant = constantOf(operand->get());
    if (!constant && productOf(op, machine, /*inRegisters=*/true))
      continue; // Transposed on the way to registers.
    operand->set(constant ? transposedConstant(constant, viewed, type, *order)
                          : transposedActivation(b, op.getLoc(), operand->get(), type, *order));
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    maps[1] = AffineMap::get(maps[1].getNumDims(), 0, applyPermutation(maps[1].getResults(), *order),
                             b.getContext());
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
