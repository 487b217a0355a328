// Scores of attention on integers, in a float type of 16 bits.
//
// A score is a sum of products of integers of 8 bits, times a scale, and maybe a mask. A float of 16 bits is
// off by 2^-12 of it at most, where queries and keys of 8 bits left an error some ten times as large; and all
// that becomes of scores are weights of 8 bits. So scores, their greatest and the differences between them
// are computed and kept in that type, which vector engines have more lanes for. A mask must leave scores as
// they are, or put them out of reach: what adds to a score may make it large, and its error with it.

#include "compiler/lower/FastForms.h"
#include "compiler/lower/LinalgBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;
using linalg::GenericOp;

namespace {

/// A masked score counts as nothing: e to this power is 0 in any float type.
constexpr double outOfReach = -1024;

Value resultOf(GenericOp op) {
  return op.getBody()->getTerminator()->getOperand(0);
}

/// One of two numbers, each of which leaves a score as it is or puts it out of reach.
arith::SelectOp maskOf(Value tensor) {
  auto made = tensor.getDefiningOp<GenericOp>();
  auto chosen =
      made && made.getNumResults() == 1 ? resultOf(made).getDefiningOp<arith::SelectOp>() : arith::SelectOp();
  if (!chosen)
    return {};
  for (Value value : {chosen.getTrueValue(), chosen.getFalseValue()})
    if (std::optional<double> number = numberOf(value); !number || !(*number == 0 || *number <= outOfReach))
      return {};
  return chosen;
}

/// The operations between two products of attention.
struct Scores {
  GenericOp scores, greatest, base, weights;
  OpOperand *mask = nullptr; ///< Of `scores`.
};

class ScoreNarrowing {
public:
  ScoreNarrowing(func::FuncOp function, FloatType fast)
      : function(function), fast(fast),
        largest(APFloat::getLargest(fast.getFloatSemantics()).convertToDouble()) {}

  void run() {
    for (auto op : llvm::to_vector(function.getOps<GenericOp>()))
      if (std::optional<Scores> found = match(op))
        rewrite(*found);
  }

private:
  bool isFormula(GenericOp op) const {
    return op.getNumReductionLoops() == 0 && op.getNumResults() == 1 &&
           op.getBody()->getArguments().back().use_empty() &&
           getElementTypeOrSelf(op.getResult(0).getType()).isF32();
  }

  /// Only `op` uses the result of `of`, or nothing.
  static GenericOp onlyUser(GenericOp of) {
    return of->hasOneUse() ? dyn_cast<GenericOp>(*of->getUsers().begin()) : GenericOp();
  }

  std::optional<Scores> match(GenericOp op) const {
    Scores found{op, {}, {}, {}};
    if (!isFormula(op) || !readsSums(op, found.mask))
      return std::nullopt;
    for (Operation *user : op->getUsers()) {
      auto generic = dyn_cast<GenericOp>(user);
      if (!generic || generic.getNumDpsInits() != 1)
        return std::nullopt;
      (generic.getNumReductionLoops() > 0 ? found.greatest : found.weights) = generic;
    }
    if (!found.greatest || !found.weights || std::distance(op->user_begin(), op->user_end()) != 2)
      return std::nullopt;
    auto greatest = resultOf(found.greatest).getDefiningOp<arith::MaximumFOp>();
    auto start = found.greatest.getDpsInits()[0].getDefiningOp<linalg::FillOp>();
    found.base = onlyUser(found.greatest);
    // max(old, x) from -inf; a formula of it; exp(x - that), rounded to bytes.
    bool fits = greatest && greatest->getBlock()->getOperations().size() == 2 && start && found.base &&
                found.base.getNumDpsInputs() == 1 && isFormula(found.base) &&
                onlyUser(found.base) == found.weights && found.weights.getNumReductionLoops() == 0 &&
                getElementTypeOrSelf(found.weights.getResult(0).getType()).isInteger(8);
    if (!fits)
      return std::nullopt;
    for (auto exp : found.weights.getBody()->getOps<math::ExpOp>()) {
      auto difference = exp.getOperand().getDefiningOp<arith::SubFOp>();
      OpOperand *left = difference ? inputOf(found.weights, difference.getLhs()) : nullptr,
                *right = difference ? inputOf(found.weights, difference.getRhs()) : nullptr;
      if (left && right && left->get() == op.getResult(0) && right->get() == found.base.getResult(0))
        return found;
    }
    return std::nullopt;
  }

  /// `op` is sums · scale, maybe + mask, and no sum times the scale is more than half of what the type holds.
  bool readsSums(GenericOp op, OpOperand *&mask) const {
    Value value = resultOf(op);
    if (auto masked = value.getDefiningOp<arith::AddFOp>()) {
      bool isLeft = bool(masked.getRhs().getDefiningOp<arith::MulFOp>());
      mask = inputOf(op, isLeft ? masked.getLhs() : masked.getRhs());
      if (!mask || !maskOf(mask->get()))
        return false;
      value = isLeft ? masked.getRhs() : masked.getLhs();
    }
    auto scaled = value.getDefiningOp<arith::MulFOp>();
    auto integer = scaled ? scaled.getLhs().getDefiningOp<arith::SIToFPOp>() : arith::SIToFPOp();
    std::optional<double> scale = scaled ? numberOf(scaled.getRhs()) : std::nullopt;
    OpOperand *sums = integer ? inputOf(op, integer.getIn()) : nullptr;
    std::optional<int64_t> most = sums ? greatestSum(sums->get()) : std::nullopt;
    return scale && most && std::abs(*scale) * double(*most) <= largest / 2;
  }

  void rewrite(const Scores &found) {
    if (found.mask)
      found.mask->set(reachableMask(found.mask->get()));
    for (GenericOp op : {found.scores, found.base})
      store(op);
    keepGreatest(found.greatest);
    read(found.base);
    read(found.weights);
  }

  /// The mask with numbers that the type holds together with a score.
  Value reachableMask(Value mask) {
    Value &made = masks[mask];
    if (made)
      return made;
    auto op = mask.getDefiningOp<GenericOp>();
    OpBuilder b(op);
    b.setInsertionPointAfter(op);
    auto copy = cast<GenericOp>(b.clone(*op));
    auto chosen = resultOf(copy).getDefiningOp<arith::SelectOp>();
    b.setInsertionPoint(copy);
    for (OpOperand *value : {&chosen.getTrueValueMutable(), &chosen.getFalseValueMutable()})
      value->set(LinalgBuilder(b, op.getLoc()).constant(std::max(*numberOf(value->get()), -largest / 2)));
    return made = copy.getResult(0);
  }

  /// The result is stored in the fast type.
  void store(GenericOp op) {
    OpBuilder b(op);
    auto type = cast<RankedTensorType>(op.getResult(0).getType()).clone(fast);
    op.getDpsInitsMutable()[0].set(LinalgBuilder(b, op.getLoc()).empty(type.getShape(), fast));
    op.getResult(0).setType(type);
    op.getBody()->getArguments().back().setType(fast);
    Operation *yield = op.getBody()->getTerminator();
    b.setInsertionPoint(yield);
    yield->setOperand(0, arith::TruncFOp::create(b, op.getLoc(), fast, yield->getOperand(0)));
  }

  void keepGreatest(GenericOp op) {
    OpBuilder b(op);
    auto type = cast<RankedTensorType>(op.getResult(0).getType()).clone(fast);
    double start = *numberOf(op.getDpsInits()[0].getDefiningOp<linalg::FillOp>().getInputs()[0]);
    op.getDpsInitsMutable()[0].set(LinalgBuilder(b, op.getLoc()).filled(type.getShape(), start, fast));
    op.getResult(0).setType(type);
    for (BlockArgument argument : op.getBody()->getArguments())
      argument.setType(fast);
    resultOf(op).setType(fast);
  }

  /// What the inputs in the fast type are read as stays in f32.
  void read(GenericOp op) {
    OpBuilder b = OpBuilder::atBlockBegin(op.getBody());
    for (OpOperand *input : op.getDpsInputOperands()) {
      BlockArgument argument = op.getMatchingBlockArgument(input);
      if (argument.getType() == getElementTypeOrSelf(input->get().getType()))
        continue;
      argument.setType(fast);
      auto wide = arith::ExtFOp::create(b, op.getLoc(), b.getF32Type(), argument);
      argument.replaceAllUsesExcept(wide, wide);
    }
  }

  func::FuncOp function;
  FloatType fast;
  double largest;
  llvm::DenseMap<Value, Value> masks;
};

} // namespace

void npuc::lower::narrowScores(func::FuncOp function, FloatType fast) {
  ScoreNarrowing(function, fast).run();
}
