// What commands ask of their engines: extents, bytes and access patterns, taken from their operands.
#include "backends/npu/timing/Cost.h"

#include <algorithm>
#include <limits>

namespace npuc::timing {
namespace {

using isa::Dim;
using isa::VectorOp;
using isa::View;

int64_t product(const View &view, unsigned first, unsigned count) {
  int64_t result = 1;
  for (unsigned d = first; d < first + count; ++d)
    result *= view.dims[d].size;
  return result;
}

bool isScattered(const View &view) {
  bool single = true;
  for (const Dim &d : view.shape()) {
    if (d.size > 1 && d.stride == 1)
      return false;
    single &= d.size <= 1 || d.stride == 0;
  }
  return !single;
}

bool isReduction(VectorOp op) {
  return op == VectorOp::StoreSum || op == VectorOp::StoreMax || op == VectorOp::StoreMin;
}

/// One loop of a copy, strides in bits, on both sides.
struct Loop {
  int64_t size, source, destination;
};

// Loops of extent 1 go, and a loop that continues the one inside it on both sides merges with it; innermost
// last.
std::vector<Loop> collapse(const std::vector<Loop> &loops) {
  std::vector<Loop> result; // innermost first
  for (auto it = loops.rbegin(); it != loops.rend(); ++it) {
    if (it->size == 1)
      continue;
    if (!result.empty() && it->source == result.back().size * result.back().source &&
        it->destination == result.back().size * result.back().destination)
      result.back().size *= it->size;
    else
      result.push_back(*it);
  }
  std::ranges::reverse(result);
  return result;
}

/// Bits of a run that lies together on both sides; takes the run's loop off `loops`.
int64_t takeRun(std::vector<Loop> &loops, int64_t elementBits) {
  if (loops.empty() || loops.back().source != elementBits || loops.back().destination != elementBits)
    return elementBits;
  int64_t bits = loops.back().size * elementBits;
  loops.pop_back();
  return bits;
}

int64_t bytesOf(int64_t bits) {
  return (bits + 7) / 8;
}

std::vector<Loop> loopsOf(const View &view, unsigned first) {
  std::vector<Loop> loops;
  const int64_t bits = bitWidth(view.type);
  for (unsigned d = first; d < view.rank; ++d)
    loops.push_back({view.dims[d].size, view.dims[d].stride * bits, view.dims[d].stride * bits});
  return loops;
}

Side sideOf(const View &view, std::span<const uint32_t> cores, unsigned firstDim = 0) {
  Side side;
  side.space = view.space;
  side.buffer = view.buffer;
  if (view.space == isa::Space::Scratchpad)
    side.core = view.buffer < cores.size() ? cores[view.buffer] : view.buffer;
  side.base = view.base;
  std::vector<Loop> loops = collapse(loopsOf(view, firstDim));
  side.runBytes = bytesOf(takeRun(loops, bitWidth(view.type)));
  for (const Loop &loop : loops)
    side.loops[side.rank++] = {loop.size, loop.source / 8};
  return side;
}

uint32_t distance(uint32_t a, uint32_t b) {
  return a > b ? a - b : b - a;
}

void setDestinations(const Machine &machine, Transfer &work, const isa::Command &command,
                     std::span<const uint16_t> multicast) {
  work.copies = std::max<uint32_t>(1, command.multicastCount);
  work.sends = machine.target.dma(command.dmaClass).multicast() ? 1 : work.copies;
  if (work.fill || work.source.space != isa::Space::Scratchpad ||
      work.destination.space != isa::Space::Scratchpad)
    return;
  auto reach = [&](uint32_t core) {
    const uint32_t cluster = std::max<uint32_t>(1, machine.target.topology().cores_per_cluster());
    work.crossesCores |= core != work.source.core;
    work.hops = std::max(work.hops, distance(core, work.source.core));
    work.clusterHops = std::max(work.clusterHops, distance(core / cluster, work.source.core / cluster));
  };
  if (multicast.empty())
    reach(work.destination.core);
  for (uint16_t core : multicast)
    reach(core);
}

// Runs that lie together on both sides: what the engine moves, rounded, and how many descriptors say it.
void setRuns(const Machine &machine, Transfer &work, const isa::Command &command, std::vector<Loop> loops,
             int64_t elementBits, int64_t rows) {
  const target::DmaClass &dma = machine.target.dma(command.dmaClass);
  loops = collapse(loops);
  const int64_t run = bytesOf(takeRun(loops, elementBits));
  int64_t runs = rows;
  for (const Loop &loop : loops)
    runs *= loop.size;
  const int64_t granule = std::max<int64_t>(1, dma.granule_bytes());
  work.engineBytes = runs * ((run + granule - 1) / granule * granule);
  const size_t dims = loops.size() + 1;
  for (size_t d = 0; dims > dma.dimensions() && d < dims - dma.dimensions(); ++d)
    work.descriptors *= loops[d].size;
}

} // namespace

Contraction contraction(const isa::Pools &pools, const isa::Command &command,
                        std::span<const int64_t> registers) {
  auto operands = pools.operandsOf(command);
  const View a = resolve(operands[0], registers), b = resolve(operands[1], registers),
             c = resolve(operands[2], registers);
  const unsigned nb = command.rankBatch, nm = command.rankM, nn = command.rankN, nk = command.rankK;
  Contraction work;
  work.a = a.type;
  work.b = b.type;
  work.sum = c.type;
  work.batch = std::min({product(a, 0, nb), product(b, 0, nb), product(c, 0, nb)});
  work.m = std::min(product(a, nb, nm), product(c, nb, nm));
  work.k = std::min(product(a, nb + nm, nk), product(b, nb, nk));
  work.n = std::min(product(b, nb + nk, nn), product(c, nb + nm, nn));
  work.accumulate = command.accumulate;
  work.sumsInScratchpad = c.space == isa::Space::Scratchpad;
  work.scatteredA = isScattered(a);
  work.scatteredB = isScattered(b);
  return work;
}

bool takesLanes(VectorOp op) {
  return op != VectorOp::Load && op != VectorOp::Store && op != VectorOp::Constant && op != VectorOp::Index &&
         op != VectorOp::Table;
}

VectorWork vectorWork(const isa::Pools &pools, const isa::Command &command,
                      std::span<const int64_t> registers) {
  VectorWork work;
  work.instructions = pools.instructionsOf(command);
  auto operands = pools.operandsOf(command);
  std::array<bool, 256> isTable{}, isLoaded{};
  for (const isa::VectorInstruction &i : work.instructions) {
    work.operations += takesLanes(i.op) || i.op == VectorOp::Table;
    if (i.op == VectorOp::Table)
      isTable[i.b] = true;
  }

  std::vector<View> views;
  std::array<int64_t, isa::maxRank> extent{};
  uint8_t rank = 0;
  for (size_t o = 0; o < operands.size(); ++o) {
    views.push_back(resolve(operands[o], registers));
    if (isTable[o])
      continue;
    rank = std::max(rank, views[o].rank);
    for (unsigned d = 0; d < views[o].rank; ++d)
      extent[d] = views[o].dims[d].size == 0 || extent[d] < 0
                      ? -1 // an empty extent stays empty beside broadcasts of size 1
                      : std::max<int64_t>(extent[d], views[o].dims[d].size);
  }
  work.points = operands.empty() ? 0 : 1;
  for (unsigned d = 0; d < rank; ++d)
    work.points *= std::max<int64_t>(0, extent[d]);
  work.outputs = work.points;
  if (work.points == 0)
    return work;

  auto isBroadcast = [&](const View &v, unsigned d) { return v.dims[d].size == 1 || v.dims[d].stride == 0; };
  auto add = [&](const View &v, int64_t elements) {
    if (v.space == isa::Space::Accumulator) {
      work.accumulatorElements += elements;
      return;
    }
    for (unsigned d = v.rank; d-- > 0;)
      if (extent[d] > 1 && !isBroadcast(v, d)) {
        if (v.dims[d].stride != 1) {
          work.scattered += elements;
          return;
        }
        break;
      }
    work.bytes += bytesOf(elements * bitWidth(v.type));
  };
  for (const isa::VectorInstruction &i : work.instructions) {
    if (i.op == VectorOp::Load && !isLoaded[i.a]) {
      isLoaded[i.a] = true;
      const View &v = views[i.a];
      int64_t reads = work.points;
      for (unsigned d = v.rank; d-- > 0 && (extent[d] == 1 || isBroadcast(v, d));)
        reads /= extent[d];
      add(v, reads);
    } else if (i.op == VectorOp::Store) {
      add(views[i.dst], work.points);
    } else if (isReduction(i.op)) {
      const View &v = views[i.dst];
      int64_t results = work.points;
      for (unsigned d = 0; d < v.rank; ++d)
        if (isBroadcast(v, d))
          results /= extent[d];
      work.outputs = std::min(work.outputs, results);
      add(v, results * (i.immediate == 1 ? 2 : 1));
    }
  }
  return work;
}

int64_t Side::runs() const {
  int64_t result = 1;
  for (unsigned d = 0; d < rank; ++d)
    result *= loops[d].size;
  return result;
}

Transfer transfer(const Machine &machine, const isa::Pools &pools, const isa::Command &command, uint32_t core,
                  std::span<const int64_t> registers, std::span<const uint32_t> cores) {
  std::vector<View> views;
  for (const View &view : pools.operandsOf(command))
    views.push_back(resolve(view, registers));
  Transfer work;
  work.core = core;
  const View &last = views.back();
  const int64_t bits = bitWidth(last.type);
  work.destination = sideOf(last, cores);
  work.bytes = bytesOf(last.elements() * bits);

  std::vector<Loop> loops = loopsOf(last, 0);
  int64_t rows = 1;
  if (command.opcode == isa::Opcode::Fill) {
    work.fill = true;
    work.source.core = core;
  } else if (command.opcode == isa::Opcode::Copy) {
    const View &source = views[0];
    work.source = sideOf(source, cores);
    for (unsigned d = 0; d < source.rank; ++d)
      loops[d].source = source.dims[d].stride * bits;
    // An extent that only one side's register bounds holds for both.
    for (unsigned d = 0; d < source.rank; ++d)
      loops[d].size = std::min<int64_t>(loops[d].size, source.dims[d].size);
    work.bytes = bytesOf(std::min(last.elements(), source.elements()) * bits);
  } else {
    // Gather: the table is the source; scatter: it is the destination. Its dimension 0 is chosen by the
    // index.
    const bool gather = command.opcode == isa::Opcode::Gather;
    const View &table = gather ? views[0] : views[2], &index = views[1],
               &dense = gather ? views[2] : views[0];
    rows = index.elements();
    Side random = sideOf(table, cores, 1);
    random.rows = table.dims[0].size;
    random.rowStride = table.dims[0].stride * bits / 8;
    std::copy_backward(random.loops.begin(), random.loops.begin() + random.rank,
                       random.loops.begin() + random.rank + 1);
    random.loops[0] = {rows, 0};
    ++random.rank;
    (gather ? work.source : work.destination) = random;
    (gather ? work.destination : work.source) = sideOf(dense, cores);
    work.bytes = bytesOf(dense.elements() * bits);
    work.indexBytes = bytesOf(index.elements() * bitWidth(index.type));
    work.indexSpace = index.space;
    work.indexBuffer = index.buffer;
    work.indexBase = index.base;
    loops = loopsOf(table, 1);
    for (unsigned d = 1; d < table.rank && index.rank + d - 1 < dense.rank; ++d)
      (gather ? loops[d - 1].destination : loops[d - 1].source) =
          dense.dims[index.rank + d - 1].stride * bits;
  }
  if (work.bytes > 0)
    setRuns(machine, work, command, std::move(loops), bits, rows);
  setDestinations(machine, work, command, pools.multicastOf(command));
  return work;
}

} // namespace npuc::timing
