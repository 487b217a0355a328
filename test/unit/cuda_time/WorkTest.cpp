// The time of a launch, by hand.
#include "backends/cuda/time/Work.h"
#include "backends/cuda/time/Residency.h"
#include "test/unit/target/Common.h"

namespace npuc::cuda {
namespace {

using target::builtin;

/// 10 multiprocessors of 4 parts; each 65,536 registers, 1,536 threads, 16 blocks and 102,400 bytes.
const target::TargetDescription &machine() {
  static const target::TargetDescription description =
      builtin("cuda:sm_86", {"clock_ghz=1", "gpu.sustained_clock_ghz=0", "gpu.launch_microseconds=2us"});
  return description;
}

Prediction predicted(const Work &work, const Geometry &geometry) {
  return predict(work, geometry, 64, 1, machine());
}

TEST_CASE("a multiprocessor holds as many blocks as threads, registers, shared memory and the limit allow") {
  CHECK(blocksPerCore({{100, 1, 1}, 32, 0}, 16, machine()) == 16);
  CHECK(blocksPerCore({{100, 1, 1}, 256, 0}, 16, machine()) == 6);
  // 100 registers × 32 threads are 13 × 256: 19 warps, so 2 blocks of 8.
  CHECK(blocksPerCore({{100, 1, 1}, 256, 0}, 100, machine()) == 2);
  // With CUDA's 1,024 bytes three of 32 KiB are 101,376 bytes.
  CHECK(blocksPerCore({{100, 1, 1}, 64, 32768}, 16, machine()) == 3);
  CHECK(blocksPerCore({{100, 1, 1}, 1024, 0}, 255, machine()) == 1);
}

TEST_CASE("a launch takes its launching and what takes longest") {
  const Geometry geometry{{20, 1, 1}, 128, 0};
  CHECK(predicted({}, geometry).microseconds == Approx(2));
  CHECK(predicted({}, geometry).bound == Bound::Launch);

  // 10 × 4 × 256 multiply-adds of int8 a cycle.
  Work tensor;
  tensor.multiplyAdds[static_cast<size_t>(ElementType::I8)] = 10 * 4 * 256 * 5000ull;
  CHECK(predicted(tensor, geometry).microseconds == Approx(2 + 5));
  CHECK(predicted(tensor, geometry).bound == Bound::Tensor);
  // 11 blocks: one multiprocessor has two.
  CHECK(predicted(tensor, {{11, 1, 1}, 128, 0}).microseconds == Approx(2 + 5 * 20 / 11.));
  // One warp of 20 is in one part.
  CHECK(predicted(tensor, {{10, 1, 1}, 32, 0}).microseconds == Approx(2 + 5 * 4));

  Work issue;
  issue.instructions = 10 * 4 * 3000;
  CHECK(predicted(issue, geometry).microseconds == Approx(2 + 3));
  issue.integers = issue.instructions; // On half of the lanes.
  CHECK(predicted(issue, geometry).microseconds == Approx(2 + 6));
  CHECK(predicted(issue, geometry).bound == Bound::Issue);

  Work shared;
  shared.sharedBytes = 10 * 128 * 4000;
  CHECK(predicted(shared, geometry).microseconds == Approx(2 + 4));
  CHECK(predicted(shared, geometry).bound == Bound::Shared);

  Work l2;
  l2.arguments = {{512 * 7000, 0}}; // Of all multiprocessors; each has 64 of the 512 bytes a cycle.
  CHECK(predicted(l2, geometry).microseconds == Approx(2 + 7));
  CHECK(predicted(l2, geometry).bound == Bound::L2);
  CHECK(predicted(l2, {{1, 1, 1}, 128, 0}).microseconds == Approx(2 + 56));

  Work dram;
  dram.dramBytes = 200e9 * 9e-6; // 8 × 16 × 1.5625 GHz are 200 GB/s.
  CHECK(predicted(dram, geometry).microseconds == Approx(2 + 9));
  CHECK(predicted(dram, geometry).bound == Bound::Dram);

  Work latency;
  latency.blockCycles = 4000;
  CHECK(predicted(latency, geometry).microseconds == Approx(2 + 4)); // Two blocks at once.
  CHECK(predicted(latency, {{200, 1, 1}, 1024, 0}).microseconds == Approx(2 + 20 * 4));
  CHECK(predicted(latency, geometry).bound == Bound::Latency);
}

TEST_CASE("L2 holds what was used last, and writes what was changed when it leaves") {
  Residency l2(1000);
  auto read = [&](uint32_t buffer, double bytes) {
    return l2.touch({buffer, 0, uint64_t(bytes), bytes, 1, true, false});
  };
  auto write = [&](uint32_t buffer, double bytes) {
    return l2.touch({buffer, 0, uint64_t(bytes), bytes, 1, false, true});
  };
  CHECK(read(0, 400) == 400);
  CHECK(read(0, 400) == 0);
  CHECK(write(1, 500) == 0);
  CHECK(read(0, 400) == 0);
  CHECK(read(2, 300) == 300 + 500); // 1 leaves.
  CHECK(read(1, 500) == 500);       // 0 leaves.
  CHECK(read(0, 400) == 400);
  // What is larger does not stay, and is read as often as blocks ask for it.
  CHECK(l2.touch({3, 0, 2000, 2000, 3, true, false}) == 6000);
  CHECK(read(3, 2000) == 2000);
  // Another tensor in the same memory: what was there is dead.
  CHECK(write(4, 600) == 0);
  CHECK(l2.touch({4, 100, 200, 200, 1, false, true}) == 0);
  CHECK(read(5, 900) == 900 + 200);
}

} // namespace
} // namespace npuc::cuda
