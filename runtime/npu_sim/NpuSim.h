// The device `npu-sim`: the functional simulator computes, the timing model says how long it takes.
#pragma once

#include "runtime/device/Device.h"

namespace npuc::npu_sim {

/// A device::Factory. Runs and times any artifact with an NPU target; the memory of its device is the host's.
std::shared_ptr<device::Device> createDevice(const device::Options &options, Diagnostics &diagnostics);

} // namespace npuc::npu_sim
