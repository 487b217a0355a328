#include "runtime/cuda/Driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace npuc::cuda {

std::optional<Driver> loadDriver(const char *library, Diagnostics &diagnostics) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    diagnostics.error("device 'cuda'", "the CUDA driver cannot be loaded", dlerror(),
                      "install NVIDIA's driver; without a GPU run on the simulator, --device=ptx-sim");
    return std::nullopt;
  }
  Driver driver;
  std::vector<std::string> missing;
  auto find = [&](auto &function, const char *symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, symbol));
    if (!function)
      missing.push_back(symbol);
  };
#define NPUC_CUDA_FIND(name, symbol, parameters) find(driver.name, #symbol);
  NPUC_CUDA_FUNCTIONS(NPUC_CUDA_FIND)
#undef NPUC_CUDA_FIND
  if (missing.empty())
    return driver;
  diagnostics.error("device 'cuda'", "the CUDA driver is too old",
                    fmt::format("{} lacks {}", library, fmt::join(missing, ", ")),
                    "install a driver for CUDA 11.4 or newer, or run with --device=ptx-sim");
  return std::nullopt;
}

} // namespace npuc::cuda
