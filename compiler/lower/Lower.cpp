#include "compiler/lower/Lower.h"

#include "compiler/lower/Destinations.h"
#include "compiler/lower/Handlers.h"
#include "compiler/quantize/Quantize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

StringRef nodeName(Location location) {
  if (auto name = dyn_cast<NameLoc>(location))
    return name.getName();
  return "";
}

bool gathersRows(linalg::GenericOp op) {
  return !op.getBody()->getOps<tensor::ExtractOp>().empty();
}

/// Reads or writes integers of 4 bits, of which two share a byte.
bool hasFourBits(linalg::GenericOp op) {
  return llvm::any_of(op->getOperandTypes(),
                      [](Type type) { return getElementTypeOrSelf(type).isInteger(4); });
}

/// Finishes the sums of a multiplication by constants.
bool finishesProjection(linalg::GenericOp formula) {
  return llvm::any_of(formula.getDpsInputs(), [](Value input) {
    auto sums = withoutReshapes(input).getDefiningOp<linalg::GenericOp>();
    return sums && sums.getNumReductionLoops() > 0 && llvm::any_of(sums.getDpsInputs(), [](Value operand) {
             return isa<BlockArgument>(withoutReshapes(operand));
           });
  });
}

/// A transpose of what follows a multiplication of activations (attention's heads) goes into that formula, so
/// that rows lead in memory as they do in what reads them, and a core that has rows keeps them. Elsewhere it
/// goes into what reads it: projections have rows leading already.
bool transposesActivations(OpOperand *operand) {
  auto formula = operand->get().getDefiningOp<linalg::GenericOp>();
  auto transpose = dyn_cast<linalg::GenericOp>(operand->getOwner());
  return formula && transpose && formula->hasOneUse() && formula.getNumReductionLoops() == 0 &&
         !gathersRows(formula) && !hasFourBits(formula) &&
         !isa<BlockArgument>(formula.getBody()->getTerminator()->getOperand(0)) &&
         isa<BlockArgument>(transpose.getBody()->getTerminator()->getOperand(0)) &&
         !transpose.getMatchingIndexingMap(operand).isIdentity() && !finishesProjection(formula);
}

/// The consumer reads one value of the producer for many of its own, and the producer finishes a reduction (a
/// row's mean, say): fused, it would be computed again for each.
bool isFinishedOnce(OpOperand *operand, linalg::GenericOp producer, linalg::GenericOp consumer) {
  return consumer.getMatchingIndexingMap(operand).getNumResults() < consumer.getNumLoops() &&
         llvm::any_of(
             producer.getDpsInputs(),
             [](Value input) {
               auto reduction = withoutReshapes(input).getDefiningOp<linalg::GenericOp>();
               return reduction && reduction.getNumReductionLoops() > 0;
             });
}

/// A producer is fused into its consumer if that repeats no work: it only moves data, or both have one
/// formula per element and the consumer is its only user.
bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || producer.getNumReductionLoops() > 0)
    return false;
  unsigned result = cast<OpResult>(operand->get()).getResultNumber();
  Operation *yielded = producer.getBody()->getTerminator()->getOperand(result).getDefiningOp();
  bool moves = !yielded;
  bool gathers = yielded && isa<tensor::ExtractOp>(yielded);
  // The numbers of rows that are gathered are read from memory: they are computed before.
  if (gathers || (gathersRows(consumer) && !moves))
    return false;
  // Rows of halves of bytes stay rows.
  if (hasFourBits(producer) && !consumer.getMatchingIndexingMap(operand).isMinorIdentity())
    return false;
  if (moves)
    return true;
  // A vector command has eight operands, the result among them. (The value that is fused is none any more.)
  constexpr int64_t greatestOperands = 8;
  return producer->hasOneUse() && consumer.getNumReductionLoops() == 0 &&
         !isFinishedOnce(operand, producer, consumer) &&
         producer.getNumDpsInputs() + consumer.getNumDpsInputs() <= greatestOperands;
}

/// Rounding a value that is widened again at once keeps more than was asked for.
struct FoldWidenedRounding : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::ExtFOp op, PatternRewriter &rewriter) const override {
    auto rounding = op.getIn().getDefiningOp<arith::TruncFOp>();
    if (!rounding || rounding.getIn().getType() != op.getType())
      return rewriter.notifyMatchFailure(op,
                                         "widens something else than a rounded value of its result's type");
    rewriter.replaceOp(op, rounding.getIn());
    return success();
  }
};

/// A reshape of what holds nothing, or the same number everywhere, is one of another shape.
template <typename Reshape>
struct FoldReshapedInit : OpRewritePattern<Reshape> {
  using OpRewritePattern<Reshape>::OpRewritePattern;
  LogicalResult matchAndRewrite(Reshape op, PatternRewriter &rewriter) const override {
    RankedTensorType type = op.getResultType();
    if (!type.hasStaticShape())
      return rewriter.notifyMatchFailure(op, "has a dynamic shape");
    auto empty = [&] {
      return tensor::EmptyOp::create(rewriter, op.getLoc(), type.getShape(), type.getElementType());
    };
    Operation *source = op.getSrc().getDefiningOp();
    if (isa_and_nonnull<tensor::EmptyOp>(source)) {
      rewriter.replaceOp(op, empty());
      return success();
    }
    auto fill = dyn_cast_or_null<linalg::FillOp>(source);
    if (!fill)
      return rewriter.notifyMatchFailure(op, "reshapes computed values");
    Value init = empty();
    rewriter.replaceOpWithNewOp<linalg::FillOp>(op, fill.value(), init);
    return success();
  }
};

/// A sum of one product is a formula: it starts from the number that it was filled with, and reads no memory
/// for it, so that it fuses as other formulas do.
struct FoldFilledInit : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(linalg::GenericOp op, PatternRewriter &rewriter) const override {
    if (op.getNumReductionLoops() > 0 || op.getNumDpsInits() != 1)
      return rewriter.notifyMatchFailure(op, "reduces");
    OpOperand *init = op.getDpsInitOperand(0);
    BlockArgument old = op.getMatchingBlockArgument(init);
    auto fill = init->get().getDefiningOp<linalg::FillOp>();
    auto number = fill ? fill.value().getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
    if (!number || old.use_empty())
      return rewriter.notifyMatchFailure(op, "does not start from a number");
    rewriter.setInsertionPointToStart(op.getBody());
    Value inside = rewriter.clone(*number)->getResult(0);
    rewriter.modifyOpInPlace(op, [&] {
      old.replaceAllUsesWith(inside);
      init->set(fill.output());
    });
    return success();
  }
};

class Lowering {
public:
  explicit Lowering(func::FuncOp function) : function(function), builder(function.getContext()) {}

  LogicalResult run() {
    if (!llvm::hasSingleElement(function.getBody()))
      return function.emitError("has control flow; nn is one block");
    function.walk([&](func::ReturnOp op) { returned = op; });
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (!function.getArgAttr(i, roleAttr)) {
        function.setArgAttr(i, roleAttr, builder.getStringAttr("input"));
        Attribute name = function.getArgAttr(i, nn::NNDialect::nameAttr);
        function.setArgAttr(i, nameAttr, name ? name : builder.getStringAttr("input" + std::to_string(i)));
      }
    auto computes = [](Operation &op) {
      return isa<nn::NNDialect>(op.getDialect()) && !isa<nn::ConstantOp>(op);
    };
    // All conditions hold of operations of nn, and of what makes their operands.
    bool failedAny = false;
    for (Operation &op : function.front())
      if (std::string why = computes(op) ? obstacle(&op) : ""; !why.empty()) {
        op.emitError() << why;
        failedAny = true;
      }
    if (failedAny)
      return failure();
    for (Operation &op : llvm::make_early_inc_range(function.front()))
      if (computes(op))
        lower(&op);
    for (auto constant : llvm::make_early_inc_range(function.front().getOps<nn::ConstantOp>()))
      hoist(constant);
    return success();
  }

  /// Each result is computed into an argument of its own, and each part of a tensor into its slice.
  void giveDestinations() {
    Destinations destinations(function.front());
    for (OpOperand &operand : returned->getOpOperands()) {
      auto type = cast<RankedTensorType>(operand.get().getType());
      auto name =
          function.getResultAttrOfType<StringAttr>(operand.getOperandNumber(), nn::NNDialect::nameAttr);
      Value argument;
      addArgument(argument, type, returned.getLoc(), name ? name.getValue() : "output", "output", {});
      if (Attribute declared = function.getResultAttr(operand.getOperandNumber(), narrowedAttr))
        function.setArgAttr(cast<BlockArgument>(argument).getArgNumber(), narrowedAttr, declared);
      operand.set(type.getNumElements() == 0 ? argument : destinations.computeInto(operand, argument));
    }
    destinations.placeParts();
    // What makes a result without elements has no step to run.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
      if (isOpTriviallyDead(&op))
        op.erase();
  }

private:
  void lower(Operation *op) {
    if (op->use_empty())
      return op->erase();
    builder.setInsertionPoint(op);
    LinalgBuilder b(builder, op->getLoc());
    op->replaceAllUsesWith(findHandler(op->getName().getStringRef())->lower(op, b));
    op->erase();
  }

  void addArgument(Value &argument, RankedTensorType type, Location loc, StringRef name, StringRef role,
                   Attribute value) {
    unsigned index = function.getNumArguments();
    SmallVector<NamedAttribute> attributes = {builder.getNamedAttr(nameAttr, builder.getStringAttr(name)),
                                              builder.getNamedAttr(roleAttr, builder.getStringAttr(role))};
    if (value)
      attributes.push_back(builder.getNamedAttr(valueAttr, value));
    (void)function.insertArgument(index, type, builder.getDictionaryAttr(attributes), loc);
    argument = function.getArgument(index);
  }

  /// A constant becomes an argument; one that nothing uses, as all its numbers went into bodies, goes.
  void hoist(nn::ConstantOp op) {
    if (!op->use_empty()) {
      std::string name = nodeName(op.getLoc()).str();
      name = (name.empty() ? "constant" : name) + "#" + std::to_string(function.getNumArguments());
      Value argument;
      addArgument(argument, op.getResult().getType(), op.getLoc(), name, "constant", op.getValue());
      op.replaceAllUsesWith(argument);
    }
    op.erase();
  }

  func::FuncOp function;
  OpBuilder builder;
  func::ReturnOp returned;
};

/// A use that keeps its constant's precision. A scale of integers, and the scale and bias of a norm: these
/// few numbers meet every row, so that their rounding, unlike that of the weights of a sum, is not averaged
/// out but adds up from layer to layer.
bool keepsPrecision(OpOperand &use) {
  unsigned operand = use.getOperandNumber();
  if (isa<nn::QuantizeOp, nn::DequantizeOp>(use.getOwner()))
    return operand == 1;
  return isa<nn::LayerNormOp, nn::RmsNormOp, nn::GroupNormOp>(use.getOwner()) && operand > 0;
}

/// Whether any use of `constant` remains that may round it: those that keep its precision, which is f32 at
/// most, get a copy of their own then.
bool splitPreciseUses(nn::ConstantOp constant, OpBuilder &builder, function_ref<bool(OpOperand &)> keeps) {
  if (constant.getResult().getType().getElementType().isF64())
    return true;
  if (llvm::all_of(constant->getUses(), keeps))
    return false;
  if (llvm::any_of(constant->getUses(), keeps)) {
    builder.setInsertionPoint(constant);
    Value precise = builder.clone(*constant)->getResult(0);
    constant.getResult().replaceUsesWithIf(precise, keeps);
  }
  return true;
}

/// All operations on f32 but multiplications.
void addAllButMultiplications(func::FuncOp function, llvm::DenseSet<Operation *> &inF32) {
  auto isF32 = [](Type type) { return getElementTypeOrSelf(type).isF32(); };
  auto isOtherFloat = [](Type type) {
    auto element = dyn_cast<FloatType>(getElementTypeOrSelf(type));
    return element && element.getWidth() >= 16 && !element.isF32();
  };
  for (Operation &op : function.front()) {
    bool multiplies = isa<nn::LinearOp, nn::MatmulOp, nn::ConvOp, nn::ConvTransposeOp, nn::AttentionOp>(op) &&
                      isa<FloatType>(getElementTypeOrSelf(op.getOperand(0).getType()));
    SmallVector<Type> types(op.getOperandTypes());
    llvm::append_range(types, op.getResultTypes());
    if (!multiplies && !isa<nn::ConstantOp, func::ReturnOp>(op) && llvm::any_of(types, isF32) &&
        llvm::none_of(types, isOtherFloat))
      inF32.insert(&op);
  }
}

/// Where a constant holds infinity or NaN, or a scale is infinite, as quantizers give to masks, what is
/// quantized may be NaN.
void markNaNs(func::FuncOp function) {
  bool found = llvm::any_of(function.front().getOps<nn::ConstantOp>(), [](nn::ConstantOp constant) {
    auto dense = dyn_cast<DenseFPElementsAttr>(constant.getValue());
    if (!dense)
      return false;
    if (dense.isSplat())
      return !dense.getSplatValue<APFloat>().isFinite();
    return llvm::any_of(dense.getValues<APFloat>(), [](const APFloat &x) { return !x.isFinite(); });
  });
  if (found)
    for (auto op : function.front().getOps<nn::QuantizeOp>())
      op->setAttr(mayBeNaNAttr, UnitAttr::get(op.getContext()));
}

/// A reshape that other formulas than the one beside it can go through. One that adds or takes dimensions of
/// 1 alone stays at the border: where a value goes two ways, it would go into its formula and come out of it
/// again without end, a dimension more each time.
bool isAbsorbed(Operation *reshape) {
  if (!isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(reshape))
    return false;
  auto withoutUnits = [](Type type) {
    SmallVector<int64_t> shape(cast<RankedTensorType>(type).getShape());
    llvm::erase(shape, 1);
    return shape;
  };
  return withoutUnits(reshape->getOperand(0).getType()) != withoutUnits(reshape->getResult(0).getType());
}

/// Reshapes go where they can be absorbed, and producers into consumers as `control` says.
void absorbReshapes(func::FuncOp function, const linalg::ControlFusionFn &control) {
  RewritePatternSet patterns(function.getContext());
  linalg::populateFoldReshapeOpsByExpansionPatterns(patterns, [](OpOperand *operand) {
    Operation *producer = operand->get().getDefiningOp();
    // A gathered row is one dimension.
    if (auto generic = dyn_cast_or_null<linalg::GenericOp>(producer); generic && gathersRows(generic))
      return false;
    return isAbsorbed(producer) || isAbsorbed(operand->getOwner());
  });
  // Heads split into groups beside a rotation that cut them in halves.
  tensor::populateBubbleUpExpandShapePatterns(patterns);
  linalg::populateElementwiseOpsFusionPatterns(patterns, control);
  tensor::populateFoldTensorEmptyPatterns(patterns);
  tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, function.getContext());
  tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, function.getContext());
  patterns.add<FoldWidenedRounding>(function.getContext());
  GreedyRewriteConfig config;
  config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
  (void)applyPatternsGreedily(function, std::move(patterns), config);
}

/// Loops of one step go; they came with batches of 1, with masks, and with reductions that keep their
/// dimensions.
void dropUnitDimensions(func::FuncOp function) {
  RewritePatternSet patterns(function.getContext());
  linalg::ControlDropUnitDims control;
  control.rankReductionStrategy = linalg::ControlDropUnitDims::RankReductionStrategy::ReassociativeReshape;
  linalg::populateFoldUnitExtentDimsPatterns(patterns, control);
  tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, function.getContext());
  tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, function.getContext());
  patterns.add<FoldReshapedInit<tensor::CollapseShapeOp>, FoldReshapedInit<tensor::ExpandShapeOp>,
               FoldFilledInit>(function.getContext());
  GreedyRewriteConfig config;
  config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
  (void)applyPatternsGreedily(function, std::move(patterns), config);
}

/// One number everywhere, computed of nothing.
bool isFill(Operation *op) {
  if (isa<linalg::FillOp>(op))
    return true;
  auto generic = dyn_cast<linalg::GenericOp>(op);
  return generic && generic.getNumDpsInputs() == 0 && generic.getNumResults() == 1 &&
         matchPattern(generic.getBody()->getTerminator()->getOperand(0), m_Constant());
}

/// Equal values become one. But each user makes what it starts a sum from, or has at a border, itself: of one
/// for several, all but one would be copies.
void mergeEqual(func::FuncOp function) {
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance(function);
  eliminateCommonSubExpressions(rewriter, dominance, function);
  for (Operation &op : llvm::make_early_inc_range(function.front())) {
    if (!isFill(&op))
      continue;
    for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(op.getUses()))) {
      rewriter.setInsertionPoint(&op);
      use.set(rewriter.clone(op)->getResult(0));
    }
  }
}

/// Heads become dimensions of the projections, transposes go into indexing maps, and formulas that follow
/// each other become one. Dimensions of 1 go first, as reshapes by them are not absorbed.
void fuse(func::FuncOp function) {
  dropUnitDimensions(function);
  absorbReshapes(function, transposesActivations);
  absorbReshapes(function, shouldFuse);
  dropUnitDimensions(function);
  mergeEqual(function);
}

/// Operations that stay in f32: sines and cosines, and what computes nothing but their angles. An angle is a
/// position times a frequency: of 16 bits, it would be off by a turn where positions are large. And the
/// softmax of an input, of which differences count: 10000 and 10003 are the same number in f16.
llvm::DenseSet<Operation *> operationsInF32(func::FuncOp function) {
  llvm::DenseSet<Operation *> found;
  for (Operation &op : llvm::reverse(function.front())) {
    bool hasF32 = op.getNumResults() == 1 && getElementTypeOrSelf(op.getResult(0).getType()).isF32();
    bool mayCompute = op.hasTrait<nn::Pointwise>() ||
                      isa<nn::ConstantOp, nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::RangeOp>(op);
    bool onlyForAngles = mayCompute && !op.use_empty() &&
                         llvm::all_of(op.getUsers(), [&](Operation *user) { return found.contains(user); });
    bool ofInput = isa<nn::SoftmaxOp, nn::LogSoftmaxOp>(op) && isa<BlockArgument>(op.getOperand(0));
    if (hasF32 && (isa<nn::SinOp, nn::CosOp>(op) || onlyForAngles || ofInput))
      found.insert(&op);
  }
  return found;
}

/// Also in f32: the sums of a residual stream, to which layer after layer adds, and the norms that read them.
/// Of 16 bits, the stream would be rounded with each term. A sum of which only a norm is made is none: what
/// goes on from there has been rounded for multiplications anyway.
void addResidualSums(func::FuncOp function, llvm::DenseSet<Operation *> &inF32) {
  auto isNorm = [](Operation *op) { return isa<nn::LayerNormOp, nn::RmsNormOp>(op); };
  llvm::DenseSet<Operation *> sums;
  for (auto sum : llvm::reverse(function.front().getOps<nn::AddOp>()))
    if (sum.getType().getElementType().isF32() && llvm::all_of(sum->getUsers(), [&](Operation *user) {
          return isNorm(user) || isa<func::ReturnOp>(user) || sums.contains(user);
        }))
      sums.insert(sum);
  auto isSum = [&](Operation *op) { return sums.contains(op); };
  for (Operation *sum : sums) {
    if (llvm::none_of(sum->getUsers(), isSum) &&
        llvm::none_of(sum->getOperands(), [&](Value term) { return isSum(term.getDefiningOp()); }))
      continue;
    inF32.insert(sum);
    for (Operation *user : sum->getUsers())
      if (isNorm(user))
        inF32.insert(user);
  }
}

/// Whether a value is computed with a number that fp16 cannot hold, as masks are that hide scores by adding
/// the least number of f32; if so, what computes it from there on is to stay in f32.
bool hidesScores(Value value, llvm::SetVector<Operation *> &inF32) {
  Operation *op = value.getDefiningOp();
  if (!op || !getElementTypeOrSelf(value.getType()).isF32())
    return false;
  if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
    auto dense = dyn_cast<DenseFPElementsAttr>(constant.getValue());
    double most = APFloat::getLargest(APFloat::IEEEhalf()).convertToDouble();
    return dense && llvm::any_of(dense.getValues<APFloat>(), [&](const APFloat &x) {
             return x.isFinite() && x.convertToDouble() < -most;
           });
  }
  if (!isa<nn::SelectOp, nn::AddOp, nn::SubOp, nn::MulOp, nn::MinOp, nn::MaxOp, nn::ReshapeOp,
           nn::TransposeOp, nn::BroadcastOp, nn::SliceOp, nn::ConcatOp, nn::TriluOp>(op))
    return false;
  bool found = inF32.contains(op);
  for (Value operand : found ? ValueRange() : ValueRange(op->getOperands()))
    found |= hidesScores(operand, inF32);
  if (found)
    inF32.insert(op);
  return found;
}

/// Also in f32: masks that add numbers beyond those of fp16. In fp16 such a number is 65504, a sum with which
/// keeps something of the score; in f32 nothing is left of it, and a row all of whose keys are hidden has
/// equal probabilities. The numbers become constants of their own.
void addMasks(func::FuncOp function, llvm::DenseSet<Operation *> &inF32) {
  llvm::SetVector<Operation *> found;
  for (auto attention : function.front().getOps<nn::AttentionOp>())
    if (Value mask = attention.getMask(); mask && !mask.getDefiningOp<nn::ConstantOp>())
      hidesScores(mask, found);
  OpBuilder builder(function.getContext());
  for (Operation *op : found)
    for (OpOperand &operand : op->getOpOperands())
      if (auto constant = operand.get().getDefiningOp<nn::ConstantOp>();
          constant && constant.getType().getElementType().isF32()) {
        builder.setInsertionPoint(op);
        Operation *own = builder.clone(*constant);
        operand.set(own->getResult(0));
        inF32.insert(own);
      }
  inF32.insert(found.begin(), found.end());
}

/// What computes scales and zero points of what is quantized as the program runs, few numbers that meet every
/// element; and what says itself that it is in f32. Its constants are too.
llvm::DenseSet<Operation *> preciseOperations(func::FuncOp function) {
  llvm::DenseSet<Operation *> found;
  auto add = [&](Value tensor, Value parameter) {
    int64_t elements = cast<RankedTensorType>(tensor.getType()).getNumElements();
    SmallVector<Value> values = {parameter};
    while (!values.empty()) {
      Operation *op = values.pop_back_val().getDefiningOp();
      bool computes = op && (op->hasTrait<nn::Pointwise>() || isa<nn::ReduceOp, nn::ReshapeOp>(op));
      if (computes && cast<RankedTensorType>(op->getResult(0).getType()).getNumElements() < elements &&
          found.insert(op).second)
        llvm::append_range(values, op->getOperands());
    }
  };
  for (Operation &op : function.front()) {
    if (op.hasAttr(quantize::inF32Attr) || isa<nn::GroupedLinearOp>(op))
      found.insert(&op);
    if (isa<nn::QuantizeOp, nn::DequantizeOp>(op))
      for (Value parameter : op.getOperands().drop_front())
        add(op.getOperand(0), parameter);
  }
  return found;
}

/// An attention takes its mask as it is: scores are in f32 anyway.
bool isMask(OpOperand &use) {
  auto attention = dyn_cast<nn::AttentionOp>(use.getOwner());
  return attention && use.get() == attention.getMask();
}

/// Arguments and results of f64 become f32 for the device.
void doublesAtBorder(func::FuncOp function) {
  auto isDouble = [](Type type) { return getElementTypeOrSelf(type).isF64(); };
  auto single = [](Type type) {
    return cast<RankedTensorType>(type).clone(Float32Type::get(type.getContext()));
  };
  auto declared = TypeAttr::get(Float64Type::get(function.getContext()));
  SmallVector<Type> arguments(function.getArgumentTypes()), results(function.getResultTypes());
  for (auto [i, type] : llvm::enumerate(arguments))
    if (isDouble(type)) {
      type = single(type);
      function.getArgument(i).setType(type);
      function.setArgAttr(i, narrowedAttr, declared);
    }
  for (auto [i, type] : llvm::enumerate(results))
    if (isDouble(type)) {
      type = single(type);
      function.setResultAttr(i, narrowedAttr, declared);
    }
  function.setFunctionType(FunctionType::get(function.getContext(), arguments, results));
}

} // namespace

void npuc::lower::setFloatType(func::FuncOp function, FloatType type, Narrowed narrowed) {
  OpBuilder builder(function.getContext());
  doublesAtBorder(function);
  llvm::DenseSet<Operation *> inF32 = operationsInF32(function);
  if (narrowed == Narrowed::Multiplied) {
    addAllButMultiplications(function, inF32);
    markNaNs(function);
  } else {
    addResidualSums(function, inF32);
  }
  if (type.isF16())
    addMasks(function, inF32);
  llvm::DenseSet<Operation *> precise = preciseOperations(function);
  inF32.insert(precise.begin(), precise.end());
  auto keeps = [&](OpOperand &use) {
    const llvm::DenseSet<Operation *> &kept = narrowed == Narrowed::Multiplied ? inF32 : precise;
    return keepsPrecision(use) || kept.contains(use.getOwner());
  };
  auto converted = [&](Type old) -> RankedTensorType {
    auto tensor = dyn_cast<RankedTensorType>(old);
    auto element = tensor ? dyn_cast<FloatType>(tensor.getElementType()) : FloatType();
    return element && element.getWidth() >= 16 && element != type ? tensor.clone(type) : RankedTensorType();
  };
  SmallVector<Operation *> operations;
  for (Operation &op : function.front())
    operations.push_back(&op);
  for (BlockArgument argument : function.getArguments()) {
    RankedTensorType to = converted(argument.getType());
    if (!to || argument.use_empty())
      continue;
    builder.setInsertionPointToStart(&function.front());
    auto cast = nn::CastOp::create(builder, argument.getLoc(), to, argument, true);
    // Another conversion takes the value as it comes.
    argument.replaceUsesWithIf(cast, [&](OpOperand &use) {
      return !isa<nn::CastOp>(use.getOwner()) && !inF32.contains(use.getOwner());
    });
    if (cast->use_empty())
      cast->erase();
  }
  for (Operation *op : operations) {
    if (inF32.contains(op)) {
      builder.setInsertionPoint(op);
      for (OpOperand &operand : op->getOpOperands())
        if (auto from = cast<RankedTensorType>(operand.get().getType()); from.getElementType() == type)
          operand.set(nn::CastOp::create(builder, op->getLoc(), from.clone(builder.getF32Type()),
                                         operand.get(), true));
      builder.setInsertionPointAfter(op);
      for (OpResult result : op->getResults()) {
        RankedTensorType to = converted(result.getType());
        if (!to)
          continue;
        auto rounded = nn::CastOp::create(builder, op->getLoc(), to, result, true);
        result.replaceUsesWithIf(rounded, [&](OpOperand &use) {
          Operation *user = use.getOwner();
          return user != rounded && !inF32.contains(user) && !isa<func::ReturnOp>(user) && !isMask(use);
        });
        if (rounded->use_empty())
          rounded->erase();
      }
      continue;
    }
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      builder.setInsertionPoint(ret);
      for (auto [operand, wanted] :
           llvm::zip_equal(ret->getOpOperands(), llvm::to_vector(function.getResultTypes())))
        if (operand.get().getType() != wanted)
          operand.set(nn::CastOp::create(builder, operand.get().getLoc(), wanted, operand.get(), true));
      continue;
    }
    if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
      RankedTensorType to = converted(constant.getResult().getType());
      if (!to || !splitPreciseUses(constant, builder, keeps))
        continue;
      if (auto dense = dyn_cast<DenseFPElementsAttr>(constant.getValue())) {
        APFloat greatest = APFloat::getLargest(type.getFloatSemantics());
        constant.setValueAttr(dense.mapValues(type, [&](const APFloat &old) {
          APFloat value = old;
          bool lossy;
          value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
          if (value.isInfinity() && !old.isInfinity())
            value = old.isNegative() ? -greatest : greatest;
          return value.bitcastToAPInt();
        }));
      } else {
        constant.setValueAttr(
            nn::ConvertedAttr::get(function.getContext(), cast<TypedAttr>(constant.getValue()), to));
      }
      constant.getResult().setType(to);
      continue;
    }
    for (OpResult result : op->getResults())
      if (RankedTensorType to = converted(result.getType()))
        result.setType(to);
  }
}

bool npuc::lower::isConstant(BlockArgument argument) {
  auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
  auto role =
      function ? function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), roleAttr) : StringAttr();
  return role && role.getValue() == "constant";
}

LogicalResult npuc::lower::lowerToLinalg(func::FuncOp function) {
  Lowering lowering(function);
  if (failed(lowering.run()))
    return failure();
  fuse(function);
  lowering.giveDestinations();
  return success();
}
