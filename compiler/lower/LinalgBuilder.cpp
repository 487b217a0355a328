#include "compiler/lower/LinalgBuilder.h"

#include "compiler/lower/Formula.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/Matchers.h"

#include <cmath>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace npuc::lower;

namespace {

Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}

Value combine(OpBuilder &b, Location loc, LinalgBuilder::Kind kind, Value old, Value value) {
  using K = LinalgBuilder::Kind;
  bool isFloat = isa<FloatType>(value.getType());
  if (kind == K::Sum)
    return isFloat ? arith::AddFOp::create(b, loc, old, value).getResult()
                   : arith::AddIOp::create(b, loc, old, value).getResult();
  if (kind == K::Max)
    return isFloat ? arith::MaximumFOp::create(b, loc, old, value).getResult()
                   : arith::MaxSIOp::create(b, loc, old, value).getResult();
  return isFloat ? arith::MinimumFOp::create(b, loc, old, value).getResult()
                 : arith::MinSIOp::create(b, loc, old, value).getResult();
}

} // namespace

Value LinalgBuilder::toInteger(OpBuilder &builder, Value x, Value offset, Type type) {
  auto number = [&](double value) -> Value {
    return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(float(value)));
  };
  x = math::RoundEvenOp::create(builder, loc, x);
  if (offset)
    x = arith::AddFOp::create(builder, loc, x, offset);
  bool isUnsigned = type.isUnsignedInteger();
  double values = std::ldexp(1.0, int(type.getIntOrFloatBitWidth())), least = isUnsigned ? 0 : -values / 2;
  x = arith::MaximumFOp::create(builder, loc, x, number(least));
  x = arith::MinimumFOp::create(builder, loc, x, number(least + values - 1));
  if (!isUnsigned)
    return arith::FPToSIOp::create(builder, loc, type, x);
  x = arith::FPToSIOp::create(builder, loc, builder.getI32Type(), x);
  return narrowInteger(builder, loc, x, type);
}

Value LinalgBuilder::constant(double value, Type type) {
  TypedAttr attribute = isa<FloatType>(type) ? TypedAttr(b.getFloatAttr(type, value))
                                             : TypedAttr(b.getIntegerAttr(type, int64_t(value)));
  return arith::ConstantOp::create(b, loc, attribute);
}

Value LinalgBuilder::empty(ArrayRef<int64_t> shape, Type element) {
  return tensor::EmptyOp::create(b, loc, shape, element);
}

Value LinalgBuilder::filled(ArrayRef<int64_t> shape, double value, Type element) {
  return linalg::FillOp::create(b, loc, constant(value, element), empty(shape, element)).getResult(0);
}

AffineMap LinalgBuilder::dims(unsigned loops, ArrayRef<unsigned> results) {
  SmallVector<AffineExpr> exprs =
      llvm::map_to_vector(results, [&](unsigned d) { return b.getAffineDimExpr(d); });
  return AffineMap::get(loops, 0, exprs, b.getContext());
}

Value LinalgBuilder::widen(OpBuilder &builder, Value scalar) {
  if (!isa<FloatType>(scalar.getType()) || scalar.getType().isF32())
    return scalar;
  if (scalar.getType().getIntOrFloatBitWidth() > 32)
    return arith::TruncFOp::create(builder, loc, builder.getF32Type(), scalar);
  return arith::ExtFOp::create(builder, loc, builder.getF32Type(), scalar);
}

Value LinalgBuilder::narrow(OpBuilder &builder, Value scalar, Type type) {
  if (scalar.getType() == type || !isa<FloatType>(type))
    return scalar;
  if (type.getIntOrFloatBitWidth() > 32)
    return arith::ExtFOp::create(builder, loc, type, scalar);
  return arith::TruncFOp::create(builder, loc, type, scalar);
}

Operand LinalgBuilder::identity(Value value) {
  return {value, b.getMultiDimIdentityMap(shapeOf(value).size())};
}

Operand LinalgBuilder::broadcast(Value value, ArrayRef<int64_t> shape) {
  ArrayRef<int64_t> own = shapeOf(value);
  unsigned lead = shape.size() - own.size();
  SmallVector<unsigned> kept;
  SmallVector<int64_t> keptShape;
  for (auto [i, size] : llvm::enumerate(own))
    if (size == shape[lead + i]) {
      kept.push_back(lead + i);
      keptShape.push_back(size);
    }
  Value reduced = kept.size() == own.size() ? value : reshape(value, keptShape);
  return {reduced, dims(shape.size(), kept)};
}

Value LinalgBuilder::map(ArrayRef<Operand> inputs, RankedTensorType result, ScalarBody body) {
  SmallVector<Value> values = llvm::map_to_vector(inputs, [](const Operand &o) { return o.value; });
  SmallVector<AffineMap> maps = llvm::map_to_vector(inputs, [](const Operand &o) { return o.map; });
  maps.push_back(b.getMultiDimIdentityMap(result.getRank()));
  SmallVector<utils::IteratorType> loops(result.getRank(), utils::IteratorType::parallel);
  Value init = empty(result.getShape(), result.getElementType());
  return linalg::GenericOp::create(b, loc, result, values, init, maps, loops,
                                   [&](OpBuilder &inner, Location, ValueRange scalars) {
                                     SmallVector<Value> wide;
                                     for (Value s : scalars.drop_back())
                                       wide.push_back(widen(inner, s));
                                     Value value = body(inner, loc, wide);
                                     Type element = result.getElementType();
                                     value = Formula{inner, loc}.wrap(narrow(inner, value, element), element);
                                     linalg::YieldOp::create(inner, loc, value);
                                   })
      .getResult(0);
}

Value LinalgBuilder::reduce(Kind kind, ArrayRef<Operand> inputs, ArrayRef<int64_t> extents,
                            ArrayRef<unsigned> resultDims, ScalarBody body, Type element) {
  if (!element)
    element = isa<FloatType>(elementOf(inputs[0].value)) ? Type(b.getF32Type()) : Type(b.getI32Type());
  SmallVector<Value> values = llvm::map_to_vector(inputs, [](const Operand &o) { return o.value; });
  SmallVector<AffineMap> maps = llvm::map_to_vector(inputs, [](const Operand &o) { return o.map; });
  maps.push_back(dims(extents.size(), resultDims));
  SmallVector<utils::IteratorType> loops(extents.size(), utils::IteratorType::reduction);
  SmallVector<int64_t> shape;
  for (unsigned d : resultDims) {
    loops[d] = utils::IteratorType::parallel;
    shape.push_back(extents[d]);
  }
  bool isFloat = isa<FloatType>(element);
  double greatest = isFloat ? std::numeric_limits<double>::infinity() : std::numeric_limits<int32_t>::max(),
         least = isFloat ? -greatest : std::numeric_limits<int32_t>::min();
  Value init = filled(shape, kind == Kind::Sum ? 0 : kind == Kind::Max ? least : greatest, element);
  return linalg::GenericOp::create(b, loc, init.getType(), values, init, maps, loops,
                                   [&](OpBuilder &inner, Location, ValueRange scalars) {
                                     SmallVector<Value> wide;
                                     for (Value s : scalars.drop_back())
                                       wide.push_back(widenInteger(inner, loc, widen(inner, s)));
                                     Value value = body(inner, loc, wide), old = scalars.back();
                                     linalg::YieldOp::create(inner, loc,
                                                             combine(inner, loc, kind, old, value));
                                   })
      .getResult(0);
}

/// The reduction loop k of `extents` becomes a loop over parts, of which the sums have a dimension, and a
/// last loop within a part.
Value LinalgBuilder::contractParts(Operand lhs, Operand rhs, AffineMap sums, ArrayRef<int64_t> extents,
                                   int64_t parts) {
  unsigned loops = extents.size(), k = 0;
  while (sums.isFunctionOfDim(k))
    ++k;
  SmallVector<int64_t> cut(extents);
  cut[k] = parts;
  cut.push_back(extents[k] / parts);
  auto split = [&](Operand operand) -> Operand {
    SmallVector<int64_t> shape;
    SmallVector<AffineExpr> dims;
    for (auto [size, expr] : llvm::zip_equal(shapeOf(operand.value), operand.map.getResults())) {
      bool isK = expr == b.getAffineDimExpr(k);
      shape.push_back(isK ? parts : size);
      dims.push_back(expr);
      if (isK) {
        shape.push_back(size / parts);
        dims.push_back(b.getAffineDimExpr(loops));
      }
    }
    return {reshape(operand.value, shape), AffineMap::get(loops + 1, 0, dims, b.getContext())};
  };
  SmallVector<AffineExpr> dims = {b.getAffineDimExpr(k)};
  llvm::append_range(dims, sums.getResults());
  Value partial = contract(split(lhs), split(rhs), AffineMap::get(loops + 1, 0, dims, b.getContext()), cut);
  SmallVector<unsigned> staying = llvm::to_vector(llvm::seq<unsigned>(1, dims.size()));
  return reduce(Kind::Sum, {identity(partial)}, shapeOf(partial), staying,
                [](OpBuilder &, Location, Scalars s) { return s[0]; });
}

Value LinalgBuilder::contract(Operand lhs, Operand rhs, AffineMap sums, ArrayRef<int64_t> extents,
                              int64_t parts) {
  if (parts > 1)
    return contractParts(lhs, rhs, sums, extents, parts);
  SmallVector<utils::IteratorType> loops(extents.size(), utils::IteratorType::reduction);
  SmallVector<int64_t> shape;
  for (AffineExpr expr : sums.getResults()) {
    unsigned d = cast<AffineDimExpr>(expr).getPosition();
    loops[d] = utils::IteratorType::parallel;
    shape.push_back(extents[d]);
  }
  bool isFloat = isa<FloatType>(elementOf(lhs.value));
  Type sumType = isFloat ? Type(b.getF32Type()) : Type(b.getI32Type());
  Value init = filled(shape, 0, sumType);
  SmallVector<AffineMap> maps = {lhs.map, rhs.map, sums};
  return linalg::GenericOp::create(
             b, loc, init.getType(), ValueRange{lhs.value, rhs.value}, init, maps, loops,
             [&](OpBuilder &inner, Location, ValueRange s) {
               auto wide = [&](Value v) -> Value {
                 if (isFloat)
                   return widen(inner, v);
                 return widenInteger(inner, loc, v);
               };
               Value a = wide(s[0]), c = wide(s[1]);
               Value sum =
                   isFloat ? arith::AddFOp::create(inner, loc, s[2], arith::MulFOp::create(inner, loc, a, c))
                                 .getResult()
                           : arith::AddIOp::create(inner, loc, s[2], arith::MulIOp::create(inner, loc, a, c))
                                 .getResult();
               linalg::YieldOp::create(inner, loc, sum);
             })
      .getResult(0);
}

Value LinalgBuilder::finish(Value sums, Value bias, RankedTensorType result) {
  if (!bias && sums.getType() == result)
    return sums;
  SmallVector<Operand> inputs = {identity(sums)};
  if (bias)
    inputs.push_back(broadcast(bias, result.getShape()));
  return map(inputs, result, [&](OpBuilder &inner, Location, Scalars s) -> Value {
    if (s.size() == 1)
      return s[0];
    if (isa<FloatType>(s[0].getType()))
      return arith::AddFOp::create(inner, loc, s[0], s[1]);
    return arith::AddIOp::create(inner, loc, s[0], s[1]);
  });
}

Value LinalgBuilder::transpose(Value value, ArrayRef<int64_t> permutation) {
  ArrayRef<int64_t> from = shapeOf(value);
  SmallVector<int64_t> shape = llvm::map_to_vector(permutation, [&](int64_t p) { return from[p]; });
  // Loop i is result dimension i, which is source dimension permutation[i].
  SmallVector<unsigned> loops(permutation.size());
  for (auto [i, p] : llvm::enumerate(permutation))
    loops[p] = i;
  SmallVector<AffineMap> maps = {dims(permutation.size(), loops),
                                 b.getMultiDimIdentityMap(permutation.size())};
  SmallVector<utils::IteratorType> kinds(permutation.size(), utils::IteratorType::parallel);
  auto type = RankedTensorType::get(shape, elementOf(value));
  return linalg::GenericOp::create(
             b, loc, type, value, empty(shape, elementOf(value)), maps, kinds,
             [&](OpBuilder &inner, Location, ValueRange s) { linalg::YieldOp::create(inner, loc, s[0]); })
      .getResult(0);
}

Value LinalgBuilder::reshape(Value value, ArrayRef<int64_t> shape) {
  auto from = cast<RankedTensorType>(value.getType());
  auto to = RankedTensorType::get(shape, from.getElementType());
  if (from == to)
    return value;
  if (std::optional<SmallVector<ReassociationIndices>> groups = getReassociationIndicesForReshape(from, to))
    return from.getRank() > to.getRank()
               ? tensor::CollapseShapeOp::create(b, loc, to, value, *groups).getResult()
               : tensor::ExpandShapeOp::create(b, loc, to, value, *groups).getResult();
  // Through the shape of most dimensions that both come from, so that a part of a tensor, whose rows lie
  // apart, need not be brought together for it.
  SmallVector<int64_t> common;
  SmallVector<ReassociationIndices> fromGroups, toGroups;
  int64_t i = 0, j = 0, fromRank = from.getRank(), toRank = to.getRank();
  while (i < fromRank || j < toRank) {
    ReassociationIndices &of = fromGroups.emplace_back(), &in = toGroups.emplace_back();
    int64_t size = 1, sizeIn = 1;
    do {
      bool fewer = j == toRank || (i < fromRank && size <= sizeIn);
      (fewer ? size : sizeIn) *= fewer ? from.getDimSize(i) : to.getDimSize(j);
      fewer ? of.push_back(i++) : in.push_back(j++);
    } while ((i < fromRank || j < toRank) && (size != sizeIn || of.empty() || in.empty() || size == 0));
    common.push_back(size);
  }
  // What is left of dimensions of 1 goes with the last.
  if (fromGroups.size() > 1 && (fromGroups.back().empty() || toGroups.back().empty())) {
    fromGroups[fromGroups.size() - 2].append(fromGroups.back());
    toGroups[toGroups.size() - 2].append(toGroups.back());
    fromGroups.pop_back(), toGroups.pop_back(), common.pop_back();
  }
  auto middle = RankedTensorType::get(common, from.getElementType());
  if (middle != from)
    value = tensor::CollapseShapeOp::create(b, loc, middle, value, fromGroups);
  return middle == to ? value : tensor::ExpandShapeOp::create(b, loc, to, value, toGroups).getResult();
}

SmallVector<Box> npuc::lower::boxesAround(ArrayRef<int64_t> shape, ArrayRef<int64_t> offsets,
                                          ArrayRef<int64_t> sizes) {
  // Before and after along each dimension: inside of the box in the dimensions before it, whole in those
  // after.
  SmallVector<Box> boxes;
  Box box{SmallVector<int64_t>(shape.size(), 0), SmallVector<int64_t>(shape)};
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t end = offsets[d] + sizes[d];
    for (auto [from, size] : {std::pair(int64_t{0}, offsets[d]), std::pair(end, shape[d] - end)}) {
      if (size == 0)
        continue;
      box.offsets[d] = from;
      box.sizes[d] = size;
      boxes.push_back(box);
    }
    box.offsets[d] = offsets[d];
    box.sizes[d] = sizes[d];
  }
  return boxes;
}

Value LinalgBuilder::assemble(RankedTensorType type, ArrayRef<Part> parts) {
  MLIRContext *context = b.getContext();
  Value whole = bufferization::AllocTensorOp::create(b, loc, type, ValueRange());
  SmallVector<OpFoldResult> steps = getAsIndexOpFoldResult(context, SmallVector<int64_t>(type.getRank(), 1));
  for (const Part &part : parts)
    if (cast<RankedTensorType>(part.value.getType()).getNumElements() > 0)
      whole = tensor::InsertSliceOp::create(b, loc, part.value, whole,
                                            getAsIndexOpFoldResult(context, part.offsets),
                                            getAsIndexOpFoldResult(context, shapeOf(part.value)), steps);
  return whole;
}

Value LinalgBuilder::slice(Value value, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                           ArrayRef<int64_t> strides) {
  MLIRContext *context = b.getContext();
  SmallVector<int64_t> ones(offsets.size(), 1);
  if (sizes == shapeOf(value) && (strides.empty() || strides == ArrayRef<int64_t>(ones)))
    return value;
  return tensor::ExtractSliceOp::create(
      b, loc, RankedTensorType::get(sizes, elementOf(value)), value, getAsIndexOpFoldResult(context, offsets),
      getAsIndexOpFoldResult(context, sizes),
      getAsIndexOpFoldResult(context, strides.empty() ? ArrayRef<int64_t>(ones) : strides));
}

Value LinalgBuilder::pad(Value value, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
                         llvm::function_ref<Value(RankedTensorType)> border) {
  ArrayRef<int64_t> own = shapeOf(value);
  SmallVector<int64_t> shape(own);
  for (auto [size, before, after] : llvm::zip_equal(shape, low, high))
    size += before + after;
  RankedTensorType type = typeOf(value).clone(shape);
  SmallVector<Part> parts = {{value, SmallVector<int64_t>(low)}};
  for (const Box &box : boxesAround(shape, low, own))
    parts.push_back({border(type.clone(box.sizes)), box.offsets});
  return parts.size() == 1 ? value : assemble(type, parts);
}

Value LinalgBuilder::pad(Value value, ArrayRef<int64_t> low, ArrayRef<int64_t> high, double fill) {
  return pad(value, low, high, [&](RankedTensorType type) { return splat(type, fill); });
}

Value LinalgBuilder::splat(RankedTensorType type, double value) {
  Type element = type.getElementType();
  return map({}, type, [&](OpBuilder &inner, Location, Scalars) -> Value {
    if (element.isUnsignedInteger())
      return narrowInteger(inner, loc, Formula{inner, loc}.number(value, element), element);
    TypedAttr number = isa<FloatType>(element) ? TypedAttr(inner.getF32FloatAttr(float(value)))
                                               : TypedAttr(inner.getIntegerAttr(element, int64_t(value)));
    return arith::ConstantOp::create(inner, loc, number);
  });
}

OpOperand *npuc::lower::inputOf(linalg::LinalgOp op, Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  return argument && argument.getOwner() == op.getBlock() && argument.getArgNumber() < op.getNumDpsInputs()
             ? op.getDpsInputOperand(argument.getArgNumber())
             : nullptr;
}

std::optional<double> npuc::lower::numberOf(Value value) {
  APFloat number(0.0f);
  return matchPattern(value, m_ConstantFloat(&number)) ? std::optional(number.convertToDouble())
                                                       : std::nullopt;
}

Value npuc::lower::withoutReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}
