// Cycle counts on `toy`, derived by hand. What every derivation uses: a command is 32 bytes, fetched at 8 a
// cycle after the DRAM's latency of 20, so command i of a core is dispatched at 24 + 4 · i (dispatch itself
// takes 2).
#include "backends/npu/timing/Simulator.h"
#include "Fixtures.h"
#include "backends/npu/target/Target.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::timing;
using namespace npuc::timing::test;
using isa::Space;
using isa::VectorOp;

namespace {

target::TargetDescription toy(std::vector<std::string> overrides = {}) {
  Diagnostics diagnostics;
  auto target = target::load("toy", overrides, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(target);
  return *target;
}

Timeline run(const isa::Program &program, const target::TargetDescription &target = toy(),
             std::vector<int64_t> registers = {}) {
  Diagnostics diagnostics;
  auto timeline = simulate(program, target, {std::move(registers)}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(timeline);
  return *timeline;
}

isa::View bytesAt(Space space, uint32_t buffer, int64_t base, int32_t size) {
  return view(space, buffer, base, ElementType::I8, {size});
}

} // namespace

TEST_CASE("toy: fill and drain of the array", "[simulator]") {
  // One row through one 4x4 block: load max(4, 16 bytes / 4) = 4, one step, latency 8, scratchpad 1.
  Builder b(1);
  b.contract(0, 1, 4, 4);
  Timeline t = run(b.program);
  CHECK(t.commands[0][0].dispatch == 24);
  CHECK(t.commands[0][0].start == 24);
  CHECK(t.commands[0][0].end == 24 + 4 + 1 + 8 + 1);
  CHECK(t.commands[0][0].bound == Bound::Latency);
  CHECK(t.cycles == 38);
  CHECK(t.multiplyAdds[static_cast<size_t>(ElementType::I8)] == 16);
}

TEST_CASE("toy: stationary load", "[simulator]") {
  // 2 x 2 blocks, 16 rows each, one after another: 4 · (4 + 16) + 8 + 1; hidden behind the streaming: 4 + 4 ·
  // 16 + 8 + 1.
  Builder b(1);
  b.contract(0, 16, 8, 8);
  CHECK(run(b.program).commands[0][0].busy() == 89);
  CHECK(run(b.program, toy({"matrix.stationary_double_buffered=true", "matrix.stationary_bytes=64"}))
            .commands[0][0]
            .busy() == 77);
}

TEST_CASE("toy: DMA start-up, DRAM row miss, hit and conflict", "[simulator]") {
  Builder b(1);
  uint32_t dram = b.dram(16384);
  b.copy(0, bytesAt(Space::Dram, dram, 0, 32), bytesAt(Space::Scratchpad, 0, 0, 32));
  b.copy(0, bytesAt(Space::Dram, dram, 32, 32), bytesAt(Space::Scratchpad, 0, 0, 32));
  // Two channels by turns of 256 bytes, 4 banks with rows of 1024: 8192 on is the first bank's next row.
  b.copy(0, bytesAt(Space::Dram, dram, 8192, 32), bytesAt(Space::Scratchpad, 0, 0, 32));
  Timeline t = run(b.program);
  // Start-up 10; activate, t_rcd 10, t_cl 10, a burst of 32 / 8 = 4; way back 20 + 1.
  CHECK(t.commands[0][0].start == 24);
  CHECK(t.commands[0][0].end == 24 + 10 + (10 + 10 + 4) + 21);
  // Row open: t_cl and the burst.
  CHECK(t.commands[0][1].start == 79);
  CHECK(t.commands[0][1].end == 79 + 10 + (10 + 4) + 21);
  // Another row: t_rp 10 more than the miss.
  CHECK(t.commands[0][2].busy() == 10 + (10 + 10 + 10 + 4) + 21);
  CHECK(t.dram.misses == 1);
  CHECK(t.dram.hits == 1);
  CHECK(t.dram.conflicts == 1);
  CHECK(t.dram.readBytes == 96);
  CHECK(t.dramBytesPerCycle == Approx(96.0 / double(t.cycles)));
  CHECK(t.commands[0][0].bound == Bound::Dram);
}

TEST_CASE("toy: refresh, and a wait for a semaphore on the same core", "[simulator]") {
  // The contraction of 960 rows: 4 + 960 + 9 = 973 cycles, from 24 to 997; its signal is seen 1 later. The
  // copy's request comes at 998 + 10 = 1008, in the refresh from 1000 to 1100: activate at 1100, + 10 + 10 +
  // 4, + 21.
  Builder b(1);
  uint32_t dram = b.dram(4096), done = b.semaphore();
  b.contract(0, 960, 4, 4).signal = done;
  b.wait(b.copy(0, bytesAt(Space::Dram, dram, 0, 32), bytesAt(Space::Scratchpad, 0, 0, 32)), done, 1);
  Timeline t = run(b.program);
  const CommandTime &copy = t.commands[0][1];
  CHECK(copy.dispatch == 28);
  CHECK(copy.front == 28);
  CHECK(copy.start == 998);
  CHECK(copy.semaphoreWait() == 970);
  CHECK(copy.waitedCore == 0);
  CHECK(copy.waitedCommand == 0);
  CHECK(copy.end == 1100 + 24 + 21);
  CHECK(t.dram.refreshes == 2); // both channels, once
}

TEST_CASE("toy: a semaphore is seen later on another core", "[simulator]") {
  // From core 0 at 38: on core 1 five later, where a barrier and a contraction wait; two signals are needed
  // for the latter.
  Builder b(2);
  uint32_t done = b.semaphore();
  b.contract(0, 1, 4, 4).signal = done;
  b.contract(0, 1, 4, 4).signal = done;
  b.wait(b.barrier(1, isa::Engine::Vector), done, 1);
  b.wait(b.contract(1, 1, 4, 4), done, 2);
  Timeline t = run(b.program);
  CHECK(t.commands[0][0].end == 38);
  CHECK(t.commands[0][1].start == 38); // dispatched at 28, the engine is free at 38
  CHECK(t.commands[1][0].start == 38 + 5);
  CHECK(t.commands[1][0].end == 43);
  CHECK(t.commands[1][1].start == 52 + 5);
  CHECK(t.commands[1][1].waitedCore == 0);
  CHECK(t.commands[1][1].waitedCommand == 1);
}

TEST_CASE("toy: network contention", "[simulator]") {
  // With a network of 4 bytes a cycle in all, 4096 bytes from one core to the other take 1024; start-up 10,
  // both scratchpads' latency 1, one hop of 3. The other way at the same time: the network serves one after
  // the other.
  const auto narrow = toy({"network.bytes_per_cycle=4"});
  Builder one(2);
  one.copy(0, bytesAt(Space::Scratchpad, 0, 0, 4096), bytesAt(Space::Scratchpad, 1, 8192, 4096));
  CHECK(run(one.program, narrow).commands[0][0].end == 24 + 10 + 1024 + 1 + 1 + 3);
  Builder two = one;
  two.copy(1, bytesAt(Space::Scratchpad, 1, 0, 4096), bytesAt(Space::Scratchpad, 0, 8192, 4096));
  Timeline t = run(two.program, narrow);
  CHECK(t.commands[0][0].end == 1063);
  CHECK(t.commands[1][0].end == 1063 + 1024);
  CHECK(t.commands[1][0].bound == Bound::Network);
  CHECK(t.networkBytes == 8192);
}

TEST_CASE("toy: a full queue", "[simulator]") {
  // Four commands to an engine, the running one counted; each contraction takes 14. At 24 the first starts;
  // when the fifth comes at 40 the first is done (38). The sixth is there at 44 and waits for the second's
  // end at 52, the seventh comes at 54 and waits until 66. The copy behind them is dispatched 2 later, and 20
  // cycles late.
  Builder b(1);
  uint32_t dram = b.dram(4096);
  for (int i = 0; i < 7; ++i)
    b.contract(0, 1, 4, 4);
  b.copy(0, bytesAt(Space::Dram, dram, 0, 32), bytesAt(Space::Scratchpad, 0, 0, 32));
  Timeline t = run(b.program);
  std::vector<uint64_t> dispatches;
  for (const CommandTime &c : t.commands[0])
    dispatches.push_back(c.dispatch);
  CHECK(dispatches == std::vector<uint64_t>{24, 28, 32, 36, 40, 52, 66, 68});
  CHECK(t.commands[0][7].queueFull == (52 - 44) + (66 - 54));
  CHECK(t.commands[0][7].notDispatched == 68 - 20);
  CHECK(t.commands[0][6].end == 24 + 7 * 14); // the engine itself was never idle
}

TEST_CASE("toy: multicast", "[simulator]") {
  // 1024 bytes to both cores. DRAM: two channels of 512 bytes each, t_rcd 10, t_cl 10, 16 bursts of 4 = 64,
  // longer than the engine's 1024 / 16 = 64; start-up 10, way back 21.
  Builder b(2);
  uint32_t dram = b.dram(4096);
  isa::Command &copy = b.copy(0, bytesAt(Space::Dram, dram, 0, 1024), bytesAt(Space::Scratchpad, 0, 0, 1024));
  copy.multicastCount = 2;
  b.program.multicast = {0, 1};
  CHECK(run(b.program).commands[0][0].end == 24 + 10 + 84 + 21);
  // Without it the engine sends the data twice: the second read is asked for 64 later, and its data follow
  // the first ones.
  CHECK(run(b.program, toy({"dma[main].multicast=false"})).commands[0][0].end == 24 + 10 + 84 + 64 + 21);
}

TEST_CASE("toy: a vector program", "[simulator]") {
  // 64 points on 4 lanes: add 16, exp at a quarter 64, 512 bytes at 32 a cycle are hidden; latency 4,
  // scratchpad 1, and 10 to load the program, once.
  Builder b(1);
  auto x = view(Space::Scratchpad, 0, 0, ElementType::F32, {64});
  const std::vector<isa::VectorInstruction> body = {{VectorOp::Load, ElementType::F32, 0, 0},
                                                    {VectorOp::Add, ElementType::F32, 1, 0, 0},
                                                    {VectorOp::Exp, ElementType::F32, 2, 1},
                                                    {VectorOp::Store, ElementType::F32, 1, 2}};
  for (int i = 0; i < 2; ++i)
    b.vector(0, {x, x}, body);
  Timeline t = run(b.program);
  CHECK(t.commands[0][0].busy() == 10 + 80 + 4 + 1);
  CHECK(t.commands[0][1].busy() == 80 + 4 + 1);
  CHECK(t.vectorOperations == 2 * 2 * 64);
}

TEST_CASE("toy: launch overhead", "[simulator]") {
  // 1 microsecond, and 38 cycles at 1 GHz.
  Builder b(1);
  b.contract(0, 1, 4, 4);
  Timeline t = run(b.program);
  CHECK(t.launchMilliseconds == Approx(0.001));
  CHECK(t.milliseconds == Approx(0.001 + 38e-6));
}

TEST_CASE("toy: energy", "[simulator]") {
  // 16 multiply-adds of 1 pJ; the scratchpad gives 4 bytes of A and 16 of B; half a watt for 1.038
  // microseconds.
  Builder b(1);
  b.contract(0, 1, 4, 4);
  Timeline t = run(b.program);
  CHECK(t.energy.matrix == Approx(16e-12));
  CHECK(t.energy.scratchpad == Approx(20e-12));
  CHECK(t.energy.idle == Approx(0.5 * 1.038e-6));
  CHECK(t.energy.dram == 0);
}

TEST_CASE("toy: registers given at launch", "[simulator]") {
  // A contraction of up to 16 columns, and one that runs only from the second position on.
  Builder b(1);
  b.program.registers.push_back({"length", 0, 16});
  b.contract(0, 1, 16, 4);
  for (unsigned o : {1u, 2u}) {
    b.program.operands[o].boundRegister = 0;
    b.program.operands[o].boundDim = 1;
  }
  b.contract(0, 1, 4, 4).predicateRegister = 0;
  b.program.streams[0][1].predicateBound = 4;
  Timeline t = run(b.program);
  CHECK(t.commands[0][0].busy() == 4 * 5 + 9);
  CHECK(t.commands[0][1].busy() == 14);
  t = run(b.program, toy(), {4});
  CHECK(t.commands[0][0].busy() == 5 + 9);
  CHECK(t.commands[0][1].busy() == 0);
  CHECK(t.commands[0][1].bound == Bound::Nothing);

  Diagnostics diagnostics;
  CHECK_FALSE(simulate(b.program, toy(), {{17}}, diagnostics));
  CHECK(diagnostics.all()[0].what == "register length was given 17");
  CHECK(diagnostics.all()[0].why == "it goes from 0 to 16");
}

TEST_CASE("a long copy is cut into packets that share with others", "[simulator]") {
  // 64 KiB from DRAM, 16 bytes a cycle in all: 4096 cycles of data and 4 refreshes of 100 each, plus what
  // opening rows costs while a refresh holds the channels. Two queues at once take twice as long, and end
  // within a few packets of each other.
  Builder one(2);
  uint32_t dram = one.dram(1 << 17);
  one.copy(0, bytesAt(Space::Dram, dram, 0, 1 << 15), bytesAt(Space::Scratchpad, 0, 0, 1 << 15));
  const double alone = double(run(one.program).cycles);
  CHECK(alone == Approx(24 + 10 + 2048 * 1000 / 900.0 + 41).epsilon(0.05));
  Builder two = one;
  two.copy(1, bytesAt(Space::Dram, dram, 1 << 16, 1 << 15), bytesAt(Space::Scratchpad, 1, 0, 1 << 15));
  Timeline t = run(two.program);
  CHECK(double(t.cycles) == Approx(24 + 10 + 4096 * 1000 / 900.0 + 41).epsilon(0.05));
  CHECK(double(t.commands[0][0].end) > 0.75 * double(t.commands[1][0].end));
}

TEST_CASE("a program that cannot advance says who waits for whom", "[simulator]") {
  Builder b(2);
  uint32_t first = b.semaphore(), second = b.semaphore(), third = b.semaphore();
  b.wait(b.contract(0, 1, 4, 4), first, 1);
  b.program.streams[0][0].signal = second;
  b.wait(b.contract(1, 1, 4, 4), second, 1);
  b.program.streams[1][0].signal = first;
  b.wait(b.barrier(1, isa::Engine::Vector), third, 2);
  Diagnostics diagnostics;
  CHECK_FALSE(simulate(b.program, toy(), {}, diagnostics));
  REQUIRE(diagnostics.errorCount() == 3);
  CHECK(diagnostics.all()[0].where == "core 0 command 0 (contract on matrix)");
  CHECK(diagnostics.all()[0].what == "waits for semaphore 0 to reach 1 and never can");
  CHECK(diagnostics.all()[0].why ==
        "it has 0; core 1 command 0 (contract on matrix) would raise it next, which waits itself");
  CHECK(diagnostics.all()[1].why ==
        "it has 0; core 0 command 0 (contract on matrix) would raise it next, which waits itself");
  CHECK(diagnostics.all()[2].why == "it has 0; no other command signals it");
}

TEST_CASE("what a program may not name is an error", "[simulator]") {
  Builder b(1);
  b.contract(0, 1, 4, 4, ElementType::BF16);
  b.contract(0, 1, 4, 4).signal = 7;
  b.copy(0, bytesAt(Space::Dram, 3, 0, 32), bytesAt(Space::Scratchpad, 5, 0, 32));
  b.wait(b.barrier(0, isa::Engine::Matrix), 9, 1);
  Diagnostics diagnostics;
  CHECK_FALSE(simulate(b.program, toy(), {}, diagnostics));
  std::vector<std::string> whats;
  for (const Diagnostic &d : diagnostics.all())
    whats.push_back(d.where + ": " + d.what);
  CHECK(whats ==
        std::vector<std::string>{"core 0 command 0: the matrix engine does not contract bf16 with bf16",
                                 "core 0 command 1: signals semaphore 7 of 0",
                                 "core 0 command 2: names DRAM buffer 3 of 0",
                                 "core 0 command 3: waits for semaphore 9 of 0"});
}

TEST_CASE("the same program takes the same time", "[simulator]") {
  Builder b(2);
  uint32_t dram = b.dram(1 << 20), ready = b.semaphore();
  for (uint32_t core : {0u, 1u})
    for (int i = 0; i < 20; ++i) {
      b.copy(core, bytesAt(Space::Dram, dram, 4096 * i, 4096), bytesAt(Space::Scratchpad, core, 0, 4096), 0,
             static_cast<uint8_t>(i % 2))
          .signal = ready;
      b.wait(b.contract(core, 64, 16, 16), ready, static_cast<uint32_t>(2 * i + 1));
    }
  Timeline first = run(b.program), second = run(b.program);
  for (uint32_t core : {0u, 1u})
    for (size_t i = 0; i < first.commands[core].size(); ++i) {
      const CommandTime &x = first.commands[core][i], &y = second.commands[core][i];
      CHECK(x.start == y.start);
      CHECK(x.end == y.end);
      // In order: dispatched, at the front, started, ended.
      CHECK(x.dispatch <= x.front);
      CHECK(x.front <= x.start);
      CHECK(x.start <= x.end);
    }
}
