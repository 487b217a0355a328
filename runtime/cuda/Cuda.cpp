#include "runtime/cuda/Cuda.h"

#include "runtime/cuda/Session.h"

#include <fmt/format.h>

namespace npuc::cuda {
namespace {

class CudaDevice final : public device::Device {
public:
  CudaDevice(const device::Options &options, std::shared_ptr<const Context> context)
      : options_(std::make_shared<const device::Options>(options)), context_(std::move(context)) {}

  std::string_view name() const override { return context_->device(); }

  std::unique_ptr<device::Session> createSession(std::shared_ptr<const artifact::Artifact> artifact,
                                                 size_t entryPoint, Diagnostics &diagnostics) override {
    auto loaded = load(std::move(artifact), diagnostics);
    return loaded ? Session::create(options_, std::move(loaded), entryPoint, diagnostics) : nullptr;
  }

private:
  /// What other sessions of the artifact use, if there are any.
  std::shared_ptr<Loaded> load(std::shared_ptr<const artifact::Artifact> artifact, Diagnostics &diagnostics) {
    const std::lock_guard lock(mutex_);
    std::erase_if(loaded_, [](const auto &entry) { return entry.second.expired(); });
    std::weak_ptr<Loaded> &known = loaded_[artifact.get()];
    std::shared_ptr<Loaded> loaded = known.lock();
    if (!loaded)
      known = loaded = Loaded::create(context_, std::move(artifact), diagnostics);
    return loaded;
  }

  std::shared_ptr<const device::Options> options_;
  std::shared_ptr<const Context> context_;
  std::mutex mutex_;
  std::map<const artifact::Artifact *, std::weak_ptr<Loaded>> loaded_;
};

} // namespace

std::shared_ptr<device::Device> createDevice(const Driver &driver, const std::string &name,
                                             const device::Options &options, Diagnostics &diagnostics) {
  auto context = Context::create(driver, options.ordinal ? fmt::format("{}:{}", name, options.ordinal) : name,
                                 options.ordinal, diagnostics);
  return context ? std::make_shared<CudaDevice>(options, std::move(context)) : nullptr;
}

std::shared_ptr<device::Device> createCuda(const device::Options &options, Diagnostics &diagnostics) {
  auto driver = loadDriver(driverLibrary, diagnostics);
  return driver ? createDevice(*driver, "cuda", options, diagnostics) : nullptr;
}

} // namespace npuc::cuda
