#include "backends/cuda/codegen/Between.h"

#include "backends/cuda/codegen/Tensor.h"
#include "compiler/lower/LinalgBuilder.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// The value before it was widened.
Value widened(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// The tensors x and y of a formula that is exp(x − y), rounded to its type.
std::optional<std::array<Value, 2>> exponentialOf(LinalgOp op) {
  Value result = op.getBlock()->getTerminator()->getOperand(0);
  if (auto rounded = result.getDefiningOp<arith::TruncFOp>())
    result = rounded.getIn();
  auto exp = result.getDefiningOp<math::ExpOp>();
  auto difference = exp ? exp.getOperand().getDefiningOp<arith::SubFOp>() : arith::SubFOp();
  OpOperand *x = difference ? lower::inputOf(op, widened(difference.getLhs())) : nullptr,
            *y = difference ? lower::inputOf(op, widened(difference.getRhs())) : nullptr;
  return x && y ? std::optional<std::array<Value, 2>>({x->get(), y->get()}) : std::nullopt;
}

/// It combines the elements of `tensor` as they are.
bool isPlain(OfRow &row, Value tensor) {
  Block *body = row.op.getBlock();
  return row.op.getNumDpsInputs() == 1 && row.op.getDpsInputs()[0] == tensor &&
         llvm::any_of(row.combiner.op->getOperands(),
                      [&](Value value) { return widened(value) == body->getArgument(0); });
}

/// Each of a row's threads can begin with what the reduction begins with: an extreme, or a sum with zero.
bool mayBeginOften(OfRow &row) {
  return isa<arith::AddFOp, arith::AddIOp>(row.combiner.op)
             ? startsAtZero(row.op)
             : bool(row.op.getDpsInits()[0].getDefiningOp<linalg::FillOp>());
}

/// `op`, which computes exp(masked − base), makes a softmax of a row's greatest element among `ofRows`.
void findSoftmax(LinalgOp op, Between &found) {
  std::optional<std::array<Value, 2>> operands = exponentialOf(op);
  if (!operands || found.exponentials || !getElementTypeOrSelf((*operands)[0].getType()).isF32())
    return;
  auto [masked, base] = *operands;
  Value greatest = base;
  if (auto formula = base.getDefiningOp<LinalgOp>();
      formula && formula.getNumReductionLoops() == 0 && formula.getNumDpsInputs() == 1)
    greatest = formula.getDpsInputs()[0];
  for (OfRow &row : found.ofRows)
    if (row.op->getResult(0) == greatest && isa<arith::MaximumFOp>(row.combiner.op) && isPlain(row, masked)) {
      found.greatest = row.op;
      found.passOfGreatest = row.pass;
      found.exponentials = op;
      found.masked = masked;
      found.base = base;
    }
}

/// Marks what the formulas of weighted sums read; false if they read scores.
bool markKept(const tile::Group &group, Between &found) {
  llvm::SetVector<Operation *> members = group.members(), formulas;
  formulas.insert(group.root());
  for (size_t at = 0; at < formulas.size(); ++at) {
    if (formulas[at] == found.weighted)
      continue;
    if (formulas[at] == found.scores)
      return false;
    auto row = llvm::find_if(found.ofRows, [&](OfRow &row) { return row.op == formulas[at]; });
    if (row != found.ofRows.end()) {
      row->isKept = true;
      continue;
    }
    for (Value input : cast<LinalgOp>(formulas[at]).getDpsInputs())
      if (Operation *producer = input.getDefiningOp(); producer && members.contains(producer))
        formulas.insert(producer);
  }
  return true;
}

} // namespace

std::optional<Between> npuc::cuda::betweenProducts(const tile::Group &group) {
  Between found;
  /// Of what depends on scores, the pass in which its elements are known.
  llvm::DenseMap<Operation *, unsigned> known;
  llvm::DenseSet<Operation *> ofWeighted;
  for (LinalgOp op : group.operations) {
    unsigned pass = 0;
    bool ofScores = false;
    for (Value input : op.getDpsInputs()) {
      if (ofWeighted.contains(input.getDefiningOp()))
        ofWeighted.insert(op);
      if (auto producer = known.find(input.getDefiningOp()); producer != known.end()) {
        ofScores = true;
        pass = std::max(pass, producer->second);
      }
    }
    bool reduces = op.getNumReductionLoops() > 0;
    if (reduces && ofWeighted.contains(op))
      return std::nullopt;
    if (!reduces) {
      if (ofScores)
        known[op] = pass;
      findSoftmax(op, found);
      continue;
    }
    bool ofExponentials = found.exponentials && op.getDpsInputs()[0] == found.exponentials->getResult(0);
    if (tile::isContraction(op)) {
      LinalgOp &place = ofScores ? found.weighted : found.scores;
      if (place || known.contains(op.getDpsInputs()[1].getDefiningOp()))
        return std::nullopt;
      place = op;
      if (!ofScores) {
        known[op] = 0;
        continue;
      }
      ofWeighted.insert(op);
      found.isRelative = ofExponentials && getElementTypeOrSelf(op->getResult(0).getType()).isF32();
      found.lastPass = std::max(found.lastPass, found.isRelative ? found.passOfGreatest : pass);
      continue;
    }
    std::optional<Combiner> combiner = combinerOf(op);
    if (!combiner || !ofScores)
      return std::nullopt;
    OfRow row{op, *combiner, pass};
    if (!mayBeginOften(row))
      return std::nullopt;
    if (ofExponentials && isa<arith::AddFOp>(combiner->op) && isPlain(row, op.getDpsInputs()[0])) {
      row.isRelative = true;
      row.pass = found.passOfGreatest;
    }
    known[op] = row.pass + 1;
    found.lastPass = std::max(found.lastPass, row.pass);
    found.ofRows.push_back(row);
  }
  if (!found.weighted || !markKept(group, found))
    return std::nullopt;
  found.isRelative &= found.lastPass == found.passOfGreatest;
  return found;
}
