// The scheduler's prices and limits, from the description of the machine whose cycles can be counted by hand.
#include "backends/npu/schedule/TimingCost.h"
#include "backends/npu/schedule/GraphText.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Cost.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace npuc;
using namespace npuc::schedule;

namespace {

constexpr const char *text = R"(graph "prices" {
  buffer "w" constant i8[4096] bytes=4096 align=64
  virtual 0 dram[0] bytes=4096 align=64
  virtual 1 scratchpad[0] bytes=4096 align=16
  virtual 2 scratchpad[1] bytes=4096 align=16
  virtual 3 accumulator[0] bytes=64 align=4
  virtual 4 shared[0] bytes=4096 align=16
  core 0 {
    copy @dma0.0 (dram[0]:i8[1600], scratchpad[1]:i8[1600])
    copy @dma0.0 (scratchpad[1]:i8[64], scratchpad[2]:i8[64])
    copy @dma0.0 (scratchpad[1]:i8[800], shared[4]:i8[800])
    contract @matrix (scratchpad[1]:i8[4x4], scratchpad[1]+0x10:i8[4x4], accumulator[3]:i32[4x4]) dims(0,1,1,1)
  }
}
)";

} // namespace

TEST_CASE("Prices are those of the timing model, shares of bandwidth those of the description") {
  Diagnostics diagnostics;
  const auto toy = target::load("toy", {}, diagnostics);
  const auto graph = parseGraph(text, "test", diagnostics);
  INFO(diagnostics.text());
  REQUIRE((toy && graph));
  const timing::Machine machine(*toy);
  const TimingCost cost(machine, *graph);
  const std::array<uint32_t, 5> owners = {0, 0, 1, 0, 0};
  for (uint32_t i = 0; i < graph->operations.size(); ++i) {
    const double alone = timing::cost(machine, *graph, graph->operations[i], {}, 0, owners).cycles;
    CHECK(cost.price(*graph, i, 0).cycles == static_cast<int64_t>(std::ceil(alone)));
    CHECK(alone > 0);
  }
  // DRAM: 2 channels of 8 bytes, 100 of 1000 cycles for refresh: 14.4 bytes a cycle; 1600 / 14.4 = 111.1.
  CHECK(cost.price(*graph, 0, 0).shared[Price::Dram] == 112);
  CHECK(cost.price(*graph, 1, 0).shared[Price::Dram] == 0);
  // Shared memory: 8 bytes a cycle.
  CHECK(cost.price(*graph, 2, 0).shared[Price::SharedMemory] == 100);
  CHECK(cost.price(*graph, 3, 0).shared == std::array<int64_t, 3>{});
}

TEST_CASE("Limits are those of the description") {
  Diagnostics diagnostics;
  const auto toy = target::load("toy", {}, diagnostics);
  REQUIRE(toy);
  const Limits limits = limitsOf(*toy);
  CHECK(limits.cores == 2);
  CHECK(limits.scratchpad.bytes == 32768);
  CHECK(limits.scratchpad.alignment == 16);
  CHECK(limits.accumulator.bytes == 256 * 4); // no accumulator has more than 32 bits
  CHECK(limits.shared.bytes == 131072);
  CHECK(limits.dram.bytes == 67108864);
  REQUIRE_FALSE(limits.dma.empty());
  CHECK(limits.dma[0].queues == 2);
  CHECK(queuesPerCore(limits) >= 4);
  // Every built-in machine has a semaphore for each of its queues, so no schedule can lack one.
  for (const std::string &name : target::builtinNames()) {
    const auto target = target::load(name, {}, diagnostics);
    REQUIRE(target);
    if (target::isGpu(*target))
      continue;
    const Limits of = limitsOf(*target);
    CHECK(of.cores * queuesPerCore(of) <= of.semaphores);
  }
}
