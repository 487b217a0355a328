#include "backends/cuda/codegen/Split.h"

#include "compiler/tile/Loops.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

struct Part {
  LinalgOp root;
  llvm::SetVector<Operation *> members; ///< In reverse program order.
  bool reduces = false, contracts = false;
  /// Its root is a formula of a contraction's sums, which joins it.
  bool finishes = false;
};

bool isFormula(LinalgOp op) {
  return op.getNumReductionLoops() == 0;
}

/// The formulas of a contraction's sums in the group, but for those that need a reduction of the same sums
/// too.
llvm::DenseSet<Operation *> formulasOfSums(const tile::Group &group, Contracts isContraction) {
  // Which contractions an operation depends on, by number: through formulas alone, and through reductions.
  struct Sources {
    llvm::SmallBitVector sums, reduced;
  };
  unsigned count = unsigned(group.operations.size());
  llvm::DenseMap<Operation *, Sources> known;
  llvm::DenseSet<Operation *> found;
  for (unsigned number = 0; number < count; ++number) {
    LinalgOp op = group.operations[number];
    Sources sources{llvm::SmallBitVector(count), llvm::SmallBitVector(count)};
    for (Value input : op.getDpsInputs())
      if (auto producer = known.find(input.getDefiningOp()); producer != known.end()) {
        sources.sums |= producer->second.sums;
        sources.reduced |= producer->second.reduced;
      }
    if (isFormula(op)) {
      if (sources.sums.any() && !sources.sums.anyCommon(sources.reduced))
        found.insert(op);
    } else {
      sources.reduced |= sources.sums;
      sources.sums.reset();
      if (isContraction(op))
        sources.sums.set(number);
    }
    known[op] = std::move(sources);
  }
  return found;
}

} // namespace

SmallVector<tile::Group> npuc::cuda::splitGroup(const tile::Group &group, Contracts isContraction) {
  llvm::DenseSet<Operation *> finishes = formulasOfSums(group, isContraction);
  std::vector<Part> parts;
  llvm::DenseMap<Operation *, size_t> partOf;
  for (LinalgOp op : llvm::reverse(group.operations)) {
    bool contracts = isContraction(op), finishing = finishes.contains(op);
    auto joins = [&](size_t index) {
      const Part &part = parts[index];
      if (contracts && (part.contracts || part.reduces || !part.finishes))
        return false;
      if (!contracts && op.getNumReductionLoops() > 0 && (part.contracts || part.finishes))
        return false;
      // What a contraction reads is in memory, and so is what its formulas read beside its sums.
      if (isFormula(op) && (part.contracts || (part.finishes && !finishing) || (part.reduces && finishing)))
        return false;
      llvm::SetVector<Operation *> with = part.members;
      with.insert(op);
      llvm::SmallBitVector cuttable = tile::cuttableLoops(part.root, with);
      if (contracts)
        return cuttable.all();
      // A sum of each element does not go with one of rows of elements.
      if (!isFormula(op)) {
        tile::LoopsAlong along = tile::loopsAlong(part.root, with);
        for (auto [extent, kind, loop] :
             llvm::zip_equal(op.getStaticLoopRanges(), op.getIteratorTypesArray(), along[op]))
          if (kind == utils::IteratorType::parallel && extent > 1 && (loop < 0 || !cuttable[unsigned(loop)]))
            return false;
      }
      return cuttable.any();
    };
    std::optional<size_t> joined;
    for (Operation *user : op->getUsers()) {
      auto found = partOf.find(user);
      size_t index = found == partOf.end() ? parts.size() : found->second;
      if (index == parts.size() || (joined && *joined != index) || !joins(index)) {
        joined = std::nullopt;
        break;
      }
      joined = index;
    }
    if (!joined) {
      joined = parts.size();
      parts.push_back({op, {}, false, false, finishing});
    }
    Part &part = parts[*joined];
    part.members.insert(op);
    part.contracts |= contracts;
    part.reduces |= !contracts && op.getNumReductionLoops() > 0;
    partOf[op] = *joined;
  }
  SmallVector<tile::Group> groups;
  for (const Part &part : llvm::reverse(parts)) {
    tile::Group cut;
    for (Operation *op : llvm::reverse(part.members))
      cut.operations.push_back(cast<LinalgOp>(op));
    groups.push_back(std::move(cut));
  }
  return groups;
}

tile::Group npuc::cuda::takeOperands(tile::Group &group) {
  llvm::DenseSet<Operation *> ofSums, operands;
  unsigned contractions = 0;
  for (LinalgOp op : group.operations) {
    contractions += tile::isContraction(op);
    if (tile::isContraction(op) ||
        llvm::any_of(op.getDpsInputs(), [&](Value input) { return ofSums.contains(input.getDefiningOp()); }))
      ofSums.insert(op);
  }
  tile::Group taken, rest;
  if (contractions < 2)
    return taken;
  for (LinalgOp op : llvm::reverse(group.operations))
    if (!ofSums.contains(op) && (!isFormula(op) || llvm::any_of(op->getUsers(), [&](Operation *user) {
          return operands.contains(user) || tile::isContraction(cast<LinalgOp>(user));
        })))
      operands.insert(op);
  for (LinalgOp op : group.operations)
    (operands.contains(op) ? taken : rest).operations.push_back(op);
  group = rest;
  return taken;
}
