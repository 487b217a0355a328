#include "tools/npuc/CompiledModel.h"

#include "runtime/cuda/Cuda.h"
#include "runtime/cuda/Simulated.h"
#include "runtime/device/Registry.h"
#include "runtime/npu_sim/NpuSim.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace npuc::tool {

std::optional<CompiledModel> CompiledModel::make(const pipeline::Compilation &compilation, bool withConstants,
                                                 Diagnostics &diagnostics) {
  constexpr size_t alignment = 64; // as npurt asks for
  device::registerDevice("npu-sim", npu_sim::createDevice);
  device::registerDevice("cuda", cuda::createCuda);
  device::registerDevice("ptx-sim", cuda::createPtxSim);
  std::optional<std::string> encoded = compilation.encode(withConstants, diagnostics);
  if (!encoded)
    return std::nullopt;
  CompiledModel model;
  size_t size = encoded->size();
  model.bytes_.reset(static_cast<std::byte *>(
      std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)));
  if (!model.bytes_)
    throw std::bad_alloc();
  std::memcpy(model.bytes_.get(), encoded->data(), size);
  model.artifact_ = std::make_unique<npurt::Artifact>(model.bytes_.get(), size, "the compiled model");
  return model;
}

} // namespace npuc::tool
