#include "Gemm.h"

#include "Fixtures.h"
#include "backends/npu/target/Target.h"

namespace npuc::timing::test {

using isa::Space;

std::optional<target::TargetDescription> fourCores(Diagnostics &diagnostics) {
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
  return target::load("atom", overrides, diagnostics);
}

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

} // namespace npuc::timing::test
