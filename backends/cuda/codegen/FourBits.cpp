#include "backends/cuda/codegen/FourBits.h"

#include "backends/cuda/codegen/Pack.h"
#include "compiler/lower/LinalgBuilder.h"
#include "compiler/lower/Lower.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// The operand of which a body's value is an element, widened or not.
OpOperand *widenedInput(LinalgOp op, Value value) {
  while (Operation *widening = value.getDefiningOp()) {
    if (!isa<arith::ExtSIOp, arith::ExtUIOp, UnrealizedConversionCastOp>(widening))
      break;
    value = widening->getOperand(0);
  }
  return lower::inputOf(op, value);
}

/// Makes the numbers that are multiplied of weights of 4 bits, loops n…, group and k within the group:
/// weight − zero in bytes, or times a scale in floats.
struct Unpacking {
  OpOperand *weights = nullptr, *zeroPoints = nullptr, *scales = nullptr;
  double zero = 0;
};

/// Takes `weight − zero` apart.
bool takeDifference(LinalgOp op, Value value, Unpacking &found) {
  auto number = [](Value v) {
    auto real = v.getDefiningOp<arith::SIToFPOp>();
    return real ? real.getIn() : v;
  };
  if (Operation *difference = value.getDefiningOp();
      isa_and_nonnull<arith::SubFOp, arith::SubIOp>(difference)) {
    Value zero = difference->getOperand(1);
    APInt integer;
    if (std::optional<double> real = lower::numberOf(zero))
      found.zero = *real;
    else if (matchPattern(zero, m_ConstantInt(&integer)))
      found.zero = double(integer.getSExtValue());
    else if (!(found.zeroPoints = widenedInput(op, number(zero))))
      return false;
    value = difference->getOperand(0);
  }
  found.weights = widenedInput(op, number(value));
  return found.weights != nullptr;
}

std::optional<Unpacking> unpackingOf(LinalgOp op) {
  if (!op || op.getNumLoops() < 3 || op.getNumReductionLoops() != 0 || op.getNumDpsInits() != 1)
    return std::nullopt;
  Unpacking found;
  Value value = op.getBlock()->getTerminator()->getOperand(0);
  if (auto narrow = value.getDefiningOp<arith::TruncIOp>()) {
    value = narrow.getIn();
  } else {
    auto rounded = value.getDefiningOp<arith::TruncFOp>();
    auto scaled = rounded ? rounded.getIn().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
    if (!scaled || !(found.scales = lower::inputOf(op, scaled.getRhs())))
      return std::nullopt;
    value = scaled.getLhs();
  }
  if (!takeDifference(op, value, found))
    return std::nullopt;
  AffineMap all = AffineMap::getMultiDimIdentityMap(op.getNumLoops(), op->getContext()),
            ofGroup = all.dropResult(op.getNumLoops() - 1);
  auto isOfGroup = [&](OpOperand *operand, unsigned bits) {
    return !operand || (op.getMatchingIndexingMap(operand) == ofGroup && constantOf(operand->get()) &&
                        getElementTypeOrSelf(operand->get().getType()).getIntOrFloatBitWidth() == bits);
  };
  bool fits = getElementTypeOrSelf(found.weights->get().getType()).isInteger(4) &&
              constantOf(found.weights->get()) && op.getMatchingIndexingMap(found.weights) == all &&
              op.getMatchingIndexingMap(op.getDpsInitOperand(0)) == all && isOfGroup(found.zeroPoints, 8) &&
              isOfGroup(found.scales, 32) && found.zero == int64_t(found.zero);
  return fits ? std::optional(found) : std::nullopt;
}

/// The sums over groups of what a contraction gives for each, with their scales and offsets.
struct GroupSums {
  LinalgOp op;
  OpOperand *scales = nullptr, *offsets = nullptr;
};

/// `columns`, `group`: the contraction's loops.
std::optional<GroupSums> groupSumsOf(LinalgOp contraction, ArrayRef<unsigned> columns, unsigned group) {
  if (!contraction->hasOneUse())
    return std::nullopt;
  GroupSums found;
  found.op = dyn_cast<LinalgOp>(*contraction->user_begin());
  if (!found.op || found.op.getNumReductionLoops() != 1 || found.op.getNumDpsInits() != 1 ||
      !startsAtZero(found.op))
    return std::nullopt;
  Block *body = found.op.getBlock();
  auto sum = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  auto product = sum && sum.getLhs() == body->getArguments().back()
                     ? sum.getRhs().getDefiningOp<arith::MulFOp>()
                     : arith::MulFOp();
  auto real = product ? product.getLhs().getDefiningOp<arith::SIToFPOp>() : arith::SIToFPOp();
  if (!real || !(found.scales = lower::inputOf(found.op, product.getRhs())))
    return std::nullopt;
  Value integer = real.getIn();
  if (auto moved = integer.getDefiningOp<arith::AddIOp>()) {
    integer = moved.getLhs();
    if (!(found.offsets = lower::inputOf(found.op, moved.getRhs())))
      return std::nullopt;
  }
  OpOperand *input = lower::inputOf(found.op, integer);
  if (!input || input->get() != contraction->getResult(0) ||
      !found.op.getMatchingIndexingMap(input).isIdentity())
    return std::nullopt;
  // The sums' loops are the dimensions of the contraction's result.
  AffineMap dims = contraction.getMatchingIndexingMap(contraction.getDpsInitOperand(0));
  MLIRContext *context = found.op->getContext();
  auto dimOf = [&](unsigned loop) { return *dims.getResultPosition(getAffineDimExpr(loop, context)); };
  SmallVector<utils::IteratorType> kinds = found.op.getIteratorTypesArray();
  SmallVector<AffineExpr> places;
  for (unsigned loop : columns)
    places.push_back(getAffineDimExpr(dimOf(loop), context));
  places.push_back(getAffineDimExpr(dimOf(group), context));
  AffineMap ofGroup = AffineMap::get(found.op.getNumLoops(), 0, places, context);
  auto isOfGroup = [&](OpOperand *operand) {
    return !operand || (found.op.getMatchingIndexingMap(operand) == ofGroup && constantOf(operand->get()));
  };
  bool fits = kinds[dimOf(group)] == utils::IteratorType::reduction && isOfGroup(found.scales) &&
              isOfGroup(found.offsets) && getElementTypeOrSelf(found.op->getResult(0).getType()).isF32();
  return fits ? std::optional(found) : std::nullopt;
}

/// `dims` along the loops of the operation that reads a contraction's result by an identity.
Dims alongResult(LinalgOp contraction, Dims dims) {
  AffineMap map = contraction.getMatchingIndexingMap(contraction.getDpsInitOperand(0));
  for (unsigned &loop : dims.loops)
    loop = *map.getResultPosition(getAffineDimExpr(loop, contraction->getContext()));
  return dims;
}

std::optional<FourBits> fourBitsOf(LinalgOp contraction, const Machine &machine) {
  auto unpack = contraction.getDpsInputs()[1].getDefiningOp<LinalgOp>();
  std::optional<Unpacking> unpacking = unpackingOf(unpack);
  AffineMap map = contraction.getMatchingIndexingMap(contraction.getDpsInputOperand(1));
  if (!unpacking || !map.isProjectedPermutation() || !startsAtZero(contraction))
    return std::nullopt;
  FourBits found;
  found.contraction = found.sums = contraction;
  for (unsigned dim = 0; dim < map.getNumResults(); ++dim)
    found.columns.push_back(map.getDimPosition(dim));
  found.k = found.columns.pop_back_val();
  found.group = found.columns.pop_back_val();
  if (failed(found.findOperand(machine)))
    return std::nullopt;
  auto shape = cast<RankedTensorType>(unpack->getResult(0).getType()).getShape();
  found.groups = shape.drop_back().back();
  found.each = shape.back();
  found.isSigned = !getElementTypeOrSelf(unpacking->weights->get().getType()).isUnsignedInteger();
  found.zero = int64_t(unpacking->zero) + (found.isSigned ? 8 : 0);
  int64_t block = found.elementsOfBlock();
  if (found.zero < 0 || found.zero > 15 || found.each % found.elementsOfStep() ||
      (found.groups > 1 && found.each % block && block % found.each))
    return std::nullopt;
  OpOperand *scales = unpacking->scales, *offsets = nullptr;
  if (!found.product.isFloat()) {
    std::optional<GroupSums> sums = groupSumsOf(contraction, found.columns, found.group);
    if (!sums)
      return std::nullopt;
    found.sums = sums->op;
    scales = sums->scales;
    offsets = sums->offsets;
  }
  // Where they are still in the model's order.
  found.weights = unpacking->weights->get();
  found.scales = scales->get();
  found.offsets = offsets ? offsets->get() : Value();
  found.zeroPoints = unpacking->zeroPoints ? unpacking->zeroPoints->get() : Value();
  return found;
}

TypedAttr reshaped(TypedAttr value, ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(value.getType()).clone(shape);
  return nn::ReshapedAttr::get(type.getContext(), value, type);
}

TypedAttr transposed(TypedAttr value, ArrayRef<int64_t> order) {
  auto type = cast<RankedTensorType>(value.getType());
  return nn::TransposedAttr::get(type.getContext(), value, order,
                                 type.clone(applyPermutation(type.getShape(), order)));
}

/// The constant that `tensor` is a view of, in its shape.
TypedAttr valueAs(Value tensor, ArrayRef<int64_t> shape) {
  return valueOf(constantOf(tensor), cast<RankedTensorType>(tensor.getType()).clone(shape));
}

Value stored(Value like, TypedAttr value) {
  return constantLike(constantOf(like), cast<RankedTensorType>(value.getType()), value);
}

/// In blocks of 32 columns and a row of k. In a block, 16 bytes for each lane of a warp, once or, of bytes'
/// products, twice: for its column in each of four tiles of eight (of bytes, in two), its elements of k in
/// both steps. So a lane's eight weights of a step and, of floats, of both, are one word, in the order in
/// which words are parted (Nibbles).
Value storedWeights(const FourBits &found) {
  int64_t block = found.elementsOfBlock(), n = found.product.n.size(), k = found.product.k.size();
  int64_t blocksOfN = llvm::divideCeil(n, columnsOfBlock), blocksOfK = found.blocksOfK();
  TypedAttr value =
      filledUp(filledUp(valueAs(found.weights, {n, k}), 0, blocksOfN * columnsOfBlock), 1, blocksOfK * block);
  if (found.product.isFloat()) {
    // n: block, tile, row of lanes; k: block, step, half, lane of a row, element.
    value = reshaped(value, {blocksOfN, 4, 8, blocksOfK, 2, 2, 4, 2});
    value = transposed(value, {0, 3, 2, 6, 1, 7, 4, 5});
  } else {
    // n: block, pair of tiles, tile, row of lanes; k as above.
    value = reshaped(value, {blocksOfN, 2, 2, 8, blocksOfK, 2, 2, 4, 4});
    value = transposed(value, {0, 4, 1, 3, 7, 2, 5, 8, 6});
  }
  return stored(found.weights, reshaped(value, {blocksOfN, blocksOfK, columnsOfBlock * block}));
}

/// A number for each group and column.
Value storedParameters(const FourBits &found, Value parameters) {
  int64_t n = found.product.n.size();
  TypedAttr value = filledUp(valueAs(parameters, {n, found.groups}), 0, found.blocksOfN() * columnsOfBlock);
  return stored(parameters, transposed(value, {1, 0}));
}

} // namespace

LogicalResult FourBits::findOperand(const Machine &machine) {
  std::optional<Product> found = productOfGroups(contraction, columns, group, k, machine);
  if (!found)
    return failure();
  product = results = *found;
  if (sums != contraction)
    for (Dims *dims : {&results.m, &results.n})
      *dims = alongResult(contraction, *dims);
  return success();
}

int64_t FourBits::blocksOfN() const {
  return llvm::divideCeil(product.n.size(), columnsOfBlock);
}

bool FourBits::dividesSteps(int64_t blocks) const {
  int64_t step = blocks * elementsOfBlock();
  return groups == 1 || each % step == 0 || step % each == 0;
}

std::vector<FourBits> npuc::cuda::packFourBits(func::FuncOp function, const Machine &machine) {
  std::vector<FourBits> products;
  function.walk([&](LinalgOp op) {
    if (tile::isContraction(op))
      if (std::optional<FourBits> found = fourBitsOf(op, machine))
        products.push_back(*found);
  });
  // Several products may read the same; weights are stored by the elements of a block.
  llvm::DenseMap<std::pair<Value, int64_t>, Value> known;
  auto store = [&](Value &constant, int64_t block, auto make) {
    if (!constant)
      return;
    Value &made = known[{constant, block}];
    if (!made)
      made = make(constant);
    constant = made;
  };
  for (FourBits &found : products) {
    auto parameters = [&](Value constant) { return storedParameters(found, constant); };
    store(found.scales, 0, parameters);
    store(found.offsets, 0, parameters);
    store(found.zeroPoints, 0, parameters);
    store(found.weights, found.elementsOfBlock(), [&](Value) { return storedWeights(found); });
    // What is multiplied lies nowhere.
    Operation *unpack = found.contraction.getDpsInputs()[1].getDefiningOp();
    OpBuilder b(found.contraction);
    auto type = cast<RankedTensorType>(unpack->getResult(0).getType());
    auto place = tensor::EmptyOp::create(b, unpack->getLoc(), type.getShape(), type.getElementType());
    place->setAttr(tile::constantAttr, b.getUnitAttr());
    found.contraction.getDpsInputOperand(1)->set(place);
    if (unpack->use_empty())
      unpack->erase();
  }
  return products;
}
