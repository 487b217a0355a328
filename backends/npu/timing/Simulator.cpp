#include "backends/npu/timing/Simulator.h"

#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Check.h"
#include "backends/npu/timing/Fabric.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <queue>
#include <unordered_map>

namespace npuc::timing {
namespace {

using isa::Command;

enum class EventKind : uint8_t {
  Dispatch,      ///< a: core. Its command processor is done with the next command.
  Done,          ///< a: engine. Its command ends.
  Packet,        ///< a: engine. Its transfer's next packet goes.
  VisibleLocal,  ///< a: semaphore, b: core, c: command. A signal is seen on its own core.
  VisibleRemote, ///< The same, on the others.
};

struct Event {
  double time;
  uint64_t order; ///< Of creation: events of one time run in it.
  EventKind kind;
  uint32_t a, b, c;
  bool operator>(const Event &other) const {
    return time != other.time ? time > other.time : order > other.order;
  }
};

/// Rises seen from one signalling core.
struct Signals {
  uint32_t core = 0;
  uint32_t local = 0, remote = 0; ///< Seen on that core; on the others.
};

struct Semaphore {
  std::vector<Signals> signals;
  std::vector<uint32_t> waiting; ///< Engines whose front command waits for it.
  uint32_t waitCore = isa::none; ///< A core with a command that waits for it.
  bool manyWaitCores = false;

  uint32_t seenFrom(uint32_t core) const {
    uint32_t value = 0;
    for (const Signals &s : signals)
      value += s.core == core ? s.local : s.remote;
    return value;
  }
  Signals &from(uint32_t core) {
    for (Signals &s : signals)
      if (s.core == core)
        return s;
    signals.push_back({core, 0, 0});
    return signals.back();
  }
};

struct EngineState {
  uint32_t core = 0;
  std::deque<uint32_t> queue; ///< Command indices; the first runs or is next.
  bool running = false;
  bool atFront = false; ///< CommandTime::front of the first is set.
  bool processorWaits = false;
  bool waiting = false;  ///< Stands in a semaphore's list.
  uint16_t nextWait = 0; ///< Of the first command: waits before it hold.
  uint64_t lastEnd = 0;
  uint64_t queueFullMark = 0; ///< The core's queueFull cycles when the last command came.
  uint32_t lastSignalCore = isa::none, lastSignalCommand = isa::none;
  std::span<const isa::VectorInstruction> lastProgram;
  std::unique_ptr<Flow> flow;
};

struct CoreState {
  uint32_t next = 0; ///< Command to be dispatched.
  bool blocked = false;
  uint64_t blockedSince = 0;
  uint64_t queueFull = 0; ///< Cycles that it stood before full queues.
};

/// Matrix commands repeat: a model's layers are equal, and a tile's neighbours mostly are.
struct ContractionHash {
  size_t operator()(const Contraction &w) const {
    uint64_t h = static_cast<uint64_t>(w.batch);
    for (int64_t v :
         {w.m, w.n, w.k, int64_t(w.a), int64_t(w.b), int64_t(w.accumulate) * 2 + w.sumsInScratchpad})
      h = (h ^ static_cast<uint64_t>(v)) * 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
  }
};

class Simulation {
public:
  Simulation(const isa::Program &program, const Machine &machine, std::vector<int64_t> registers)
      : program_(program), machine_(machine), registers_(std::move(registers)), fabric_(machine, program) {
    buildEngines();
    semaphores_.resize(program.semaphores);
    for (uint32_t core = 0; core < program.streams.size(); ++core)
      for (const Command &command : program.streams[core])
        for (const isa::Wait &wait : program.waitsOf(command)) {
          Semaphore &s = semaphores_[wait.semaphore];
          s.manyWaitCores |= s.waitCore != isa::none && s.waitCore != core;
          s.waitCore = core;
        }
    cores_.resize(program.streams.size());
    for (uint32_t core = 0; core < program.streams.size(); ++core)
      scheduleDispatch(core, 0);
  }

  std::optional<Timeline> run(Diagnostics &diagnostics) {
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      handle(event);
    }
    if (remaining_ > 0) {
      reportStandstill(diagnostics);
      return std::nullopt;
    }
    finishTimeline();
    return std::move(timeline_);
  }

private:
  void post(double time, EventKind kind, uint32_t a, uint32_t b = 0, uint32_t c = 0) {
    events_.push({time, order_++, kind, a, b, c});
  }

  uint32_t engineOf(uint32_t core, const Command &command) const {
    const bool dma = command.engine == isa::Engine::Dma;
    const uint32_t slot =
        dma ? 2 + dmaSlot_[command.dmaClass] + command.queue : static_cast<uint32_t>(command.engine);
    return core * slotsPerCore_ + slot;
  }

  // One engine for each core, kind, class and queue; those without commands leave the timeline at the end.
  void buildEngines() {
    uint32_t slots = 0;
    for (const target::DmaClass &dma : machine_.target.dma()) {
      dmaSlot_.push_back(slots);
      slots += dma.queues_per_core();
    }
    slotsPerCore_ = 2 + slots;
    engines_.resize(program_.streams.size() * slotsPerCore_);
    timeline_.engines.resize(engines_.size());
    timeline_.commands.resize(program_.streams.size());
    for (uint32_t core = 0; core < program_.streams.size(); ++core) {
      const std::vector<Command> &stream = program_.streams[core];
      timeline_.commands[core].resize(stream.size());
      remaining_ += stream.size();
      for (uint32_t i = 0; i < stream.size(); ++i) {
        const uint32_t engine = engineOf(core, stream[i]);
        engines_[engine].core = core;
        EngineTime &time = timeline_.engines[engine];
        time.core = core;
        time.engine = stream[i].engine;
        time.dmaClass = stream[i].engine == isa::Engine::Dma ? stream[i].dmaClass : 0;
        time.queue = stream[i].engine == isa::Engine::Dma ? stream[i].queue : 0;
        ++time.commands;
        timeline_.commands[core][i].engine = engine;
      }
    }
  }

  void handle(const Event &event) {
    switch (event.kind) {
    case EventKind::Dispatch:
      dispatch(event.a, event.time);
      break;
    case EventKind::Done:
      finish(event.a, event.time);
      break;
    case EventKind::Packet:
      sendPacket(event.a, event.time);
      break;
    case EventKind::VisibleLocal:
      ++semaphores_[event.a].from(event.b).local;
      wake(event, true);
      break;
    case EventKind::VisibleRemote:
      ++semaphores_[event.a].from(event.b).remote;
      wake(event, false);
      break;
    }
  }

  // The next command is there when it is fetched and the processor has had dispatch_cycles for it since
  // `now`.
  void scheduleDispatch(uint32_t core, double now) {
    const uint32_t next = cores_[core].next;
    if (next == program_.streams[core].size())
      return;
    const target::Control &control = machine_.target.control();
    const double fetched =
        machine_.target.dram().latency_cycles() +
        std::ceil((next + 1.0) * control.command_bytes() / control.fetch_bytes_per_cycle());
    post(std::max(fetched, now + control.dispatch_cycles()), EventKind::Dispatch, core);
  }

  void dispatch(uint32_t core, double now) {
    CoreState &state = cores_[core];
    CommandTime &time = timeline_.commands[core][state.next];
    EngineState &engine = engines_[time.engine];
    const auto cycle = static_cast<uint64_t>(now);
    if (engine.queue.size() >= machine_.target.control().queue_depth()) {
      state.blocked = engine.processorWaits = true;
      state.blockedSince = cycle;
      return;
    }
    if (state.blocked) {
      state.blocked = engine.processorWaits = false;
      state.queueFull += cycle - state.blockedSince;
    }
    time.dispatch = cycle;
    if (engine.queue.empty() && cycle > engine.lastEnd) {
      time.queueFull = std::min(cycle - engine.lastEnd, state.queueFull - engine.queueFullMark);
      time.notDispatched = cycle - engine.lastEnd - time.queueFull;
    }
    engine.queueFullMark = state.queueFull;
    engine.queue.push_back(state.next++);
    tryStart(time.engine, now);
    scheduleDispatch(core, now);
  }

  void tryStart(uint32_t index, double now) {
    EngineState &engine = engines_[index];
    if (engine.running || engine.waiting || engine.queue.empty())
      return;
    const Command &command = program_.streams[engine.core][engine.queue.front()];
    CommandTime &time = timeline_.commands[engine.core][engine.queue.front()];
    if (!engine.atFront) {
      engine.atFront = true;
      engine.nextWait = 0;
      time.front = static_cast<uint64_t>(now);
    }
    auto waits = program_.waitsOf(command);
    for (; engine.nextWait < waits.size(); ++engine.nextWait) {
      Semaphore &semaphore = semaphores_[waits[engine.nextWait].semaphore];
      if (semaphore.seenFrom(engine.core) < waits[engine.nextWait].value) {
        semaphore.waiting.push_back(index);
        engine.waiting = true;
        return;
      }
    }
    time.start = static_cast<uint64_t>(now);
    if (time.start > time.front) {
      time.waitedCore = engine.lastSignalCore;
      time.waitedCommand = engine.lastSignalCommand;
    }
    engine.running = true;
    start(index, command, time, now);
  }

  void start(uint32_t index, const Command &command, CommandTime &time, double now) {
    EngineState &engine = engines_[index];
    Cost cost;
    if (isActive(command, registers_) && command.opcode != isa::Opcode::Barrier) {
      if (command.engine == isa::Engine::Dma) {
        startTransfer(index, command, now);
        return;
      }
      cost = command.engine == isa::Engine::Matrix ? matrix(command) : vector(engine, command);
      timeline_.scratchpadBytes += static_cast<uint64_t>(cost.scratchpadBytes);
    }
    time.bound = cost.bound;
    post(now + cost.cycles, EventKind::Done, index);
  }

  Cost matrix(const Command &command) {
    if (command.opcode != isa::Opcode::Contract)
      return drainCost(machine_, resolve(program_.operandsOf(command)[0], registers_).elements());
    const Contraction work = contraction(program_, command, registers_);
    timeline_.multiplyAdds[static_cast<size_t>(machine_.contractionType(work.a, work.b))] +=
        static_cast<uint64_t>(work.multiplyAdds());
    auto [it, isNew] = priced_.try_emplace(work);
    if (isNew)
      it->second = contractCost(machine_, work);
    return it->second;
  }

  Cost vector(EngineState &engine, const Command &command) {
    const VectorWork work = vectorWork(program_, command, registers_);
    const bool load = !std::ranges::equal(work.instructions, engine.lastProgram);
    engine.lastProgram = work.instructions;
    timeline_.vectorOperations += static_cast<uint64_t>(work.points) * work.operations;
    return vectorCost(machine_, work, load);
  }

  void startTransfer(uint32_t index, const Command &command, double now) {
    EngineState &engine = engines_[index];
    engine.flow = std::make_unique<Flow>(machine_, command,
                                         transfer(machine_, program_, command, engine.core, registers_),
                                         program_.multicastOf(command));
    const double ready = fabric_.readIndices(*engine.flow, now + engine.flow->startup());
    if (engine.flow->transfer().bytes > 0)
      post(ready, EventKind::Packet, index);
    else
      post(std::ceil(ready), EventKind::Done, index);
  }

  void sendPacket(uint32_t index, double now) {
    Flow &flow = *engines_[index].flow;
    if (std::optional<double> next = fabric_.sendPacket(flow, now))
      post(*next, EventKind::Packet, index);
    else
      post(std::ceil(fabric_.end(flow)), EventKind::Done, index);
  }

  void finish(uint32_t index, double now) {
    EngineState &engine = engines_[index];
    const uint32_t number = engine.queue.front();
    const Command &command = program_.streams[engine.core][number];
    CommandTime &time = timeline_.commands[engine.core][number];
    time.end = engine.lastEnd = static_cast<uint64_t>(now);
    if (engine.flow) {
      time.bound = fabric_.bound(*engine.flow, double(time.start));
      engine.flow.reset();
    }
    timeline_.cycles = std::max(timeline_.cycles, time.end);
    --remaining_;
    engine.queue.pop_front();
    engine.running = engine.atFront = false;
    if (command.signal != isa::none)
      signal(engine.core, number, command.signal, now);
    if (engine.processorWaits)
      dispatch(engine.core, now);
    tryStart(index, now);
  }

  void signal(uint32_t core, uint32_t command, uint32_t semaphore, double now) {
    const Semaphore &s = semaphores_[semaphore];
    if (s.waitCore == isa::none)
      return;
    const target::Control &control = machine_.target.control();
    if (s.manyWaitCores || s.waitCore == core)
      post(now + control.signal_cycles(), EventKind::VisibleLocal, semaphore, core, command);
    if (s.manyWaitCores || s.waitCore != core)
      post(now + control.remote_signal_cycles(), EventKind::VisibleRemote, semaphore, core, command);
  }

  void wake(const Event &event, bool local) {
    std::vector<uint32_t> waiting;
    waiting.swap(semaphores_[event.a].waiting);
    for (uint32_t index : waiting) {
      EngineState &engine = engines_[index];
      if ((engine.core == event.b) != local) {
        semaphores_[event.a].waiting.push_back(index);
        continue;
      }
      engine.lastSignalCore = event.b;
      engine.lastSignalCommand = event.c;
      engine.waiting = false;
      tryStart(index, event.time);
    }
  }

  std::string commandName(uint32_t core, uint32_t number) const {
    const Command &command = program_.streams[core][number];
    const std::string &source = program_.sources[command.source];
    return fmt::format("core {} command {} ({} on {}{})", core, number, isa::name(command.opcode),
                       isa::name(command.engine), source.empty() ? "" : ", " + source);
  }

  // For each engine whose first command waits: for what, and which command would signal it next and does not.
  void reportStandstill(Diagnostics &diagnostics) const {
    std::unordered_map<uint32_t, std::pair<uint32_t, uint32_t>> nextSignal;
    for (uint32_t core = 0; core < program_.streams.size(); ++core)
      for (uint32_t i = 0; i < program_.streams[core].size(); ++i) {
        const CommandTime &time = timeline_.commands[core][i];
        const uint32_t semaphore = program_.streams[core][i].signal;
        const bool ended = i < cores_[core].next && !isQueued(time.engine, i);
        if (semaphore != isa::none && !ended)
          nextSignal.try_emplace(semaphore, core, i);
      }
    for (const EngineState &engine : engines_) {
      if (engine.queue.empty())
        continue;
      const uint32_t number = engine.queue.front();
      const isa::Wait wait = program_.waitsOf(program_.streams[engine.core][number])[engine.nextWait];
      std::string why = fmt::format("it has {}; ", semaphores_[wait.semaphore].seenFrom(engine.core));
      auto next = nextSignal.find(wait.semaphore);
      if (next == nextSignal.end()) {
        why += "no other command signals it";
      } else {
        const auto [core, i] = next->second;
        const EngineState &other = engines_[timeline_.commands[core][i].engine];
        why += commandName(core, i) + " would raise it next, which " +
               (i >= cores_[core].next     ? "is not dispatched: a queue of its core is full"
                : other.queue.front() == i ? "waits itself"
                                           : "stands behind command " + std::to_string(other.queue.front()));
      }
      diagnostics.error(
          commandName(engine.core, number),
          fmt::format("waits for semaphore {} to reach {} and never can", wait.semaphore, wait.value),
          std::move(why));
    }
  }

  bool isQueued(uint32_t engine, uint32_t number) const {
    const std::deque<uint32_t> &queue = engines_[engine].queue;
    return std::ranges::find(queue, number) != queue.end();
  }

  void finishTimeline() {
    for (const std::vector<CommandTime> &stream : timeline_.commands)
      for (const CommandTime &time : stream) {
        EngineTime &engine = timeline_.engines[time.engine];
        engine.busy += time.busy();
        engine.semaphoreWait += time.semaphoreWait();
        engine.queueFull += time.queueFull;
        engine.notDispatched += time.notDispatched;
      }
    dropIdleEngines();
    fabric_.report(timeline_);
    timeline_.dramPeakBytesPerCycle = target::dramBytesPerCycle(machine_.target);
    if (timeline_.cycles > 0)
      timeline_.dramBytesPerCycle =
          double(timeline_.dram.readBytes + timeline_.dram.writtenBytes) / double(timeline_.cycles);
    timeline_.launchMilliseconds = machine_.target.control().launch_microseconds() / 1000;
    timeline_.milliseconds = timeline_.launchMilliseconds + machine_.milliseconds(double(timeline_.cycles));
    for (const isa::View &view : program_.operands)
      if (view.space == isa::Space::Scratchpad)
        if (auto range = isa::reach(view, program_.registers))
          timeline_.peakScratchpadBytes = std::max(timeline_.peakScratchpadBytes,
                                                   static_cast<uint64_t>(std::max<int64_t>(0, range->end)));
    addEnergy();
  }

  void dropIdleEngines() {
    std::vector<uint32_t> place(engines_.size(), 0);
    std::vector<EngineTime> used;
    for (size_t i = 0; i < engines_.size(); ++i) {
      place[i] = static_cast<uint32_t>(used.size());
      if (timeline_.engines[i].commands > 0)
        used.push_back(timeline_.engines[i]);
    }
    timeline_.engines = std::move(used);
    for (std::vector<CommandTime> &stream : timeline_.commands)
      for (CommandTime &time : stream)
        time.engine = place[time.engine];
  }

  void addEnergy() {
    const target::Energy &energy = machine_.target.energy();
    const double chip = energy.control_factor() * 1e-12;
    for (size_t type = 0; type < elementTypeCount; ++type)
      timeline_.energy.matrix +=
          double(timeline_.multiplyAdds[type]) * machine_.multiplyAddPicojoules[type] * chip;
    timeline_.energy.vector = double(timeline_.vectorOperations) * energy.vector_pj_per_operation() * chip;
    timeline_.energy.scratchpad = double(timeline_.scratchpadBytes) * energy.scratchpad_pj_per_byte() * chip;
    timeline_.energy.idle = energy.board_watts() * energy.idle_fraction() * timeline_.milliseconds * 1e-3;
  }

  const isa::Program &program_;
  const Machine &machine_;
  std::vector<int64_t> registers_;
  Fabric fabric_;
  Timeline timeline_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t order_ = 0;
  std::vector<uint32_t> dmaSlot_;
  uint32_t slotsPerCore_ = 0;
  std::vector<EngineState> engines_;
  std::vector<CoreState> cores_;
  std::vector<Semaphore> semaphores_;
  std::unordered_map<Contraction, Cost, ContractionHash> priced_;
  size_t remaining_ = 0;
};

} // namespace

std::optional<Timeline> simulate(const isa::Program &program, const target::TargetDescription &target,
                                 const SimulationOptions &options, Diagnostics &diagnostics) {
  const Machine machine(target);
  if (!check(program, machine, options.registers, diagnostics))
    return std::nullopt;
  return Simulation(program, machine, registerValues(program, options.registers)).run(diagnostics);
}

} // namespace npuc::timing
