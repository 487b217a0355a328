#include "backends/cuda/codegen/Kernel.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;

namespace {

constexpr unsigned threads = 256;

} // namespace

LogicalResult npuc::cuda::writePointwise(const tile::Group &group, const Machine &, Kernel &kernel) {
  linalg::LinalgOp root = group.root();
  if (llvm::any_of(group.operations, [](linalg::LinalgOp op) { return op.getNumReductionLoops() > 0; }))
    return failure();
  // Threads run over the loops in the order of the result's dimensions; loops that it lacks have one step.
  AffineMap map = root.getMatchingIndexingMap(root.getDpsInitOperand(0));
  if (!map.isProjectedPermutation())
    return failure();
  SmallVector<int64_t> extents = root.getStaticLoopRanges();
  SmallVector<unsigned> order;
  for (unsigned loop = 0; loop < extents.size(); ++loop)
    if (!map.isFunctionOfDim(loop)) {
      if (extents[loop] != 1)
        return failure();
      order.push_back(loop);
    }
  for (AffineExpr expr : map.getResults())
    order.push_back(cast<AffineDimExpr>(expr).getPosition());
  SmallVector<int64_t> counts = llvm::map_to_vector(order, [&](unsigned loop) { return extents[loop]; });
  int64_t lanes = counts.empty() ? 1 : lanesOf(group, counts.back());
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
    SmallVector<Position> loops(extents.size());
    for (auto [i, loop] : llvm::enumerate(order))
      loops[loop] = {at[i], 0, 1};
    if (!order.empty())
      loops[order.back()] = {e.mul(at.back(), lanes), 1, lanes};
    Scalars scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); });
    scalars.inlined.insert(group.operations.begin(), group.operations.end());
    scalars.store(root, loops, scalars.evaluate(root, loops, unsigned(lanes)));
  });
  return success();
}
