#include "compiler/lower/LinalgBuilder.h"
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
  double waits = 0; ///< Cycles that other work waits for besides; negative if it waits less than for others.
  bool fits = false, leavesChip = true;
  int64_t step = 0; ///< Rows in one of the steps that the group is done in, each on all cores; 0: in one.

  /// A plan that fits is better than one that does not, and one that keeps its result on chip than one that
  /// does not, whatever they take.
  bool betterThan(const Plan &other) const {
    if (fits != other.fits)
      return fits;
    return leavesChip != other.leavesChip ? !leavesChip : cycles + waits < other.cycles + other.waits;
  }
};

/// Of what steps take longer than all at once, the part that other work has to wait for.
constexpr double shadowPart = 0.5;

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
  Planner(const Group &group, const Prices &prices, const ProducedTensors &produced, double dramShare,
          int64_t step = 0)
      : group(group), prices(prices), produced(produced), dramShare(dramShare), model(group, prices, step) {
    best.step = step;
  }

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

  /// Of the cuts that finish `rows` rows at a time, all cores together, that of least cycles: cores have
  /// columns only.
  Plan runByRows(int64_t rows) {
    rowsAtATime = rows;
    model.cutByRows();
    return run();
  }

private:
  void searchCores(size_t at, int64_t left) {
    if (at == loops.size())
      return rowsAtATime ? blocksOfRows() : searchBlocks();
    if (rowsAtATime && loops[at] == 0)
      return searchCores(at + 1, left);
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
    plan.step = best.step;
    plan.cut = {cores, blocks};
    plan.fits = model.fits(plan.cut);
    plan.leavesChip = model.leavesChip(plan.cut);
    plan.cycles = model.cycles(plan.cut, produced, dramShare);
    return plan;
  }

  void blocksOfRows() {
    SmallVector<int64_t> blocks = model.perCore(cores);
    blocks.front() = rowsAtATime;
    if (Plan plan = priced(blocks); plan.betterThan(best))
      best = plan;
  }

  void searchBlocks() {
    SmallVector<int64_t> whole = model.perCore(cores), blocks = whole;
    Plan plan = priced(blocks);
    // A copy that fits is one transfer: nothing would overlap. A step is a block already.
    while (!(isMovement(group.root()) || plan.step) || !plan.fits) {
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
  int64_t rowsAtATime = 0;
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
      auto left = produced.find(lower::withoutReshapes(value));
      if (isNew && left != produced.end())
        shape.insert(shape.end(), {uint64_t(left->second.chunk), uint64_t(left->second.rows),
                                   std::bit_cast<uint64_t>(left->second.writeOut),
                                   std::bit_cast<uint64_t>(left->second.lag)});
    }
    for (Value result : op->getResults())
      numbers.try_emplace(result, numbers.size());
  }
  return shape;
}

/// How busy DRAM and vector engines are at least while engines do all that they have to, evenly on all cores:
/// 0 to 1. The busier, the more costs what need not be done.
struct Shares {
  double dram = 0, vector = 0;
};
Shares sharesOf(ArrayRef<Group> groups, const Prices &prices) {
  double matrix = 0, vector = 0, dram = 0;
  llvm::SmallPtrSet<Value, 32> read;
  for (const Group &group : groups)
    for (LinalgOp op : group.operations) {
      (isContraction(op) ? matrix : vector) += prices.compute(op, op.getStaticLoopRanges()) / prices.cores;
      for (Value input : op.getDpsInputs())
        if (Value whole = lower::withoutReshapes(input);
            isa<BlockArgument>(whole) && read.insert(whole).second)
          dram += prices.dram(cast<ShapedType>(whole.getType()).getNumElements() *
                              getElementTypeOrSelf(whole).getIntOrFloatBitWidth() / 8);
    }
  double most = std::max({dram, matrix, vector, 1.0});
  return {dram / most, vector / most};
}

class Strategy {
public:
  Strategy(ArrayRef<Group> groups, const Prices &prices) : prices(prices), shares(sharesOf(groups, prices)) {}

  void plan(const Group &group) {
    Plan whole = best(group, produced);
    if (std::optional<std::pair<Group, Group>> parts = splitRows(group)) {
      auto [both, first, second] = bestParts(*parts);
      if (both.betterThan(whole)) {
        write(parts->first, first);
        write(parts->second, second);
        return;
      }
    }
    Plan byRows = bestByRows(group, whole);
    write(group, byRows.betterThan(whole) ? byRows : whole);
  }

private:
  /// Equal groups, as those of equal layers, have equal plans. `rows`: by so many rows at a time if the group
  /// multiplies, else in steps of so many.
  Plan best(const Group &group, const ProducedTensors &produced, int64_t rows = 0) {
    Shape shape = shapeOf(group, produced);
    shape.push_back(rows);
    auto [known, isNew] = plans.try_emplace(std::move(shape));
    if (!isNew)
      return known->second;
    bool multiplies = llvm::any_of(group.operations, isContraction);
    Planner planner(group, prices, produced, shares.dram, multiplies ? 0 : rows);
    return known->second = rows && multiplies ? planner.runByRows(rows) : planner.run();
  }

  /// Rows can be finished part by part where all cores reach what one core writes.
  bool canHaveRows(const Group &group) const {
    GroupModel model(group, prices);
    return prices.hasShared && model.hasRows() && model.extents().front() > 1;
  }

  /// What other work waits for where `steps` steps of `each` take longer than all at once.
  double moreInSteps(double each, double steps, double atOnce) const {
    return shares.vector * shadowPart * std::max(0.0, steps * each - atOnce);
  }

  /// A multiplication and the rest of its group, and what they take together.
  struct Parts {
    Plan both, first, second;
  };
  Parts bestParts(const std::pair<Group, Group> &parts) {
    Parts found;
    double atOnce = 0; // What the rest takes in one step.
    auto consider = [&](int64_t rows) {
      Plan first = best(parts.first, produced, rows);
      ProducedTensors with = produced;
      with[parts.first.root()->getResult(0)] = GroupModel(parts.first, prices).leaves(first.cut);
      Plan second = best(parts.second, with, rows), both;
      both.cycles = first.cycles + second.cycles;
      if (!rows) {
        atOnce = second.cycles;
      } else {
        // All steps but the last are done while the rows that follow are multiplied; together they take
        // longer than the whole at once.
        auto steps = double(GroupModel(parts.second, prices).extents().front()) / double(rows);
        both.cycles += (steps - 1) * std::max(0.0, second.cycles - first.cycles / steps) +
                       moreInSteps(second.cycles, steps, atOnce);
      }
      both.fits = first.fits && second.fits;
      both.leavesChip = first.leavesChip || second.leavesChip;
      if (both.betterThan(found.both))
        found = {both, first, second};
    };
    consider(0);
    if (canHaveRows(parts.first) && canHaveRows(parts.second))
      for (int64_t extent = GroupModel(parts.first, prices).extents().front(), rows = extent / 2; rows;
           --rows)
        if (extent % rows == 0)
          consider(rows);
    return found;
  }

  /// The plan by rows of a group that reads what is finished by rows, by as many at a time or fewer: it can
  /// begin with the first of them, and need not wait for the last.
  Plan bestByRows(const Group &group, const Plan &atOnce) {
    Plan found;
    if (!canHaveRows(group))
      return found;
    GroupModel model(group, prices);
    const int64_t extent = model.extents().front();
    const Produced read = model.readByRows(produced);
    bool multiplies = llvm::any_of(group.operations, isContraction);
    for (int64_t rows = read.rows; rows > 0; rows = multiplies ? rows - 1 : 0) {
      if (rows >= extent || extent % rows != 0)
        continue;
      Plan plan = best(group, produced, rows);
      plan.waits = (multiplies ? 0 : moreInSteps(plan.cycles, double(extent) / double(rows), atOnce.cycles)) -
                   read.lag;
      if (plan.betterThan(found))
        found = plan;
    }
    return found;
  }

  void write(const Group &group, const Plan &plan) {
    GroupModel model(group, prices, plan.step);
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
    if (plan.step) {
      SmallVector<int64_t> steps(plan.cut.cores.size(), 0);
      steps.front() = plan.step;
      group.root()->setAttr(stepsAttr, builder.getDenseI64ArrayAttr(steps));
    }
    group.root()->setAttr(coresAttr, builder.getDenseI64ArrayAttr(plan.cut.cores));
    group.root()->setAttr(blocksAttr, builder.getDenseI64ArrayAttr(plan.cut.blocks));
    group.root()->setAttr(cyclesAttr, builder.getI64IntegerAttr(int64_t(plan.cycles)));
    Produced left = model.leaves(plan.cut);
    if (plan.step)
      left.lag = plan.cycles + model.readByRows(produced).lag;
    produced[group.root()->getResult(0)] = left;
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
    if (plan.step)
      remark << remark::add("in steps of {0} rows", plan.step);
    if (plan.leavesChip)
      remark << remark::add("its result leaves for DRAM");
    if (!plan.fits)
      remark << remark::reason("no cut fits a core's scratchpad");
  }

  const Prices &prices;
  Shares shares;
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
