#include "compiler/tile/Loops.h"
#include "compiler/tile/Plan.h"

#include "mlir/IR/Builders.h"

#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

/// What the plan needs to know of a machine.
struct Machine {
  int64_t cores, scratchpadBytes, lanesN, lanesK;

  explicit Machine(const target::TargetDescription &t)
      : cores(int64_t(t.topology().clusters_per_device()) * t.topology().cores_per_cluster()),
        scratchpadBytes(t.scratchpad().bytes()), lanesN(t.matrix().lanes_n()), lanesK(t.matrix().lanes_k()) {}
};

int64_t elementBits(Value value) {
  Type type = cast<ShapedType>(value.getType()).getElementType();
  return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
}

/// How many positions an index takes while its loops run: of a sum of loops times positive constants, all
/// between the least and the greatest (a window of k, dilated by d, over n positions s apart: (n-1)·s +
/// (k-1)·d + 1).
int64_t extentOf(AffineExpr expr, ArrayRef<int64_t> extents) {
  MLIRContext *context = expr.getContext();
  SmallVector<AffineExpr> last = llvm::map_to_vector(
      extents, [&](int64_t extent) { return getAffineConstantExpr(extent - 1, context); });
  SmallVector<AffineExpr> first(extents.size(), getAffineConstantExpr(0, context));
  auto at = [&](ArrayRef<AffineExpr> loops) {
    return cast<AffineConstantExpr>(expr.replaceDims(loops)).getValue();
  };
  return at(last) - at(first) + 1;
}

/// A group's loops and what its tiles take.
class GroupModel {
public:
  explicit GroupModel(const Group &group) : group(group) {
    for (LinalgOp op : llvm::reverse(group.operations))
      members.insert(op);
    along = loopsAlong(group.root(), members);
    cuttable = tile::cuttableLoops(group.root(), members);
  }

  const llvm::SmallBitVector &cuttableRootLoops() const { return cuttable; }
  SmallVector<int64_t> extents() const { return LinalgOp(group.root()).getStaticLoopRanges(); }

  /// Extents of a member's loops where the root's loops have `rootExtents`.
  SmallVector<int64_t> extentsOf(LinalgOp op, ArrayRef<int64_t> rootExtents) const {
    SmallVector<int64_t> extents = op.getStaticLoopRanges();
    for (auto [extent, rootLoop] : llvm::zip_equal(extents, along.find(op)->second))
      if (rootLoop >= 0 && cuttable[rootLoop])
        extent = rootExtents[rootLoop];
    return extents;
  }

  /// Bytes that one core's block takes: each value once, what comes from outside twice, so that the next
  /// block's can arrive. Operands of a contraction cut by `contractionBlocks` count by the block.
  int64_t workingSet(ArrayRef<int64_t> rootExtents) const {
    llvm::DenseMap<Value, int64_t> bytes;
    auto count = [&](LinalgOp op, OpOperand &operand, ArrayRef<int64_t> extents, Value value, bool outside) {
      int64_t elements = 1;
      for (AffineExpr expr : op.getMatchingIndexingMap(&operand).getResults())
        elements *= extentOf(expr, extents);
      int64_t size = llvm::divideCeil(elements * elementBits(value), 8) * (outside ? 2 : 1);
      int64_t &known = bytes[value];
      known = std::max(known, size);
    };
    for (LinalgOp op : group.operations) {
      SmallVector<int64_t> extents = extentsOf(op, rootExtents);
      if (isContraction(op))
        if (auto blocks = op->getAttrOfType<DenseI64ArrayAttr>(contractionBlocksAttr))
          for (auto [extent, block] : llvm::zip_equal(extents, blocks.asArrayRef()))
            extent = block ? std::min(extent, block) : extent;
      for (OpOperand *input : op.getDpsInputOperands()) {
        Operation *producer = input->get().getDefiningOp();
        count(op, *input, extents, input->get(), !producer || !members.contains(producer));
      }
      SmallVector<int64_t> whole = extentsOf(op, rootExtents);
      for (OpOperand &init : op.getDpsInitsMutable())
        count(op, init, whole, op.getTiedOpResult(&init), false);
    }
    int64_t total = 0;
    for (auto &[value, size] : bytes)
      total += size;
    return total;
  }

private:
  const Group &group;
  llvm::SetVector<Operation *> members;
  LoopsAlong along;
  llvm::SmallBitVector cuttable;
};

/// Cuts loops into equal parts for the cores: so that the largest part is least; of equal ones by the fewest
/// loops, then by the outermost. 0: the loop is not cut.
SmallVector<int64_t> planCores(const GroupModel &model, const Machine &machine) {
  SmallVector<int64_t> extents = model.extents(), best(extents.size(), 0), tiles(extents.size(), 0);
  SmallVector<int> loops(model.cuttableRootLoops().set_bits_begin(),
                         model.cuttableRootLoops().set_bits_end());
  double bestWork = std::numeric_limits<double>::infinity();
  int bestCuts = 0;
  auto search = [&](auto &self, size_t at, int64_t cores, double work, int cuts) -> void {
    if (at == loops.size()) {
      if (work < bestWork || (work == bestWork && cuts < bestCuts))
        best = tiles, bestWork = work, bestCuts = cuts;
      return;
    }
    int64_t extent = extents[loops[at]];
    for (int64_t parts = std::min(cores, extent); parts >= 1; --parts) {
      int64_t tile = llvm::divideCeil(extent, parts), used = llvm::divideCeil(extent, tile);
      if (used != parts)
        continue; // As many parts as a smaller number gives.
      tiles[loops[at]] = parts == 1 ? 0 : tile;
      self(self, at + 1, cores / parts, work * tile, cuts + (parts > 1));
    }
  };
  search(search, 0, machine.cores, 1, 0);
  return best;
}

/// Halves a block, keeping a multiple of `lanes` where it is larger than that.
int64_t halved(int64_t block, int64_t lanes) {
  int64_t half = llvm::divideCeil(block, 2);
  return half > lanes ? llvm::alignTo(half, lanes) : block > lanes ? lanes : half;
}

/// Shrinks blocks, each time along the loop where that saves most, until the block's working set fits
/// `budget`.
SmallVector<int64_t> planBlocks(const GroupModel &model, const Machine &machine, SmallVector<int64_t> perCore,
                                int64_t budget) {
  SmallVector<int64_t> blocks = perCore;
  while (model.workingSet(blocks) > budget) {
    int best = -1;
    int64_t bestBytes = model.workingSet(blocks);
    for (int loop : model.cuttableRootLoops().set_bits()) {
      SmallVector<int64_t> candidate = blocks;
      candidate[loop] = halved(blocks[loop], loop + 1 == int(blocks.size()) ? machine.lanesN : 1);
      if (int64_t bytes = model.workingSet(candidate); bytes < bestBytes)
        best = loop, bestBytes = bytes;
    }
    if (best < 0)
      break; // Nothing smaller: the scheduler says whether it fits.
    blocks[best] = halved(blocks[best], best + 1 == int(blocks.size()) ? machine.lanesN : 1);
  }
  return blocks;
}

/// Cuts a contraction of which the group needs whole rows: its n loops, then its k loops, until the second
/// operand's block takes at most `budget`.
void planContraction(LinalgOp op, const Machine &machine, int64_t budget) {
  SmallVector<int64_t> extents = op.getStaticLoopRanges(), blocks(extents.size(), 0);
  OpOperand *weights = op.getDpsInputOperand(1);
  AffineMap map = op.getMatchingIndexingMap(weights),
            sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0)),
            lhs = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  auto bytes = [&] {
    int64_t elements = 1;
    for (unsigned loop = 0; loop < extents.size(); ++loop)
      if (map.isFunctionOfDim(loop))
        elements *= blocks[loop] ? blocks[loop] : extents[loop];
    return llvm::divideCeil(elements * elementBits(weights->get()), 8);
  };
  auto shrink = [&](bool n, int64_t lanes) {
    for (unsigned loop = 0; loop < extents.size(); ++loop) {
      bool isN = map.isFunctionOfDim(loop) && sums.isFunctionOfDim(loop) && !lhs.isFunctionOfDim(loop);
      bool isK = map.isFunctionOfDim(loop) && !sums.isFunctionOfDim(loop);
      if (n ? !isN : !isK)
        continue;
      while (int64_t(bytes()) > budget) {
        int64_t now = blocks[loop] ? blocks[loop] : extents[loop], next = halved(now, lanes);
        if (next == now || (next < lanes && now <= lanes))
          break;
        blocks[loop] = next;
      }
    }
  };
  shrink(true, machine.lanesN);
  shrink(false, machine.lanesK);
  if (llvm::any_of(blocks, [](int64_t b) { return b != 0; }))
    op->setAttr(contractionBlocksAttr, DenseI64ArrayAttr::get(op.getContext(), blocks));
}

} // namespace

void npuc::tile::planTiles(ArrayRef<Group> groups, const target::TargetDescription &target) {
  Machine machine(target);
  // Half of the scratchpad for one block, which counts the next one's operands; the rest is for tensors that
  // stay. A contraction's second operand takes at most a quarter, two blocks of an eighth, so that rows need
  // not shrink for it.
  int64_t budget = machine.scratchpadBytes / 2;
  int64_t number = 0;
  for (const Group &group : groups) {
    Builder builder(group.root().getContext());
    for (LinalgOp op : group.operations)
      op->setAttr(groupAttr, builder.getI64IntegerAttr(number));
    ++number;
    GroupModel model(group);
    for (LinalgOp op : group.operations)
      if (isContraction(op) && op != group.root())
        planContraction(op, machine, machine.scratchpadBytes / 8);
    SmallVector<int64_t> cores = planCores(model, machine), perCore = model.extents();
    for (auto [extent, tile] : llvm::zip_equal(perCore, cores))
      extent = tile ? tile : extent;
    SmallVector<int64_t> blocks =
        isMovement(group.root()) ? perCore : planBlocks(model, machine, perCore, budget);
    for (auto [block, extent] : llvm::zip_equal(blocks, perCore))
      block = block == extent ? 0 : block;
    group.root()->setAttr(coresAttr, builder.getDenseI64ArrayAttr(cores));
    group.root()->setAttr(blocksAttr, builder.getDenseI64ArrayAttr(blocks));
  }
}
