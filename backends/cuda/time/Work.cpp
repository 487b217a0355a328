#include "backends/cuda/time/Work.h"

#include "backends/npu/target/Target.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace npuc::cuda {
namespace {

/// As CUDA gives registers to a warp, whatever the GPU.
constexpr uint64_t warpSize = 32, registersAtOnce = 256;

/// On all multiprocessors, at their peak.
double tensorCycles(const Work &work, const target::TargetDescription &target) {
  double cycles = 0;
  for (size_t i = 0; i < elementTypeCount; ++i)
    if (work.multiplyAdds[i] > 0)
      cycles += static_cast<double>(work.multiplyAdds[i]) /
                target::peakMacsPerCycle(target, static_cast<ElementType>(i));
  return cycles;
}

} // namespace

uint64_t Work::tensorMultiplyAdds() const {
  return std::accumulate(multiplyAdds.begin(), multiplyAdds.end(), uint64_t{0});
}

double Work::l2Bytes() const {
  double bytes = 0;
  for (const Traffic &traffic : arguments)
    bytes += traffic.read + traffic.written;
  return bytes;
}

std::string_view name(Bound bound) {
  constexpr std::string_view names[] = {"launch", "tensor", "issue", "DRAM", "L2", "shared", "latency"};
  return names[static_cast<size_t>(bound)];
}

unsigned blocksPerCore(const Geometry &geometry, unsigned registers,
                       const target::TargetDescription &target) {
  const target::Gpu &gpu = target.gpu();
  const uint64_t ofWarp =
      llvm::divideCeil(std::max(registers, 1u) * warpSize, registersAtOnce) * registersAtOnce;
  const uint64_t least =
      std::min({uint64_t{gpu.blocks_per_core()}, gpu.threads_per_core() / (geometry.warps() * warpSize),
                gpu.registers_per_core() / ofWarp / geometry.warps(),
                target.scratchpad().bytes() / (geometry.sharedBytes + gpu.shared_bytes_reserved() + 1)});
  return static_cast<unsigned>(std::max<uint64_t>(least, 1));
}

Prediction predict(const Work &work, const Geometry &geometry, unsigned registers, double clock,
                   const target::TargetDescription &target) {
  Prediction result;
  result.registers = registers > 0 ? registers : work.registers;
  result.blocksPerCore = blocksPerCore(geometry, result.registers, target);
  const double cores = target::coreCount(target), slices = target.topology().slices_per_core();
  // The multiprocessor with most blocks ends last.
  const uint64_t blocks = llvm::divideCeil(geometry.blocks(), target::coreCount(target));
  const double share = static_cast<double>(blocks) / static_cast<double>(geometry.blocks());
  // A warp stays in one of its parts.
  const double warps =
      static_cast<double>(std::min<uint64_t>(blocks, result.blocksPerCore)) * geometry.warps();
  const double busy = std::min(1.0, warps / slices);

  const double tensor = tensorCycles(work, target) * share * cores / busy;
  auto lanes = [&](ElementType type) { return target::peakVectorOpsPerCycle(target, type) / cores * busy; };
  const double issue =
      share * std::max({work.instructions / (slices * busy), work.floats * warpSize / lanes(ElementType::F32),
                        work.integers * warpSize / lanes(ElementType::I32)});
  const target::Scratchpad &pad = target.scratchpad();
  const double shared = work.sharedBytes * share / (slices * pad.banks() * pad.ports() * pad.bank_bytes());
  const double l2 = target.has_shared()
                        ? std::max(work.l2Bytes() * share / target.shared().bytes_per_cycle_per_core(),
                                   work.l2Bytes() / target.shared().bytes_per_cycle())
                        : 0;
  const double latency =
      static_cast<double>(llvm::divideCeil(blocks, result.blocksPerCore)) * work.blockCycles;
  const double perMicrosecond = clock * 1e3; // cycles
  const std::pair<double, Bound> terms[] = {
      {tensor / perMicrosecond, Bound::Tensor},
      {issue / perMicrosecond, Bound::Issue},
      {shared / perMicrosecond, Bound::Shared},
      {l2 / perMicrosecond, Bound::L2},
      {latency / perMicrosecond, Bound::Latency},
      {work.dramBytes / target::dramBytesPerSecond(target) * 1e6, Bound::Dram}};
  const auto greatest = *std::ranges::max_element(terms, {}, &std::pair<double, Bound>::first);
  const double launch = target.gpu().launch_microseconds();
  result.microseconds = launch + greatest.first;
  result.bound = launch > greatest.first ? Bound::Launch : greatest.second;
  return result;
}

double busyMicroseconds(const Work &work, double clock, const target::TargetDescription &target) {
  return std::max(tensorCycles(work, target), work.instructions / target::sliceCount(target)) / (clock * 1e3);
}

} // namespace npuc::cuda
