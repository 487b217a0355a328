#include "backends/npu/codegen/Passes.h"

#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ValueBoundsOpInterface.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/LoopInvariantCodeMotionUtils.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::codegen;
using bufferization::AllocTensorOp;
using linalg::LinalgOp;
using npu::MemorySpace;

namespace {

int64_t byteSize(ShapedType type) {
  return llvm::divideCeil(type.getNumElements() * type.getElementTypeBitWidth(), 8);
}

/// The parallel_insert_slice that writes result number `result`, if there is one.
tensor::ParallelInsertSliceOp writerOf(scf::ForallOp forall, unsigned result) {
  tensor::ParallelInsertSliceOp writer;
  for (Operation *user : forall.getRegionIterArgs()[result].getUsers())
    if (auto found = dyn_cast<tensor::ParallelInsertSliceOp>(user))
      writer = writer ? tensor::ParallelInsertSliceOp() : found;
  return writer;
}

/// The length of the runs that a slice at `offsets` takes of a tensor of shape `sizes`, in row-major order,
/// if iteration i of `forall` takes the i-th run (or part of it).
std::optional<int64_t> runLength(scf::ForallOp forall, ArrayRef<OpFoldResult> offsets,
                                 ArrayRef<int64_t> sizes) {
  std::optional<SmallVector<int64_t>> upper = getConstantIntValues(forall.getMixedUpperBound()),
                                      step = getConstantIntValues(forall.getMixedStep());
  if (!upper || !step || ShapedType::isDynamicShape(sizes))
    return std::nullopt;
  // Walk the dimensions to the last one that a loop cuts; those before it are single, or cut into single
  // slices.
  unsigned loop = 0;
  bool cutBefore = false;
  for (auto [dimension, offset] : llvm::enumerate(offsets)) {
    if (loop == upper->size() || dyn_cast<Value>(offset) != forall.getInductionVar(loop)) {
      if (sizes[dimension] != 1)
        return std::nullopt;
      continue;
    }
    if (++loop < upper->size()) {
      if ((*step)[loop - 1] != 1)
        return std::nullopt;
      cutBefore |= sizes[dimension] > 1;
      continue;
    }
    int64_t length = (*step)[loop - 1];
    if (cutBefore && sizes[dimension] % length != 0)
      return std::nullopt;
    for (int64_t size : sizes.drop_front(dimension + 1))
      length *= size;
    return length;
  }
  return std::nullopt;
}

/// The length of the runs that the iterations of `forall` write of result number `result`: then each can keep
/// its own.
std::optional<int64_t> chunkOf(scf::ForallOp forall, unsigned result) {
  tensor::ParallelInsertSliceOp writer = writerOf(forall, result);
  if (!writer || !writer.hasUnitStride())
    return std::nullopt;
  return runLength(forall, writer.getMixedOffsets(), writer.getDestType().getShape());
}

/// Every later loop reads of `value`, cut into chunks, only what its core has.
bool isReadLocally(Value value, int64_t chunk) {
  for (Operation *user : value.getUsers()) {
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(user)) {
      if (!isReadLocally(user->getResult(0), chunk))
        return false;
      continue;
    }
    auto slice = dyn_cast<tensor::ExtractSliceOp>(user);
    auto forall = slice ? slice->getParentOfType<scf::ForallOp>() : scf::ForallOp();
    if (!forall || runLength(forall, slice.getMixedOffsets(), slice.getSourceType().getShape()) != chunk)
      return false;
  }
  return true;
}

/// Something loads elements of `value` by index, of which any may be asked for.
bool isIndexed(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    return isa<tensor::ExtractOp>(user) ||
           (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp>(user) &&
            isIndexed(user->getResult(0)));
  });
}

/// The last top-level operation that uses `value`, through views.
Operation *lastUse(Value value, Block *block) {
  Operation *last = value.getDefiningOp();
  SmallVector<Value> values = {value};
  while (!values.empty()) {
    Value v = values.pop_back_val();
    for (Operation *user : v.getUsers()) {
      Operation *top = block->findAncestorOpInBlock(*user);
      if (last->isBeforeInBlock(top))
        last = top;
      if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp>(
              user) &&
          user->getBlock() == block)
        values.push_back(user->getResult(0));
    }
  }
  return last;
}

/// The tensor put together from parts, of which `destination` is a slice; null if it is none, or has its
/// place.
AllocTensorOp assembledTensor(Value destination) {
  while (Operation *op = destination.getDefiningOp()) {
    if (auto root = dyn_cast<AllocTensorOp>(op))
      return root.getMemorySpace() ? AllocTensorOp() : root;
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
      destination = insert.getDest();
    else if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp>(op))
      destination = op->getOperand(0);
    else
      break;
  }
  return {};
}

/// Tells where a tensor of `bytes` bytes lives of which a core writes `chunk` in a row (0: not in one run),
/// and what was left.
void tell(Location loc, MemorySpace space, int64_t bytes, int64_t chunk, int64_t scratchpadLeft,
          int64_t sharedLeft) {
  auto what = remark::RemarkOpts::name(space == MemorySpace::Dram ? "spilled" : "kept").category("place");
  if (space != MemorySpace::Dram) {
    remark::passed(loc, what) << remark::add("{0} bytes in {1}", bytes, npu::stringifyMemorySpace(space));
    return;
  }
  remark::missed(loc, what)
      << remark::add("{0} bytes to DRAM", bytes)
      << (chunk ? remark::reason("a core's part takes {0} bytes and its scratchpad has {1} left for tensors",
                                 chunk, scratchpadLeft)
                : remark::reason("what a core writes of it is no one run, or is read by index"))
      << remark::reason("shared memory has {0} bytes left", sharedLeft);
}

} // namespace

void codegen::placeTensors(func::FuncOp function, const target::TargetDescription &target) {
  Block *block = &function.front();
  OpBuilder builder(function.getContext());
  struct Placed {
    Operation *end;
    int64_t scratchpad, shared;
  };
  SmallVector<Placed> live;
  // Half of each memory is for what stays; blocks at work take the rest.
  int64_t scratchpadBudget = target.scratchpad().bytes() / 2,
          sharedBudget = target.has_shared() ? target.shared().bytes() : 0;
  for (auto forall : block->getOps<scf::ForallOp>()) {
    llvm::erase_if(live, [&](const Placed &p) { return p.end->isBeforeInBlock(forall); });
    for (unsigned result = 0; result < forall.getNumResults(); ++result) {
      auto empty = forall.getOutputs()[result].getDefiningOp<tensor::EmptyOp>();
      AllocTensorOp assembled = assembledTensor(forall.getOutputs()[result]);
      if (!empty && !assembled)
        continue; // A result of the function, or in a tensor that has its place.
      auto type = cast<RankedTensorType>(empty ? empty.getType() : assembled.getType());
      Placed placed{lastUse(empty ? forall.getResult(result) : assembled.getResult(), block), 0, 0};
      int64_t scratchpad = 0, shared = 0;
      for (const Placed &p : live)
        scratchpad += p.scratchpad, shared += p.shared;
      // The parts of an assembled tensor are cut each in its own way.
      bool cut = empty && !isIndexed(forall.getResult(result));
      int64_t chunk = cut ? chunkOf(forall, result).value_or(0) : 0;
      MemorySpace space = MemorySpace::Dram;
      int64_t chunkBytes = llvm::divideCeil(chunk * type.getElementTypeBitWidth(), 8);
      // What other cores read is better where all reach it at once.
      bool keep = chunk && scratchpad + chunkBytes <= scratchpadBudget,
           share = shared + byteSize(type) <= sharedBudget;
      if (keep && (!share || isReadLocally(forall.getResult(result), chunk)))
        space = MemorySpace::Scratchpad, placed.scratchpad = chunkBytes;
      else if (share)
        space = MemorySpace::Shared, placed.shared = byteSize(type);
      tell(forall.getLoc(), space, byteSize(type), chunkBytes, scratchpadBudget - scratchpad,
           sharedBudget - shared);
      live.push_back(placed);
      if (assembled) {
        assembled.setMemorySpaceAttr(npu::SpaceAttr::get(builder.getContext(), space, 0));
        continue;
      }
      builder.setInsertionPoint(forall);
      auto allocation = AllocTensorOp::create(builder, forall.getLoc(), type, ValueRange());
      allocation.setMemorySpaceAttr(
          npu::SpaceAttr::get(builder.getContext(), space, space == MemorySpace::Scratchpad ? chunk : 0));
      forall.getOutputsMutable()[result].set(allocation);
    }
  }
}

namespace {

class Promoter {
public:
  Promoter(scf::ForallOp forall, const target::TargetDescription &target)
      : forall(forall), builder(forall.getContext()), chained(target.matrix().chained_to_vector()),
        accumulatorElements(int64_t(target.matrix().accumulator_elements()) *
                            std::max(1u, target.topology().slices_per_core())) {}

  LogicalResult run() {
    unshare<linalg::FillOp>();
    unshare<tensor::EmptyOp>();
    SmallVector<LinalgOp> operations;
    forall.walk([&](LinalgOp op) { operations.push_back(op); });
    SmallVector<tensor::EmptyOp> empties;
    forall.walk([&](tensor::EmptyOp op) { empties.push_back(op); });
    for (tensor::EmptyOp op : empties)
      allocate(op);
    for (LinalgOp op : operations) {
      if (tile::isMovement(op)) {
        // One end of a transfer is a scratchpad.
        OpOperand &init = *op.getDpsInitOperand(0);
        if (!isLocal(init.get()) && !isOnChip(op.getDpsInputs()[0]))
          stage(op, init);
        continue;
      }
      for (OpOperand &init : op.getDpsInitsMutable())
        if (!isLocal(init.get()))
          stage(op, init);
      for (OpOperand *input : op.getDpsInputOperands())
        if (isa<TensorType>(input->get().getType()) && !isLocal(input->get()))
          input->set(copyIn(input->get()));
    }
    return success();
  }

private:
  /// Gives each user a value of its own to write into: it costs nothing, and a shared one would be copied.
  template <typename Op>
  void unshare() {
    SmallVector<Op> shared;
    forall.walk([&](Op op) {
      if (!op->hasOneUse())
        shared.push_back(op);
    });
    for (Op op : shared)
      for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(op->getUses()))) {
        builder.setInsertionPoint(op);
        use.set(builder.clone(*op)->getResult(0));
      }
  }

  Attribute space(MemorySpace value) { return npu::SpaceAttr::get(builder.getContext(), value); }

  /// On this core already: made inside the loop, or the core's own shard of the loop's result.
  bool isLocal(Value value) {
    while (true) {
      if (auto argument = dyn_cast<BlockArgument>(value)) {
        Operation *parent = argument.getOwner()->getParentOp();
        if (auto loop = dyn_cast<scf::ForOp>(parent)) {
          value = loop.getTiedLoopInit(argument)->get();
          continue;
        }
        if (parent != forall.getOperation())
          return false;
        unsigned result = argument.getArgNumber() - forall.getRank();
        auto allocation = forall.getOutputs()[result].getDefiningOp<AllocTensorOp>();
        auto where =
            allocation ? dyn_cast_or_null<npu::SpaceAttr>(allocation.getMemorySpaceAttr()) : npu::SpaceAttr();
        return where && where.getValue() == MemorySpace::Scratchpad;
      }
      Operation *op = value.getDefiningOp();
      if (!forall->isProperAncestor(op))
        return false;
      if (isa<tensor::ExtractSliceOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp>(op)) {
        value = op->getOperand(0);
        continue;
      }
      if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
        value = insert.getDest();
        continue;
      }
      if (auto loop = dyn_cast<scf::ForOp>(op)) {
        value = loop.getInitArgs()[cast<OpResult>(value).getResultNumber()];
        continue;
      }
      if (auto computed = dyn_cast<LinalgOp>(op)) {
        value = computed.getDpsInitOperand(cast<OpResult>(value).getResultNumber())->get();
        continue;
      }
      return isa<AllocTensorOp>(op);
    }
  }

  /// In scratchpads, of this core or cut over all.
  bool isOnChip(Value value) {
    while (Operation *op = value.getDefiningOp()) {
      if (isa<tensor::ExtractSliceOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op)) {
        value = op->getOperand(0);
        continue;
      }
      if (auto made = dyn_cast<scf::ForallOp>(op)) {
        value = made.getOutputs()[cast<OpResult>(value).getResultNumber()];
        continue;
      }
      auto allocation = dyn_cast<AllocTensorOp>(op);
      auto where =
          allocation ? dyn_cast_or_null<npu::SpaceAttr>(allocation.getMemorySpaceAttr()) : npu::SpaceAttr();
      return where && where.getValue() == MemorySpace::Scratchpad;
    }
    return false;
  }

  SmallVector<Value> dynamicSizes(Value value) {
    SmallVector<Value> sizes;
    auto type = cast<RankedTensorType>(value.getType());
    if (auto slice = value.getDefiningOp<tensor::ExtractSliceOp>()) {
      SmallVector<OpFoldResult> mixed = slice.getMixedSizes();
      llvm::SmallBitVector dropped = slice.getDroppedDims();
      for (unsigned i = 0; i < mixed.size(); ++i)
        if (!dropped[i])
          if (auto size = dyn_cast<Value>(mixed[i]))
            sizes.push_back(size);
      return sizes;
    }
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (type.isDynamicDim(i))
        sizes.push_back(tensor::DimOp::create(builder, value.getLoc(), value, i));
    return sizes;
  }

  /// A temporary: sums of products go to the accumulators if the vector engine reads them there and they fit.
  void allocate(tensor::EmptyOp op) {
    builder.setInsertionPoint(op);
    auto allocation = AllocTensorOp::create(builder, op.getLoc(), op.getType(), op.getDynamicSizes());
    allocation.setMemorySpaceAttr(
        space(sumsOnly(op) && fitsAccumulators(op) ? MemorySpace::Accumulator : MemorySpace::Scratchpad));
    op.replaceAllUsesWith(allocation.getResult());
    op.erase();
  }

  bool sumsOnly(Value value) {
    if (!chained)
      return false;
    for (OpOperand &use : value.getUses()) {
      auto op = dyn_cast<LinalgOp>(use.getOwner());
      if (!op || !op.isDpsInit(&use))
        return false;
      Value result = op.getTiedOpResult(&use);
      if (isa<linalg::FillOp>(op.getOperation()) ? !sumsOnly(result)
                                                 : !tile::isContraction(op) || !readByComputations(result))
        return false;
    }
    return true;
  }

  /// Contractions do not read accumulators as operands.
  bool readByComputations(Value value) {
    return llvm::all_of(value.getUses(), [](OpOperand &use) {
      auto op = dyn_cast<LinalgOp>(use.getOwner());
      return op && op.isDpsInput(&use) && !tile::isContraction(op) && !tile::isMovement(op);
    });
  }

  bool fitsAccumulators(tensor::EmptyOp op) {
    int64_t elements = 1;
    for (int64_t i = 0; i < op.getType().getRank(); ++i) {
      FailureOr<int64_t> bound = ValueBoundsConstraintSet::computeConstantBound(
          presburger::BoundType::UB, ValueBoundsConstraintSet::Variable(op.getResult(), i), nullptr, true);
      if (failed(bound))
        return false;
      elements *= *bound;
    }
    return elements <= accumulatorElements;
  }

  /// Computes on the core what goes elsewhere: insert_slice then copies it out.
  void stage(LinalgOp op, OpOperand &init) {
    builder.setInsertionPoint(op);
    SmallVector<Value> sizes = dynamicSizes(init.get());
    bool reads = op.payloadUsesValueFromOperand(&init);
    auto allocation =
        AllocTensorOp::create(builder, op.getLoc(), cast<RankedTensorType>(init.get().getType()),
                              reads ? ValueRange() : ValueRange(sizes), reads ? init.get() : Value());
    allocation.setMemorySpaceAttr(space(MemorySpace::Scratchpad));
    init.set(allocation);
  }

  /// A copy of `value` on the core, made once, right after the value or where the loop begins.
  Value copyIn(Value value) {
    Value &copy = copies[value];
    if (copy)
      return copy;
    Operation *definition = value.getDefiningOp();
    if (definition && forall->isProperAncestor(definition))
      builder.setInsertionPointAfter(definition);
    else if (auto argument = dyn_cast<BlockArgument>(value);
             argument && forall->isProperAncestor(argument.getOwner()->getParentOp()))
      builder.setInsertionPointToStart(argument.getOwner());
    else
      builder.setInsertionPointToStart(forall.getBody());
    auto allocation = AllocTensorOp::create(builder, value.getLoc(), cast<RankedTensorType>(value.getType()),
                                            ValueRange(), value);
    allocation.setMemorySpaceAttr(space(MemorySpace::Scratchpad));
    return copy = allocation;
  }

  scf::ForallOp forall;
  OpBuilder builder;
  bool chained;
  int64_t accumulatorElements;
  llvm::DenseMap<Value, Value> copies;
};

} // namespace

LogicalResult codegen::promoteOperands(func::FuncOp function, const target::TargetDescription &target) {
  // Slices and sizes move out of the loops they do not depend on, so that each is copied once.
  function.walk([](LoopLikeOpInterface loop) {
    moveLoopInvariantCode(
        loop.getLoopRegions(), [&](Value value, Region *) { return loop.isDefinedOutsideOfLoop(value); },
        [](Operation *op, Region *) { return isPure(op) && !isa<LinalgOp, tensor::EmptyOp>(op); },
        [&](Operation *op, Region *) { loop.moveOutOfLoop(op); });
  });
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance(function);
  eliminateCommonSubExpressions(rewriter, dominance, function);
  for (auto forall : function.getBody().getOps<scf::ForallOp>())
    if (failed(Promoter(forall, target).run()))
      return failure();
  return success();
}
