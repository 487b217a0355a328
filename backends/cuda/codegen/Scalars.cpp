#include "backends/cuda/codegen/Scalars.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

#include <numeric>

using namespace mlir;
using namespace npuc::cuda;

namespace {

/// 128 bits, the widest access of a thread.
constexpr int64_t widestBytes = 16;

bool isConstantIndex(Value value, int64_t &number) {
  auto constant = value.getDefiningOp<arith::ConstantIndexOp>();
  if (constant)
    number = constant.value();
  return bool(constant);
}

} // namespace

Value Scalars::laneOf(const Position &position, unsigned lane) const {
  return position.step && lane ? e.add(position.base, position.step * lane) : position.base;
}

/// A constant of the function in the kernel.
Value Scalars::constant(Value value) const {
  Operation *op = value.getDefiningOp();
  assert(op && op->hasTrait<OpTrait::ConstantLike>() && "bodies read constants alone from outside");
  if (isFloat8(value.getType())) {
    auto number = cast<FloatAttr>(cast<arith::ConstantOp>(op).getValue());
    return arith::ConstantIntOp::create(e.b, e.loc,
                                        int64_t(number.getValue().bitcastToAPInt().getZExtValue()), 8);
  }
  return e.b.clone(*op)->getResult(0);
}

Position Scalars::apply(AffineExpr expr, ArrayRef<Position> dims) const {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return {e.index(constant.getValue()), 0, constant.getValue()};
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Position x = apply(binary.getLHS(), dims), y = apply(binary.getRHS(), dims);
  if (expr.getKind() == AffineExprKind::Add)
    return {e.add(x.base, y.base), x.step + y.step, std::gcd(x.multiple, y.multiple)};
  auto factor = cast<AffineConstantExpr>(binary.getRHS()).getValue();
  assert(expr.getKind() == AffineExprKind::Mul && "loops' maps are sums of loops times constants");
  return {e.mul(x.base, factor), x.step * factor, x.multiple * factor};
}

SmallVector<Position> Scalars::through(AffineMap map, ArrayRef<Position> loops) const {
  return llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) { return apply(expr, loops); });
}

/// A run of lanes in memory.
struct Scalars::Access {
  Value pointer;
  Position offset; ///< In elements.
  Type type;       ///< Of elements in memory.
  /// Lanes that one access takes: those at consecutive addresses, as far as they are aligned.
  unsigned width = 1;
};

Scalars::Access Scalars::accessTo(Value tensor, ArrayRef<Position> indices, unsigned lanes) {
  std::optional<Storage> storage = storageOf(tensor);
  assert(storage && "what has no memory is inlined");
  Access access{pointerOf(storage->root),
                {e.index(storage->offset), 0, storage->offset},
                memoryType(cast<RankedTensorType>(tensor.getType()).getElementType())};
  for (auto [position, stride, size] : llvm::zip_equal(indices, storage->strides, storage->shape)) {
    if (size == 1)
      continue;
    access.offset.base = e.add(access.offset.base, e.mul(position.base, stride));
    access.offset.step += position.step * stride;
    access.offset.multiple = std::gcd(access.offset.multiple, position.multiple * stride);
  }
  if (access.offset.step == 1) {
    int64_t widest = widestBytes * 8 / access.type.getIntOrFloatBitWidth();
    while (access.width < lanes && access.width * 2 <= widest && lanes % (access.width * 2) == 0 &&
           access.offset.multiple % (access.width * 2) == 0)
      access.width *= 2;
  }
  return access;
}

/// Integers of 4 bits lie two to a byte, the one of even index in the low half.
Value Scalars::loadNibble(Value tensor, ArrayRef<Position> indices, unsigned lane) {
  Access access = accessTo(tensor, indices, 1);
  Value offset = laneOf(access.offset, lane);
  Value byte = e.load(access.type, e.address(access.pointer, access.type, e.div(offset, 2)), 1);
  Value shift = arith::TruncIOp::create(e.b, e.loc, access.type, e.toI32(e.mul(e.rem(offset, 2), 4)));
  Value low = arith::ShRUIOp::create(e.b, e.loc, byte, shift);
  return arith::TruncIOp::create(e.b, e.loc, e.b.getIntegerType(4), low);
}

Lanes Scalars::at(Value tensor, ArrayRef<Position> indices, unsigned lanes) {
  auto element = cast<RankedTensorType>(tensor.getType()).getElementType();
  if (auto fill = tensor.getDefiningOp<linalg::FillOp>())
    return Lanes(lanes, constant(fill.getInputs()[0]));
  if (auto source = sources.find(tensor); source != sources.end())
    return source->second(indices, lanes);
  Key key{tensor.getAsOpaquePointer(), {}};
  for (const Position &position : indices) {
    int64_t number = 0;
    bool isConstant = isConstantIndex(position.base, number);
    key.second.push_back(
        {isConstant ? nullptr : position.base.getAsOpaquePointer(), isConstant ? number : position.step});
    if (isConstant)
      key.second.push_back({nullptr, position.step});
  }
  auto [entry, isNew] = known.try_emplace({key, lanes});
  if (!isNew)
    return entry->second;
  Lanes values;
  Operation *producer = tensor.getDefiningOp();
  if (producer && inlined.contains(producer)) {
    auto op = cast<linalg::LinalgOp>(producer);
    unsigned result = cast<OpResult>(tensor).getResultNumber();
    AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(result));
    SmallVector<Position> loops(op.getNumLoops(), Position{e.index(0), 0, 0});
    for (auto [expr, position] : llvm::zip_equal(map.getResults(), indices))
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        loops[dim.getPosition()] = position;
    values = compute(op, loops, lanes)[result];
  } else if (element.isInteger(4)) {
    for (unsigned lane = 0; lane < lanes; ++lane)
      values.push_back(loadNibble(tensor, indices, lane));
  } else {
    Access access = accessTo(tensor, indices, lanes);
    unsigned bytes = access.type.getIntOrFloatBitWidth() / 8;
    unsigned distinct = access.offset.step == 0 ? 1 : lanes;
    for (unsigned lane = 0; lane < distinct; lane += access.width) {
      Type type = access.width == 1 ? access.type : Type(VectorType::get(access.width, access.type));
      Value part = e.load(type, e.address(access.pointer, access.type, laneOf(access.offset, lane)),
                          access.width * bytes);
      llvm::append_range(values, e.unpack(part));
    }
    if (distinct < lanes)
      values.resize(lanes, values[0]);
    if (element.isInteger(1))
      for (Value &value : values)
        value = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ne, value,
                                      arith::ConstantIntOp::create(e.b, e.loc, 0, 8));
  }
  known[{key, lanes}] = values;
  return values;
}

void Scalars::store(linalg::LinalgOp op, ArrayRef<Position> loops, ArrayRef<Lanes> results) {
  for (auto [i, values] : llvm::enumerate(results))
    store(op->getResult(i), through(op.getMatchingIndexingMap(op.getDpsInitOperand(i)), loops), values);
}

void Scalars::store(Value tensor, ArrayRef<Position> indices, ArrayRef<Value> values) {
  Access access = accessTo(tensor, indices, values.size());
  unsigned bytes = access.type.getIntOrFloatBitWidth() / 8;
  Lanes stored(values);
  for (Value &value : stored)
    if (value.getType() != access.type)
      value = value.getType().isInteger(1)
                  ? arith::ExtUIOp::create(e.b, e.loc, access.type, value).getResult()
                  : value;
  for (unsigned lane = 0; lane < stored.size(); lane += access.width)
    e.store(e.pack(ArrayRef(stored).slice(lane, access.width)),
            e.address(access.pointer, access.type, laneOf(access.offset, lane)), access.width * bytes);
}

Value Scalars::scalarOf(Operation &op, llvm::function_ref<Value(Value)> operand, ArrayRef<Position> loops,
                        unsigned lane) {
  if (auto index = dyn_cast<linalg::IndexOp>(op))
    return laneOf(loops[index.getDim()], lane);
  // Unsigned integers are without sign here.
  if (auto cast = dyn_cast<UnrealizedConversionCastOp>(op))
    return operand(cast.getOperand(0));
  if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
    SmallVector<Position> indices = llvm::map_to_vector(
        extract.getIndices(), [&](Value index) { return Position{operand(index), 0, 1}; });
    return at(extract.getTensor(), indices, 1)[0];
  }
  if (auto extend = dyn_cast<arith::ExtFOp>(op); extend && isFloat8(extend.getIn().getType())) {
    Value wide = e.decode(extend.getIn().getType(), operand(extend.getIn()));
    return wide.getType() == extend.getType()
               ? wide
               : arith::TruncFOp::create(e.b, e.loc, extend.getType(), wide).getResult();
  }
  if (auto truncate = dyn_cast<arith::TruncFOp>(op); truncate && isFloat8(truncate.getType())) {
    Value wide = operand(truncate.getIn());
    if (!wide.getType().isF32())
      wide = arith::ExtFOp::create(e.b, e.loc, e.b.getF32Type(), wide);
    return e.encode(truncate.getType(), wide);
  }
  IRMapping mapping;
  for (Value value : op.getOperands())
    mapping.map(value, operand(value));
  return e.b.clone(op, mapping)->getResult(0);
}

SmallVector<Lanes> Scalars::compute(linalg::LinalgOp op, ArrayRef<Position> loops, unsigned lanes) {
  if (op.getNumReductionLoops() == 0)
    return evaluate(op, loops, lanes);
  OpOperand *init = op.getDpsInitOperand(0);
  Lanes first = at(init->get(), through(op.getMatchingIndexingMap(init), loops), lanes);
  SmallVector<unsigned> over;
  op.getReductionDims(over);
  SmallVector<Position> all(loops);
  return {reduce(op, over, all, first)};
}

/// Adds the steps of the loops `over` to `sums`.
Lanes Scalars::reduce(linalg::LinalgOp op, ArrayRef<unsigned> over, MutableArrayRef<Position> loops,
                      const Lanes &sums) {
  if (over.empty())
    return evaluate(op, loops, unsigned(sums.size()), {sums})[0];
  auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(op.getStaticLoopRanges()[over.front()]),
                                 e.index(1), sums);
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToStart(loop.getBody());
  scoped([&] {
    loops[over.front()] = {loop.getInductionVar(), 0, 1};
    Lanes next = reduce(op, over.drop_front(), loops, Lanes(loop.getRegionIterArgs()));
    scf::YieldOp::create(e.b, e.loc, next);
  });
  return Lanes(loop.getResults());
}

SmallVector<Lanes> Scalars::evaluate(linalg::LinalgOp op, ArrayRef<Position> loops, unsigned lanes,
                                     ArrayRef<Lanes> outs) {
  Block *body = op.getBlock();
  llvm::DenseMap<Value, Lanes> values;
  for (OpOperand *input : op.getDpsInputOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(input);
    if (argument.use_empty())
      continue;
    if (!isa<RankedTensorType>(input->get().getType()))
      values[argument] = Lanes(lanes, constant(input->get()));
    else
      values[argument] = at(input->get(), through(op.getMatchingIndexingMap(input), loops), lanes);
  }
  for (auto [i, out] : llvm::enumerate(outs))
    values[body->getArgument(op.getNumDpsInputs() + i)] = out;
  auto element = [&](Value value, unsigned lane) {
    if (isa<RankedTensorType>(value.getType())) // Of a gather.
      return value;
    auto [entry, isNew] = values.try_emplace(value);
    if (isNew)
      entry->second = Lanes(lanes, constant(value));
    return entry->second[lane];
  };
  // A formula of what is the same in all lanes is computed once.
  for (Operation &inner : body->without_terminator()) {
    auto isUniform = [&](unsigned lane) {
      if (isa<linalg::IndexOp>(inner))
        return loops[cast<linalg::IndexOp>(inner).getDim()].step == 0;
      return llvm::all_of(inner.getOperands(), [&](Value v) { return element(v, lane) == element(v, 0); });
    };
    Lanes results;
    for (unsigned lane = 0; lane < lanes; ++lane)
      results.push_back(lane && isUniform(lane)
                            ? results[0]
                            : scalarOf(inner, [&](Value v) { return element(v, lane); }, loops, lane));
    values[inner.getResult(0)] = std::move(results);
  }
  SmallVector<Lanes> yielded;
  for (Value value : body->getTerminator()->getOperands()) {
    Lanes result;
    for (unsigned lane = 0; lane < lanes; ++lane)
      result.push_back(element(value, lane));
    yielded.push_back(std::move(result));
  }
  return yielded;
}
