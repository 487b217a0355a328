#include "backends/cuda/time/Predict.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace npuc::cuda {

std::vector<Prediction> predict(const Program &program, const std::vector<AssembledKernel> &assembled,
                                const target::TargetDescription &target) {
  std::map<std::string, const AssembledKernel *> known;
  for (const AssembledKernel &kernel : assembled)
    known[kernel.name] = &kernel;
  double busy = 0, all = 0;
  auto at = [&](double clock) {
    std::vector<Prediction> predictions;
    busy = all = 0;
    for (const Launch &launch : program.launches) {
      Geometry geometry = launch.geometry();
      auto kernel = known.find(launch.kernel);
      const bool isKnown = kernel != known.end();
      geometry.sharedBytes += isKnown ? kernel->second->sharedBytes : 0;
      predictions.push_back(
          predict(launch.work, geometry, isKnown ? kernel->second->registers : 0, clock, target));
      busy += busyMicroseconds(launch.work, clock, target);
      all += predictions.back().microseconds;
    }
    return predictions;
  };
  const double sustained = target.gpu().sustained_clock_ghz(), greatest = target.clock_ghz();
  if (sustained <= 0)
    return at(greatest);
  std::vector<Prediction> predictions = at(sustained);
  if (busy <= 0)
    return at(greatest);
  // Power is load · frequency · voltage², and voltage goes with frequency; at the sustained clock full load
  // takes all of it.
  return at(std::min(greatest, sustained * std::cbrt(all / busy)));
}

} // namespace npuc::cuda
