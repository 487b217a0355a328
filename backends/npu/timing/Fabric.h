// What DMA transfers share: DRAM, shared memory, the network and the cores' ports.
//
// A transfer is cut into packets of up to 8 KiB. A packet takes each resource on its way from the moment it
// is issued: each serves packets in order at its bandwidth, and the packet is through when the slowest is.
// The latency of the way comes once, at the transfer's end. The next packet is issued when the engine's own
// rate allows and not too many are on the way: one more than the engine fills while a DRAM row changes.
#pragma once

#include "backends/npu/timing/Timeline.h"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace npuc::timing {

/// One transfer under way.
class Flow {
public:
  Flow(const Machine &machine, const isa::Command &command, Transfer transfer,
       std::span<const uint16_t> multicast);
  /// Start-up and descriptors.
  double startup() const { return startup_; }
  const Transfer &transfer() const { return transfer_; }

private:
  friend class Fabric;
  /// Walks a side's runs in order.
  struct Cursor {
    std::array<int64_t, isa::maxRank + 1> index{};
    int64_t inRun = 0, address = 0;
    bool started = false;
  };
  Transfer transfer_;
  std::vector<uint32_t> destinations_; ///< Cores.
  double startup_ = 0, latency_ = 0, rate_ = 0;
  int64_t moved_ = 0; ///< Payload so far, all sends.
  Cursor source_, destination_;
  std::vector<double> finished_; ///< The last packets' ends, as a ring.
  size_t packets_ = 0;
  double end_ = 0;
  std::array<double, boundCount> waited_{}; ///< Cycles of packets, by what they were bound by.
};

class Fabric {
public:
  Fabric(const Machine &machine, const isa::Program &program);

  /// Reads the indices of a gather or scatter, asked for at `time`; when they are there.
  double readIndices(const Flow &flow, double time);
  /// Sends the flow's next packet at `time`. When the next one may be issued, or nothing if it was the last:
  /// then end() and bound() hold.
  std::optional<double> sendPacket(Flow &flow, double time);
  /// When the last byte has arrived.
  double end(const Flow &flow) const { return flow.end_ + flow.latency_; }
  Bound bound(const Flow &flow, double start) const;

  /// Fills in what went through DRAM, network and memories.
  void report(Timeline &timeline) const;

private:
  /// Serves bytes in order.
  struct Server {
    double rate = 1, free = 0;
    double serve(double time, double bytes) { return free = std::max(free, time) + bytes / rate; }
  };
  struct Core {
    Server network, pad, shared;
  };
  double moveSide(Flow &flow, bool source, double time, int64_t bytes);

  const Machine &machine_;
  std::vector<uint64_t> bufferBase_;
  DramModel dram_;
  Server network_, shared_;
  std::vector<Core> cores_;
  Series dramBytes_;
  double networkBytes_ = 0, networkByteHops_ = 0, sharedBytes_ = 0, padBytes_ = 0;
};

} // namespace npuc::timing
