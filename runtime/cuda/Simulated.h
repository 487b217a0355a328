// The PTX simulator behind the CUDA driver's functions, and the device `ptx-sim` that it makes.
#pragma once

#include "runtime/cuda/Cuda.h"

namespace npuc::cuda {

/// One GPU, newer than any artifact's target, whose kernels run on the host: those of a graph when it is
/// launched, on the calling thread and the host threads that Instruments::configure gives. What the
/// simulator's checks find ends a graph, and cuStreamSynchronize says LaunchFailed. Copies to the host of
/// what nothing has written fail. Modules' errors are in the log of cuModuleLoadDataEx. Of events, the time
/// is the host's.
Driver simulatedDriver();

/// A device::Factory. Runs any artifact for a GPU, and always checks.
std::shared_ptr<device::Device> createPtxSim(const device::Options &options, Diagnostics &diagnostics);

} // namespace npuc::cuda
