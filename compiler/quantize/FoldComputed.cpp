// Multiplications of integers whose scales or zero points are computed, or stand for each row or column:
// Σ (p - zp)(q - zq) = Σ pq - zp Σq - zq Σp + K zp zq, exact in 32 bits, and then the scales, in f32.
#include "compiler/quantize/FoldOperands.h"
#include "compiler/quantize/FoldPatterns.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

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

template <typename OpTy>
struct FoldProduct : FoldPattern<OpTy> {
  FoldProduct(MLIRContext *context, interpret::ConstantReader &reader, const Multiplied &multiplied)
      : FoldPattern<OpTy>(context, reader, 1), multiplied(multiplied) {}

  std::optional<Operands> operandsOf(Value lhs, Value rhs) const {
    std::optional<Integers> a = integersOf(lhs), b = a ? integersOf(rhs) : std::nullopt;
    if (!a || !b || isa<FloatType>(a->type.getElementType()) != isa<FloatType>(b->type.getElementType()) ||
        !isMultiplied(a->type.getElementType()) || !isMultiplied(b->type.getElementType()))
      return std::nullopt;
    return Operands{*a, *b, {}, {}};
  }

private:
  bool isMultiplied(Type element) const {
    return isa<Float8E4M3FNType>(element) ? multiplied.e4m3
           : isa<Float8E5M2Type>(element) ? multiplied.e5m2
                                          : true;
  }

  Multiplied multiplied;
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
  bool isFloat = isa<FloatType>(operands.lhs.type.getElementType());
  Value sums = form.multiply(x, w, type.clone(isFloat ? Type(rewriter.getF32Type()) : rewriter.getI32Type()));
  if (isFloat)
    sums.getDefiningOp()->setAttr(inF32Attr, rewriter.getUnitAttr());
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

struct FoldComputedLinear : FoldProduct<nn::LinearOp> {
  using FoldProduct::FoldProduct;
  LogicalResult matchAndRewrite(nn::LinearOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getInput(), op.getWeight());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "input and weights are not integers or floats of 8 bits");
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

struct FoldComputedMatmul : FoldProduct<nn::MatmulOp> {
  using FoldProduct::FoldProduct;
  LogicalResult matchAndRewrite(nn::MatmulOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getLhs(), op.getRhs());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "operands are not integers or floats of 8 bits");
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

struct FoldComputedConv : FoldProduct<nn::ConvOp> {
  using FoldProduct::FoldProduct;
  LogicalResult matchAndRewrite(nn::ConvOp op, PatternRewriter &rewriter) const override {
    std::optional<Operands> operands = operandsOf(op.getInput(), op.getWeight());
    if (!operands)
      return rewriter.notifyMatchFailure(op, "input and weights are not integers or floats of 8 bits");
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

void populateComputedPatterns(RewritePatternSet &patterns, interpret::ConstantReader &reader,
                              const Multiplied &multiplied) {
  patterns.add<FoldComputedLinear, FoldComputedMatmul, FoldComputedConv>(patterns.getContext(), reader,
                                                                         multiplied);
}

} // namespace npuc::quantize
