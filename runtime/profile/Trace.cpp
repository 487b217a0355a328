#include "runtime/profile/Trace.h"

#include "runtime/profile/Occupancy.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <ostream>

namespace npuc::profile {
namespace {

using timing::CommandTime;

std::string jsonString(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Writer {
public:
  Writer(std::ostream &out, const isa::Program &program, const timing::Timeline &timeline,
         const target::TargetDescription &target)
      : out_(out), program_(program), timeline_(timeline), target_(target) {
    for (const std::string &source : program.sources)
      names_.push_back(source.empty() ? "" : jsonString(source));
  }

  void write() {
    out_ << "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
    writeNames();
    for (uint32_t core = 0; core < timeline_.commands.size(); ++core)
      for (uint32_t i = 0; i < timeline_.commands[core].size(); ++i)
        writeCommand(core, i);
    writeCounters();
    out_ << text_ << "\n]}\n";
  }

private:
  uint64_t nanoseconds(uint64_t cycle) const {
    return static_cast<uint64_t>(std::llround(double(cycle) / target_.clock_ghz()));
  }
  static std::string microseconds(uint64_t nanoseconds) {
    return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
  }

  void event(const std::string &body) {
    text_ += isFirst_ ? "{" : ",\n{";
    isFirst_ = false;
    text_ += body;
    text_ += '}';
    if (text_.size() > 1 << 20) {
      out_ << text_;
      text_.clear();
    }
  }

  void writeNames() {
    event(R"("ph":"M","pid":0,"name":"process_name","args":{"name":"memory"})");
    for (uint32_t core = 0; core < program_.streams.size(); ++core)
      event(fmt::format(R"("ph":"M","pid":{},"name":"process_name","args":{{"name":"core {}"}})", core + 1,
                        core));
    for (size_t i = 0; i < timeline_.engines.size(); ++i) {
      const timing::EngineTime &engine = timeline_.engines[i];
      std::string name(isa::name(engine.engine));
      if (engine.engine == isa::Engine::Dma)
        name += fmt::format(" {}.{}", target_.dma(engine.dmaClass).name(), engine.queue);
      event(fmt::format(R"("ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}})",
                        engine.core + 1, i + 1, jsonString(name)));
    }
  }

  void writeCommand(uint32_t core, uint32_t number) {
    const CommandTime &time = timeline_.commands[core][number];
    if (time.busy() == 0)
      return;
    const isa::Command &command = program_.streams[core][number];
    const uint64_t start = nanoseconds(time.start), end = nanoseconds(time.end);
    const std::string opcode = jsonString(isa::name(command.opcode));
    event(fmt::format(
        R"("ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"args":{{"opcode":{},"command":{},"bound":"{}","cycles":{},"semaphore_wait":{},"queue_full":{},"not_dispatched":{}}})",
        core + 1, time.engine + 1, microseconds(start), microseconds(end - start),
        command.source == 0 || names_[command.source].empty() ? opcode : names_[command.source], opcode,
        number, timing::name(time.bound), time.busy(), time.semaphoreWait(), time.queueFull,
        time.notDispatched));
    if (time.waitedCore == isa::none)
      return;
    const CommandTime &signal = timeline_.commands[time.waitedCore][time.waitedCommand];
    if (signal.busy() == 0)
      return;
    // The arrow's tail has to lie in the slice that it starts from.
    const uint64_t from =
        std::max(nanoseconds(signal.start), std::max<uint64_t>(nanoseconds(signal.end), 1) - 1);
    event(fmt::format(R"("ph":"s","id":{},"cat":"semaphore","name":"wait","pid":{},"tid":{},"ts":{})",
                      arrows_, time.waitedCore + 1, signal.engine + 1, microseconds(from)));
    event(
        fmt::format(R"("ph":"f","bp":"e","id":{},"cat":"semaphore","name":"wait","pid":{},"tid":{},"ts":{})",
                    arrows_++, core + 1, time.engine + 1, microseconds(start)));
  }

  void counter(unsigned pid, const std::string &name, uint64_t cycle, const std::string &key, double value) {
    event(fmt::format(R"("ph":"C","pid":{},"name":{},"ts":{},"args":{{{}:{:.3f}}})", pid, jsonString(name),
                      microseconds(nanoseconds(cycle)), jsonString(key), value));
  }

  void writeCounters() {
    const timing::Series &series = timeline_.dramBytes;
    for (size_t i = 0; i < series.values.size(); ++i)
      counter(0, "DRAM", i * series.bucket, "GB/s",
              series.values[i] / double(series.bucket) * target_.clock_ghz());
    if (!series.values.empty())
      counter(0, "DRAM", series.values.size() * series.bucket, "GB/s", 0);
    auto occupancy = scratchpadOccupancy(program_, timeline_);
    for (size_t core = 0; core < occupancy.size(); ++core)
      for (const Occupancy &change : thinned(occupancy[core], timeline_.cycles, 4096))
        counter(static_cast<unsigned>(core) + 1, fmt::format("scratchpad {}", core), change.cycle, "bytes",
                double(change.bytes));
  }

  std::ostream &out_;
  const isa::Program &program_;
  const timing::Timeline &timeline_;
  const target::TargetDescription &target_;
  std::vector<std::string> names_; ///< Quoted.
  std::string text_;
  bool isFirst_ = true;
  uint64_t arrows_ = 0;
};

} // namespace

void writeTrace(std::ostream &out, const isa::Program &program, const timing::Timeline &timeline,
                const target::TargetDescription &target) {
  Writer(out, program, timeline, target).write();
}

} // namespace npuc::profile
