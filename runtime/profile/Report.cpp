#include "runtime/profile/Report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_map>

namespace npuc::profile {
namespace {

using timing::Bound;
using timing::CommandTime;
using timing::EngineTime;

std::string engineName(const EngineTime &engine, const target::TargetDescription &target) {
  if (engine.engine != isa::Engine::Dma)
    return std::string(isa::name(engine.engine));
  return fmt::format("dma {}.{}", target.dma(engine.dmaClass).name(), engine.queue);
}

double transferMilliseconds(const isa::Program &program, const target::HostLink &host) {
  double bytes = 0;
  unsigned ways = 0;
  for (isa::Role role : {isa::Role::Input, isa::Role::Output}) {
    double way = 0;
    for (const isa::Buffer &buffer : program.buffers)
      way += buffer.role == role ? double(buffer.bytes) : 0;
    ways += way > 0;
    bytes += way;
  }
  return ways * host.latency_microseconds() * 1e-3 + bytes / (host.gigabytes_per_second() * 1e6);
}

/// The commands of one source, before they are summed up.
struct Gathered {
  OperatorTime time;
  std::unordered_map<uint32_t, uint64_t> engines; ///< Busy cycles by engine of the timeline.
  std::map<Bound, uint64_t> bounds;
};

std::vector<OperatorTime> operators(const isa::Program &program, const timing::Timeline &timeline) {
  std::unordered_map<std::string, size_t> byName;
  std::vector<Gathered> gathered;
  std::vector<size_t> ofSource(program.sources.size());
  for (size_t s = 0; s < program.sources.size(); ++s) {
    auto [it, isNew] = byName.try_emplace(program.sources[s], gathered.size());
    if (isNew) {
      gathered.emplace_back();
      gathered.back().time.name = program.sources[s];
      gathered.back().time.firstStart = ~0ull;
    }
    ofSource[s] = it->second;
  }
  for (size_t core = 0; core < program.streams.size(); ++core)
    for (size_t i = 0; i < program.streams[core].size(); ++i) {
      const isa::Command &command = program.streams[core][i];
      const CommandTime &time = timeline.commands[core][i];
      Gathered &g = gathered[ofSource[command.source]];
      ++g.time.commands;
      g.time.firstStart = std::min(g.time.firstStart, time.start);
      g.time.lastEnd = std::max(g.time.lastEnd, time.end);
      g.time.busy[static_cast<size_t>(command.engine)] += time.busy();
      g.time.semaphoreWait += time.semaphoreWait();
      g.engines[time.engine] += time.busy();
      g.bounds[time.bound] += time.busy();
    }
  std::vector<OperatorTime> result;
  for (Gathered &g : gathered) {
    if (g.time.commands == 0)
      continue;
    for (const auto &[engine, busy] : g.engines)
      g.time.cycles = std::max(g.time.cycles, busy);
    uint64_t most = 0;
    for (const auto &[bound, busy] : g.bounds)
      if (busy > most) {
        most = busy;
        g.time.bound = bound;
      }
    result.push_back(g.time);
  }
  std::ranges::stable_sort(result,
                           [](const OperatorTime &a, const OperatorTime &b) { return a.cycles > b.cycles; });
  return result;
}

std::optional<double> int8Share(const timing::Timeline &timeline) {
  double all = 0, int8 = 0;
  for (size_t i = 0; i < elementTypeCount; ++i) {
    const auto type = static_cast<ElementType>(i);
    all += double(timeline.multiplyAdds[i]);
    int8 += type == ElementType::I8 || type == ElementType::U8 ? double(timeline.multiplyAdds[i]) : 0;
  }
  return all > 0 ? std::optional(int8 / all) : std::nullopt;
}

Bound most(const std::map<Bound, uint64_t> &bounds) {
  Bound result = Bound::Nothing;
  uint64_t greatest = 0;
  for (const auto &[bound, cycles] : bounds)
    if (cycles > greatest) {
      greatest = cycles;
      result = bound;
    }
  return result;
}

double percent(double part, double whole) {
  return whole > 0 ? 100 * part / whole : 0;
}

std::string shown(const std::string &source) {
  return source.empty() ? "(no source)" : source;
}

nlohmann::ordered_json operatorJson(const OperatorTime &op) {
  nlohmann::ordered_json out = {{"name", op.name},
                                {"cycles", op.cycles},
                                {"commands", op.commands},
                                {"first_start", op.firstStart},
                                {"last_end", op.lastEnd},
                                {"matrix_cycles", op.busy[0]},
                                {"vector_cycles", op.busy[1]},
                                {"dma_cycles", op.busy[2]},
                                {"semaphore_wait_cycles", op.semaphoreWait},
                                {"bound", timing::name(op.bound)},
                                {"plan", nullptr}};
  if (op.plan)
    out["plan"] = {{"groups", op.plan->groups},
                   {"grid", op.plan->grid},
                   {"blocks", op.plan->blocks},
                   {"cores", op.plan->cores},
                   {"tile", op.plan->tile},
                   {"constant_bytes", op.plan->constantBytes},
                   {"dram_read_bytes", op.plan->dramReadBytes},
                   {"dram_written_bytes", op.plan->dramWrittenBytes},
                   {"exchanged_bytes", op.plan->exchangedBytes},
                   {"predicted_start", op.plan->predictedStart},
                   {"predicted_end", op.plan->predictedEnd}};
  return out;
}

/// "4x2": those that are not 1; `otherwise` if there are none.
std::string extents(const std::vector<int64_t> &sizes, uint32_t otherwise) {
  std::vector<int64_t> shown;
  for (int64_t size : sizes)
    if (size != 1)
      shown.push_back(size);
  if (shown.empty())
    return otherwise ? std::to_string(otherwise) : "";
  return fmt::format("{}", fmt::join(shown, "x"));
}

/// A line for each of the `top` longest operators, with its plan where that is known.
std::string operatorTable(const Report &report, size_t top) {
  const bool planned =
      std::ranges::any_of(report.operators, [](const OperatorTime &op) { return op.plan.has_value(); });
  std::string out = fmt::format("\n{:>10} {:>6} {:>11} {:>11} {:>11}  {:<16}", "cycles", "%", "matrix",
                                "vector", "dma", "bound by");
  if (planned)
    out += fmt::format(" {:>5} {:<8} {:<14} {:>11} {:>11} {:>10} {:>10} ", "group", "grid", "tile",
                       "constants", "tensors", "span", "predicted");
  out += " operator\n";
  for (const OperatorTime &op : std::span(report.operators).first(std::min(top, report.operators.size()))) {
    out += fmt::format("{:>10} {:>6.1f} {:>11} {:>11} {:>11}  {:<16}", op.cycles,
                       percent(double(op.cycles), double(report.cycles)), op.busy[0], op.busy[1], op.busy[2],
                       timing::name(op.bound));
    if (planned && op.plan)
      out += fmt::format(" {:>5} {:<8} {:<14} {:>11} {:>11} {:>10} {:>10} ",
                         op.plan->groups.empty() ? "-" : std::to_string(op.plan->groups.front()),
                         extents(op.plan->grid, op.plan->cores), extents(op.plan->tile, 0),
                         op.plan->constantBytes, op.plan->dramReadBytes + op.plan->dramWrittenBytes,
                         op.lastEnd - op.firstStart, op.plan->predictedEnd - op.plan->predictedStart);
    else if (planned)
      out += std::string(77, ' ');
    out += fmt::format(" {}\n", shown(op.name));
  }
  if (planned)
    out += "group: that it was fused into; grid: of cores, along the group's loops; tile: of its largest "
           "command. "
           "constants, tensors: bytes to and from DRAM; a tensor that stays on chip has none. span: from its "
           "first start to "
           "its last end.\n";
  return out;
}

} // namespace

Report makeReport(const isa::Program &program, const timing::Timeline &timeline,
                  const target::TargetDescription &target, const Facts &facts) {
  Report report;
  report.program = program.name;
  report.target = target.name();
  report.cycles = timeline.cycles;
  report.milliseconds = timeline.milliseconds;
  report.launchMilliseconds = timeline.launchMilliseconds;
  report.transferMilliseconds = transferMilliseconds(program, target.host());
  report.lowerBound = facts.lowerBound;
  report.predictedCycles = facts.predictedCycles;
  if (facts.lowerBound && timeline.milliseconds > 0)
    report.efficiency = facts.lowerBound->cycles() / (target.clock_ghz() * 1e6) / timeline.milliseconds;
  report.energy = timeline.energy;
  report.dram = timeline.dram;
  report.dramShare =
      timeline.dramPeakBytesPerCycle > 0 ? timeline.dramBytesPerCycle / timeline.dramPeakBytesPerCycle : 0;
  report.int8Share = int8Share(timeline);
  report.peakScratchpadBytes = timeline.peakScratchpadBytes;
  for (const EngineTime &engine : timeline.engines)
    report.engines.push_back({engine, engineName(engine, target), {}});
  for (const std::vector<CommandTime> &stream : timeline.commands)
    for (const CommandTime &time : stream)
      report.engines[time.engine].bounds[time.bound] += time.busy();
  report.operators = operators(program, timeline);
  for (OperatorTime &op : report.operators)
    if (auto plan = facts.plans.find(op.name); plan != facts.plans.end())
      op.plan = plan->second;
  report.assumed = target::assumedFields(target);
  return report;
}

std::string totals(const Report &report) {
  std::string out =
      fmt::format("{} on {}: {:.4f} ms ({} cycles, {:.4f} ms of launch), {:.4f} ms of transfer\n",
                  report.program, report.target, report.milliseconds, report.cycles,
                  report.launchMilliseconds, report.transferMilliseconds);
  if (report.lowerBound)
    out += fmt::format(
        "lower bound {:.0f} cycles (multiply-adds {:.0f}, vector {:.0f}, DRAM {:.0f}); efficiency {:.3f}\n",
        report.lowerBound->cycles(), report.lowerBound->multiplyAddCycles, report.lowerBound->vectorCycles,
        report.lowerBound->dramCycles, report.efficiency.value_or(0));
  if (report.predictedCycles)
    out += fmt::format("predicted while compiling: {:.0f} cycles\n", *report.predictedCycles);
  out += fmt::format(
      "DRAM: {} bytes read, {} written, {:.1f} % of its bandwidth; row hits {}, misses {}, conflicts {}\n",
      report.dram.readBytes, report.dram.writtenBytes, 100 * report.dramShare, report.dram.hits,
      report.dram.misses, report.dram.conflicts);
  out += fmt::format("energy: {:.6f} J\n", report.energy.total());
  if (report.int8Share)
    out += fmt::format("multiply-adds in 8-bit integers: {:.1f} %\n", 100 * *report.int8Share);
  out += fmt::format("scratchpad: {} bytes at most in a core\n\n", report.peakScratchpadBytes);

  const auto whole = double(report.cycles);
  out += fmt::format("{:>4} {:<16} {:>9} {:>7} {:>9} {:>6} {:>9}  {}\n", "core", "engine", "commands",
                     "busy %", "wait %", "full %", "dispatch %", "bound by");
  for (const Report::Engine &engine : report.engines)
    out += fmt::format("{:>4} {:<16} {:>9} {:>7.1f} {:>9.1f} {:>6.1f} {:>10.1f}  {}\n", engine.time.core,
                       engine.name, engine.time.commands, percent(double(engine.time.busy), whole),
                       percent(double(engine.time.semaphoreWait), whole),
                       percent(double(engine.time.queueFull), whole),
                       percent(double(engine.time.notDispatched), whole), timing::name(most(engine.bounds)));
  return out;
}

std::string text(const Report &report, size_t top) {
  std::string out = totals(report) + operatorTable(report, top);
  if (report.operators.size() > top)
    out += fmt::format("… and {} more\n", report.operators.size() - top);

  if (!report.assumed.empty())
    out += fmt::format("\nThese figures rest on {} assumed fields of {}:\n", report.assumed.size(),
                       report.target);
  for (const target::AssumedField &field : report.assumed)
    out += fmt::format("  {} = {}\n", field.path, field.value);
  return out;
}

std::string json(const Report &report) {
  using Json = nlohmann::ordered_json;
  auto orNull = [](const std::optional<double> &value) { return value ? Json(*value) : Json(); };
  Json out;
  out["schema_version"] = 1;
  out["program"] = report.program;
  out["target"] = report.target;
  out["simulated_cycles"] = report.cycles;
  out["simulated_ms"] = report.milliseconds;
  out["launch_ms"] = report.launchMilliseconds;
  out["transfer_ms"] = report.transferMilliseconds;
  out["predicted_cycles"] = orNull(report.predictedCycles);
  out["lower_bound_cycles"] = report.lowerBound ? Json(report.lowerBound->cycles()) : Json();
  out["efficiency"] = orNull(report.efficiency);
  out["bounds"] = Json();
  if (report.lowerBound)
    out["bounds"] = {{"multiply_add_cycles", report.lowerBound->multiplyAddCycles},
                     {"vector_cycles", report.lowerBound->vectorCycles},
                     {"dram_cycles", report.lowerBound->dramCycles}};
  out["energy_joules"] = {{"total", report.energy.total()}, {"matrix", report.energy.matrix},
                          {"vector", report.energy.vector}, {"scratchpad", report.energy.scratchpad},
                          {"shared", report.energy.shared}, {"network", report.energy.network},
                          {"dram", report.energy.dram},     {"idle", report.energy.idle}};
  out["dram_bytes"] = {{"read", report.dram.readBytes},       {"written", report.dram.writtenBytes},
                       {"bandwidth_share", report.dramShare}, {"row_hits", report.dram.hits},
                       {"row_misses", report.dram.misses},    {"row_conflicts", report.dram.conflicts}};
  out["int8_share"] = orNull(report.int8Share);
  out["engines"] = Json::array();
  for (const Report::Engine &engine : report.engines) {
    Json bounds = Json::object();
    for (const auto &[bound, cycles] : engine.bounds)
      bounds[std::string(timing::name(bound))] = cycles;
    out["engines"].push_back({{"core", engine.time.core},
                              {"engine", engine.name},
                              {"commands", engine.time.commands},
                              {"busy_cycles", engine.time.busy},
                              {"utilization", percent(double(engine.time.busy), double(report.cycles)) / 100},
                              {"semaphore_wait_cycles", engine.time.semaphoreWait},
                              {"queue_full_cycles", engine.time.queueFull},
                              {"not_dispatched_cycles", engine.time.notDispatched},
                              {"bounds", bounds}});
  }
  out["peak_scratchpad_bytes"] = report.peakScratchpadBytes;
  out["assumed"] = Json::array();
  for (const target::AssumedField &field : report.assumed)
    out["assumed"].push_back({{"path", field.path},
                              {"value", field.value},
                              {"grade", target::Provenance::Grade_Name(field.grade)},
                              {"source", field.source},
                              {"reason", field.reason}});
  out["operators"] = Json::array();
  for (const OperatorTime &op : report.operators)
    out["operators"].push_back(operatorJson(op));
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

} // namespace npuc::profile
