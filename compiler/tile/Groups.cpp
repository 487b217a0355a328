#include "compiler/lower/Lower.h"
#include "compiler/tile/Loops.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NodeName.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

/// The value before conversions between float types or integer widths.
Value stripWidening(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    // Unsigned integers go through those without a sign of their own.
    if (!isa<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp, UnrealizedConversionCastOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

bool hasConstantOperand(LinalgOp op) {
  return llvm::any_of(op.getDpsInputs(), isConstantTensor);
}

/// It sums what a multiplication by a constant gives that a backend keeps: the backend knows it, so it stays.
bool isKept(LinalgOp op) {
  return op.getNumReductionLoops() > 0 && llvm::any_of(op.getDpsInputs(), [](Value input) {
           auto producer = input.getDefiningOp<LinalgOp>();
           return producer && llvm::any_of(producer.getDpsInputs(), [](Value operand) {
                    return operand.getDefiningOp() && operand.getDefiningOp()->hasAttr(constantAttr);
                  });
         });
}

/// A formula of the sums of a multiplication by constants: it stays with that, so that the sums, which are
/// wider than the formula's results, need not leave the core.
bool finishesSums(LinalgOp op) {
  return llvm::any_of(op.getDpsInputs(), [](Value input) {
    auto producer = input.getDefiningOp<LinalgOp>();
    return producer && producer->hasOneUse() &&
           ((npuc::tile::isContraction(producer) && hasConstantOperand(producer)) || isKept(producer));
  });
}

/// What kinds of work a set of operations holds.
struct Contents {
  unsigned contractions = 0, constantContractions = 0;

  void add(LinalgOp op) {
    if (!isContraction(op))
      return;
    ++contractions;
    constantContractions += hasConstantOperand(op);
  }
  bool mayCoexist() const { return constantContractions == 0 || contractions == 1; }
};

/// A reduction, or a formula of one, as of a row's greatest value or its sum. (That may be a product with
/// ones, which has no columns.)
bool isOfReduction(LinalgOp op) {
  llvm::SmallSetVector<Operation *, 8> formulas;
  formulas.insert(op);
  for (size_t at = 0; at < formulas.size(); ++at) {
    auto formula = cast<LinalgOp>(formulas[at]);
    if (formula.getNumReductionLoops() > 0)
      return true;
    for (Value input : formula.getDpsInputs())
      if (auto producer = input.getDefiningOp<LinalgOp>();
          producer && !(isContraction(producer) && columnLoops(producer).any()))
        formulas.insert(producer);
  }
  return false;
}

/// The root's loops that are columns of a product in the group.
llvm::SmallBitVector columnsOfProducts(LinalgOp root, const llvm::SetVector<Operation *> &members) {
  llvm::SmallBitVector columns(root.getNumLoops());
  LoopsAlong along = loopsAlong(root, members);
  for (Operation *member : members) {
    auto op = cast<LinalgOp>(member);
    if (!isContraction(op))
      continue;
    for (unsigned loop : columnLoops(op).set_bits())
      if (int rootLoop = along[member][loop]; rootLoop >= 0)
        columns.set(rootLoop);
  }
  return columns;
}

/// Few enough steps for one core.
bool isSmall(LinalgOp op) {
  int64_t steps = 1;
  for (int64_t extent : op.getStaticLoopRanges())
    steps *= extent;
  return steps <= 16 * 1024;
}

/// Tells that `candidate` is fused with `root`, or why not.
void tell(LinalgOp candidate, LinalgOp root, StringRef reason) {
  auto what = remark::RemarkOpts::name(reason.empty() ? "fused" : "not fused").category("fuse");
  StringRef into = npuc::nn::nodeName(root.getLoc());
  if (reason.empty())
    remark::passed(candidate.getLoc(), what) << remark::add("into the group of '{0}'", into);
  else
    remark::missed(candidate.getLoc(), what)
        << remark::add("into the group of '{0}'", into) << remark::reason("{0}", reason);
}

} // namespace

bool npuc::tile::isContraction(LinalgOp op) {
  if (op.getNumReductionLoops() == 0 || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1)
    return false;
  Block *body = op.getBlock();
  Operation *add = body->getTerminator()->getOperand(0).getDefiningOp();
  if (!add || !isa<arith::AddFOp, arith::AddIOp>(add))
    return false;
  for (unsigned i = 0; i < 2; ++i) {
    Operation *mul = add->getOperand(i).getDefiningOp();
    if (add->getOperand(1 - i) != body->getArgument(2) || !mul || !isa<arith::MulFOp, arith::MulIOp>(mul))
      continue;
    Value a = stripWidening(mul->getOperand(0)), b = stripWidening(mul->getOperand(1));
    return (a == body->getArgument(0) && b == body->getArgument(1)) ||
           (a == body->getArgument(1) && b == body->getArgument(0));
  }
  return false;
}

bool npuc::tile::isConstantTensor(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (op->hasAttr(constantAttr))
      return true;
    if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return lower::isConstant(cast<BlockArgument>(value));
}

llvm::SmallBitVector npuc::tile::columnLoops(LinalgOp op) {
  AffineMap lhs = op.getMatchingIndexingMap(op.getDpsInputOperand(0)),
            rhs = op.getMatchingIndexingMap(op.getDpsInputOperand(1));
  llvm::SmallBitVector loops(op.getNumLoops());
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    loops[loop] = rhs.isFunctionOfDim(loop) && !lhs.isFunctionOfDim(loop);
  return loops;
}

bool npuc::tile::isMovement(LinalgOp op) {
  Block *body = op.getBlock();
  if (op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 0 ||
      !llvm::hasSingleElement(body->getOperations()))
    return false;
  auto yielded = dyn_cast<BlockArgument>(body->getTerminator()->getOperand(0));
  return yielded && yielded.getArgNumber() < op.getNumDpsInputs() &&
         op.getMatchingIndexingMap(op.getDpsInputOperand(yielded.getArgNumber())).isPermutation() &&
         op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isPermutation();
}

SmallVector<Group> npuc::tile::formGroups(func::FuncOp function) {
  SmallVector<LinalgOp> all;
  for (LinalgOp op : function.getBody().getOps<LinalgOp>())
    if (!isa<linalg::FillOp>(op.getOperation()))
      all.push_back(op);

  llvm::SmallPtrSet<Operation *, 32> taken;
  SmallVector<Group> groups;
  for (LinalgOp root : llvm::reverse(all)) {
    if (!taken.insert(root).second)
      continue;
    llvm::SetVector<Operation *> members;
    members.insert(root);
    Contents contents;
    contents.add(root);
    llvm::SmallBitVector cuttable = cuttableLoops(root, members);
    // Producers in reverse program order, so that all users of a candidate have been decided on; but first
    // the product of activations whose sums the root finishes, so that nothing else that the root reads takes
    // the loops along which that is cut.
    SmallVector<LinalgOp> candidates;
    llvm::copy_if(llvm::reverse(all), std::back_inserter(candidates),
                  [&](LinalgOp op) { return !taken.contains(op); });
    std::stable_partition(candidates.begin(), candidates.end(), [&](LinalgOp op) {
      return isContraction(op) && !hasConstantOperand(op) && llvm::is_contained(op->getUsers(), root);
    });
    for (LinalgOp candidate : candidates) {
      if (isMovement(candidate) || isMovement(root))
        continue;
      SmallVector<Operation *> users(candidate->user_begin(), candidate->user_end());
      if (llvm::none_of(users, [&](Operation *user) { return members.contains(user); }))
        continue;
      if (contents.contractions > 0 && finishesSums(candidate)) {
        tell(candidate, root, "it finishes the sums of another multiplication by constants");
        continue;
      }
      if (!llvm::all_of(users, [&](Operation *user) { return members.contains(user); })) {
        tell(candidate, root, "something outside of the group reads it too");
        continue;
      }
      // What a multiplication by constants reads is read by every block of its columns.
      if (llvm::any_of(users, [](Operation *user) {
            return isContraction(cast<LinalgOp>(user)) && hasConstantOperand(cast<LinalgOp>(user));
          })) {
        tell(candidate, root, "each block of a multiplication by constants would compute it anew");
        continue;
      }
      Contents with = contents;
      with.add(candidate);
      if (!with.mayCoexist()) {
        tell(candidate, root, "the group would multiply by constants and multiply again");
        continue;
      }
      members.insert(candidate);
      llvm::SmallBitVector cuttableWith = cuttableLoops(root, members);
      // A group that multiplies keeps the loops it can be cut along, but for the columns of its products
      // where all operands are activations and a row's reduction is joined (attention); before it multiplies,
      // a norm or softmax may need whole rows.
      auto losesColumnsOnly = [&] {
        llvm::SmallBitVector lost = cuttable;
        lost.reset(cuttableWith);
        return with.constantContractions == 0 && isOfReduction(candidate) &&
               !lost.test(columnsOfProducts(root, members));
      };
      bool fits = cuttableWith.any() &&
                  (contents.contractions == 0 || cuttableWith == cuttable || losesColumnsOnly());
      // What a reduction to one value needs and what needs it run on one core, if that is not much.
      bool fitsOneCore = with.contractions == 0 && cuttableWith.none() && isSmall(root) &&
                         isSmall(candidate) && !isKept(candidate) &&
                         (cuttable.none() || candidate.getNumParallelLoops() == 0);
      if (!fits && !fitsOneCore) {
        tell(candidate, root, "the group would lose loops that it can be cut along");
        members.remove(candidate);
        continue;
      }
      tell(candidate, root, "");
      taken.insert(candidate);
      contents = with;
      cuttable = cuttableWith;
    }
    Group group;
    for (LinalgOp op : all)
      if (members.contains(op))
        group.operations.push_back(op);
    if (cuttable.none())
      addUnitLoop(group);
    groups.push_back(std::move(group));
  }
  std::reverse(groups.begin(), groups.end());
  return groups;
}
