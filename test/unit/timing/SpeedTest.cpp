// The simulator's own speed, on programs of the size of models.
#include "Fixtures.h"
#include "Gemm.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Simulator.h"

#include <catch2/catch.hpp>

#include <ctime>

using namespace npuc;
using namespace npuc::timing;
using namespace npuc::timing::test;
using isa::Space;

namespace {

// Times mean nothing under a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool isTimed = false;
#else
constexpr bool isTimed = true;
#endif

double seconds(const isa::Program &program, const target::TargetDescription &target, Timeline &timeline) {
  Diagnostics diagnostics;
  const std::clock_t start = std::clock(); // of this process, so that a busy machine does not count
  auto result = simulate(program, target, {}, diagnostics);
  const double taken = double(std::clock() - start) / CLOCKS_PER_SEC;
  INFO(diagnostics.text());
  REQUIRE(result);
  timeline = std::move(*result);
  return taken;
}

} // namespace

TEST_CASE("an fp16 GEMM of 2048^3 on four cores: a million cycles a second", "[speed]") {
  Diagnostics diagnostics;
  const auto loaded = fourCores(diagnostics);
  INFO(diagnostics.text());
  REQUIRE(loaded);
  const target::TargetDescription &target = *loaded;
  const isa::Program program = gemm();
  Timeline t;
  double best = 1e9;
  for (int i = 0; i < 3; ++i)
    best = std::min(best, seconds(program, target, t));
  // Peak: 2048^3 / (4 · 128 · 128) = 131,072 cycles.
  CHECK(t.cycles > 131072);
  CHECK(t.cycles < 4 * 131072);
  CHECK(t.multiplyAdds[static_cast<size_t>(ElementType::F16)] == 1ull << 33);
  WARN(t.cycles << " cycles in " << best * 1000 << " ms, " << program.commandCount() << " commands, "
                << t.dramBytesPerCycle << " DRAM bytes a cycle of " << t.dramPeakBytesPerCycle);
  CHECK((!isTimed || double(t.cycles) / best >= 1e6));
}

TEST_CASE("a million commands", "[speed]") {
  // Loads, contractions and vector programs in turn on two cores, each waiting for the one before.
  Builder b(2);
  const auto f32 = ElementType::F32;
  const uint32_t dram = b.dram(1 << 24);
  const auto x = view(Space::Scratchpad, 0, 0, f32, {64});
  for (uint32_t core : {0u, 1u}) {
    const uint32_t loaded = b.semaphore(), summed = b.semaphore();
    auto y = x;
    y.buffer = core;
    for (uint32_t i = 0; i < 1000000 / 6; ++i) {
      b.copy(core, view(Space::Dram, dram, (i % 4096) * 4096, ElementType::I8, {2048}),
             view(Space::Scratchpad, core, 0, ElementType::I8, {2048}))
          .signal = loaded;
      isa::Command &contract = b.contract(core, 16, 16, 16);
      contract.signal = summed;
      b.wait(contract, loaded, i + 1);
      b.wait(b.vector(core, {y, y}, {{isa::VectorOp::Load, f32, 0, 0}, {isa::VectorOp::Store, f32, 1, 0}}),
             summed, i + 1);
    }
  }
  Diagnostics diagnostics;
  auto toy = target::load("toy", {}, diagnostics);
  REQUIRE(toy);
  Timeline t;
  const double taken = seconds(b.program, *toy, t);
  WARN(b.program.commandCount() << " commands in " << taken << " s, " << t.cycles << " cycles");
  CHECK((!isTimed || taken < 20)); // about 1 s on an idle machine
}
