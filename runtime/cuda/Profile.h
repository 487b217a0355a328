// What a run on a GPU, or on its simulator, is summed up as.
#pragma once

#include "runtime/cuda/Driver.h"
#include "runtime/device/Device.h"

namespace npuc::cuda {

struct MeasuredKernel {
  std::string kernel, source; ///< The source: the model's nodes.
  ptx::Dim3 grid, block;
  uint32_t sharedBytes = 0;                 ///< Dynamic.
  std::optional<artifact::Kernel> compiled; ///< What ptxas said of it.
  std::optional<artifact::Prediction> predicted;
  std::optional<double> milliseconds; ///< By itself, between two events.
  std::optional<ptx::Totals> counters;
};

struct Measured {
  std::string program, target, device, gpu;
  std::vector<MeasuredKernel> kernels; ///< In their order.
  /// Of all kernels, as one graph; of copying inputs and outputs. Nothing where time is not known.
  std::optional<double> milliseconds, transferMilliseconds;
  double lowerBoundCycles = 0, clockGhz = 0; ///< 0 cycles: not counted.
};

std::unique_ptr<device::Profile> makeProfile(Measured measured);

/// A page of a profile's text and JSON: what it sums up, and a table of the kernels.
std::string toHtml(const std::string &title, const std::string &summary, const std::string &json);

} // namespace npuc::cuda
