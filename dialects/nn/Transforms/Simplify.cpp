// nn-simplify: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNSIMPLIFY
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// Whether each element of the result depends on its position through its operands' elements alone.
/// (Quantization may name an axis.)
bool isPositionless(Operation *op) {
  return op->hasTrait<Pointwise>() && op->getNumResults() == 1 &&
         !isa<QuantizeOp, DequantizeOp, RequantizeOp>(op);
}

bool isConstant(Value value) {
  return value.getDefiningOp<ConstantOp>() != nullptr;
}

/// A broadcast below pointwise operations: they compute on what is repeated, and repeat the result only if no
/// other operand has its shape. A constant of equal elements is a broadcast of one.
struct SinkBroadcast : RewritePattern {
  SinkBroadcast(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}

  static Value source(Value operand, PatternRewriter &rewriter) {
    if (auto broadcast = operand.getDefiningOp<BroadcastOp>())
      return broadcast.getInput();
    DenseElementsAttr dense = denseOf(operand);
    if (!dense || !dense.isSplat() || typeOf(operand).getRank() == 0)
      return operand;
    auto scalar = dense.resizeSplat(typeOf(operand).clone(ArrayRef<int64_t>()));
    return ConstantOp::create(rewriter, operand.getLoc(), scalar);
  }

  static bool isRepeated(Value operand) {
    DenseElementsAttr dense = denseOf(operand);
    return operand.getDefiningOp<BroadcastOp>() ||
           (dense && dense.isSplat() && typeOf(operand).getRank() > 0);
  }

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isPositionless(op) || llvm::none_of(op->getOperands(), isRepeated) ||
        llvm::all_of(op->getOperands(), isConstant))
      return rewriter.notifyMatchFailure(op, "no pointwise operation on a repeated operand");
    SmallVector<Value> operands;
    SmallVector<int64_t> shape;
    for (Value operand : op->getOperands()) {
      operands.push_back(source(operand, rewriter));
      shape = *broadcastShapes(shape, typeOf(operands.back()).getShape());
    }
    RankedTensorType full = typeOf(op->getResult(0)), small = full.clone(shape);
    rewriter.modifyOpInPlace(op, [&] {
      op->setOperands(operands);
      op->getResult(0).setType(small);
    });
    if (small == full)
      return success();
    rewriter.setInsertionPointAfter(op);
    auto broadcast = BroadcastOp::create(rewriter, op->getLoc(), full, op->getResult(0));
    rewriter.replaceAllUsesExcept(op->getResult(0), broadcast, broadcast);
    return success();
  }
};

/// A gather by consecutive indices: a slice, reshaped to the indices' shape.
struct GatherConsecutive : OpRewritePattern<GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GatherOp gather, PatternRewriter &rewriter) const override {
    RankedTensorType table = typeOf(gather.getTable()), indices = typeOf(gather.getIndices());
    auto first = asCount(gather.getIndices());
    if (!first)
      return rewriter.notifyMatchFailure(gather, "indices do not count");
    int64_t axis = gather.getAxis(), count = indices.getNumElements(), size = table.getDimSize(axis);
    int64_t start = *first < 0 ? *first + size : *first;
    if (start < 0 || start + count > size)
      return rewriter.notifyMatchFailure(gather, "indices leave the table, or wrap around");
    SmallVector<int64_t> starts(table.getRank(), 0), steps(table.getRank(), 1), sizes(table.getShape());
    starts[axis] = start;
    sizes[axis] = count;
    Value part = rewriter.createOrFold<SliceOp>(gather.getLoc(), gather.getTable(), starts, sizes, steps);
    rewriter.replaceOpWithNewOp<ReshapeOp>(gather, gather.getType(), part);
    return success();
  }
};

/// Whether the tuples, as row-major positions in a tensor of `shape`, count from 0.
bool countPositions(Value indices, ArrayRef<int64_t> shape) {
  RankedTensorType type = typeOf(indices);
  if (DenseElementsAttr dense = denseOf(indices)) {
    auto values = dense.getValues<APInt>();
    size_t tuple = shape.size();
    for (int64_t i = 0; i < type.getNumElements() / static_cast<int64_t>(tuple); ++i) {
      int64_t position = 0;
      for (size_t d = 0; d < tuple; ++d)
        position = position * shape[d] + values[i * tuple + d].getSExtValue();
      if (position != i)
        return false;
    }
    return true;
  }
  auto concat = indices.getDefiningOp<ConcatOp>();
  if (!concat || concat.getInputs().size() != shape.size() ||
      static_cast<int64_t>(concat.getAxis()) != type.getRank() - 1)
    return false;
  Affine position{0, SmallVector<int64_t>(type.getRank(), 0)};
  for (auto [part, size] : llvm::zip(concat.getInputs(), shape)) {
    auto affine = asAffine(part);
    if (!affine)
      return false;
    position.constant = position.constant * size + affine->constant;
    for (auto [step, more] : llvm::zip(position.steps, affine->steps))
      step = step * size + more;
  }
  return isCount(position, typeOf(concat.getInputs()[0]).getShape()) && position.constant == 0;
}

/// A gather_nd by every index tuple in order: a reshape.
struct GatherNdInOrder : OpRewritePattern<GatherNdOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GatherNdOp gather, PatternRewriter &rewriter) const override {
    RankedTensorType input = typeOf(gather.getInput()), indices = typeOf(gather.getIndices());
    int64_t tuple = indices.getShape().back();
    if (gather.getBatchDims() != 0 || tuple == 0 ||
        gather.getType().getNumElements() != input.getNumElements() ||
        !countPositions(gather.getIndices(), input.getShape().take_front(tuple)))
      return rewriter.notifyMatchFailure(gather, "indices do not name every slice in order");
    rewriter.replaceOpWithNewOp<ReshapeOp>(gather, gather.getType(), gather.getInput());
    return success();
  }
};

/// A scatter_nd over every index tuple in order, as TorchScript writes an assignment to a slice that is the
/// whole: the updates.
struct ScatterNdInOrder : OpRewritePattern<ScatterNdOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScatterNdOp scatter, PatternRewriter &rewriter) const override {
    int64_t tuple = typeOf(scatter.getIndices()).getShape().back();
    if (scatter.getReduction() != ScatterReduction::None || tuple == 0 ||
        typeOf(scatter.getUpdates()).getNumElements() != scatter.getType().getNumElements() ||
        !countPositions(scatter.getIndices(), scatter.getType().getShape().take_front(tuple)))
      return rewriter.notifyMatchFailure(scatter, "indices do not name every slice in order");
    rewriter.replaceOpWithNewOp<ReshapeOp>(scatter, scatter.getType(), scatter.getUpdates());
    return success();
  }
};

/// For each dimension of `to` the run of dimensions of `from` that it joins; nothing if a dimension is split.
std::optional<SmallVector<SmallVector<int64_t>>> joinedDims(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  SmallVector<SmallVector<int64_t>> groups;
  size_t next = 0;
  for (int64_t size : to) {
    SmallVector<int64_t> &group = groups.emplace_back();
    for (int64_t product = 1; product != size || (group.empty() && next < from.size() && from[next] == 1);) {
      if (next == from.size() || product * from[next] > size || from[next] == 0)
        return std::nullopt;
      product *= from[next];
      group.push_back(next++);
    }
  }
  for (; next < from.size(); ++next) {
    if (from[next] != 1 || groups.empty())
      return std::nullopt;
    groups.back().push_back(next);
  }
  return groups;
}

/// transpose(reshape(x)) where the reshape joins dimensions: reshape(transpose(x)).
struct TransposeBeforeJoin : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(TransposeOp transpose, PatternRewriter &rewriter) const override {
    auto reshape = transpose.getInput().getDefiningOp<ReshapeOp>();
    if (!reshape)
      return rewriter.notifyMatchFailure(transpose, "input is not reshaped");
    auto groups = joinedDims(typeOf(reshape.getInput()).getShape(), reshape.getType().getShape());
    if (!groups)
      return rewriter.notifyMatchFailure(transpose, "the reshape splits a dimension");
    SmallVector<int64_t> permutation;
    for (int64_t d : transpose.getPermutation())
      llvm::append_range(permutation, (*groups)[d]);
    Value moved = rewriter.createOrFold<TransposeOp>(transpose.getLoc(), reshape.getInput(), permutation);
    rewriter.replaceOpWithNewOp<ReshapeOp>(transpose, transpose.getType(), moved);
    return success();
  }
};

/// The reshape that gives `value`, if it lowers the rank.
ReshapeOp joinOf(Value value) {
  auto reshape = value.getDefiningOp<ReshapeOp>();
  return reshape && typeOf(reshape.getInput()).getRank() > reshape.getType().getRank() ? reshape
                                                                                       : ReshapeOp();
}

/// matmul(reshape(a), reshape(b)) where both reshapes join the same leading dimensions.
struct KeepBatch : OpRewritePattern<MatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MatmulOp matmul, PatternRewriter &rewriter) const override {
    ReshapeOp lhs = joinOf(matmul.getLhs()), rhs = joinOf(matmul.getRhs());
    if (!lhs || !rhs || matmul.getType().getRank() < 3)
      return rewriter.notifyMatchFailure(matmul, "operands do not both have joined dimensions");
    auto keepsMatrix = [](ReshapeOp reshape) {
      RankedTensorType from = typeOf(reshape.getInput());
      return from.getRank() >= 2 && from.getShape().take_back(2) == reshape.getType().getShape().take_back(2);
    };
    if (!keepsMatrix(lhs) || !keepsMatrix(rhs) ||
        typeOf(lhs.getInput()).getShape().drop_back(2) != typeOf(rhs.getInput()).getShape().drop_back(2))
      return rewriter.notifyMatchFailure(matmul, "operands do not join the same leading dimensions");
    Value apart = MatmulOp::create(rewriter, matmul.getLoc(), lhs.getInput(), rhs.getInput());
    rewriter.replaceOpWithNewOp<ReshapeOp>(matmul, matmul.getType(), apart);
    return success();
  }
};

/// softmax(reshape(x)) along a last dimension that the reshape leaves alone.
struct KeepRowsOfSoftmax : OpRewritePattern<SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SoftmaxOp softmax, PatternRewriter &rewriter) const override {
    ReshapeOp reshape = joinOf(softmax.getInput());
    RankedTensorType type = softmax.getType();
    if (!reshape || static_cast<int64_t>(softmax.getAxis()) != type.getRank() - 1)
      return rewriter.notifyMatchFailure(softmax, "not along the last of joined dimensions");
    RankedTensorType from = typeOf(reshape.getInput());
    if (from.getShape().back() != type.getShape().back())
      return rewriter.notifyMatchFailure(softmax, "its dimension is joined");
    Value apart = SoftmaxOp::create(rewriter, softmax.getLoc(), from, reshape.getInput(), from.getRank() - 1,
                                    softmax.getZeroMasked());
    rewriter.replaceOpWithNewOp<ReshapeOp>(softmax, type, apart);
    return success();
  }
};

/// Pointwise operations of reshaped operands: on their shape before dimensions were joined.
struct KeepDimensions : RewritePattern {
  KeepDimensions(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isPositionless(op))
      return rewriter.notifyMatchFailure(op, "not pointwise");
    RankedTensorType from, to = typeOf(op->getResult(0));
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      ReshapeOp join = joinOf(operand);
      bool isScalar = typeOf(operand).getRank() == 0;
      if (!isScalar && (!join || (from && from.getShape() != typeOf(join.getInput()).getShape()) ||
                        join.getType().getShape() != to.getShape()))
        return rewriter.notifyMatchFailure(op, "an operand's dimensions are not joined like the others'");
      if (join)
        from = typeOf(join.getInput());
      operands.push_back(join ? join.getInput() : operand);
    }
    if (!from)
      return rewriter.notifyMatchFailure(op, "no operand has joined dimensions");
    IRMapping mapping;
    mapping.map(op->getOperands(), operands);
    Operation *apart = rewriter.clone(*op, mapping);
    apart->getResult(0).setType(from.clone(from.getShape(), to.getElementType()));
    rewriter.replaceOpWithNewOp<ReshapeOp>(op, to, apart->getResult(0));
    return success();
  }
};

/// not(a < b), of integers: a ≥ b. Floats only invert `eq` and `ne`, for NaN's sake.
struct InvertCompare : OpRewritePattern<NotOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(NotOp inverse, PatternRewriter &rewriter) const override {
    auto compare = inverse.getInput().getDefiningOp<CompareOp>();
    if (!compare || !compare->hasOneUse())
      return rewriter.notifyMatchFailure(inverse, "not the only use of a comparison");
    using P = ComparePredicate;
    P predicate = compare.getPredicate();
    bool isFloat = isa<FloatType>(typeOf(compare.getLhs()).getElementType());
    if (isFloat && predicate != P::Eq && predicate != P::Ne)
      return rewriter.notifyMatchFailure(inverse, "an order of floats is false either way for NaN");
    const std::pair<P, P> inverses[] = {{P::Eq, P::Ne}, {P::Lt, P::Ge}, {P::Le, P::Gt}};
    for (auto [a, b] : inverses)
      if (predicate == a || predicate == b) {
        rewriter.replaceOpWithNewOp<CompareOp>(inverse, predicate == a ? b : a, compare.getLhs(),
                                               compare.getRhs());
        return success();
      }
    return rewriter.notifyMatchFailure(inverse, "an unknown predicate");
  }
};

struct Simplify : impl::NNSimplifyBase<Simplify> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateSimplifyPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void populateSimplifyPatterns(RewritePatternSet &patterns) {
  patterns.add<SinkBroadcast, GatherConsecutive, GatherNdInOrder, ScatterNdInOrder, TransposeBeforeJoin,
               KeepBatch, KeepRowsOfSoftmax, KeepDimensions, InvertCompare>(patterns.getContext());
}

} // namespace npuc::nn
