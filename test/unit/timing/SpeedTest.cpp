// The simulator's own speed, on programs of the size of models.
#include "Fixtures.h"
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

// Four cores with a 128x128 array, fp16, weights stationary; 16 channels of GDDR6.
target::TargetDescription fourCores() {
  Diagnostics diagnostics;
  const std::vector<std::string> overrides = {
      "topology.cores_per_cluster=4",
      "topology.clusters_per_device=1",
      "matrix.lanes_k=128",
      "matrix.lanes_n=128",
      "matrix.types[FP16].rate=1",
      "matrix.types[FP16].lanes_k=128",
      "matrix.types[INT8].lanes_k=128",
      "matrix.types[INT4].lanes_k=256",
      "matrix.stationary_load_cycles=128",
      "matrix.stationary_bytes=65536",
      "matrix.stream_bytes_per_cycle=256",
      "matrix.weight_bytes_per_cycle=512",
  };
  auto target = target::load("atom", overrides, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(target);
  return *target;
}

// C = A · B, 2048 x 2048 x 2048: each core 512 columns of C, in tiles of 256 x 512, k in steps of 256,
// double-buffered: the loads of step i + 2 wait for the contraction of step i.
isa::Program gemm() {
  constexpr int32_t size = 2048, tileM = 256, tileN = 512, tileK = 256;
  Builder b(4);
  const auto f16 = ElementType::F16;
  const uint32_t a = b.dram(2 * size * size), w = b.dram(2 * size * size), c = b.dram(2 * size * size);
  for (uint32_t core = 0; core < 4; ++core) {
    const uint32_t loaded = b.semaphore(), used = b.semaphore(), summed = b.semaphore(),
                   stored = b.semaphore();
    uint32_t step = 0, tile = 0;
    for (int32_t m = 0; m < size; m += tileM, ++tile) {
      for (int32_t k = 0; k < size; k += tileK, ++step) {
        const int64_t half = (step % 2) * 0x80000;
        auto dram = [&](uint32_t buffer, int64_t row, int64_t column, int32_t rows, int32_t columns) {
          return strided(Space::Dram, buffer, 2 * (row * size + column), f16, {{rows, size}, {columns, 1}});
        };
        isa::Command &loadA = b.copy(core, dram(a, m, k, tileM, tileK),
                                     view(Space::Scratchpad, core, half, f16, {tileM, tileK}), 0, 0);
        loadA.signal = loaded;
        if (step >= 2)
          b.wait(loadA, used, step - 1);
        isa::Command &loadB =
            b.copy(core, dram(w, k, 512 * core, tileK, tileN),
                   view(Space::Scratchpad, core, half + 0x20000, f16, {tileK, tileN}), 0, 1);
        loadB.signal = loaded;
        if (step >= 2)
          b.wait(loadB, used, step - 1);
        isa::Command &contract = b.contract(core, tileM, tileN, tileK, f16);
        contract.accumulate = k > 0;
        contract.signal = used;
        b.wait(contract, loaded, 2 * step + 2);
        if (k == 0 && tile > 0)
          b.wait(contract, summed, tile);
      }
      isa::Command &convert = b.vector(
          core,
          {view(Space::Accumulator, core, 0, ElementType::F32, {tileM, tileN}),
           view(Space::Scratchpad, core, 0x100000, f16, {tileM, tileN})},
          {{isa::VectorOp::Load, ElementType::F32, 0, 0}, {isa::VectorOp::Store, ElementType::F32, 1, 0}});
      convert.signal = summed;
      b.wait(convert, used, step);
      if (tile > 0)
        b.wait(convert, stored, tile);
      isa::Command &store = b.copy(
          core, view(Space::Scratchpad, core, 0x100000, f16, {tileM, tileN}),
          strided(Space::Dram, c, 2 * (m * size + 512 * core), f16, {{tileM, size}, {tileN, 1}}), 0, 1);
      store.signal = stored;
      b.wait(store, summed, tile + 1);
    }
  }
  return b.program;
}

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
  const auto target = fourCores();
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
