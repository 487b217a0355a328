#include "backends/cuda/time/Predict.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace npuc::cuda {

namespace {

using Assembled = std::vector<AssembledKernel>;

std::vector<Prediction> predictAt(double clock, const Program &program, const Assembled &assembled,
                                  const target::TargetDescription &target) {
  std::map<std::string, const AssembledKernel *> known;
  for (const AssembledKernel &kernel : assembled)
    known[kernel.name] = &kernel;
  std::vector<Prediction> predictions;
  for (const Launch &launch : program.launches) {
    Geometry geometry = launch.geometry();
    auto kernel = known.find(launch.kernel);
    const bool isKnown = kernel != known.end();
    geometry.sharedBytes += isKnown ? kernel->second->sharedBytes : 0;
    predictions.push_back(
        predict(launch.work, geometry, isKnown ? kernel->second->registers : 0, clock, target));
  }
  return predictions;
}

double clockOf(const Program &program, const Assembled &assembled, const target::TargetDescription &target) {
  const double sustained = target.gpu().sustained_clock_ghz(), greatest = target.clock_ghz();
  if (sustained <= 0)
    return greatest;
  double busy = 0, all = 0;
  for (const Launch &launch : program.launches)
    busy += busyMicroseconds(launch.work, sustained, target);
  for (const Prediction &prediction : predictAt(sustained, program, assembled, target))
    all += prediction.microseconds;
  // Power is load · frequency · voltage², and voltage goes with frequency; at the sustained clock full load
  // takes all of it.
  return busy > 0 ? std::min(greatest, sustained * std::cbrt(all / busy)) : greatest;
}

} // namespace

std::vector<Prediction> predict(const Program &program, const std::vector<AssembledKernel> &assembled,
                                const target::TargetDescription &target) {
  return predictAt(clockOf(program, assembled, target), program, assembled, target);
}

double clockOf(const Program &program, const target::TargetDescription &target) {
  return clockOf(program, {}, target);
}

} // namespace npuc::cuda
