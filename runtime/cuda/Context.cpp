#include "runtime/cuda/Context.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace npuc::cuda {

std::shared_ptr<const Context> Context::create(const Driver &driver, std::string device, unsigned ordinal,
                                               Diagnostics &diagnostics) {
  auto context = std::shared_ptr<Context>(new Context(driver, std::move(device)));
  return context->start(ordinal, diagnostics) ? context : nullptr;
}

bool Context::start(unsigned ordinal, Diagnostics &diagnostics) {
  const std::string where = fmt::format("device '{}'", device_);
  const CUresult started = driver_.cuInit(0);
  if (started != Success && started != NoDevice) {
    diagnostics.error(where, "the CUDA driver does not start", describe(started),
                      "see whether nvidia-smi works; without a GPU run on the simulator, --device=ptx-sim");
    return false;
  }
  int count = 0;
  if (started == Success &&
      (!good(driver_.cuDriverGetVersion(&driverVersion_), "cuDriverGetVersion", where, diagnostics) ||
       !good(driver_.cuDeviceGetCount(&count), "cuDeviceGetCount", where, diagnostics)))
    return false;
  if (count <= 0) {
    diagnostics.error(
        where, "there is no GPU", "the CUDA driver finds none",
        "see whether nvidia-smi lists it and CUDA_VISIBLE_DEVICES hides it; without a GPU run on "
        "the simulator, --device=ptx-sim");
    return false;
  }
  if (ordinal >= static_cast<unsigned>(count)) {
    diagnostics.error(where, fmt::format("there is no GPU {}", ordinal),
                      count == 1 ? "there is one, 0"
                                 : fmt::format("there are {}, 0 to {}", count, count - 1));
    return false;
  }
  std::array<char, 256> name{};
  int major = 0, minor = 0;
  if (!good(driver_.cuDeviceGet(&handle_, static_cast<int>(ordinal)), "cuDeviceGet", where, diagnostics) ||
      !good(driver_.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, handle_),
            "cuDeviceGetName", where, diagnostics) ||
      !good(driver_.cuDeviceGetAttribute(&major, computeCapabilityMajor, handle_), "cuDeviceGetAttribute",
            where, diagnostics) ||
      !good(driver_.cuDeviceGetAttribute(&minor, computeCapabilityMinor, handle_), "cuDeviceGetAttribute",
            where, diagnostics) ||
      !good(driver_.cuDevicePrimaryCtxRetain(&context_, handle_), "cuDevicePrimaryCtxRetain", where,
            diagnostics))
    return false;
  gpu_ = name.data();
  computeCapability_ = major * 10 + minor;
  return true;
}

Context::~Context() {
  if (context_)
    driver_.cuDevicePrimaryCtxRelease(handle_);
}

std::string Context::describe(CUresult status) const {
  if (driver_.instruments)
    if (std::string reason = driver_.instruments->reason(); !reason.empty())
      return reason;
  const char *name = nullptr, *text = nullptr;
  driver_.cuGetErrorName(status, &name);
  driver_.cuGetErrorString(status, &text);
  return fmt::format("{} ({}){}{}", name ? name : "an unknown error", status, text ? ": " : "",
                     text ? text : "");
}

bool Context::good(CUresult status, const char *call, const std::string &where,
                   Diagnostics &diagnostics) const {
  if (status != Success)
    diagnostics.error(where, fmt::format("{} failed", call), describe(status));
  return status == Success;
}

std::optional<Owned<CUdeviceptr>> allocate(const std::shared_ptr<const Context> &context, uint64_t bytes,
                                           const std::string &what, Diagnostics &diagnostics) {
  const Driver &driver = context->driver();
  CUdeviceptr memory = 0;
  const CUresult status = driver.cuMemAlloc(&memory, std::max<uint64_t>(bytes, 1));
  if (status == Success)
    return Owned<CUdeviceptr>(context, memory, driver.cuMemFree);
  size_t free = 0, total = 0;
  if (status == OutOfMemory && driver.cuMemGetInfo(&free, &total) == Success)
    diagnostics.error(what, fmt::format("there is not enough memory on '{}'", context->device()),
                      fmt::format("{} bytes are needed, of {} there are {} free", bytes, total, free),
                      "end what else uses the GPU, or compile a smaller model or shorter shapes");
  else
    context->good(status, "cuMemAlloc", what, diagnostics);
  return std::nullopt;
}

} // namespace npuc::cuda
