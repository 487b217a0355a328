#include "backends/cuda/time/Measure.h"

#include "backends/cuda/time/Residency.h"
#include "backends/npu/target/Target.h"

#include <algorithm>

namespace npuc::cuda {
namespace {

/// How many times what a tensor has is read, if L2 does not hold it: blocks beside each other share it, but
/// not those that come when all of it has gone by.
double timesRead(const Traffic &traffic, double touched, const Geometry &geometry, double resident) {
  double times = 1, faster = 1;
  bool passes = false;
  for (unsigned axis = 0; axis < 3; ++axis) {
    const double extent = geometry.grid[axis];
    if (extent > 1 && (traffic.axes >> axis & 1))
      passes = true;
    else if (extent > 1 && passes)
      times *= std::max(1.0, extent / std::max(1.0, resident / faster));
    faster *= extent;
  }
  return touched > 0 ? std::clamp(times, 1.0, std::max(1.0, traffic.read / touched)) : 1;
}

} // namespace

void Meter::measure(Program &program, llvm::MutableArrayRef<Alternative> alternatives) {
  Residency l2(target.has_shared() ? static_cast<double>(target.shared().bytes()) : 0);
  for (int run = 0; run < 2; ++run)
    for (size_t i = 0; i < program.launches.size(); ++i) {
      for (Alternative &alternative : alternatives)
        if (run == 1 && alternative.first == i) {
          Residency before = l2;
          touch(alternative.launch, before);
        }
      touch(program.launches[i], l2);
    }
}

/// Sets the work of a launch that finds `l2` so, and leaves it as it is then.
void Meter::touch(Launch &launch, Residency &l2) {
  const Geometry geometry = launch.geometry();
  auto [work, isNew] = counted.try_emplace({launch.kernel, launch.grid, launch.block[0]});
  if (isNew)
    work->second = counter.count(launch.kernel, geometry);
  launch.work = work->second;
  const double resident =
      double(target::coreCount(target)) * blocksPerCore(geometry, launch.work.registers, target);
  launch.work.dramBytes = 0;
  std::vector<bool> inL2;
  for (size_t i = 0; i < launch.arguments.size(); ++i) {
    const Argument &argument = launch.arguments[i];
    const Traffic &traffic = launch.work.arguments[i];
    Residency::Touch touch{argument.buffer, argument.offset, argument.bytes};
    touch.read = true;
    touch.touched = std::min(traffic.read, double(argument.bytes));
    touch.times = timesRead(traffic, touch.touched, geometry, resident);
    const double read = touch.touched > 0 ? l2.touch(touch) : 0;
    inL2.push_back(read < touch.touched / 2);
    launch.work.dramBytes += read;
    touch.read = false;
    touch.written = true;
    touch.touched = std::min(traffic.written, double(argument.bytes));
    launch.work.dramBytes += touch.touched > 0 ? l2.touch(touch) : 0;
  }
  auto [known, isFirst] = cycles.try_emplace({launch.kernel, geometry.threads, inL2});
  if (isFirst)
    known->second = counter.blockCycles(launch.kernel, geometry, inL2);
  launch.work.blockCycles = known->second;
}

} // namespace npuc::cuda
