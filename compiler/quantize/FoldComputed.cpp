// Multiplications of integers whose scales or zero points are computed, or stand for each row or column:
// Σ (p - zp)(q - zq) = Σ pq - zp Σq - zq Σp + K zp zq, exact in 32 bits, and then the scales, in f32.
#include "compiler/quantize/FoldPatterns.h"
#include "compiler/quantize/Quantize.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

using Shape = SmallVector<int64_t>;

/// A scale or zero point; `shape` has an entry for each dimension of the operand that it belongs to (later,
/// of the result): its size, or 1 where it is the same for all indices.
struct Parameter {
  Value value; ///< Null: there is none.
  Shape shape;

  explicit operator bool() const { return static_cast<bool>(value); }
  bool isSingle() const {
    return llvm::all_of(shape, [](int64_t size) { return size == 1; });
  }
  /// The same for all indices of all dimensions but `axis`.
  bool isAlong(int64_t axis) const {
    return llvm::all_of(llvm::enumerate(shape), [&](auto entry) {
      return static_cast<int64_t>(entry.index()) == axis || entry.value() == 1;
    });
  }
};

/// Integers of 8 bits, and what they stand for: scale · (integer - zero).
struct Integers {
  Value value;
  TypedAttr constant; ///< In the value's place: a constant that is yet to be made.
  RankedTensorType type;
  Parameter scale, zero;
  /// A zero point beside `zero`.
  struct {
    std::vector<int32_t> values;
    Shape shape;
  } offset;

  bool hasOffset() const {
    return llvm::any_of(offset.values, [](int32_t value) { return value != 0; });
  }
  bool hasZero() const { return zero || hasOffset(); }
};

bool isByte(Type element) {
  return element.isInteger(8);
}

/// The parameter of a quantization of `type`; nothing if it is one for each of several blocks.
std::optional<Parameter> parameterOf(Value value, RankedTensorType type, int64_t axis, int64_t block) {
  Parameter parameter{value, Shape(static_cast<size_t>(type.getRank()), 1)};
  RankedTensorType own = typeOf(value);
  if (own.getNumElements() == 1)
    return parameter;
  if (block > 0 && own.getDimSize(static_cast<unsigned>(axis)) > 1)
    return std::nullopt;
  if (block > 0)
    parameter.shape.assign(own.getShape().begin(), own.getShape().end());
  else
    parameter.shape[static_cast<size_t>(axis)] = own.getNumElements();
  return parameter;
}

std::optional<Integers> ofDequantize(nn::DequantizeOp op) {
  Integers found{op.getInput(), {}, op.getInput().getType(), {}, {}, {}};
  std::optional<std::vector<double>> known = numbersOf(op.getScale());
  if (!isByte(found.type.getElementType()) || (known && !areFinite(*known)))
    return std::nullopt;
  auto axis = static_cast<int64_t>(op.getAxis()), block = static_cast<int64_t>(op.getBlockSize());
  std::optional<Parameter> scale = parameterOf(op.getScale(), found.type, axis, block);
  if (!scale)
    return std::nullopt;
  found.scale = *scale;
  if (Value zero = op.getZeroPoint()) {
    std::optional<Parameter> parameter = parameterOf(zero, found.type, axis, block);
    if (!parameter)
      return std::nullopt;
    found.zero = *parameter;
  }
  return found;
}

/// Numbers of i32 as integers of 8 bits, with a zero point for each index of `axis` (one, where it is
/// negative) if its numbers need both halves of 9 bits; nothing if they need more.
std::optional<Integers> asBytes(DenseIntElementsAttr dense, int64_t axis) {
  auto type = cast<RankedTensorType>(dense.getType());
  int64_t count = axis < 0 ? 1 : type.getDimSize(static_cast<unsigned>(axis)), inner = 1;
  for (int64_t d = axis + 1; d < type.getRank(); ++d)
    inner *= axis < 0 ? 1 : type.getDimSize(static_cast<unsigned>(d));
  std::vector<int64_t> least(static_cast<size_t>(count), INT32_MAX), greatest(least.size(), INT32_MIN);
  auto indexOf = [&](int64_t element) { return static_cast<size_t>(element / inner % count); };
  for (auto [i, value] : llvm::enumerate(dense.getValues<APInt>())) {
    size_t at = indexOf(static_cast<int64_t>(i));
    least[at] = std::min(least[at], value.getSExtValue());
    greatest[at] = std::max(greatest[at], value.getSExtValue());
  }
  Integers found;
  found.offset.shape.assign(static_cast<size_t>(type.getRank()), 1);
  if (axis >= 0)
    found.offset.shape[static_cast<size_t>(axis)] = count;
  for (size_t i = 0; i < least.size(); ++i) {
    if (greatest[i] - least[i] > 255)
      return std::nullopt;
    bool fits = least[i] >= -128 && greatest[i] <= 127;
    found.offset.values.push_back(fits ? 0 : static_cast<int32_t>(-128 - least[i]));
  }
  SmallVector<APInt> bytes;
  for (auto [i, value] : llvm::enumerate(dense.getValues<APInt>())) {
    int64_t byte = value.getSExtValue() + found.offset.values[indexOf(static_cast<int64_t>(i))];
    bytes.emplace_back(8, static_cast<uint64_t>(byte), true);
  }
  found.type = type.clone(IntegerType::get(type.getContext(), 8));
  found.constant = DenseElementsAttr::get(found.type, bytes);
  return found;
}

std::optional<Integers> ofConstant(TypedAttr constant) {
  if (auto converted = dyn_cast<nn::ConvertedAttr>(constant)) {
    auto source = cast<TypedAttr>(converted.getSource());
    auto from = cast<RankedTensorType>(source.getType());
    return isByte(from.getElementType()) ? std::optional(Integers{{}, source, from, {}, {}, {}})
                                         : std::nullopt;
  }
  auto dense = dyn_cast<DenseIntElementsAttr>(constant);
  if (!dense || dense.empty())
    return std::nullopt;
  for (int64_t axis : {int64_t{-1}, dense.getType().getRank() - 1, int64_t{0}})
    if (std::optional<Integers> found = asBytes(dense, axis))
      return found;
  return std::nullopt;
}

/// Integers of 32 bits that were of 8, less a zero point or not.
std::optional<Integers> ofCentred(Value value) {
  RankedTensorType type = typeOf(value);
  Parameter zero;
  if (auto difference = value.getDefiningOp<nn::SubOp>();
      difference && difference.getLhs().getType() == type) {
    zero.value = difference.getRhs();
    zero.shape.assign(static_cast<size_t>(type.getRank()), 1);
    ArrayRef<int64_t> own = typeOf(zero.value).getShape();
    std::copy(own.begin(), own.end(), zero.shape.end() - static_cast<ptrdiff_t>(own.size()));
    value = difference.getLhs();
  }
  std::optional<Integers> found;
  if (TypedAttr constant = constantOf(value))
    found = ofConstant(constant);
  else if (auto cast = value.getDefiningOp<nn::CastOp>();
           cast && isByte(typeOf(cast.getInput()).getElementType()))
    found = Integers{cast.getInput(), {}, typeOf(cast.getInput()), {}, {}, {}};
  if (found)
    found->zero = zero;
  return found;
}

std::optional<Integers> integersOf(Value value) {
  if (auto dequantize = value.getDefiningOp<nn::DequantizeOp>())
    return ofDequantize(dequantize);
  return typeOf(value).getElementType().isInteger(32) ? ofCentred(value) : std::nullopt;
}

/// Both operands of a multiplication, and where they meet its result.
struct Operands {
  Integers lhs, rhs;
  SmallVector<int64_t> summedLhs, summedRhs; ///< Dimensions that the sum runs over.
  int64_t column = 0;                        ///< The result's dimension that is the right operand's own.

  /// Whether no scale or zero point differs along what is summed.
  bool leavesSums() const {
    auto isConstantAlong = [](const Integers &operand, ArrayRef<int64_t> dims) {
      return llvm::all_of(dims, [&](int64_t d) {
        auto at = static_cast<size_t>(d);
        return (!operand.scale || operand.scale.shape[at] == 1) &&
               (!operand.zero || operand.zero.shape[at] == 1) &&
               (!operand.hasOffset() || operand.offset.shape[at] == 1);
      });
    };
    return isConstantAlong(lhs, summedLhs) && isConstantAlong(rhs, summedRhs);
  }
};

std::optional<Operands> operandsOf(Value lhs, Value rhs) {
  std::optional<Integers> a = integersOf(lhs), b = a ? integersOf(rhs) : std::nullopt;
  return a && b ? std::optional(Operands{*a, *b, {}, {}}) : std::nullopt;
}

/// Builds what one multiplication becomes.
class Arithmetic {
public:
  Arithmetic(PatternRewriter &rewriter, Location loc, Constants constants, RankedTensorType result)
      : b(rewriter), loc(loc), make(constants), result(result) {}

  Value integers(Integers &operand) {
    if (!operand.value)
      operand.value = make.materialize(operand.constant);
    return operand.value;
  }

  /// In `element`, of `shape`, which has as many elements.
  Value shaped(const Parameter &parameter, Type element, ArrayRef<int64_t> shape) {
    Value value = parameter.value;
    if (typeOf(value).getElementType() != element)
      value = b.createOrFold<nn::CastOp>(loc, typeOf(value).clone(element), value, true);
    return b.createOrFold<nn::ReshapeOp>(loc, RankedTensorType::get(shape, element), value);
  }

  /// The zero point in i32 as it meets the result, in whose dimensions `atResult` gives a shape.
  Value zero(const Integers &operand, llvm::function_ref<Shape(ArrayRef<int64_t>)> atResult) {
    Value offset, zero;
    if (operand.hasOffset())
      offset = b.createOrFold<nn::ReshapeOp>(
          loc, RankedTensorType::get(atResult(operand.offset.shape), b.getI32Type()),
          make.integers(operand.offset.values));
    if (operand.zero)
      zero = shaped(operand.zero, b.getI32Type(), atResult(operand.zero.shape));
    return offset && zero ? nn::AddOp::create(b, loc, zero, offset) : zero ? zero : offset;
  }

  Value minus(Value sums, Value x, Value y) {
    return nn::SubOp::create(b, loc, sums, nn::MulOp::create(b, loc, x, y));
  }

  /// Sums with their scales, which have the result's dimensions (null: they are integers), and the bias,
  /// which broadcasts to the result. Computed in f32, whatever floats are stored in.
  Value finish(Value sums, const Parameter &lhs, const Parameter &rhs, int64_t column, Value bias) {
    if (!lhs)
      return bias ? nn::AddOp::create(b, loc, sums, bias) : sums;
    Type f32 = b.getF32Type();
    RankedTensorType wide = result.clone(f32);
    auto flat = [&](const Parameter &p) {
      return shaped(p, f32,
                    p.isSingle() ? ArrayRef<int64_t>() : ArrayRef(p.shape[static_cast<size_t>(column)]));
    };
    Value y;
    SmallVector<Parameter> rest;
    if (lhs.isAlong(column) && rhs.isAlong(column)) {
      y = scaled(sums, precise(nn::MulOp::create(b, loc, flat(lhs), flat(rhs))), wide, column);
    } else if (rhs.isAlong(column)) {
      y = scaled(sums, flat(rhs), wide, column);
      rest = {lhs};
    } else {
      y = precise(nn::CastOp::create(b, loc, wide, sums, true));
      rest = {lhs, rhs};
    }
    for (const Parameter &scale : rest)
      y = precise(nn::MulOp::create(b, loc, y, shaped(scale, f32, scale.shape)));
    if (bias) {
      if (typeOf(bias).getElementType() != f32)
        bias = b.createOrFold<nn::CastOp>(loc, typeOf(bias).clone(f32), bias, true);
      y = precise(nn::AddOp::create(b, loc, y, bias));
    }
    return y.getType() == result ? y : nn::CastOp::create(b, loc, result, y, true).getResult();
  }

private:
  template <typename OpTy>
  Value precise(OpTy op) {
    op->setAttr(inF32Attr, b.getUnitAttr());
    return op;
  }

  Value scaled(Value sums, Value scale, RankedTensorType wide, int64_t column) {
    return precise(nn::DequantizeOp::create(b, loc, wide, sums, scale, Value(),
                                            typeOf(scale).getRank() == 0 ? 0 : column, 0));
  }

  PatternRewriter &b;
  Location loc;
  Constants make;
  RankedTensorType result;
};

/// Σ of the right operand over what is summed: known where it is a constant, of `shape`.
Value columnSums(PatternRewriter &rewriter, Location loc, Constants make, Operands &operands, Value integers,
                 ArrayRef<int64_t> shape) {
  TypedAttr constant = constantOf(integers);
  interpret::HostTensor elements = constant ? make.ints(constant) : interpret::HostTensor();
  auto type = RankedTensorType::get(shape, rewriter.getI32Type());
  if (!elements)
    return rewriter.createOrFold<nn::ReshapeOp>(loc, type,
                                                sumsOver(rewriter, loc, integers, operands.summedRhs));
  // Each element to the sum of the dimensions that stay, in order.
  RankedTensorType from = typeOf(integers);
  std::vector<int32_t> sums(static_cast<size_t>(type.getNumElements()), 0);
  SmallVector<int64_t> strides(static_cast<size_t>(from.getRank()), 0);
  int64_t stride = 1;
  for (int64_t d = from.getRank(); d-- > 0;)
    if (!llvm::is_contained(operands.summedRhs, d)) {
      strides[static_cast<size_t>(d)] = stride;
      stride *= from.getDimSize(static_cast<unsigned>(d));
    }
  const auto *element = elements.data<int32_t>();
  SmallVector<int64_t> at(strides.size(), 0);
  for (int64_t i = 0; i < elements.count(); ++i) {
    int64_t target = 0;
    for (auto [index, step] : llvm::zip_equal(at, strides))
      target += index * step;
    sums[static_cast<size_t>(target)] += element[i];
    for (size_t d = at.size(); d-- > 0 && ++at[d] == from.getDimSize(static_cast<unsigned>(d));)
      at[d] = 0;
  }
  return rewriter.createOrFold<nn::ReshapeOp>(loc, type, make.integers(sums));
}

/// The number of products of a sum.
int64_t productsOf(const Operands &operands) {
  int64_t count = 1;
  for (int64_t d : operands.summedRhs)
    count *= operands.rhs.type.getDimSize(static_cast<unsigned>(d));
  return count;
}

/// How one kind of multiplication is made of integers.
struct Form {
  llvm::function_ref<Value(Value x, Value w, RankedTensorType type)> multiply;
  /// Σ of the left operand over what is summed, as it meets the result.
  llvm::function_ref<Value(Value x)> rowSums;
  /// A shape of the left, and of the right operand's dimensions, of which those that are summed are 1, in the
  /// result's.
  llvm::function_ref<Shape(ArrayRef<int64_t>)> lhsAtResult, atResult;
  /// What the left operand is where its zero point is not 0; null: itself.
  llvm::function_ref<Value(Value x, Value zero)> prepared;
};

Shape asItIs(ArrayRef<int64_t> shape) {
  return Shape(shape);
}

template <typename OpTy>
void fold(OpTy op, PatternRewriter &rewriter, Constants make, Operands operands, Value bias,
          const Form &form) {
  Location loc = op.getLoc();
  RankedTensorType type = op.getType();
  Arithmetic build(rewriter, loc, make, type);
  Value x = build.integers(operands.lhs), w = build.integers(operands.rhs), zx, zw;
  if (operands.lhs.hasZero())
    zx = build.zero(operands.lhs, form.lhsAtResult);
  if (operands.rhs.hasZero())
    zw = build.zero(operands.rhs, form.atResult);
  if (zx && form.prepared)
    x = form.prepared(x, zx);
  Value sums = form.multiply(x, w, type.clone(rewriter.getI32Type()));
  if (zx) {
    Shape kept(operands.rhs.type.getShape());
    for (int64_t d : operands.summedRhs)
      kept[static_cast<size_t>(d)] = 1;
    sums = build.minus(sums, columnSums(rewriter, loc, make, operands, w, form.atResult(kept)), zx);
  }
  if (zw)
    sums = build.minus(sums, form.rowSums(x), zw);
  if (zx && zw) {
    Value count = make.integers({static_cast<int32_t>(productsOf(operands))});
    Value both = nn::MulOp::create(rewriter, loc, nn::MulOp::create(rewriter, loc, zx, zw), count);
    sums = nn::AddOp::create(rewriter, loc, sums, both);
  }
  Parameter scaleX = operands.lhs.scale, scaleW = operands.rhs.scale;
  scaleX.shape = form.lhsAtResult(scaleX.shape);
  scaleW.shape = form.atResult(scaleW.shape);
  rewriter.replaceOp(op, build.finish(sums, scaleX, scaleW, operands.column, bias));
}

struct FoldComputedLinear : FoldPattern<nn::LinearOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::LinearOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getInput(), op.getWeight());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "input and weights are not integers of 8 bits");
    int64_t rank = op.getType().getRank(), n = op.getTransposed() ? 0 : 1;
    operands->summedLhs = {rank - 1};
    operands->summedRhs = {1 - n};
    operands->column = rank - 1;
    if (!operands->leavesSums())
      return rewriter.notifyMatchFailure(op, "a scale or zero point differs along the sum");
    auto multiply = [&](Value x, Value w, RankedTensorType type) -> Value {
      return nn::LinearOp::create(rewriter, op.getLoc(), type, x, w, Value(), op.getTransposed());
    };
    auto rowSums = [&](Value x) { return sumsOver(rewriter, op.getLoc(), x, rank - 1); };
    auto atResult = [&](ArrayRef<int64_t> shape) {
      Shape at(static_cast<size_t>(rank), 1);
      at.back() = shape.empty() ? 1 : shape[static_cast<size_t>(n)];
      return at;
    };
    fold(op, rewriter, constants(rewriter, op), *operands, op.getBias(),
         {multiply, rowSums, asItIs, atResult, {}});
    return success();
  }
};

struct FoldComputedMatmul : FoldPattern<nn::MatmulOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::MatmulOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getLhs(), op.getRhs());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "operands are not integers of 8 bits");
    int64_t k = operands->lhs.type.getRank() - 1;
    operands->summedLhs = {k};
    operands->summedRhs = {operands->rhs.type.getRank() - 2};
    operands->column = op.getType().getRank() - 1;
    if (!operands->leavesSums())
      return rewriter.notifyMatchFailure(op, "a scale or zero point differs along the sum");
    // What has fewer dimensions than the result meets its last ones.
    auto atResult = [&](ArrayRef<int64_t> shape) {
      Shape at(static_cast<size_t>(op.getType().getRank()), 1);
      std::copy(shape.begin(), shape.end(), at.end() - static_cast<ptrdiff_t>(shape.size()));
      return at;
    };
    auto multiply = [&](Value a, Value b, RankedTensorType type) -> Value {
      return nn::MatmulOp::create(rewriter, op.getLoc(), type, a, b);
    };
    auto rowSums = [&](Value a) { return sumsOver(rewriter, op.getLoc(), a, k); };
    fold(op, rewriter, constants(rewriter, op), *operands, Value(),
         {multiply, rowSums, atResult, atResult, {}});
    return success();
  }
};

struct FoldComputedConv : FoldPattern<nn::ConvOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::ConvOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getInput(), op.getWeight());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "input and weights are not integers of 8 bits");
    RankedTensorType type = op.getType();
    auto rank = static_cast<size_t>(type.getRank());
    for (size_t d = 1; d < rank; ++d)
      operands->summedRhs.push_back(static_cast<int64_t>(d));
    operands->summedLhs = operands->summedRhs; // A window has elements of many positions.
    operands->column = 1;
    bool pads = llvm::any_of(op.getPads(), [](int64_t pad) { return pad != 0; });
    if (!operands->leavesSums() || (pads && (!operands->lhs.zero.isSingle() || operands->lhs.hasOffset())))
      return rewriter.notifyMatchFailure(op, "a scale or zero point differs along the sum");
    Location loc = op.getLoc();
    SmallVector<int64_t> around(op.getPads());
    // Elements outside of the input are 0, which is the zero point.
    auto prepared = [&](Value x, Value zero) {
      if (!pads)
        return x;
      around.assign(around.size(), 0);
      return padded(rewriter, loc, x, zero, op.getPads());
    };
    auto multiply = [&](Value x, Value w, RankedTensorType result) -> Value {
      return nn::ConvOp::create(rewriter, loc, result, x, w, Value(), op.getStrides(), op.getDilations(),
                                around, op.getGroups());
    };
    // A convolution with ones. Without groups all outputs have the same.
    auto rowSums = [&](Value x) {
      Shape one(operands->rhs.type.getShape()), summed(type.getShape());
      if (op.getGroups() == 1)
        one[0] = summed[1] = 1;
      auto ones = DenseElementsAttr::get(RankedTensorType::get(one, rewriter.getI8Type()), APInt(8, 1));
      return multiply(x, nn::ConstantOp::create(rewriter, loc, ones),
                      RankedTensorType::get(summed, rewriter.getI32Type()));
    };
    auto atResult = [&](ArrayRef<int64_t> shape) {
      Shape at(rank, 1);
      at[1] = shape.empty() ? 1 : shape[0];
      return at;
    };
    Value bias = op.getBias();
    if (bias) {
      Shape channels(rank - 1, 1);
      channels[0] = type.getDimSize(1);
      bias = nn::ReshapeOp::create(rewriter, loc, typeOf(bias).clone(channels), bias);
    }
    fold(op, rewriter, constants(rewriter, op), *operands, bias,
         {multiply, rowSums, asItIs, atResult, prepared});
    return success();
  }

  /// `x` with its zero point, which is of its type, around its spatial dimensions.
  static Value padded(PatternRewriter &rewriter, Location loc, Value x, Value zero, ArrayRef<int64_t> pads) {
    Type element = typeOf(x).getElementType();
    zero = rewriter.createOrFold<nn::ReshapeOp>(loc, RankedTensorType::get({}, rewriter.getI32Type()), zero);
    zero = rewriter.createOrFold<nn::CastOp>(loc, RankedTensorType::get({}, element), zero, true);
    size_t spatial = pads.size() / 2;
    SmallVector<int64_t> low(2, 0), high(2, 0);
    low.append(pads.begin(), pads.begin() + static_cast<ptrdiff_t>(spatial));
    high.append(pads.begin() + static_cast<ptrdiff_t>(spatial), pads.end());
    return nn::PadOp::create(rewriter, loc, nn::PadMode::Constant, x, zero, low, high);
  }
};

} // namespace

void populateComputedPatterns(RewritePatternSet &patterns, interpret::ConstantReader &reader) {
  patterns.add<FoldComputedLinear, FoldComputedMatmul, FoldComputedConv>(patterns.getContext(), reader, 1);
}

} // namespace npuc::quantize
