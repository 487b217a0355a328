#include "backends/npu/schedule/Report.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace npuc::schedule {
namespace {

std::string queueName(const Limits &limits, uint32_t queue) {
  if (queue < 2)
    return std::string(isa::name(static_cast<isa::Engine>(queue)));
  queue -= 2;
  for (size_t i = 0; i < limits.dma.size(); ++i) {
    if (queue < limits.dma[i].queues)
      return fmt::format("dma{}.{}", i, queue);
    queue -= limits.dma[i].queues;
  }
  return "?";
}

// Busy cycles of one queue in each of `width` cells.
std::string bar(const std::vector<Slot> &slots, int64_t cycles, unsigned width) {
  std::vector<double> busy(width);
  const double cell = double(cycles) / width;
  for (const Slot &slot : slots) {
    const auto first = static_cast<unsigned>(double(slot.start) / cell);
    for (unsigned i = first; i < width && i * cell < double(slot.finish); ++i)
      busy[i] += std::min(double(slot.finish), (i + 1) * cell) - std::max(double(slot.start), i * cell);
  }
  std::string out;
  for (double one : busy)
    out += 2 * one >= cell ? '#' : one > 0 ? '-' : '.';
  return out;
}

} // namespace

std::string report(const Solution &solution, const Limits &limits, unsigned width) {
  std::string out;
  auto put = [&]<typename... Args>(fmt::format_string<Args...> format, Args &&...args) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
  };
  size_t signals = 0;
  for (const auto &stream : solution.program.streams)
    signals += std::count_if(stream.begin(), stream.end(),
                             [](const isa::Command &c) { return c.signal != isa::none; });
  put("cycles {}, lower bound {}; addresses {}; {} waits, {} signals\n", solution.cycles, solution.lowerBound,
      solution.packedBeforehand ? "packed beforehand" : "packed afterwards", solution.program.waits.size(),
      signals);
  for (const MemoryUse &use : solution.memories)
    put("{} {}: {} of {} bytes, lower bound {}\n", isa::name(use.space), use.core, use.peak, use.capacity,
        use.bound);
  if (solution.cycles == 0 || width == 0)
    return out;
  const uint32_t perCore = queuesPerCore(limits);
  std::vector<std::vector<Slot>> queues(limits.cores * perCore);
  for (size_t i = 0; i < solution.timeline.size(); ++i)
    queues[solution.commands[i].core * perCore + solution.timeline[i].queue].push_back(solution.timeline[i]);
  for (uint32_t q = 0; q < queues.size(); ++q) {
    if (queues[q].empty())
      continue;
    int64_t busy = 0;
    for (const Slot &slot : queues[q])
      busy += slot.finish - slot.start;
    put("core {} {:<7} {} {:3}%\n", q / perCore, queueName(limits, q % perCore),
        bar(queues[q], solution.cycles, width), 100 * busy / solution.cycles);
  }
  return out;
}

std::string listing(const Solution &solution, const Limits &limits) {
  std::string out;
  for (uint32_t i : solution.order) {
    const CommandRef ref = solution.commands[i];
    const isa::Command &command = solution.program.streams[ref.core][ref.index];
    const Slot &slot = solution.timeline[i];
    fmt::format_to(std::back_inserter(out), "{} {} core {} {} {} {}\n", slot.start, slot.finish, ref.core,
                   queueName(limits, slot.queue), isa::name(command.opcode),
                   command.source < solution.program.sources.size() ? solution.program.sources[command.source]
                                                                    : "");
  }
  return out;
}

} // namespace npuc::schedule
