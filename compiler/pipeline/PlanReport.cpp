#include "compiler/pipeline/PlanReport.h"

#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NodeName.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace npuc::pipeline {
namespace {

/// All operations of one source, before they are written down.
struct Gathered {
  artifact::OperatorPlan plan;
  std::set<uint32_t> cores;
  /// The extents of the command that computes most: of a contraction m, n, k; of a vector program its loops.
  std::vector<int64_t> tile;
  double work = 0;
  bool contracts = false;
};

int64_t extent(std::span<const isa::Dim> dims) {
  int64_t product = 1;
  for (const isa::Dim &dim : dims)
    product *= dim.size;
  return product;
}

void noteTile(const schedule::TileGraph &graph, const isa::Command &command, Gathered &of) {
  std::vector<int64_t> tile;
  bool contracts = command.opcode == isa::Opcode::Contract;
  if (contracts) {
    // A is [batch…, m…, k…], B [batch…, k…, n…].
    std::span<const isa::Dim> a = graph.operandsOf(command)[0].shape(),
                              b = graph.operandsOf(command)[1].shape();
    tile = {extent(a.subspan(command.rankBatch, command.rankM)), extent(b.last(command.rankN)),
            extent(a.last(command.rankK))};
    if (int64_t batches = extent(a.first(command.rankBatch)); batches > 1)
      tile.insert(tile.begin(), batches);
  } else if (command.opcode == isa::Opcode::Vector) {
    isa::LoopNest nest = isa::loopNest(graph, command);
    tile.assign(nest.sizes.begin(), nest.sizes.begin() + nest.rank);
  } else {
    return;
  }
  double work = 1;
  for (int64_t size : tile)
    work *= double(size);
  if (std::pair(contracts, work) <= std::pair(of.contracts, of.work))
    return;
  of.contracts = contracts;
  of.work = work;
  of.tile = std::move(tile);
}

uint64_t bytesOf(const isa::View &view) {
  return (static_cast<uint64_t>(view.elements()) * bitWidth(view.type) + 7) / 8;
}

void noteTransfer(const schedule::TileGraph &graph, const isa::Command &command, uint32_t core,
                  artifact::OperatorPlan &plan) {
  std::span<const isa::View> operands = graph.operandsOf(command);
  bool fromOther = false;
  for (unsigned i = 0; i < operands.size(); ++i) {
    const schedule::VirtualBuffer &buffer = graph.buffers[operands[i].buffer];
    isa::Access access = isa::access(graph, command, i);
    // Of a gathered table only the rows that are read count.
    uint64_t bytes =
        command.opcode == isa::Opcode::Gather && i == 0 ? bytesOf(operands.back()) : bytesOf(operands[i]);
    if (buffer.space == isa::Space::Scratchpad)
      fromOther |= access.reads && buffer.core != core;
    if (buffer.space != isa::Space::Dram)
      continue;
    if (access.writes)
      plan.set_dram_written_bytes(plan.dram_written_bytes() + bytes);
    else if (graph.dram[buffer.dram].role == isa::Role::Constant)
      plan.set_constant_bytes(plan.constant_bytes() + bytes);
    else
      plan.set_dram_read_bytes(plan.dram_read_bytes() + bytes);
  }
  bool toOther = false;
  if (command.opcode == isa::Opcode::Copy &&
      graph.buffers[operands.back().buffer].space == isa::Space::Scratchpad &&
      graph.buffers[operands.front().buffer].space == isa::Space::Scratchpad)
    toOther = command.multicastCount > 0 || graph.buffers[operands.back().buffer].core != core;
  if (fromOther || toOther)
    plan.set_exchanged_bytes(plan.exchanged_bytes() + bytesOf(operands.front()));
}

void describeOperators(const schedule::TileGraph &graph, const schedule::Solution &solution,
                       artifact::EntryPoint &entry) {
  std::vector<Gathered> gathered;
  std::unordered_map<std::string, size_t> byName;
  std::vector<size_t> ofSource;
  for (const std::string &source : graph.sources) {
    auto [at, isNew] = byName.try_emplace(source, gathered.size());
    if (isNew)
      gathered.emplace_back().plan.set_name(source);
    ofSource.push_back(at->second);
  }
  for (size_t i = 0; i < graph.operations.size(); ++i) {
    const isa::Command &command = graph.operations[i];
    const schedule::Slot &slot = solution.timeline[i];
    Gathered &of = gathered[ofSource[command.source]];
    bool first = of.cores.empty();
    of.cores.insert(graph.cores[i]);
    auto start = static_cast<uint64_t>(slot.start), finish = static_cast<uint64_t>(slot.finish);
    of.plan.set_predicted_start(first ? start : std::min(of.plan.predicted_start(), start));
    of.plan.set_predicted_end(std::max(of.plan.predicted_end(), finish));
    noteTile(graph, command, of);
    if (command.engine == isa::Engine::Dma)
      noteTransfer(graph, command, graph.cores[i], of.plan);
  }
  for (Gathered &of : gathered) {
    if (of.cores.empty())
      continue;
    of.plan.set_cores(static_cast<uint32_t>(of.cores.size()));
    of.plan.mutable_tile()->Add(of.tile.begin(), of.tile.end());
    *entry.add_operators() = std::move(of.plan);
  }
}

} // namespace

std::map<std::string, GroupPlan> groupPlans(mlir::func::FuncOp function) {
  std::map<int64_t, GroupPlan> cuts;
  function.walk([&](mlir::linalg::LinalgOp op) {
    auto group = op->getAttrOfType<mlir::IntegerAttr>(tile::groupAttr);
    auto cores = op->getAttrOfType<mlir::DenseI64ArrayAttr>(tile::coresAttr);
    auto blocks = op->getAttrOfType<mlir::DenseI64ArrayAttr>(tile::blocksAttr);
    if (!group || !cores || !blocks)
      return;
    GroupPlan &cut = cuts[group.getInt()];
    llvm::SmallVector<int64_t> extents = op.getStaticLoopRanges();
    if (auto steps = op->getAttrOfType<mlir::DenseI64ArrayAttr>(tile::stepsAttr))
      for (auto [extent, step] : llvm::zip_equal(extents, steps.asArrayRef()))
        extent = step > 0 ? std::min(step, extent) : extent;
    for (auto [extent, part, block] : llvm::zip_equal(extents, cores.asArrayRef(), blocks.asArrayRef())) {
      int64_t ofCore = part > 0 ? std::min(part, extent) : extent;
      cut.grid.push_back(llvm::divideCeil(extent, std::max<int64_t>(1, ofCore)));
      cut.blocks.push_back(block > 0 ? std::min(block, ofCore) : ofCore);
    }
  });
  std::map<std::string, GroupPlan> plans;
  function.walk([&](mlir::linalg::LinalgOp op) {
    auto group = op->getAttrOfType<mlir::IntegerAttr>(tile::groupAttr);
    llvm::StringRef name = nn::nodeName(op->getLoc());
    if (!group || name.empty())
      return;
    auto [plan, isNew] = plans.try_emplace(name.str(), cuts[group.getInt()]);
    auto number = static_cast<uint32_t>(group.getInt());
    if (std::ranges::find(plan->second.groups, number) == plan->second.groups.end())
      plan->second.groups.push_back(number);
  });
  return plans;
}

void describePlan(const schedule::TileGraph &graph, const schedule::Solution &solution,
                  const std::map<std::string, GroupPlan> &groups, artifact::EntryPoint &entry) {
  describeOperators(graph, solution, entry);
  for (artifact::OperatorPlan &plan : *entry.mutable_operators())
    if (auto found = groups.find(plan.name()); found != groups.end()) {
      plan.mutable_groups()->Add(found->second.groups.begin(), found->second.groups.end());
      plan.mutable_grid()->Add(found->second.grid.begin(), found->second.grid.end());
      plan.mutable_blocks()->Add(found->second.blocks.begin(), found->second.blocks.end());
    }
  for (const schedule::MemoryUse &use : solution.memories) {
    artifact::MemoryUse &memory = *entry.add_memories();
    memory.set_space(std::string(isa::name(use.space)));
    memory.set_core(use.core);
    memory.set_peak(static_cast<uint64_t>(use.peak));
    memory.set_bound(static_cast<uint64_t>(use.bound));
    memory.set_capacity(static_cast<uint64_t>(use.capacity));
  }
}

} // namespace npuc::pipeline
