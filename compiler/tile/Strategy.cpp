#include "compiler/tile/GroupModel.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"

#include <bit>
#include <limits>
#include <map>

using namespace mlir;
using namespace npuc;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

struct Plan {
  Cut cut;
  double cycles = std::numeric_limits<double>::infinity();
  bool fits = false, leavesChip = true;

  /// A plan that fits is better than one that does not, and one that keeps its result on chip than one that
  /// does not, whatever they take.
  bool betterThan(const Plan &other) const {
    if (fits != other.fits)
      return fits;
    return leavesChip != other.leavesChip ? !leavesChip : cycles < other.cycles;
  }
};

/// Half of a block or a little less, so that blocks are equal if that is possible; for more than one step of
/// the engine a multiple of its `lanes`.
int64_t halved(int64_t block, int64_t lanes) {
  for (int64_t part = block / 2; part > block / 3; --part)
    if (block % part == 0 && (part % lanes == 0 || part < lanes))
      return part;
  int64_t half = llvm::divideCeil(block, 2);
  return half > lanes ? llvm::alignTo(half, lanes) : block > lanes ? lanes : half;
}

class Planner {
public:
  Planner(const Group &group, const Prices &prices, const ProducedTensors &produced, double dramShare)
      : group(group), prices(prices), produced(produced), dramShare(dramShare), model(group, prices) {}

  /// The grid of cores and the blocks of least cycles: every grid over the loops that can be cut, and for
  /// each the blocks that a descent from the whole part of a core finds, by halves and, once they fit,
  /// doubles.
  Plan run() {
    cores.assign(model.extents().size(), 0);
    for (int loop : model.cuttableRootLoops().set_bits())
      loops.push_back(loop);
    searchCores(0, prices.cores);
    return best;
  }

private:
  void searchCores(size_t at, int64_t left) {
    if (at == loops.size())
      return searchBlocks();
    int64_t extent = model.extents()[loops[at]];
    for (int64_t parts = std::min(left, extent); parts >= 1; --parts) {
      int64_t tile = llvm::divideCeil(extent, parts);
      if (int64_t(llvm::divideCeil(extent, tile)) != parts)
        continue; // As many parts as a smaller number gives.
      cores[loops[at]] = parts == 1 ? 0 : tile;
      searchCores(at + 1, left / parts);
    }
    cores[loops[at]] = 0;
  }

  Plan priced(SmallVector<int64_t> blocks) const {
    SmallVector<int64_t> whole = model.perCore(cores);
    for (auto [block, extent] : llvm::zip_equal(blocks, whole))
      block = block == extent ? 0 : block;
    Plan plan;
    plan.cut = {cores, blocks};
    plan.fits = model.fits(plan.cut);
    plan.leavesChip = model.leavesChip(plan.cut);
    plan.cycles = model.cycles(plan.cut, produced, dramShare);
    return plan;
  }

  void searchBlocks() {
    SmallVector<int64_t> whole = model.perCore(cores), blocks = whole;
    Plan plan = priced(blocks);
    // A copy that fits is one transfer: nothing would overlap.
    while (!isMovement(group.root()) || !plan.fits) {
      Plan next;
      SmallVector<int64_t> nextBlocks;
      for (int step = 0, steps = plan.fits ? 2 : 1; step < steps * int(loops.size()); ++step) {
        int loop = loops[step / steps];
        SmallVector<int64_t> candidate = blocks;
        candidate[loop] = step % steps == 1
                              ? std::min(2 * blocks[loop], whole[loop])
                              : halved(blocks[loop], loop + 1 == int(blocks.size()) ? prices.lanesN : 1);
        if (candidate[loop] == blocks[loop])
          continue;
        Plan tried = priced(candidate);
        // While nothing fits, the way goes where bytes are saved.
        if (!tried.fits)
          tried.cycles = double(model.workingSet(tried.cut));
        if (tried.betterThan(next))
          next = tried, nextBlocks = candidate;
      }
      if (nextBlocks.empty() || (plan.fits && !next.betterThan(plan)))
        break;
      plan = next, blocks = nextBlocks;
    }
    if (plan.betterThan(best))
      best = plan;
  }

  const Group &group;
  const Prices &prices;
  const ProducedTensors &produced;
  double dramShare;
  GroupModel model;
  SmallVector<int> loops;
  SmallVector<int64_t> cores;
  Plan best;
};

/// A group of a multiplication and of reductions over its rows, as two: the multiplication with the formulas
/// that follow it, whose columns can be cut too, and the rest. Nothing if the group has no such form.
std::optional<std::pair<Group, Group>> splitRows(const Group &group) {
  llvm::SmallPtrSet<Operation *, 8> first;
  LinalgOp last;
  for (LinalgOp op : group.operations) {
    bool follows = last && op.getNumReductionLoops() == 0 && last->hasOneUse() && *last->user_begin() == op;
    if (isContraction(op) && last)
      return std::nullopt;
    if (!isContraction(op) && !follows)
      continue;
    first.insert(op);
    last = op;
  }
  std::pair<Group, Group> parts;
  for (LinalgOp op : group.operations)
    (first.contains(op) ? parts.first : parts.second).operations.push_back(op);
  bool readsRows =
      llvm::any_of(parts.second.operations, [](LinalgOp op) { return op.getNumReductionLoops() > 0; });
  if (first.empty() || !readsRows)
    return std::nullopt;
  // The rest must come after: of the first part it reads the last result only, and gives it nothing.
  for (LinalgOp op : parts.first.operations)
    for (Value input : op->getOperands())
      if (Operation *producer = input.getDefiningOp();
          producer && llvm::is_contained(parts.second.operations, dyn_cast<LinalgOp>(producer)))
        return std::nullopt;
  return parts;
}

/// All of a group that its plan depends on: operations, types and maps (which are unique objects), who reads
/// whom, and how what it reads was left.
using Shape = std::vector<uint64_t>;
Shape shapeOf(const Group &group, const ProducedTensors &produced) {
  Shape shape;
  auto add = [&](const void *unique) { shape.push_back(reinterpret_cast<uintptr_t>(unique)); };
  llvm::DenseMap<Value, uint64_t> numbers;
  for (LinalgOp op : group.operations) {
    for (AffineMap map : op.getIndexingMapsArray())
      add(map.getAsOpaquePointer());
    for (Operation &inner : *op.getBlock()) {
      add(inner.getName().getAsOpaquePointer());
      for (Type type : inner.getOperandTypes())
        add(type.getAsOpaquePointer());
    }
    for (Value value : op->getOperands()) {
      add(value.getType().getAsOpaquePointer());
      auto [known, isNew] = numbers.try_emplace(value, numbers.size());
      shape.push_back(known->second);
      auto left = produced.find(viewed(value));
      if (isNew && left != produced.end())
        shape.insert(shape.end(),
                     {uint64_t(left->second.chunk), std::bit_cast<uint64_t>(left->second.writeOut)});
    }
    for (Value result : op->getResults())
      numbers.try_emplace(result, numbers.size());
  }
  return shape;
}

/// How busy DRAM is at least while the engines do all that they have to, evenly on all cores: 0 to 1. The
/// busier, the more a byte that need not move costs.
double shareOf(ArrayRef<Group> groups, const Prices &prices) {
  double matrix = 0, vector = 0, dram = 0;
  llvm::SmallPtrSet<Value, 32> read;
  for (const Group &group : groups)
    for (LinalgOp op : group.operations) {
      (isContraction(op) ? matrix : vector) += prices.compute(op, op.getStaticLoopRanges()) / prices.cores;
      for (Value input : op.getDpsInputs())
        if (Value whole = viewed(input); isa<BlockArgument>(whole) && read.insert(whole).second)
          dram += prices.dram(cast<ShapedType>(whole.getType()).getNumElements() *
                              getElementTypeOrSelf(whole).getIntOrFloatBitWidth() / 8);
    }
  return dram / std::max({dram, matrix, vector, 1.0});
}

class Strategy {
public:
  Strategy(ArrayRef<Group> groups, const Prices &prices)
      : prices(prices), dramShare(shareOf(groups, prices)) {}

  void plan(const Group &group) {
    Plan whole = best(group, produced);
    if (std::optional<std::pair<Group, Group>> parts = splitRows(group)) {
      Plan first = best(parts->first, produced);
      ProducedTensors with = produced;
      with[parts->first.root()->getResult(0)] = GroupModel(parts->first, prices).leaves(first.cut);
      Plan second = best(parts->second, with);
      Plan both;
      both.cycles = first.cycles + second.cycles;
      both.fits = first.fits && second.fits;
      both.leavesChip = first.leavesChip || second.leavesChip;
      if (both.betterThan(whole)) {
        write(parts->first, first);
        write(parts->second, second);
        return;
      }
    }
    write(group, whole);
  }

private:
  /// Equal groups, as those of equal layers, have equal plans.
  Plan best(const Group &group, const ProducedTensors &produced) {
    auto [known, isNew] = plans.try_emplace(shapeOf(group, produced));
    if (isNew)
      known->second = Planner(group, prices, produced, dramShare).run();
    return known->second;
  }

  void write(const Group &group, const Plan &plan) {
    GroupModel model(group, prices);
    SmallVector<int64_t> block = model.blockExtents(plan.cut);
    Builder builder(group.root().getContext());
    for (LinalgOp op : group.operations) {
      op->setAttr(groupAttr, builder.getI64IntegerAttr(number));
      if (!isContraction(op))
        continue;
      SmallVector<int64_t> blocks = model.contractionBlocks(op, block);
      if (llvm::any_of(blocks, [](int64_t b) { return b != 0; }))
        op->setAttr(contractionBlocksAttr, builder.getDenseI64ArrayAttr(blocks));
    }
    group.root()->setAttr(coresAttr, builder.getDenseI64ArrayAttr(plan.cut.cores));
    group.root()->setAttr(blocksAttr, builder.getDenseI64ArrayAttr(plan.cut.blocks));
    group.root()->setAttr(cyclesAttr, builder.getI64IntegerAttr(int64_t(plan.cycles)));
    produced[group.root()->getResult(0)] = model.leaves(plan.cut);
    tell(group, plan);
    ++number;
  }

  void tell(const Group &group, const Plan &plan) const {
    auto list = [](ArrayRef<int64_t> numbers) {
      std::string text;
      for (int64_t number : numbers)
        text += (text.empty() ? "" : "x") + std::to_string(number);
      return text;
    };
    auto what = remark::RemarkOpts::name("cut").category("tile");
    Location loc = group.root().getLoc();
    remark::detail::InFlightRemark remark =
        plan.fits ? remark::analysis(loc, what) : remark::missed(loc, what);
    remark << remark::add("group {0} of {1} operations into {2} a core, blocks {3}", number,
                          group.operations.size(), list(plan.cut.cores), list(plan.cut.blocks))
           << remark::add("{0} cycles expected", static_cast<int64_t>(plan.cycles));
    if (plan.leavesChip)
      remark << remark::add("its result leaves for DRAM");
    if (!plan.fits)
      remark << remark::reason("no cut fits a core's scratchpad");
  }

  const Prices &prices;
  double dramShare;
  ProducedTensors produced;
  std::map<Shape, Plan> plans;
  int64_t number = 0;
};

} // namespace

void npuc::tile::planTiles(ArrayRef<Group> groups, const Prices &prices) {
  Strategy strategy(groups, prices);
  for (const Group &group : groups)
    strategy.plan(group);
}
