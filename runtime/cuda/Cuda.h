// The device `cuda`: GPUs through the CUDA driver. (`ptx-sim` is the same with a simulator in its place:
// Simulated.h.)
#pragma once

#include "runtime/cuda/Driver.h"
#include "runtime/device/Device.h"

namespace npuc::cuda {

/// A device::Factory. Runs any artifact for a GPU that this machine's is new enough for. With
/// device::Options::checks it runs kernel by kernel, so that one that fails is known.
std::shared_ptr<device::Device> createCuda(const device::Options &options, Diagnostics &diagnostics);

/// A device on any table, called `name`.
std::shared_ptr<device::Device> createDevice(const Driver &driver, const std::string &name,
                                             const device::Options &options, Diagnostics &diagnostics);

} // namespace npuc::cuda
