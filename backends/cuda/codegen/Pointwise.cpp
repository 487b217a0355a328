#include "backends/cuda/codegen/Kernel.h"
#include "compiler/tile/Loops.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;

namespace {

constexpr unsigned threads = 256;
/// Steps of a reduction by one thread, unless there are threads enough for all cores.
constexpr int64_t fewSteps = 64;

/// The operand of most elements lies in memory along a loop that is summed over: its elements are read better
/// by the threads of a warp together.
bool readsAlongSums(linalg::LinalgOp op) {
  OpOperand *widest = nullptr;
  int64_t most = 0;
  for (OpOperand *input : op.getDpsInputOperands())
    if (auto type = dyn_cast<RankedTensorType>(input->get().getType());
        type && type.getNumElements() > most) {
      widest = input;
      most = type.getNumElements();
    }
  if (!widest)
    return false;
  auto shape = cast<RankedTensorType>(widest->get().getType()).getShape();
  auto kinds = op.getIteratorTypesArray();
  for (auto [size, index] :
       llvm::reverse(llvm::zip_equal(shape, op.getMatchingIndexingMap(widest).getResults())))
    if (size > 1) {
      for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
        if (index.isFunctionOfDim(loop) && kinds[loop] == utils::IteratorType::reduction)
          return true;
      return false;
    }
  return false;
}

bool sums(const tile::Group &group) {
  return llvm::any_of(group.operations, [](linalg::LinalgOp op) { return op.getNumReductionLoops() > 0; });
}

/// There is nothing to sum, or a thread sums what its elements need: each sum is needed by one of them, and
/// neighbours read neighbours.
bool threadsSum(const tile::Group &group, const Machine &machine) {
  if (!sums(group))
    return true;
  linalg::LinalgOp root = group.root();
  llvm::SmallBitVector cuttable = tile::cuttableLoops(root, group.members());
  SmallVector<int64_t> extents = root.getStaticLoopRanges();
  SmallVector<utils::IteratorType> kinds = root.getIteratorTypesArray();
  int64_t elements = 1;
  for (unsigned loop = 0; loop < extents.size(); ++loop)
    if (kinds[loop] == utils::IteratorType::parallel) {
      if (extents[loop] > 1 && !cuttable[loop])
        return false;
      elements *= extents[loop];
    }
  for (linalg::LinalgOp op : group.operations) {
    if (op.getNumReductionLoops() == 0)
      continue;
    int64_t steps = 1;
    for (auto [extent, kind] : llvm::zip_equal(op.getStaticLoopRanges(), op.getIteratorTypesArray()))
      steps *= kind == utils::IteratorType::reduction ? extent : 1;
    if (op.getNumDpsInits() != 1 || readsAlongSums(op) ||
        (steps > fewSteps && elements < machine.cores * int64_t(threads)))
      return false;
  }
  return true;
}

} // namespace

LogicalResult npuc::cuda::writePointwise(const tile::Group &group, const Machine &machine, Kernel &kernel) {
  linalg::LinalgOp root = group.root();
  if (!threadsSum(group, machine))
    return failure();
  // Threads run over the loops in the order of the result's dimensions; loops that it lacks have one step, or
  // are summed over.
  AffineMap map = root.getMatchingIndexingMap(root.getDpsInitOperand(0));
  if (!map.isProjectedPermutation())
    return failure();
  SmallVector<int64_t> extents = root.getStaticLoopRanges();
  SmallVector<unsigned> order;
  for (unsigned loop = 0; loop < extents.size(); ++loop)
    if (!map.isFunctionOfDim(loop)) {
      if (root.getIteratorTypesArray()[loop] == utils::IteratorType::reduction)
        continue;
      if (extents[loop] != 1)
        return failure();
      order.push_back(loop);
    }
  for (AffineExpr expr : map.getResults())
    order.push_back(cast<AffineDimExpr>(expr).getPosition());
  SmallVector<int64_t> counts = llvm::map_to_vector(order, [&](unsigned loop) { return extents[loop]; });
  int64_t lanes = counts.empty() ? 1 : lanesOf(group, counts.back());
  // A row of one thread lies behind the one before: LLVM would load several steps at once, and more behind
  // the last.
  if (sums(group) && (counts.empty() || counts.back() == lanes))
    return failure();
  if (!counts.empty())
    counts.back() /= lanes;
  int64_t total = 1;
  for (int64_t count : counts)
    total *= count;

  Emit e = kernel.emit();
  kernel.threads = threads;
  kernel.grid[0] = unsigned(llvm::divideCeil(total, threads));
  Value thread = e.add(e.mul(e.blockIdX(), threads), e.threadId());
  e.when(total % threads ? e.less(thread, total) : Value(), [&] {
    SmallVector<Value> at = e.delinearize(thread, counts);
    SmallVector<Position> loops(extents.size(), Position{e.index(0), 0, 0});
    for (auto [i, loop] : llvm::enumerate(order))
      loops[loop] = {at[i], 0, 1};
    if (!order.empty())
      loops[order.back()] = {e.mul(at.back(), lanes), 1, lanes};
    Scalars scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); });
    scalars.inlined.insert(group.operations.begin(), group.operations.end());
    scalars.store(root, loops, scalars.compute(root, loops, unsigned(lanes)));
  });
  return success();
}
