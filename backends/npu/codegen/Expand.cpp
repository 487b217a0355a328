#include "backends/npu/codegen/Expand.h"

#include "backends/npu/codegen/MemoryView.h"
#include "backends/npu/codegen/SentRegions.h"
#include "backends/npu/codegen/VectorProgram.h"
#include "dialects/nn/IR/NodeName.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

#include "mlir/IR/Matchers.h"

#include <deque>
#include <numeric>

using namespace mlir;
using namespace npuc;
using namespace npuc::codegen;

namespace {

isa::Space isaSpace(npu::MemorySpace space) {
  switch (space) {
  case npu::MemorySpace::Dram:
    return isa::Space::Dram;
  case npu::MemorySpace::Shared:
    return isa::Space::Shared;
  case npu::MemorySpace::Scratchpad:
    return isa::Space::Scratchpad;
  case npu::MemorySpace::Accumulator:
    return isa::Space::Accumulator;
  }
  return isa::Space::Dram;
}

/// What one core knows: the values of its iteration. Outside of scf.forall there is one frame, of no core.
struct Frame {
  uint32_t core = 0;
  const Frame *parent = nullptr;
  llvm::DenseMap<Value, int64_t> integers;
  llvm::DenseMap<Value, MemoryView> regions;

  template <typename T>
  static const T *find(const Frame *frame, llvm::DenseMap<Value, T> Frame::*map, Value value) {
    for (; frame; frame = frame->parent)
      if (auto it = (frame->*map).find(value); it != (frame->*map).end())
        return &it->second;
    return nullptr;
  }
};

class Expander {
public:
  Expander(func::FuncOp function, const target::TargetDescription &target) : function(function) {
    cores = target.topology().devices() * target.topology().clusters_per_device() *
            target.topology().cores_per_cluster();
    for (const target::DmaClass &dma : target.dma()) {
      multicasts |= dma.multicast();
      // A part's start takes time too: all of it must take several times that.
      bytesWorthParts = std::max(bytesWorthParts, int64_t(4 * dma.startup_cycles() * dma.bytes_per_cycle()));
    }
  }

  FailureOr<schedule::TileGraph> run() {
    graph.name = function.getName().str();
    graph.sources.push_back("");
    Frame top;
    for (BlockArgument argument : function.getArguments())
      if (failed(declareArgument(argument, top)))
        return failure();
    SmallVector<Frame *> frames = {&top};
    if (failed(runBlock(function.front(), frames)))
      return failure();
    flushAllFills();
    return std::move(graph);
  }

private:
  //===--- values -------------------------------------------------------------------------------------===//

  int64_t integer(const Frame *frame, Value value) {
    if (const int64_t *known = Frame::find(frame, &Frame::integers, value))
      return *known;
    IntegerAttr constant;
    if (matchPattern(value, m_Constant(&constant)))
      return constant.getInt();
    llvm_unreachable("an index is used before the operation that defines it ran");
  }

  int64_t integer(const Frame *frame, OpFoldResult value) {
    if (auto attribute = dyn_cast<Attribute>(value))
      return cast<IntegerAttr>(attribute).getInt();
    return integer(frame, cast<Value>(value));
  }

  SmallVector<int64_t, 4> integers(const Frame *frame, ArrayRef<OpFoldResult> values) {
    return llvm::map_to_vector<4>(values, [&](OpFoldResult v) { return integer(frame, v); });
  }

  const MemoryView &region(const Frame *frame, Value value) {
    return *Frame::find(frame, &Frame::regions, value);
  }

  //===--- memories -----------------------------------------------------------------------------------===//

  uint32_t addBuffer(isa::Space space, uint32_t core, int64_t bytes, uint32_t dram = isa::none) {
    schedule::VirtualBuffer buffer;
    buffer.space = space;
    buffer.core = space == isa::Space::Scratchpad || space == isa::Space::Accumulator ? core : 0;
    buffer.bytes = bytes;
    buffer.dram = dram;
    graph.buffers.push_back(buffer);
    return graph.buffers.size() - 1;
  }

  LogicalResult declareArgument(BlockArgument argument, Frame &top) {
    auto type = cast<MemRefType>(argument.getType());
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), nameAttr);
    auto role = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), roleAttr);
    std::optional<isa::Role> known = role ? isa::roleFromName(role.getValue()) : std::nullopt;
    if (!name || !known || !type.hasStaticShape())
      return function.emitError("argument ")
             << argument.getArgNumber() << " needs a static shape and the attributes " << nameAttr << " and "
             << roleAttr;
    return declareDram(argument, type, type.getShape(), name.str(), *known, top);
  }

  LogicalResult declareDram(Value value, MemRefType type, ArrayRef<int64_t> sizes, std::string name,
                            isa::Role role, Frame &frame) {
    FailureOr<ElementType> element = elementType(type.getElementType());
    if (failed(element))
      return emitError(value.getLoc()) << "no buffer can hold elements of type " << type.getElementType();
    isa::Buffer buffer;
    buffer.name = std::move(name);
    buffer.role = role;
    buffer.type = *element;
    buffer.shape.assign(sizes.begin(), sizes.end());
    Memory &memory = memories.emplace_back();
    memory.space = isa::Space::Dram;
    memory.type = *element;
    memory.elements = std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
    memory.chunk = std::max<int64_t>(memory.elements, 1);
    memory.allocation = value;
    buffer.bytes = byteSize(*element, memory.elements);
    graph.dram.push_back(buffer);
    memory.buffers.push_back(addBuffer(isa::Space::Dram, 0, buffer.bytes, graph.dram.size() - 1));
    frame.regions[value] = {&memory, 0, SmallVector<int64_t, 4>(sizes), denseStrides(sizes)};
    return success();
  }

  LogicalResult allocate(memref::AllocOp op, Frame &frame) {
    MemRefType type = op.getType();
    npu::SpaceAttr space = npu::spaceOf(type);
    SmallVector<int64_t, 4> sizes = integers(&frame, op.getMixedSizes());
    if (space.getValue() == npu::MemorySpace::Dram)
      return declareDram(op, type, sizes, "workspace." + std::to_string(graph.dram.size()),
                         isa::Role::Workspace, frame);
    FailureOr<ElementType> element = elementType(type.getElementType());
    if (failed(element))
      return op.emitError("no buffer can hold elements of type ") << type.getElementType();
    Memory &memory = memories.emplace_back();
    memory.space = isaSpace(space.getValue());
    memory.type = *element;
    memory.elements = std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
    memory.chunk = std::max<int64_t>(space.getChunk() ? space.getChunk() : memory.elements, 1);
    if (int64_t shards = llvm::divideCeil(memory.elements, memory.chunk); shards > cores)
      return op.emitError("is cut into ") << shards << " chunks; the target has " << cores << " cores";
    memory.allocation = op;
    for (int64_t first = 0, shard = 0; first < memory.elements; first += memory.chunk, ++shard)
      memory.buffers.push_back(
          addBuffer(memory.space, frame.parent ? frame.core : shard,
                    byteSize(*element, std::min(memory.chunk, memory.elements - first))));
    frame.regions[op.getResult()] = {&memory, 0, sizes, denseStrides(sizes)};
    return success();
  }

  MemoryView subview(memref::SubViewOp op, const Frame *frame) {
    const MemoryView &source = region(frame, op.getSource());
    MemoryView result;
    result.memory = source.memory;
    result.offset = source.offset;
    SmallVector<int64_t, 4> offsets = integers(frame, op.getMixedOffsets()),
                            sizes = integers(frame, op.getMixedSizes()),
                            strides = integers(frame, op.getMixedStrides());
    llvm::SmallBitVector dropped = op.getDroppedDims();
    for (size_t i = 0; i < offsets.size(); ++i) {
      result.offset += offsets[i] * source.strides[i];
      if (dropped[i])
        continue;
      result.sizes.push_back(sizes[i]);
      result.strides.push_back(strides[i] * source.strides[i]);
    }
    return result;
  }

  //===--- commands -----------------------------------------------------------------------------------===//

  struct Emission {
    isa::Command command;
    SmallVector<isa::View, 8> operands;
    ArrayRef<isa::VectorInstruction> instructions;
    ArrayRef<uint16_t> multicast;
  };

  void emit(Operation *op, uint32_t core, Emission e) {
    e.command.source = graph.addSource(nn::nodeName(op->getLoc()));
    graph.operations.push_back(graph.add(e.command, e.operands, e.instructions, {}, e.multicast));
    graph.cores.push_back(core);
  }

  /// A fill waits until something else touches its memory: a contraction or reduction that starts from the
  /// value it fills with needs no fill.
  struct PendingFill {
    Operation *op;
    uint32_t core;
    MemoryView region;
    double value;
  };

  void flushFill(const PendingFill &fill) {
    Emission e;
    e.command.opcode = isa::Opcode::Vector;
    e.command.engine = isa::Engine::Vector;
    ElementType type = fill.region.memory->type;
    ElementType compute = type == ElementType::Bool ? type
                          : isFloat(type)           ? ElementType::F32
                                                    : ElementType::I32;
    isa::VectorInstruction program[] = {{isa::VectorOp::Constant, compute, 0, 0, 0, 0, fill.value},
                                        {isa::VectorOp::Store, compute, 0, 0, 0, 0, 0}};
    e.instructions = program;
    e.operands = {codegen::viewOf(fill.region)};
    emit(fill.op, fill.core, e);
  }

  /// Call before anything reads or writes `memory`.
  void touch(const Memory *memory) {
    auto it = fills.find(memory);
    if (it == fills.end())
      return;
    PendingFill fill = it->second;
    fills.erase(it);
    flushFill(fill);
  }

  /// Whether `region` holds nothing but `value` from a fill not yet made, which is then not needed.
  bool takeFill(const MemoryView &region, double value) {
    auto it = fills.find(region.memory);
    if (it == fills.end() || it->second.value != value || !(it->second.region == region))
      return false;
    fills.erase(it);
    return true;
  }

  void flushAllFills() {
    for (auto &entry : llvm::make_early_inc_range(fills))
      flushFill(entry.second);
    fills.clear();
  }

  LogicalResult fill(npu::FillOp op, Frame &frame) {
    const MemoryView &target = region(&frame, op.getTarget());
    if (target.elements() == 0)
      return success();
    touch(target.memory);
    if (isReachedByAll(target) || !frame.parent)
      return op.emitError("fills a buffer that is not the executing core's own");
    sent.written(target.memory);
    fills[target.memory] = {op, frame.core, target, op.getValue().convertToDouble()};
    return success();
  }

  /// The allocation is written by `writer` alone; everything else only reads it.
  bool onlyWriter(Value allocation, Operation *writer) {
    auto [it, isNew] = soleWriters.try_emplace(allocation, nullptr);
    if (isNew) {
      SmallVector<Value> views = {allocation};
      Operation *found = nullptr;
      bool several = false;
      while (!views.empty()) {
        Value view = views.pop_back_val();
        for (OpOperand &use : view.getUses()) {
          Operation *user = use.getOwner();
          if (auto viewLike = dyn_cast<ViewLikeOpInterface>(user)) {
            views.push_back(viewLike->getResult(0));
            continue;
          }
          auto effects = dyn_cast<MemoryEffectOpInterface>(user);
          if (mlir::isa<memref::DeallocOp>(user) ||
              (effects && !effects.getEffectOnValue<MemoryEffects::Write>(view)))
            continue;
          several |= found && found != user;
          found = user;
        }
      }
      it->second = several ? nullptr : found;
    }
    return it->second == writer;
  }

  /// A copy of memory that is the core's own, and that nothing changes while the copy is used, is a view of
  /// it: `source` is another group's result (or a whole loop's), and the copy's target is written by it
  /// alone.
  bool isView(npu::CopyOp op, const MemoryView &source, const MemoryView &target, uint32_t core) {
    if (source.memory->space != isa::Space::Scratchpad || !target.isWhole() ||
        target.memory->space != isa::Space::Scratchpad)
      return false;
    if (source.offset / source.memory->chunk != source.last() / source.memory->chunk)
      return false;
    if (graph.buffers[source.memory->buffers[source.offset / source.memory->chunk]].core != core)
      return false;
    Value allocation = source.memory->allocation;
    auto outer = allocation.getDefiningOp()->getParentOfType<scf::ForallOp>();
    return !outer && onlyWriter(target.memory->allocation, op);
  }

  /// Where the core has still what `target` is to hold of `source`, as it sent it there itself.
  const MemoryView *keptOf(npu::CopyOp op, const MemoryView &source, const MemoryView &target,
                           uint32_t core) {
    if (!isReachedByAll(source) || target.memory->space != isa::Space::Scratchpad || !target.isWhole() ||
        !onlyWriter(target.memory->allocation, op))
      return nullptr;
    return sent.kept(core, source);
  }

  bool isOwn(const MemoryView &r, const Frame &frame) const {
    return frame.parent && r.memory->space == isa::Space::Scratchpad && r.memory->buffers.size() == 1 &&
           graph.buffers[r.memory->buffers.front()].core == frame.core;
  }

  bool isConstant(const Memory &memory) const {
    const uint32_t dram = graph.buffers[memory.buffers.front()].dram;
    return dram != isa::none && graph.dram[dram].role == isa::Role::Constant;
  }

  /// Calls `piece` for the pieces of a copy, each inside one shard, in the order in which they should come.
  void forEachTransfer(const MemoryView &source, const MemoryView &target,
                       llvm::function_ref<void(const MemoryView &, const MemoryView &)> piece) const {
    auto inShards = [&](const MemoryView &from, const MemoryView &to) { forEachPiece(from, to, piece); };
    const auto bytes = int64_t(byteSize(source.memory->type, source.elements()));
    if (cores > 1 && isConstant(*source.memory) && bytes > bytesWorthParts) {
      // A queue is in order: what is computed would wait for a long load that nobody needs yet. While other
      // cores load too, it is long.
      const int64_t rows = source.sizes[0], parts = llvm::divideCeil(bytes, bytesWorthParts);
      const int64_t part = llvm::alignTo(llvm::divideCeil(rows, parts), 2); // Whole bytes, of any type.
      for (int64_t first = 0; first < rows; first += part) {
        MemoryView from = source, to = target;
        from.offset += first * from.strides[0];
        to.offset += first * to.strides[0];
        from.sizes[0] = to.sizes[0] = std::min(part, rows - first);
        inShards(from, to);
      }
    } else if (isReachedByAll(source) && bytes >= bytesWorthParts)
      sent.forEachArrival(source, target, inShards);
    else
      inShards(source, target);
  }

  LogicalResult copy(npu::CopyOp op, ArrayRef<Frame *> frames) {
    struct Transfer {
      Frame *frame;
      MemoryView source, target;
    };
    SmallVector<Transfer> transfers;
    for (Frame *frame : frames) {
      MemoryView source = region(frame, op.getSource()), target = region(frame, op.getTarget());
      // What was computed in place, under reshapes, is copied to itself.
      if (source.elements() == 0 || source == target)
        continue;
      touch(source.memory);
      touch(target.memory);
      if (isView(op, source, target, frame->core)) {
        // Later views are taken of the allocation, so it is the allocation that changes its place.
        frame->regions[target.memory->allocation] = source;
        continue;
      }
      if (const MemoryView *here = keptOf(op, source, target, frame->core)) {
        frame->regions[target.memory->allocation] = *here;
        continue;
      }
      sent.written(target.memory);
      if (isReachedByAll(target) && isOwn(source, *frame))
        sent.add(frame->core, source, target);
      transfers.push_back({frame, source, target});
    }
    SmallVector<bool> done(transfers.size());
    for (size_t i = 0; i < transfers.size(); ++i) {
      if (done[i])
        continue;
      const Transfer &first = transfers[i];
      SmallVector<Frame *> together;
      uint32_t &group = groupOf(first.target);
      bool shareable = multicasts && first.target.memory->space == isa::Space::Scratchpad;
      for (size_t j = i; j < transfers.size(); ++j)
        if (j == i ||
            (shareable && !done[j] && transfers[j].source == first.source &&
             transfers[j].target.isSamePartAs(first.target) && groupOf(transfers[j].target) == group)) {
          done[j] = true;
          together.push_back(transfers[j].frame);
        }
      if (together.size() == 1) {
        forEachTransfer(first.source, first.target, [&](const MemoryView &from, const MemoryView &to) {
          bool arrives = to.memory->space == isa::Space::Scratchpad;
          emitCopy(op, arrives ? first.frame->core : issuer(from, first.frame->core), from, to, {});
        });
      } else {
        // Its destinations take one address, each on its core.
        uint32_t shared = group == isa::none ? nextGroup++ : group;
        for (size_t j = i; j < transfers.size(); ++j)
          if (llvm::is_contained(together, transfers[j].frame))
            groupOf(transfers[j].target) = shared;
        SmallVector<uint16_t> multicast =
            llvm::map_to_vector(together, [](Frame *f) { return uint16_t(f->core); });
        forEachTransfer(first.source, first.target, [&](const MemoryView &from, const MemoryView &to) {
          // The cores take turns, so that their DMA engines share the work.
          emitCopy(op, issuer(from, together[nextIssuer++ % together.size()]->core), from, to, multicast);
        });
      }
    }
    return success();
  }

  /// Who sends `from`, which is in one piece: a shard's owner, and anyone what all cores reach.
  uint32_t issuer(const MemoryView &from, uint32_t anyone) {
    if (from.memory->space != isa::Space::Scratchpad)
      return anyone;
    return graph.buffers[from.memory->buffers[from.offset / from.memory->chunk]].core;
  }

  uint32_t &groupOf(const MemoryView &r) { return graph.buffers[r.memory->buffers.front()].group; }

  void emitCopy(Operation *op, uint32_t core, const MemoryView &from, const MemoryView &to,
                ArrayRef<uint16_t> multicast) {
    Emission e;
    e.command.opcode = isa::Opcode::Copy;
    e.command.engine = isa::Engine::Dma;
    LoopNest nest{{from.sizes.begin(), from.sizes.end()},
                  {{from.strides.begin(), from.strides.end()}, {to.strides.begin(), to.strides.end()}}};
    coalesce(nest);
    e.operands = {viewOf(from, nest.sizes, nest.strides[0]), viewOf(to, nest.sizes, nest.strides[1])};
    e.multicast = multicast;
    emit(op, core, e);
  }

  LogicalResult gather(npu::GatherOp op, Frame &frame) {
    const MemoryView &table = region(&frame, op.getTable()), &indices = region(&frame, op.getIndices()),
                     &target = region(&frame, op.getTarget());
    if (target.elements() == 0)
      return success();
    for (const MemoryView *r : {&table, &indices, &target})
      touch(r->memory);
    sent.written(target.memory);
    Emission e;
    e.command.opcode = isa::Opcode::Gather;
    e.command.engine = isa::Engine::Dma;
    e.operands = {codegen::viewOf(table), codegen::viewOf(indices), codegen::viewOf(target)};
    emit(op, frame.core, e);
    return success();
  }

  /// Loops of an operation with these indexing maps. A map may add loops times constants; `offsets` gets what
  /// it adds to the region's offset.
  LoopNest loopNest(ArrayRef<AffineMap> maps, ArrayRef<MemoryView *> regions) {
    unsigned loops = maps.front().getNumDims();
    LoopNest nest;
    nest.sizes.assign(loops, 1);
    for (auto [map, r] : llvm::zip_equal(maps, regions)) {
      SmallVector<int64_t, 8> strides(loops, 0), at(loops, 0);
      for (auto [expr, size, stride] : llvm::zip_equal(map.getResults(), r->sizes, r->strides)) {
        if (auto dim = dyn_cast<AffineDimExpr>(expr))
          nest.sizes[dim.getPosition()] = size;
        int64_t base = evaluate(expr, at, {});
        r->offset += base * stride;
        for (unsigned d = 0; d < loops; ++d) {
          at[d] = 1;
          strides[d] += (evaluate(expr, at, {}) - base) * stride;
          at[d] = 0;
        }
      }
      nest.strides.push_back(strides);
    }
    return nest;
  }

  LogicalResult checkRank(Operation *op, size_t rank) {
    if (rank > isa::maxRank)
      return op->emitError("needs a view of ")
             << rank << " dimensions; a view has at most " << unsigned(isa::maxRank);
    return success();
  }

  static isa::View viewOf(const MemoryView &r, ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
    MemoryView seen = r;
    seen.sizes.assign(sizes.begin(), sizes.end());
    seen.strides.assign(strides.begin(), strides.end());
    return codegen::viewOf(seen);
  }

  SmallVector<MemoryView> regionsOf(Operation *op, Frame &frame) {
    return llvm::map_to_vector(op->getOperands(), [&](Value v) { return region(&frame, v); });
  }

  LogicalResult contract(npu::ContractOp op, Frame &frame) {
    SmallVector<AffineMap> maps = llvm::to_vector(op.getMaps().getAsValueRange<AffineMapAttr>());
    SmallVector<MemoryView> regions = regionsOf(op, frame);
    touch(regions[0].memory);
    touch(regions[1].memory);
    bool fresh = takeFill(regions[2], 0);
    touch(regions[2].memory);
    sent.written(regions[2].memory);
    LoopNest nest = loopNest(maps, llvm::map_to_vector(regions, [](MemoryView &r) { return &r; }));
    if (llvm::is_contained(nest.sizes, 0))
      return success();

    FailureOr<SmallVector<npu::LoopRole>> roles = npu::loopRoles(maps);
    LoopNest ofRole[4];
    for (auto [role, part] : llvm::enumerate(ofRole)) {
      part.strides.resize(3);
      for (size_t loop = 0; loop < nest.sizes.size(); ++loop)
        if (static_cast<size_t>((*roles)[loop]) == role) {
          part.sizes.push_back(nest.sizes[loop]);
          for (unsigned i = 0; i < 3; ++i)
            part.strides[i].push_back(nest.strides[i][loop]);
        }
      coalesce(part);
    }
    Emission e;
    e.command.opcode = isa::Opcode::Contract;
    e.command.engine = isa::Engine::Matrix;
    e.command.accumulate = !fresh;
    e.command.rankBatch = ofRole[0].sizes.size();
    e.command.rankM = ofRole[1].sizes.size();
    e.command.rankN = ofRole[2].sizes.size();
    e.command.rankK = ofRole[3].sizes.size();
    using R = npu::LoopRole;
    const R orders[3][3] = {{R::Batch, R::M, R::K}, {R::Batch, R::K, R::N}, {R::Batch, R::M, R::N}};
    for (unsigned i = 0; i < 3; ++i) {
      SmallVector<int64_t, 8> sizes, strides;
      for (R role : orders[i]) {
        llvm::append_range(sizes, ofRole[static_cast<size_t>(role)].sizes);
        llvm::append_range(strides, ofRole[static_cast<size_t>(role)].strides[i]);
      }
      if (failed(checkRank(op, sizes.size())))
        return failure();
      e.operands.push_back(viewOf(regions[i], sizes, strides));
    }
    emit(op, frame.core, e);
    return success();
  }

  LogicalResult vector(npu::VectorOp op, Frame &frame) {
    SmallVector<AffineMap> maps = llvm::to_vector(op.getMaps().getAsValueRange<AffineMapAttr>());
    SmallVector<MemoryView> regions = regionsOf(op, frame);
    if (llvm::any_of(regions, [](const MemoryView &r) { return r.elements() == 0; }))
      return success();
    unsigned inputs = op.getInputs().size();
    for (unsigned i = 0; i < inputs; ++i)
      touch(regions[i].memory);
    SmallVector<bool> keep;
    Block &body = op.getBody().front();
    for (unsigned i = 0; i < op.getOutputs().size(); ++i) {
      const MemoryView &r = regions[inputs + i];
      std::optional<double> identity = reductionIdentity(op, i);
      // An output that the body never reads and that is written whole needs no fill at all.
      auto pending = fills.find(r.memory);
      if (!identity && body.getArgument(inputs + i).use_empty() && pending != fills.end() &&
          pending->second.region == r)
        fills.erase(pending);
      keep.push_back(!identity || !takeFill(r, *identity));
      touch(r.memory);
      sent.written(r.memory);
    }
    FailureOr<VectorProgram> program =
        vectorProgram(op, keep, [&](Value outside) { return integer(&frame, outside); });
    if (failed(program))
      return failure();

    LoopNest nest = loopNest(maps, llvm::map_to_vector(regions, [](MemoryView &r) { return &r; }));
    SmallVector<bool> indexed(nest.sizes.size());
    for (const isa::VectorInstruction &instruction : program->instructions)
      if (instruction.op == isa::VectorOp::Index)
        indexed[instruction.a] = true;
    SmallVector<int, 8> numbers = coalesce(nest, indexed);
    if (failed(checkRank(op, nest.sizes.size())))
      return failure();
    for (isa::VectorInstruction &instruction : program->instructions)
      if (instruction.op == isa::VectorOp::Index) {
        int loop = numbers[instruction.a];
        instruction.op = loop < 0 ? isa::VectorOp::Constant : isa::VectorOp::Index;
        instruction.a = std::max(loop, 0);
      }
    Emission e;
    e.command.opcode = isa::Opcode::Vector;
    e.command.engine = isa::Engine::Vector;
    e.instructions = program->instructions;
    for (auto [r, strides] : llvm::zip_equal(regions, nest.strides))
      e.operands.push_back(viewOf(r, nest.sizes, strides));
    emit(op, frame.core, e);
    return success();
  }

  //===--- control ------------------------------------------------------------------------------------===//

  static int64_t evaluate(AffineExpr expr, ArrayRef<int64_t> dims, ArrayRef<int64_t> symbols) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      return dims[dim.getPosition()];
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
      return symbols[symbol.getPosition()];
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return constant.getValue();
    auto binary = cast<AffineBinaryOpExpr>(expr);
    int64_t a = evaluate(binary.getLHS(), dims, symbols), b = evaluate(binary.getRHS(), dims, symbols);
    switch (binary.getKind()) {
    case AffineExprKind::Add:
      return a + b;
    case AffineExprKind::Mul:
      return a * b;
    case AffineExprKind::FloorDiv:
      return llvm::divideFloorSigned(a, b);
    case AffineExprKind::CeilDiv:
      return llvm::divideCeilSigned(a, b);
    case AffineExprKind::Mod:
      return llvm::mod(a, b);
    default:
      llvm_unreachable("a binary affine expression");
    }
  }

  SmallVector<int64_t> evaluate(AffineMap map, ValueRange operands, const Frame *frame) {
    SmallVector<int64_t> values = llvm::map_to_vector(operands, [&](Value v) { return integer(frame, v); });
    ArrayRef<int64_t> all = values;
    return llvm::map_to_vector(map.getResults(), [&](AffineExpr e) {
      return evaluate(e, all.take_front(map.getNumDims()), all.drop_front(map.getNumDims()));
    });
  }

  /// Index arithmetic: affine operations directly, others by their own folders.
  LogicalResult compute(Operation *op, Frame &frame) {
    if (auto apply = dyn_cast<affine::AffineApplyOp>(op))
      return frame.integers[apply] = evaluate(apply.getAffineMap(), apply.getMapOperands(), &frame)[0],
             success();
    if (auto min = dyn_cast<affine::AffineMinOp>(op))
      return frame.integers[min] =
                 *llvm::min_element(evaluate(min.getAffineMap(), min.getOperands(), &frame)),
             success();
    if (auto max = dyn_cast<affine::AffineMaxOp>(op))
      return frame.integers[max] =
                 *llvm::max_element(evaluate(max.getAffineMap(), max.getOperands(), &frame)),
             success();
    SmallVector<Attribute> operands;
    for (Value v : op->getOperands())
      operands.push_back(IntegerAttr::get(v.getType(), integer(&frame, v)));
    SmallVector<OpFoldResult> results;
    if (failed(op->fold(operands, results)) || results.size() != op->getNumResults())
      return op->emitError("is not known at compile time");
    for (auto [result, value] : llvm::zip_equal(op->getResults(), results))
      frame.integers[result] = integer(&frame, value);
    return success();
  }

  LogicalResult forall(scf::ForallOp op, ArrayRef<Frame *> frames) {
    if (frames.size() != 1 || frames[0]->parent)
      return op.emitError("a loop over cores stands inside another");
    SmallVector<int64_t, 4> lower = integers(frames[0], op.getMixedLowerBound()),
                            upper = integers(frames[0], op.getMixedUpperBound()),
                            step = integers(frames[0], op.getMixedStep());
    SmallVector<int64_t, 4> counts;
    int64_t total = 1;
    for (size_t i = 0; i < lower.size(); ++i) {
      counts.push_back(llvm::divideCeilSigned(upper[i] - lower[i], step[i]));
      total *= counts.back();
    }
    if (total > cores)
      return op.emitError("has ") << total << " iterations for " << cores << " cores";
    std::deque<Frame> storage;
    SmallVector<Frame *> inner;
    for (int64_t linear = 0; linear < total; ++linear) {
      Frame &frame = storage.emplace_back();
      frame.core = linear;
      frame.parent = frames[0];
      int64_t rest = linear;
      for (size_t i = counts.size(); i-- > 0; rest /= counts[i])
        frame.integers[op.getInductionVar(i)] = lower[i] + rest % counts[i] * step[i];
      inner.push_back(&frame);
    }
    sent.beginLoop();
    return runBlock(*op.getBody(), inner);
  }

  LogicalResult loop(scf::ForOp op, ArrayRef<Frame *> frames) {
    if (!op.getInitArgs().empty())
      return op.emitError("carries a value; tile loops work on buffers only");
    for (int64_t iteration = 0;; ++iteration) {
      SmallVector<Frame *> active;
      for (Frame *frame : frames) {
        int64_t at = integer(frame, op.getLowerBound()) + iteration * integer(frame, op.getStep());
        if (at >= integer(frame, op.getUpperBound()))
          continue;
        frame->integers[op.getInductionVar()] = at;
        active.push_back(frame);
      }
      if (active.empty())
        return success();
      if (failed(runBlock(*op.getBody(), active)))
        return failure();
    }
  }

  LogicalResult eachFrame(ArrayRef<Frame *> frames, llvm::function_ref<LogicalResult(Frame &)> body) {
    for (Frame *frame : frames)
      if (failed(body(*frame)))
        return failure();
    return success();
  }

  LogicalResult setView(Operation *op, Frame &frame, std::optional<MemoryView> view) {
    if (!view)
      return op->emitError("is no view of its source as that lies in memory");
    frame.regions[op->getResult(0)] = *view;
    return success();
  }

  LogicalResult runBlock(Block &block, ArrayRef<Frame *> frames) {
    for (Operation &op : block)
      if (failed(runOperation(&op, frames)))
        return failure();
    return success();
  }

  LogicalResult runOperation(Operation *op, ArrayRef<Frame *> frames) {
    auto each = [&](auto body) { return eachFrame(frames, body); };
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](scf::ForallOp o) { return forall(o, frames); })
        .Case([&](scf::ForOp o) { return loop(o, frames); })
        .Case([&](npu::CopyOp o) { return copy(o, frames); })
        .Case([&](npu::FillOp o) { return each([&](Frame &f) { return fill(o, f); }); })
        .Case([&](npu::GatherOp o) { return each([&](Frame &f) { return gather(o, f); }); })
        .Case([&](npu::ContractOp o) { return each([&](Frame &f) { return contract(o, f); }); })
        .Case([&](npu::VectorOp o) { return each([&](Frame &f) { return vector(o, f); }); })
        .Case([&](memref::AllocOp o) { return each([&](Frame &f) { return allocate(o, f); }); })
        .Case([&](memref::SubViewOp o) {
          return each([&](Frame &f) { return setView(o, f, subview(o, &f)); });
        })
        .Case([&](memref::CastOp o) {
          return each([&](Frame &f) { return setView(o, f, region(&f, o.getSource())); });
        })
        .Case<memref::ExpandShapeOp>([&](auto o) {
          return each([&](Frame &f) {
            return setView(o, f, reshaped(region(&f, o.getSrc()), integers(&f, o.getMixedOutputShape())));
          });
        })
        .Case([&](memref::CollapseShapeOp o) {
          return each([&](Frame &f) {
            const MemoryView &source = region(&f, o.getSrc());
            SmallVector<int64_t> sizes;
            for (const ReassociationIndices &group : o.getReassociationIndices()) {
              sizes.push_back(1);
              for (int64_t i : group)
                sizes.back() *= source.sizes[i];
            }
            return setView(o, f, reshaped(source, sizes));
          });
        })
        .Case([&](memref::TransposeOp o) {
          return each([&](Frame &f) {
            MemoryView view = region(&f, o.getIn()), source = view;
            for (auto [i, expr] : llvm::enumerate(o.getPermutation().getResults())) {
              unsigned from = cast<AffineDimExpr>(expr).getPosition();
              view.sizes[i] = source.sizes[from];
              view.strides[i] = source.strides[from];
            }
            return setView(o, f, view);
          });
        })
        .Case([&](memref::DimOp o) {
          return each([&](Frame &f) {
            f.integers[o] = region(&f, o.getSource()).sizes[integer(&f, o.getIndex())];
            return success();
          });
        })
        .Case<memref::DeallocOp, scf::YieldOp, scf::InParallelOp, func::ReturnOp>(
            [](auto) { return success(); })
        .Default([&](Operation *o) -> LogicalResult {
          if (mlir::isa<arith::ConstantOp>(o))
            return success();
          if (o->getNumResults() > 0 && llvm::all_of(o->getResultTypes(), [](Type t) { return t.isIndex(); }))
            return each([&](Frame &f) { return compute(o, f); });
          return o->emitError("is not an operation of a tile program");
        });
  }

  func::FuncOp function;
  int64_t cores = 1;
  bool multicasts = false;
  int64_t bytesWorthParts = 0; // for a copy to be made in parts
  schedule::TileGraph graph;
  std::deque<Memory> memories;
  llvm::MapVector<const Memory *, PendingFill> fills;
  llvm::DenseMap<Value, Operation *> soleWriters;
  SentRegions sent;
  uint32_t nextIssuer = 0, nextGroup = 0;
};

} // namespace

FailureOr<schedule::TileGraph> npuc::codegen::expand(func::FuncOp function,
                                                     const target::TargetDescription &target) {
  return Expander(function, target).run();
}
