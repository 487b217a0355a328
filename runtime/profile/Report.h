// What a simulated run is summed up as: for a reader, for machines (--json), and as one HTML file.
#pragma once

#include "backends/npu/target/Target.h"
#include "backends/npu/timing/LowerBound.h"
#include "backends/npu/timing/Timeline.h"

#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace npuc::profile {

/// What the compiler decided for the commands of one source.
struct OperatorPlan {
  std::vector<uint32_t> groups;      ///< That its operations were fused into.
  std::vector<int64_t> grid, blocks; ///< Cores and block sizes along the loops of the first group's root.
  uint32_t cores = 0;                ///< That have commands of it.
  std::vector<int64_t>
      tile; ///< Of its largest command: m, n, k of a contraction, or a vector command's loops.
  /// That it moves: from DRAM, of constants and of all else; to DRAM; between scratchpads. Tensors that it
  /// finds and leaves on chip are no part of these.
  uint64_t constantBytes = 0, dramReadBytes = 0, dramWrittenBytes = 0, exchangedBytes = 0;
  uint64_t predictedStart = 0, predictedEnd = 0; ///< By the scheduler, in cycles.
};

/// What a report says beside what the timeline knows.
struct Facts {
  /// Of the model's work, counted on its operations; the report has no efficiency without it.
  std::optional<timing::LowerBound> lowerBound;
  std::optional<double> predictedCycles;
  std::map<std::string, OperatorPlan> plans; ///< By source.
};

/// All commands of one source (Command::source), over all cores.
struct OperatorTime {
  std::string name; ///< "" is what belongs to no source.
  uint64_t commands = 0;
  uint64_t firstStart = 0, lastEnd = 0;
  /// Of the one engine that it keeps busy longest: a lower bound of what it adds to the time.
  uint64_t cycles = 0;
  std::array<uint64_t, 3> busy{};               ///< By isa::Engine, all cores.
  uint64_t semaphoreWait = 0;                   ///< Of its commands, at the front of their engines.
  timing::Bound bound = timing::Bound::Nothing; ///< What most of its busy cycles are bound by.
  std::optional<OperatorPlan> plan;
};

struct Report {
  std::string program, target;
  uint64_t cycles = 0;
  double milliseconds = 0, launchMilliseconds = 0;
  /// Inputs and outputs over the host link: latency once each way, bytes at its rate.
  double transferMilliseconds = 0;
  std::optional<timing::LowerBound> lowerBound;
  std::optional<double> predictedCycles;
  std::optional<double> efficiency; ///< Lower bound over simulated time, launch included.
  timing::EnergyUse energy;
  timing::DramModel::Statistics dram;
  double dramShare = 0;            ///< Of the peak bandwidth.
  std::optional<double> int8Share; ///< Of multiply-adds, those of 8-bit integers; nothing if there are none.
  uint64_t peakScratchpadBytes = 0;
  struct Engine {
    timing::EngineTime time;
    std::string name;                         ///< "matrix", "vector", "dma neural.0".
    std::map<timing::Bound, uint64_t> bounds; ///< Busy cycles by what they were bound by.
  };
  std::vector<Engine> engines;
  std::vector<OperatorTime> operators; ///< By cycles, falling.
  std::vector<target::AssumedField> assumed;
};

Report makeReport(const isa::Program &program, const timing::Timeline &timeline,
                  const target::TargetDescription &target, const Facts &facts = {});

/// Time, lower bound, DRAM, energy, and of each engine its utilisation and what bounds it.
std::string totals(const Report &report);

/// The totals, the `top` longest operators, assumed figures.
std::string text(const Report &report, size_t top = 20);

/// schema_version 1: program, target, simulated_cycles, predicted_cycles, simulated_ms, transfer_ms,
/// lower_bound_cycles, efficiency, bounds, energy_joules, dram_bytes, int8_share, engines,
/// peak_scratchpad_bytes, assumed, operators. What is unknown is null.
std::string json(const Report &report);

/// One file, nothing fetched: the totals, a strip for each engine over time, the table of
/// operators, DRAM bandwidth and scratchpad bytes over time, assumed figures.
void writeHtml(std::ostream &out, const Report &report, const isa::Program &program,
               const timing::Timeline &timeline, const target::TargetDescription &target);

} // namespace npuc::profile
