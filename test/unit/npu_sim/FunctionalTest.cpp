// What the executor does around commands: order, threads, checks, launches.
#include "runtime/npu_sim/Order.h"
#include "test/unit/npu_sim/Random.h"

#include <atomic>

namespace npuc::npu_sim::test {
namespace {

using isa::Engine;
using isa::Opcode;
using isa::Space;
using E = ElementType;

isa::Command command(Opcode opcode, Engine engine, uint32_t signal = isa::none) {
  isa::Command c;
  c.opcode = opcode, c.engine = engine, c.signal = signal;
  return c;
}

void addBarrier(isa::Program &p, uint32_t core, Engine engine, std::vector<isa::Wait> waits,
                uint32_t signal) {
  p.streams[core].push_back(p.add(command(Opcode::Barrier, engine, signal), {}, {}, waits));
}

std::vector<uint8_t> input() {
  Random random(1);
  return randomMemory(random, E::I8);
}

/// Two cores, each with a chain of copies, contractions and vector commands on data of its own, which meet in
/// DRAM: many commands that may run side by side.
isa::Program twoCores() {
  ProgramBuilder b;
  isa::Program &p = b.program;
  p.semaphores = 8;
  for (uint32_t core = 0; core < 2; ++core) {
    uint32_t done = 0; // Of this core's own semaphore.
    auto add = [&](isa::Command c, std::vector<isa::View> views,
                   std::vector<isa::VectorInstruction> program = {}) {
      std::vector<isa::Wait> waits;
      if (done)
        waits.push_back({core, done});
      c.signal = core;
      ++done;
      p.streams[core].push_back(p.add(c, views, program, waits));
    };
    for (int32_t i = 0; i < 40; ++i) {
      const int64_t tile = i % 4 * 8192, result = 32768 + tile;
      add(command(Opcode::Copy, Engine::Dma), {dense(Space::Dram, 0, E::I8, (core * 40 + i) * 1024, {32, 32}),
                                               dense(Space::Scratchpad, core, E::I8, tile, {32, 32})});
      isa::Command contract = command(Opcode::Contract, Engine::Matrix);
      contract.rankM = contract.rankN = contract.rankK = 1;
      add(contract, {dense(Space::Scratchpad, core, E::I8, tile, {32, 32}),
                     dense(Space::Scratchpad, core, E::I8, tile, {32, 32}),
                     dense(Space::Accumulator, core, E::I32, 0, {32, 32})});
      add(command(Opcode::Vector, Engine::Vector),
          {dense(Space::Accumulator, core, E::I32, 0, {1024}),
           dense(Space::Scratchpad, core, E::I8, result, {1024})},
          {instruction(isa::VectorOp::Load, E::I32, 0, 0),
           instruction(isa::VectorOp::Constant, E::I32, 1, 0, 0, 0, 10),
           instruction(isa::VectorOp::ShiftRight, E::I32, 2, 0, 1),
           instruction(isa::VectorOp::Store, E::I32, 1, 2)});
      add(command(Opcode::Copy, Engine::Dma),
          {dense(Space::Scratchpad, core, E::I8, result, {1024}),
           dense(Space::Dram, 1, E::I8, core * 131072 + i % 30 * 1024, {1024})});
    }
  }
  return p;
}

} // namespace

TEST_CASE("the same bytes with any number of threads and in every run") {
  const isa::Program program = twoCores();
  const std::vector<uint8_t> in = input();
  const std::vector<uint8_t> wanted = expected(program, in);
  for (unsigned threads : {1u, 2u, 4u})
    for (int repeat = 0; repeat < 5; ++repeat) {
      FunctionalOptions options;
      options.threads = threads;
      RunResult got = simulate(program, in, {}, options);
      REQUIRE(got.errors == "");
      REQUIRE(got.output == wanted);
    }
}

TEST_CASE("even a program with races gives one result") {
  // Without its waits, commands of different queues reuse tiles that others still need.
  isa::Program program = twoCores();
  for (auto &stream : program.streams)
    for (isa::Command &c : stream)
      if (c.engine == Engine::Dma)
        c.waitCount = 0;
  const std::vector<uint8_t> in = input();
  FunctionalOptions options;
  options.checks = false; // It may read before anything is written.
  const RunResult one = simulate(program, in, {}, options);
  REQUIRE(one.ok);
  options.threads = 3;
  for (int repeat = 0; repeat < 10; ++repeat)
    REQUIRE(simulate(program, in, {}, options).output == one.output);
}

TEST_CASE("the first error in the program's order is reported, with any number of threads") {
  isa::Program program = twoCores();
  for (uint32_t index : {17u, 57u, 121u}) // Contractions that now read what nobody has written.
    for (uint32_t core : {0u, 1u})
      program.operands[program.streams[core][index].firstOperand].base = 200000;
  const std::vector<uint8_t> in = input();
  for (unsigned threads : {1u, 2u, 4u})
    for (int repeat = 0; repeat < 5; ++repeat) {
      FunctionalOptions options;
      options.threads = threads;
      RunResult got = simulate(program, in, {}, options);
      CHECK(!got.ok);
      // 17 = 4 · 4 + 1 is a contraction; core 0 takes its turn first.
      CHECK(
          got.errors ==
          "error: core 0, command 17 (contract): operand 0 reads what was never written: byte 0x30d40 of "
          "core "
          "0's scratchpad holds nothing yet\n  hint: the program lacks a command, or a semaphore edge, that "
          "puts data there first\n");
    }
}

TEST_CASE("a program that cannot come to its end says who waits for whom") {
  // Core 0's matrix engine waits for core 1's, which waits for core 0's: a circle. Core 1's DMA waits for
  // what no one gives.
  ProgramBuilder b;
  b.program.semaphores = 3;
  addBarrier(b.program, 0, Engine::Matrix, {{0, 1}}, 1);
  addBarrier(b.program, 1, Engine::Matrix, {{1, 1}}, 0);
  addBarrier(b.program, 1, Engine::Dma, {{2, 5}}, isa::none);
  addBarrier(b.program, 1, Engine::Vector, {}, 2);
  RunResult got = simulate(b.program, {});
  CHECK(!got.ok);
  CHECK_THAT(got.errors, Catch::Contains("error: test: the program cannot come to its end: "));
  CHECK_THAT(
      got.errors,
      Catch::Contains("core 0, command 0 (barrier) waits for semaphore 0 to reach 1, which is at 0; the next "
                      "to signal it is core 1, command 0 (barrier)"));
  CHECK_THAT(
      got.errors,
      Catch::Contains("core 1, command 0 (barrier) waits for semaphore 1 to reach 1, which is at 0; the next "
                      "to signal it is core 0, command 0 (barrier)"));
  CHECK_THAT(
      got.errors,
      Catch::Contains("core 1, command 1 (barrier) waits for semaphore 2 to reach 5, which is at 1; no "
                      "command that is left signals it"));
}

TEST_CASE("an order honours queues and semaphores") {
  // Two queues of core 0 and one of core 1; the DMA's second command waits for core 1's only one, which waits
  // for the DMA's first.
  ProgramBuilder b;
  b.program.semaphores = 2;
  addBarrier(b.program, 0, Engine::Dma, {}, 0);
  addBarrier(b.program, 0, Engine::Dma, {{1, 1}}, isa::none);
  addBarrier(b.program, 0, Engine::Matrix, {{1, 1}}, isa::none);
  addBarrier(b.program, 1, Engine::Vector, {{0, 1}}, 1);
  Diagnostics diagnostics;
  auto order = orderCommands(b.program, diagnostics);
  REQUIRE(order);
  REQUIRE(order->size() == 4);
  auto at = [&](CommandId id) { return std::find(order->begin(), order->end(), id) - order->begin(); };
  CHECK(at({0, 0}) < at({1, 0}));
  CHECK(at({1, 0}) < at({0, 1}));
  CHECK(at({1, 0}) < at({0, 2}));
}

TEST_CASE("reads of what was never written are found byte by byte") {
  // 100 bytes are written from 64 on; elements of four bytes each are read.
  struct Case {
    int64_t base;
    std::vector<isa::Dim> dims;
    const char *missing; ///< First byte that holds nothing; null if all do.
  };
  const Case cases[] = {{64, {{25, 1}}, nullptr},        {64, {{26, 1}}, "0xa4"},
                        {60, {{25, 1}}, "0x3c"},         {64, {{5, 5}, {5, 1}}, nullptr},
                        {64, {{5, 6}, {5, 1}}, "0xa4"},  {64, {{3, 12}, {1, 1}}, nullptr},
                        {64, {{4, 12}, {1, 1}}, "0xd0"}, {64, {{9, 0}, {25, 1}}, nullptr}};
  for (const Case &c : cases)
    for (Space space : {Space::Scratchpad, Space::Shared, Space::Dram}) {
      ProgramBuilder b;
      const uint32_t buffer = space == Space::Dram ? 2 : 0;
      b.copy(0, dense(Space::Dram, 0, E::I8, 0, {100}), dense(space, buffer, E::I8, 64, {100}));
      isa::View to = dense(Space::Dram, 1, E::I32, 0, {});
      to.rank = static_cast<uint8_t>(c.dims.size());
      int64_t stride = 1;
      for (size_t d = c.dims.size(); d-- > 0; stride *= c.dims[d].size)
        to.dims[d] = {c.dims[d].size, stride};
      b.copy(0, view(space, buffer, E::I32, c.base, c.dims), to);
      RunResult got = simulate(b.program, input());
      INFO(c.base << ", " << c.dims[0].size << ", " << c.dims[0].stride);
      if (!c.missing) {
        CHECK(got.errors == "");
        continue;
      }
      CHECK_THAT(got.errors,
                 Catch::Contains("core 0, command 1 (copy): operand 0 reads what was never written: byte " +
                                 std::string(c.missing) + " of "));
      FunctionalOptions unchecked;
      unchecked.checks = false;
      CHECK(simulate(b.program, input(), {}, unchecked).ok);
    }
}

TEST_CASE("accesses beyond a memory or a core's reach are errors") {
  auto error = [](const isa::View &from, const isa::View &to) {
    ProgramBuilder b;
    b.copy(0, from, to);
    FunctionalOptions unchecked;
    unchecked.checks = false;
    return simulate(b.program, input(), {}, unchecked).errors;
  };
  const isa::View four = dense(Space::Scratchpad, 0, E::I8, 0, {4});
  CHECK_THAT(error(dense(Space::Dram, 0, E::I8, memoryBytes - 3, {4}), four),
             Catch::Contains("core 0, command 0 (copy): operand 0 reaches outside buffer 'in': it takes "
                             "bytes 0x3fffd to 0x40000; "
                             "the program may use 0x40000"));
  CHECK_THAT(error(dense(Space::Dram, 0, E::I8, 0, {4}), view(Space::Scratchpad, 1, E::I8, 2, {{4, -1}})),
             Catch::Contains("operand 1 reaches outside core 1's scratchpad: it takes bytes -0x1 to 0x2"));
  CHECK_THAT(
      error(dense(Space::Dram, 0, E::I8, 0, {4}), dense(Space::Scratchpad, 0, E::I8, memoryBytes, {4})),
      Catch::Contains("operand 1 reaches outside core 0's scratchpad"));
  CHECK_THAT(error(dense(Space::Dram, 0, E::I8, 0, {4}), dense(Space::Scratchpad, 2, E::I8, 0, {4})),
             Catch::Contains("operand 1 is beyond the dma engine's reach: it lies in core 2's scratchpad"));
  CHECK_THAT(error(four, dense(Space::Dram, 0, E::I8, 0, {4})),
             Catch::Contains("operand 1 would write buffer 'in': constants and inputs are only read"));
  ProgramBuilder b;
  const isa::View other[] = {dense(Space::Scratchpad, 1, E::F32, 0, {4})};
  const isa::VectorInstruction load[] = {instruction(isa::VectorOp::Load, E::F32, 0, 0)};
  b.vector(0, other, load);
  CHECK_THAT(
      simulate(b.program, input()).errors,
      Catch::Contains(
          "core 0, command 0 (vector): operand 0 is beyond the vector engine's reach: it lies in core 1's "
          "scratchpad"));
}

TEST_CASE("a launch with the wrong buffers or registers names each of them") {
  ProgramBuilder b;
  b.program.registers = {{"position", 0, 9}, {"length", 1, 4}};
  b.loadAll();
  b.storeAll();
  Diagnostics diagnostics;
  auto functional = Functional::create(b.program, machine(), {}, diagnostics);
  REQUIRE(functional);
  std::vector<std::byte> whole(memoryBytes), half(memoryBytes / 2);
  const std::span<std::byte> buffers[] = {whole, half, whole};
  const int64_t registers[] = {10, 4};
  CHECK(!functional->run(buffers, registers, diagnostics));
  CHECK_THAT(diagnostics.text(),
             Catch::Contains("buffer 'out' is too small: 131072 bytes are given, 262144 are needed"));
  CHECK_THAT(diagnostics.text(),
             Catch::Contains("register 'position' is out of its bounds: 10 is not in 0 to 9"));
  CHECK(diagnostics.errorCount() == 2);
}

TEST_CASE("a launch can be cancelled, and the next one starts afresh") {
  const isa::Program program = twoCores();
  for (unsigned threads : {1u, 2u}) {
    Diagnostics diagnostics;
    FunctionalOptions options;
    options.threads = threads;
    auto functional = Functional::create(program, machine(), options, diagnostics);
    REQUIRE(functional);
    const std::vector<uint8_t> in = input();
    std::vector<std::vector<std::byte>> memory(3, std::vector<std::byte>(memoryBytes));
    std::memcpy(memory[0].data(), in.data(), in.size());
    const std::span<std::byte> buffers[] = {memory[0], memory[1], memory[2]};
    std::atomic<bool> cancelled = true;
    CHECK(!functional->run(buffers, {}, diagnostics, &cancelled));
    CHECK_THAT(diagnostics.text(), Catch::Contains("the launch was cancelled"));
    cancelled = false;
    const std::vector<uint8_t> wanted = expected(program, in);
    for (int repeat = 0; repeat < 2; ++repeat) {
      REQUIRE(functional->run(buffers, {}, diagnostics, &cancelled));
      CHECK(std::memcmp(memory[1].data(), wanted.data(), wanted.size()) == 0);
    }
  }
}

TEST_CASE("what a launch left on chip counts as never written in the next") {
  // With register 0 at 1 the first command loads the tile; at 0 it does nothing.
  ProgramBuilder b;
  b.program.registers = {{"load", 0, 1}};
  const isa::View tile = dense(Space::Scratchpad, 0, E::I8, 0, {64});
  b.copy(0, dense(Space::Dram, 0, E::I8, 0, {64}), tile);
  b.program.streams[0][0].predicateRegister = 0;
  b.copy(0, tile, dense(Space::Dram, 1, E::I8, 0, {64}));
  Diagnostics diagnostics;
  auto functional = Functional::create(b.program, machine(), {}, diagnostics);
  REQUIRE(functional);
  std::vector<std::vector<std::byte>> memory(3, std::vector<std::byte>(memoryBytes));
  const std::span<std::byte> buffers[] = {memory[0], memory[1], memory[2]};
  const int64_t on[] = {1}, off[] = {0};
  CHECK(functional->run(buffers, on, diagnostics));
  CHECK(!functional->run(buffers, off, diagnostics));
  CHECK_THAT(diagnostics.text(),
             Catch::Contains("core 0, command 1 (copy): operand 0 reads what was never written: byte 0x0"));
}

} // namespace npuc::npu_sim::test
