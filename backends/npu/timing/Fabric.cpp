#include "backends/npu/timing/Fabric.h"

#include <algorithm>
#include <cmath>

namespace npuc::timing {
namespace {

constexpr double packetBytes = 8192;
constexpr size_t mostBuckets = 1024;

/// Spreads gathered rows over a table without data: 2^64 / golden ratio.
uint64_t scatterRow(uint64_t i, uint64_t rows) {
  return (i * 0x9e3779b97f4a7c15ull >> 20) % rows;
}

double latencyOf(const Machine &machine, isa::Space space) {
  switch (space) {
  case isa::Space::Dram:
    return machine.target.dram().latency_cycles();
  case isa::Space::Shared:
    return machine.target.shared().latency_cycles();
  default:
    return machine.target.scratchpad().latency_cycles();
  }
}

/// Cycles in which a bank closes a row and opens another, until its data come.
double rowChangeCycles(const Machine &machine) {
  const target::Dram &dram = machine.target.dram();
  return (dram.t_rp() + dram.t_rcd() + dram.t_cl()) / machine.dramCyclesPerCycle;
}

} // namespace

void Series::add(double cycle, double value) {
  auto index = static_cast<uint64_t>(cycle) / bucket;
  while (index >= mostBuckets) {
    for (size_t i = 0; i < values.size(); ++i) {
      const double moved = values[i];
      values[i] = 0;
      values[i / 2] += moved;
    }
    values.resize((values.size() + 1) / 2);
    bucket *= 2;
    index /= 2;
  }
  if (index >= values.size())
    values.resize(index + 1);
  values[index] += value;
}

Flow::Flow(const Machine &machine, const isa::Command &command, Transfer transfer,
           std::span<const uint16_t> multicast)
    : transfer_(std::move(transfer)) {
  const target::DmaClass &dma = machine.target.dma(command.dmaClass);
  destinations_.assign(multicast.begin(), multicast.end());
  if (destinations_.empty())
    destinations_.push_back(transfer_.destination.core);
  startup_ = dma.startup_cycles() + double(transfer_.descriptors - 1) * dma.descriptor_cycles();
  rate_ = dma.bytes_per_cycle();
  latency_ = latencyOf(machine, transfer_.destination.space) +
             double(transfer_.hops) * machine.target.network().hop_cycles() +
             double(transfer_.clusterHops) * machine.target.network().cluster_hop_cycles();
  if (!transfer_.fill)
    latency_ += latencyOf(machine, transfer_.source.space);
  finished_.resize(2 + static_cast<size_t>(rate_ * rowChangeCycles(machine) / packetBytes), 0);
}

Fabric::Fabric(const Machine &machine, const isa::Program &program) : machine_(machine), dram_(machine) {
  // Buffers stand in device memory in the program's order, each at its alignment.
  uint64_t at = 0;
  for (const isa::Buffer &buffer : program.buffers) {
    const uint64_t alignment = std::max<uint64_t>(1, buffer.alignment);
    at = (at + alignment - 1) / alignment * alignment;
    bufferBase_.push_back(at);
    at += static_cast<uint64_t>(buffer.bytes);
  }
  const target::TargetDescription &target = machine.target;
  network_.rate = target.network().bytes_per_cycle();
  shared_.rate = std::max(1u, target.shared().bytes_per_cycle());
  Core core;
  core.network.rate = target.network().bytes_per_cycle_per_core();
  core.pad.rate = target.scratchpad().dma_bytes_per_cycle();
  core.shared.rate = std::max(1u, target.shared().bytes_per_cycle_per_core());
  cores_.assign(machine.cores, core);
}

double Fabric::readIndices(const Flow &flow, double time) {
  const Transfer &work = flow.transfer_;
  if (work.indexBytes == 0)
    return time;
  double end = time + double(work.indexBytes) / flow.rate_;
  if (work.indexSpace == isa::Space::Dram)
    end = std::max(end,
                   dram_.access(time, bufferBase_[work.indexBuffer] + static_cast<uint64_t>(work.indexBase),
                                static_cast<uint64_t>(work.indexBytes), false));
  return end + latencyOf(machine_, work.indexSpace);
}

// Takes `bytes` of a DRAM side's runs; when the last of them is through.
double Fabric::moveSide(Flow &flow, bool isSource, double time, int64_t bytes) {
  const Side &side = isSource ? flow.transfer_.source : flow.transfer_.destination;
  Flow::Cursor &cursor = isSource ? flow.source_ : flow.destination_;
  const auto base = static_cast<int64_t>(bufferBase_[side.buffer]) + side.base;
  double done = time;
  while (bytes > 0) {
    if (cursor.inRun == 0) {
      cursor.address = base;
      unsigned first = 0;
      if (side.rows > 0) {
        cursor.address +=
            side.rowStride * static_cast<int64_t>(scatterRow(static_cast<uint64_t>(cursor.index[0]),
                                                             static_cast<uint64_t>(side.rows)));
        first = 1;
      }
      for (unsigned d = first; d < side.rank; ++d)
        cursor.address += cursor.index[d] * side.loops[d].stride;
    }
    const int64_t take = std::min(bytes, side.runBytes - cursor.inRun);
    done = std::max(done, dram_.access(time, static_cast<uint64_t>(cursor.address + cursor.inRun),
                                       static_cast<uint64_t>(take), !isSource));
    bytes -= take;
    cursor.inRun += take;
    if (cursor.inRun < side.runBytes)
      continue;
    cursor.inRun = 0;
    for (unsigned d = side.rank; d-- > 0;) {
      if (++cursor.index[d] < side.loops[d].size)
        break;
      cursor.index[d] = 0;
    }
  }
  return done;
}

std::optional<double> Fabric::sendPacket(Flow &flow, double time) {
  const Transfer &work = flow.transfer_;
  const int64_t total = work.bytes * work.sends;
  const double inflation = double(work.engineBytes) / double(work.bytes);
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(packetBytes / inflation));
  const int64_t inSend = flow.moved_ % work.bytes;
  const int64_t payload = std::min(most, work.bytes - inSend);
  const auto bytes = double(payload);
  const size_t send = static_cast<size_t>(flow.moved_ / work.bytes);

  double end = time + bytes * inflation / flow.rate_;
  Bound bound = Bound::DmaEngine;
  auto through = [&](double at, Bound of) {
    if (at > end) {
      end = at;
      bound = of;
    }
  };
  const bool sourcePad = !work.fill && work.source.space == isa::Space::Scratchpad;
  const bool destinationPad = work.destination.space == isa::Space::Scratchpad;
  const bool local = (sourcePad || work.fill) && destinationPad && !work.crossesCores;
  // The cores that take part: the source's, and with a multicast all destinations, else the one of this send.
  std::span<const uint32_t> destinations = flow.destinations_;
  if (work.sends > 1)
    destinations = destinations.subspan(send, 1);
  auto eachDestination = [&](auto use) {
    if (destinationPad)
      for (uint32_t core : destinations)
        use(cores_[core], core);
  };
  uint32_t ports = 0;
  if (sourcePad) {
    through(cores_[work.source.core].pad.serve(time, bytes), Bound::ScratchpadPort);
    ++ports;
  }
  eachDestination([&](Core &core, uint32_t) {
    through(core.pad.serve(time, bytes), Bound::ScratchpadPort);
    ++ports;
  });
  padBytes_ += bytes * ports;
  if (!local) {
    through(network_.serve(time, bytes), Bound::Network);
    if (sourcePad)
      through(cores_[work.source.core].network.serve(time, bytes), Bound::Network);
    eachDestination([&](Core &core, uint32_t number) {
      if (!sourcePad || number != work.source.core)
        through(core.network.serve(time, bytes), Bound::Network);
    });
    networkBytes_ += bytes;
    networkByteHops_ += bytes * std::max(1u, work.hops);
  }
  for (const Side *side : {&work.source, &work.destination}) {
    if ((work.fill && side == &work.source) || side->space != isa::Space::Shared)
      continue;
    through(shared_.serve(time, bytes), Bound::SharedMemory);
    const uint32_t core = sourcePad ? work.source.core : destinationPad ? destinations[0] : work.core;
    through(cores_[core].shared.serve(time, bytes), Bound::SharedMemory);
    sharedBytes_ += bytes;
  }
  for (bool isSource : {true, false}) {
    const Side &side = isSource ? work.source : work.destination;
    if ((work.fill && isSource) || side.space != isa::Space::Dram)
      continue;
    through(moveSide(flow, isSource, time, payload), Bound::Dram);
    dramBytes_.add(time, bytes);
  }

  flow.waited_[static_cast<size_t>(bound)] += end - time;
  flow.end_ = std::max(flow.end_, end);
  flow.moved_ += payload;
  const size_t window = flow.finished_.size();
  flow.finished_[flow.packets_++ % window] = end;
  if (flow.moved_ == total)
    return std::nullopt;
  // The packet that is to be through before the next one: the oldest in the ring.
  const double oldest = flow.packets_ >= window ? flow.finished_[flow.packets_ % window] : 0;
  return std::max(time + bytes * inflation / flow.rate_, oldest);
}

Bound Fabric::bound(const Flow &flow, double start) const {
  const double moving = flow.end_ - start - flow.startup_;
  if (flow.startup_ >= std::max(moving, flow.latency_))
    return Bound::Startup;
  if (flow.latency_ > moving)
    return Bound::Latency;
  return static_cast<Bound>(std::ranges::max_element(flow.waited_) - flow.waited_.begin());
}

void Fabric::report(Timeline &timeline) const {
  timeline.dram = dram_.statistics();
  timeline.dramBytes = dramBytes_;
  timeline.networkBytes = static_cast<uint64_t>(networkBytes_);
  timeline.sharedBytes = static_cast<uint64_t>(sharedBytes_);
  timeline.scratchpadBytes += static_cast<uint64_t>(padBytes_);
  const target::Energy &energy = machine_.target.energy();
  const double chip = energy.control_factor() * 1e-12;
  timeline.energy.network = networkByteHops_ * energy.network_pj_per_byte_hop() * chip;
  timeline.energy.shared = sharedBytes_ * energy.shared_pj_per_byte() * chip;
  timeline.energy.dram =
      double(timeline.dram.readBytes + timeline.dram.writtenBytes) * energy.dram_pj_per_byte() * 1e-12;
}

} // namespace npuc::timing
