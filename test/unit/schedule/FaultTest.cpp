// Programs with a fault planted: the verifier must see it.
#include "RandomGraph.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/schedule/VerifySchedule.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

struct Scheduled {
  TileGraph graph;
  Limits limits;
  Solution solution;
};

Scheduled scheduled(unsigned seed, uint32_t cores, int steps) {
  Random random(seed);
  Scheduled result{randomGraph(random, {cores, steps}), smallMachine(cores), {}};
  result.limits.scratchpad.bytes = 1024; // so that buffers take each other's bytes
  Diagnostics diagnostics;
  auto solution = schedule::schedule({result.graph, result.limits, ByteCost()}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(solution);
  result.solution = std::move(*solution);
  return result;
}

bool accepts(const isa::Program &program, const Limits &limits) {
  Diagnostics diagnostics;
  return verifyRaces(program, limits, diagnostics);
}
bool accepts(const Scheduled &s, const isa::Program &program) {
  Diagnostics diagnostics;
  return verifySchedule(s.graph, program, s.solution.commands, s.limits, diagnostics);
}

// Whether one of the operations first … end−1 has `buffer` as an operand.
bool isUsed(const TileGraph &graph, uint32_t buffer, size_t first, size_t end) {
  for (size_t i = first; i < end; ++i)
    for (const isa::View &view : graph.operandsOf(graph.operations[i]))
      if (view.buffer == buffer)
        return true;
  return false;
}

// Calls edit(command) for each command of a program.
template <typename Edit>
void forEachCommand(isa::Program &program, Edit edit) {
  for (std::vector<isa::Command> &stream : program.streams)
    for (isa::Command &command : stream)
      edit(command);
}

void addWait(isa::Program &program, isa::Command &command, isa::Wait wait) {
  const auto old = program.waitsOf(command);
  std::vector<isa::Wait> waits(old.begin(), old.end());
  waits.push_back(wait);
  command.firstWait = static_cast<uint32_t>(program.waits.size());
  command.waitCount = static_cast<uint16_t>(waits.size());
  program.waits.insert(program.waits.end(), waits.begin(), waits.end());
}

isa::Program parsed(const std::string &text) {
  Diagnostics diagnostics;
  const auto program = isa::parseProgram(text, "test", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(program);
  return *program;
}

std::string errorsOf(const isa::Program &program, const Limits &limits) {
  Diagnostics diagnostics;
  verifyRaces(program, limits, diagnostics);
  return diagnostics.text();
}

} // namespace

TEST_CASE("Every wait and every signal is needed, and its loss is seen") {
  size_t waits = 0, signals = 0;
  for (unsigned seed : {11u, 12u, 13u}) {
    const Scheduled s = scheduled(seed, seed == 11 ? 2 : 4, 80);
    const isa::Program &program = s.solution.program;
    REQUIRE(accepts(s, program));
    for (size_t i = 0; i < program.waits.size(); ++i) {
      isa::Program faulty = program;
      faulty.waits[i].value = 0; // holds from the beginning
      INFO("seed " << seed << ", wait " << i);
      REQUIRE_FALSE(accepts(faulty, s.limits));
      faulty.waits[i].value = program.waits[i].value - 1;
      REQUIRE_FALSE(accepts(faulty, s.limits));
      ++waits;
    }
    for (size_t core = 0; core < program.streams.size(); ++core)
      for (size_t i = 0; i < program.streams[core].size(); ++i) {
        const uint32_t semaphore = program.streams[core][i].signal;
        if (semaphore == isa::none)
          continue;
        INFO("seed " << seed << ", core " << core << ", command " << i);
        isa::Program faulty = program;
        faulty.streams[core][i].signal = isa::none;
        REQUIRE_FALSE(accepts(faulty, s.limits)); // whoever waits for the last value waits for ever
        // The same without that: later values one lower, so that those who waited for this one are content
        // with the one before.
        uint32_t number = 1;
        for (size_t j = 0; j < i; ++j)
          number += program.streams[core][j].signal == semaphore;
        for (isa::Wait &wait : faulty.waits)
          wait.value -= wait.semaphore == semaphore && wait.value >= number;
        REQUIRE_FALSE(accepts(faulty, s.limits));
        ++signals;
      }
  }
  CHECK(waits > 300);
  CHECK(signals > 250);
}

TEST_CASE("A buffer that is moved onto another which lives beside it is seen") {
  size_t moved = 0;
  for (unsigned seed = 20; seed < 26; ++seed) {
    const Scheduled s = scheduled(seed, 2, 60);
    // The operands of one command on the matrix or vector engine live at the same time.
    for (const isa::Command &command : s.graph.operations) {
      const auto operands = s.graph.operandsOf(command);
      const uint32_t a = operands.front().buffer, b = operands.back().buffer;
      if (command.opcode != isa::Opcode::Vector || a == b || s.graph.buffers[a].group != isa::none)
        continue;
      isa::Program faulty = s.solution.program;
      for (size_t i = 0; i < faulty.operands.size(); ++i)
        if (s.graph.operands[i].buffer == a)
          faulty.operands[i].base += s.solution.addresses[b] - s.solution.addresses[a];
      const bool fits = s.solution.addresses[b] + s.graph.buffers[a].bytes <= s.limits.scratchpad.bytes;
      // Moved by all of its uses but one, it has two addresses.
      isa::Program torn = s.solution.program;
      torn.operands[command.firstOperand].base += 4;
      CHECK_FALSE(accepts(s, torn));
      if (!fits || s.graph.buffers[a].bytes < s.graph.buffers[b].bytes)
        continue; // else all bytes of b are in it, so also those that the command writes
      const auto at = static_cast<size_t>(&command - s.graph.operations.data());
      if (!isUsed(s.graph, a, at + 1, s.graph.operations.size()) && !isUsed(s.graph, b, 0, at))
        continue; // The command may write in place.
      CHECK_FALSE(accepts(s, faulty));
      ++moved;
    }
  }
  CHECK(moved > 20);
}

TEST_CASE("What the verifier accepts of programs changed at random runs as the graph says") {
  size_t caught = 0, accepted = 0;
  for (unsigned seed = 40; seed < 70; ++seed) {
    const Scheduled s = scheduled(seed, 3, 30);
    const auto expected = runGraph(s.graph, 0.5);
    Random random(seed);
    for (int i = 0; i < 12; ++i) {
      Solution faulty = s.solution;
      isa::Program &program = faulty.program;
      std::vector<isa::Command> &stream = program.streams[random() % program.streams.size()];
      if (stream.size() < 2)
        continue;
      const size_t at = random() % (stream.size() - 1);
      switch (i % 4) {
      case 0: { // two neighbours change places
        const auto core = static_cast<uint32_t>(&stream - program.streams.data());
        std::swap(stream[at], stream[at + 1]);
        for (CommandRef &ref : faulty.commands)
          if (ref.core == core && (ref.index == at || ref.index == at + 1))
            ref.index = static_cast<uint32_t>(ref.index == at ? at + 1 : at);
        break;
      }
      case 1: // an operand moves
        program.operands[stream[at].firstOperand].base += pick(random, -16, 16);
        break;
      case 2: // a command changes its queue
        if (stream[at].engine == isa::Engine::Dma && stream[at].dmaClass == 0)
          stream[at].queue ^= 1;
        break;
      default: // a wait names another value or semaphore
        if (!program.waits.empty()) {
          isa::Wait &wait = program.waits[random() % program.waits.size()];
          (pick(random, 0, 1) == 0 ? wait.value : wait.semaphore) =
              static_cast<uint32_t>(pick(random, 0, static_cast<int>(program.semaphores) - 1));
        }
      }
      Diagnostics diagnostics;
      if (!verifySchedule(s.graph, program, faulty.commands, s.limits, diagnostics)) {
        ++caught;
        continue;
      }
      ++accepted;
      for (int run = 0; run < 3; ++run)
        REQUIRE(runProgram(program, s.limits, 0.5, random) == expected);
    }
  }
  CHECK(caught > 150); // Of 360; compilers evaluate what is drawn in different orders.
  CHECK(accepted > 5);
}

TEST_CASE("Smaller memories, fewer semaphores and other operations are seen") {
  const Scheduled s = scheduled(30, 2, 60);
  for (const MemoryUse &use : s.solution.memories) {
    Limits smaller = s.limits;
    MemoryLimit &limit = use.space == isa::Space::Scratchpad    ? smaller.scratchpad
                         : use.space == isa::Space::Accumulator ? smaller.accumulator
                         : use.space == isa::Space::Shared      ? smaller.shared
                                                                : smaller.dram;
    limit.bytes = use.peak - 1;
    Diagnostics diagnostics;
    if (use.space != isa::Space::Dram)
      CHECK_FALSE(verifySchedule(s.graph, s.solution.program, s.solution.commands, smaller, diagnostics));
  }
  Limits fewer = s.limits;
  fewer.semaphores = s.solution.program.semaphores - 1;
  CHECK(errorsOf(s.solution.program, fewer).find("too few semaphores") != std::string::npos);
  Diagnostics diagnostics;
  CHECK_FALSE(schedule::schedule({s.graph, fewer, ByteCost()}, diagnostics));
  CHECK(diagnostics.text().find("too few semaphores") != std::string::npos);

  isa::Program other = s.solution.program;
  other.streams[0][3].accumulate = !other.streams[0][3].accumulate;
  CHECK_FALSE(accepts(s, other));
  other = s.solution.program;
  other.streams[0].pop_back();
  CHECK_FALSE(accepts(s, other));
}

TEST_CASE("A cycle of waits is seen, with who waits for whom") {
  Scheduled s = scheduled(31, 2, 60);
  isa::Program &program = s.solution.program;
  size_t cycles = 0;
  std::vector<uint32_t> raised(program.semaphores);
  for (uint32_t i : s.solution.order) {
    const CommandRef ref = s.solution.commands[i];
    const isa::Command &late = program.streams[ref.core][ref.index];
    if (late.signal == isa::none)
      continue;
    const uint32_t value = ++raised[late.signal];
    for (const isa::Wait &wait : program.waitsOf(late)) {
      // Whoever raised that semaphore to that value shall wait for this command.
      isa::Program faulty = program;
      uint32_t number = 0;
      bool added = false;
      forEachCommand(faulty, [&](isa::Command &early) {
        if (!added && early.signal == wait.semaphore && ++number == wait.value) {
          addWait(faulty, early, {late.signal, value});
          added = true;
        }
      });
      REQUIRE(added);
      REQUIRE_FALSE(accepts(faulty, s.limits));
      ++cycles;
    }
  }
  CHECK(cycles > 20);
}

TEST_CASE("A queue too short for the order of dispatch is a deadlock") {
  // The matrix engine's first command waits for a load that is dispatched after its second one.
  const isa::Program program = parsed(R"(program "p" {
  buffer "w" constant i8[64] bytes=64 align=64
  semaphores 1
  core 0 {
    contract @matrix (scratchpad[0]:i8[4x4], scratchpad[0]+0x10:i8[4x4], accumulator[0]:i32[4x4]) dims(0,1,1,1) wait(0>=1)
    contract @matrix (scratchpad[0]:i8[4x4], scratchpad[0]+0x10:i8[4x4], accumulator[0]:i32[4x4]) dims(0,1,1,1)
    copy @dma0.0 (dram[0]:i8[32], scratchpad[0]:i8[32]) signal(0) from "load"
  }
}
)");
  Limits limits = smallMachine(1);
  limits.queueDepth = 2;
  CHECK(errorsOf(program, limits).empty());
  limits.queueDepth = 1;
  const std::string errors = errorsOf(program, limits);
  INFO(errors);
  CHECK(
      errors.find(
          "core 0 command 0 (contract): it can never start: it waits for 1 of semaphore 0, which stays at 0, "
          "raised by core 0 command 2 (copy, load)") != std::string::npos);
}

TEST_CASE("Faults of semaphores are named") {
  const std::string text = R"(program "p" {
  buffer "w" constant i8[64] bytes=64 align=64
  buffer "o" output i8[64] bytes=64 align=64
  semaphores 1
  core 0 {
    copy @dma0.0 (dram[0]:i8[32], scratchpad[0]:i8[32]) signal(0)
    copy @dma0.1 (scratchpad[0]:i8[32], dram[1]:i8[32]) wait(0>=1)
  }
}
)";
  const Limits limits = smallMachine(1);
  auto with = [&](const std::string &from, const std::string &to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return errorsOf(parsed(changed), limits);
  };
  CHECK(errorsOf(parsed(text), limits).empty());
  CHECK(with("wait(0>=1)", "").find("nothing orders it with another command") != std::string::npos);
  CHECK(with("wait(0>=1)", "wait(0>=2)").find("which nothing raises so far") != std::string::npos);
  CHECK(with("wait(0>=1)", "wait(1>=1)").find("a semaphore does not exist") != std::string::npos);
  CHECK(with("wait(0>=1)", "wait(0>=1) signal(0)").find("raised by two queues") != std::string::npos);
  CHECK(with("(scratchpad[0]:", "(scratchpad[0]+0x1000:").find("leaves the scratchpad") != std::string::npos);
  CHECK(with("@dma0.1", "@dma0.0").empty()); // one queue keeps the order by itself
}
