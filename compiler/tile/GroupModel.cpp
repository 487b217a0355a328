#include "compiler/tile/GroupModel.h"

#include "compiler/lower/LinalgBuilder.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <algorithm>

using namespace mlir;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

int64_t elementBits(Value value) {
  Type type = getElementTypeOrSelf(value);
  return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
}

int64_t bytesOf(Value value, int64_t elements) {
  return llvm::divideCeil(elements * elementBits(value), 8);
}

/// What reads a group's result can begin when the first block is done, where it need not wait for all, and
/// the engines change over block by block: of two cuts that take about the same, the one of smaller blocks is
/// better. The part of a block's work that counts for that, of groups that multiply: others read whole rows.
constexpr double untilUsed = 0.1;

/// How many positions an index takes while its loops run: of a sum of loops times positive constants, all
/// between the least and the greatest (a window of k, dilated by d, over n positions s apart: (n-1)·s +
/// (k-1)·d + 1).
int64_t extentOf(AffineExpr expr, ArrayRef<int64_t> extents) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return extents[dim.getPosition()];
  MLIRContext *context = expr.getContext();
  SmallVector<AffineExpr> last = llvm::map_to_vector(
      extents, [&](int64_t extent) { return getAffineConstantExpr(extent - 1, context); });
  SmallVector<AffineExpr> first(extents.size(), getAffineConstantExpr(0, context));
  auto at = [&](ArrayRef<AffineExpr> loops) {
    return cast<AffineConstantExpr>(expr.replaceDims(loops)).getValue();
  };
  return at(last) - at(first) + 1;
}

} // namespace

/// What one operand brings from outside, for one block of a core.
struct GroupModel::Load {
  Value value;
  int64_t bytes = 0;    ///< Of one transfer.
  int64_t times = 1;    ///< Transfers of a core in all.
  int64_t distinct = 1; ///< Different parts that cores read.
  int64_t sharers = 1;  ///< Cores that read the same part.
  int64_t run = 0;      ///< Elements of the run that a core reads; 0 if it is none.
  double share = 1;     ///< Of the tensor, that a core reads.
};

GroupModel::GroupModel(const Group &group, const Prices &prices, int64_t step)
    : group(group), prices(prices), isStep(step > 0) {
  members = group.members();
  along = loopsAlong(group.root(), members);
  cuttable = cuttableLoops(group.root(), members);
  rootExtents = LinalgOp(group.root()).getStaticLoopRanges();
  if (isStep)
    rootExtents.front() = step;
  multipliesByConstants = llvm::any_of(group.operations, [](LinalgOp op) {
    return isContraction(op) && llvm::any_of(op.getDpsInputs(), isConstantTensor);
  });
}

bool GroupModel::hasRows() const {
  LinalgOp root = group.root();
  AffineMap map = root.getMatchingIndexingMap(root.getDpsInitOperand(0));
  return root.getNumDpsInits() == 1 && map.getNumResults() > 1 && cuttable.test(0) &&
         map.getResult(0) == getAffineDimExpr(0, root.getContext());
}

SmallVector<int64_t> GroupModel::perCore(ArrayRef<int64_t> cores) const {
  SmallVector<int64_t> extents = rootExtents;
  for (auto [extent, tile] : llvm::zip_equal(extents, cores))
    extent = tile ? tile : extent;
  return extents;
}

SmallVector<int64_t> GroupModel::blockExtents(const Cut &cut) const {
  SmallVector<int64_t> extents = perCore(cut.cores);
  for (auto [extent, block] : llvm::zip_equal(extents, cut.blocks))
    extent = block ? block : extent;
  return extents;
}

SmallVector<int64_t> GroupModel::extentsOf(LinalgOp op, ArrayRef<int64_t> rootExtents) const {
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  for (auto [extent, rootLoop] : llvm::zip_equal(extents, along.find(op)->second))
    if (rootLoop >= 0 && cuttable[rootLoop])
      extent = rootExtents[rootLoop];
  return extents;
}

bool GroupModel::isOutside(Value value) const {
  Operation *producer = value.getDefiningOp();
  return !producer || !members.contains(producer);
}

int64_t GroupModel::elements(LinalgOp op, OpOperand &operand, ArrayRef<int64_t> extents) const {
  int64_t elements = 1;
  for (AffineExpr expr : op.getMatchingIndexingMap(&operand).getResults())
    elements *= extentOf(expr, extents);
  return elements;
}

SmallVector<int64_t> GroupModel::contractionBlocks(LinalgOp op, ArrayRef<int64_t> blocks) const {
  SmallVector<int64_t> extents = extentsOf(op, blocks), result(extents.size(), 0);
  OpOperand *weights = op.getDpsInputOperand(1);
  AffineMap map = op.getMatchingIndexingMap(weights),
            sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  llvm::SmallBitVector columns = columnLoops(op);
  ArrayRef<int> rootLoops = along.find(op)->second;
  auto bytes = [&] { return bytesOf(weights->get(), elements(op, *weights, extents)); };
  auto shrink = [&](bool n, int64_t lanes) {
    for (unsigned loop = 0; loop < extents.size(); ++loop) {
      bool isN = columns[loop] && sums.isFunctionOfDim(loop);
      bool isK = map.isFunctionOfDim(loop) && !sums.isFunctionOfDim(loop);
      if ((n ? !isN : !isK) || (rootLoops[loop] >= 0 && cuttable[rootLoops[loop]]))
        continue;
      while (bytes() > prices.scratchpadBytes / 8 && extents[loop] > lanes)
        result[loop] = extents[loop] =
            std::max(lanes, int64_t(llvm::alignTo(llvm::divideCeil(extents[loop], 2), lanes)));
    }
  };
  shrink(true, prices.lanesN);
  shrink(false, prices.lanesK);
  return result;
}

int64_t GroupModel::workingSet(const Cut &cut) const {
  SmallVector<int64_t> block = blockExtents(cut);
  int64_t copies = block == perCore(cut.cores) ? 1 : 2;
  llvm::DenseMap<Value, int64_t> bytes;
  auto count = [&](LinalgOp op, OpOperand &operand, ArrayRef<int64_t> extents, Value value, int64_t times) {
    int64_t &known = bytes[value];
    known = std::max(known, bytesOf(value, elements(op, operand, extents)) * times);
  };
  for (LinalgOp op : group.operations) {
    SmallVector<int64_t> whole = extentsOf(op, block), extents = whole;
    if (isContraction(op))
      for (auto [extent, part] : llvm::zip_equal(extents, contractionBlocks(op, block)))
        extent = part ? std::min(extent, part) : extent;
    for (OpOperand *input : op.getDpsInputOperands())
      count(op, *input, extents, input->get(), isOutside(input->get()) ? 2 : copies);
    for (OpOperand &init : op.getDpsInitsMutable())
      count(op, init, whole, op.getTiedOpResult(&init), copies);
  }
  int64_t total = 0;
  for (auto &[value, size] : bytes)
    total += size;
  return total;
}

int64_t GroupModel::runOf(LinalgOp op, OpOperand &operand, ArrayRef<int64_t> cores) const {
  if (isStep)
    return 0; // A core has a run in each step.
  // As the cut of a tensor's leading dimensions by the grid's loops in order: single ones before the last.
  SmallVector<int> cutLoops;
  for (auto [loop, tile] : llvm::enumerate(cores))
    if (tile)
      cutLoops.push_back(loop);
  ArrayRef<int> rootLoops = along.find(op)->second;
  ArrayRef<AffineExpr> results = op.getMatchingIndexingMap(&operand).getResults();
  size_t next = 0;
  bool cutBefore = false;
  for (auto [i, expr] : llvm::enumerate(results)) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    int64_t size = cast<ShapedType>(operand.get().getType()).getDimSize(i);
    if (!dim || next == cutLoops.size() || rootLoops[dim.getPosition()] != cutLoops[next]) {
      if (size != 1)
        return 0;
      continue;
    }
    int64_t tile = cores[cutLoops[next++]];
    if (next < cutLoops.size()) {
      if (tile != 1)
        return 0;
      cutBefore |= size > 1;
      continue;
    }
    if (cutBefore && size % tile != 0)
      return 0;
    for (int64_t rest : cast<ShapedType>(operand.get().getType()).getShape().drop_front(i + 1))
      tile *= rest;
    return tile;
  }
  return 0;
}

std::vector<GroupModel::Load> GroupModel::loads(const Cut &cut) const {
  SmallVector<int64_t> core = perCore(cut.cores), block = blockExtents(cut);
  int64_t usedCores = 1;
  for (auto [extent, tile] : llvm::zip_equal(rootExtents, core))
    usedCores *= llvm::divideCeil(extent, tile);
  std::vector<Load> loads;
  llvm::DenseMap<Value, unsigned> known;
  for (LinalgOp op : group.operations) {
    SmallVector<int64_t> extents = extentsOf(op, block);
    int64_t parts = 1;
    if (isContraction(op))
      for (auto [extent, part] : llvm::zip_equal(extents, contractionBlocks(op, block)))
        parts *= part ? llvm::divideCeil(extent, part) : 1;
    ArrayRef<int> rootLoops = along.find(op)->second;
    for (OpOperand *input : op.getDpsInputOperands()) {
      if (!isOutside(input->get()) || !isa<RankedTensorType>(input->get().getType()))
        continue;
      Load load;
      load.value = lower::withoutReshapes(input->get());
      // Loaded outside of the block loops that it does not depend on, but for those around one that it does.
      // A constant stays there while all rows go by.
      const bool staysOutside = byRows && isConstantTensor(input->get());
      AffineMap map = op.getMatchingIndexingMap(input);
      int64_t trips = 1;
      SmallVector<bool> depends(rootExtents.size());
      for (unsigned loop = 0; loop < map.getNumDims(); ++loop)
        if (rootLoops[loop] >= 0 && map.isFunctionOfDim(loop))
          depends[rootLoops[loop]] = true;
      for (size_t loop = 0; loop < rootExtents.size(); ++loop) {
        int64_t blocks = llvm::divideCeil(core[loop], block[loop]);
        trips *= blocks;
        if (depends[loop]) {
          load.times = blocks > 1 || !staysOutside ? trips : load.times;
          load.distinct *= llvm::divideCeil(rootExtents[loop], core[loop]);
        }
      }
      load.sharers = std::max<int64_t>(1, usedCores / load.distinct);
      bool cutInParts = parts > 1 && input == op.getDpsInputOperand(1);
      int64_t whole = elements(op, *input, extents);
      load.bytes = bytesOf(input->get(), llvm::divideCeil(whole, cutInParts ? parts : 1));
      if (cutInParts)
        load.times = trips * parts; // Each block goes through all the parts.
      load.run = runOf(op, *input, cut.cores);
      load.share = double(elements(op, *input, extentsOf(op, core))) /
                   std::max<int64_t>(1, cast<ShapedType>(input->get().getType()).getNumElements());
      auto [it, isNew] = known.try_emplace(input->get(), loads.size());
      if (isNew)
        loads.push_back(load);
      else if (load.bytes * load.times > loads[it->second].bytes * loads[it->second].times)
        loads[it->second] = load;
    }
  }
  return loads;
}

/// One block's work of each engine.
GroupModel::BlockWork GroupModel::blockWork(const Cut &cut) const {
  SmallVector<int64_t> block = blockExtents(cut);
  BlockWork work;
  for (LinalgOp op : group.operations) {
    SmallVector<int64_t> extents = extentsOf(op, block);
    if (!isContraction(op)) {
      work.vector += prices.compute(op, extents);
      continue;
    }
    int64_t parts = 1;
    for (auto [extent, part] : llvm::zip_equal(extents, contractionBlocks(op, block)))
      if (part) {
        parts *= llvm::divideCeil(extent, part);
        extent = part;
      }
    work.matrix += parts * prices.compute(op, extents);
  }
  return work;
}

double GroupModel::cycles(const Cut &cut, const ProducedTensors &produced, double dramShare) const {
  SmallVector<int64_t> core = perCore(cut.cores), block = blockExtents(cut);
  int64_t blocks = 1;
  for (auto [extent, part] : llvm::zip_equal(core, block))
    blocks *= llvm::divideCeil(extent, part);
  BlockWork work = blockWork(cut);

  // Transfers: constants may come long before they are needed; the rest waits for its producer.
  double dma = 0, dram = 0, first = 0;
  for (const Load &load : loads(cut)) {
    auto from = produced.find(load.value);
    double issued = prices.multicast ? 1.0 / load.sharers : 1.0;
    auto countDram = [&] {
      dram += prices.dram(load.bytes * load.times * load.distinct * (prices.multicast ? 1 : load.sharers));
    };
    if (from == produced.end()) {
      dma += load.times * issued * prices.transfer(Place::Dram, load.bytes);
      countDram();
      continue;
    }
    if (from->second.chunk && from->second.chunk == load.run)
      continue;
    // What a queue is busy for, and what a core waits for, which gets all of it however few transfers send
    // it.
    double one, arrives;
    if (prices.hasShared) {
      arrives = prices.transfer(Place::Shared, load.bytes);
      one = issued * arrives;
    } else if (from->second.chunk) {
      double pieces = std::max(1.0, load.share * prices.cores);
      one = issued * pieces * prices.transfer(Place::OtherCore, int64_t(load.bytes / pieces));
      arrives = prices.transfer(Place::OtherCore, load.bytes);
    } else {
      arrives = prices.transfer(Place::Dram, load.bytes);
      one = issued * arrives;
      countDram();
    }
    dma += load.times * one;
    // Write-out, and the first block's way in, are in nobody's shadow.
    first += from->second.writeOut + arrives;
  }
  Produced result = leaves(cut);
  if (!result.chunk)
    dma += result.writeOut;
  double busiest = std::max({blocks * work.matrix, blocks * work.vector, dma / prices.queues, dram});
  // Of equal cuts that is better which finishes the first dimension's first part in one block.
  int64_t blocksOfPart = 1;
  for (size_t loop = 1; loop < core.size(); ++loop)
    blocksOfPart *= llvm::divideCeil(core[loop], block[loop]);
  const bool ordersCount = prices.hasShared && multipliesByConstants && blocksOfPart > 1;
  double untilNext = work.matrix > 0 ? untilUsed * (work.matrix + work.vector) + (ordersCount ? 1 : 0) : 0;
  return busiest + dramShare * dram + work.alone() + first + untilNext;
}

Produced GroupModel::readByRows(const ProducedTensors &produced) const {
  Produced most;
  for (LinalgOp op : group.operations)
    for (OpOperand *input : op.getDpsInputOperands()) {
      auto left = produced.find(lower::withoutReshapes(input->get()));
      if (left == produced.end() || left->second.rows <= most.rows)
        continue;
      // Rows of what is read, which a reshape may have changed, by the root's first loop.
      auto shape = cast<ShapedType>(input->get().getType()).getShape(),
           whole = cast<ShapedType>(left->first.getType()).getShape();
      auto first = dyn_cast<AffineDimExpr>(op.getMatchingIndexingMap(input).getResult(0));
      if (first && along.find(op)->second[first.getPosition()] == 0 && shape.front() == whole.front())
        most = left->second;
    }
  return most;
}

bool GroupModel::leavesChip(const Cut &cut) const {
  Value into = lower::withoutReshapes(LinalgOp(group.root()).getDpsInits()[0]);
  if (auto fill = into.getDefiningOp<linalg::FillOp>())
    into = lower::withoutReshapes(fill.output());
  return !prices.hasShared && !isa<BlockArgument>(into) && !leaves(cut).chunk;
}

Produced GroupModel::leaves(const Cut &cut) const {
  LinalgOp root = group.root();
  OpOperand *init = root.getDpsInitOperand(0);
  Produced result;
  result.chunk = runOf(root, *init, cut.cores);
  int64_t bytes = bytesOf(init->get(), elements(root, *init, perCore(cut.cores)));
  result.writeOut = prices.transfer(prices.hasShared ? Place::Shared : Place::Dram, bytes);
  if (!hasRows() || (!isStep && (cut.cores.front() != 0 || cut.blocks.front() == 0)))
    return result;
  result.rows = isStep ? rootExtents.front() : cut.blocks.front();
  result.lag = blockWork(cut).alone() + result.writeOut;
  return result;
}
