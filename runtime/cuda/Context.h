// A GPU that is ready to be used, and what is taken from it and given back.
#pragma once

#include "runtime/cuda/Driver.h"

#include <memory>
#include <utility>

namespace npuc::cuda {

/// A GPU's primary context, which it shares with whatever else in the process uses CUDA. Used by any number
/// of threads.
class Context {
public:
  /// The `ordinal`-th GPU. Errors, which call it `device`: CUDA does not start, there is no GPU, there are
  /// not so many.
  static std::shared_ptr<const Context> create(const Driver &driver, std::string device, unsigned ordinal,
                                               Diagnostics &diagnostics);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  const Driver &driver() const { return driver_; }
  CUcontext get() const { return context_; }
  const std::string &device() const { return device_; }        ///< As it was asked for: "cuda:1".
  const std::string &gpu() const { return gpu_; }              ///< As its maker calls it.
  int driverVersion() const { return driverVersion_; }         ///< 12040 is 12.4.
  int computeCapability() const { return computeCapability_; } ///< 90 is 9.0.

  /// Whether a call went well; else an error at `where` with what the driver says of it.
  bool good(CUresult status, const char *call, const std::string &where, Diagnostics &diagnostics) const;
  /// "CUDA_ERROR_INVALID_VALUE (1): invalid argument", or what a simulator says.
  std::string describe(CUresult status) const;

private:
  Context(const Driver &driver, std::string device) : driver_(driver), device_(std::move(device)) {}
  bool start(unsigned ordinal, Diagnostics &diagnostics);

  const Driver driver_;
  const std::string device_;
  std::string gpu_;
  int driverVersion_ = 0, computeCapability_ = 0;
  CUdevice handle_ = 0;
  CUcontext context_ = nullptr;
};

/// While it lives, this thread's calls of the driver are of the context.
class Current {
public:
  explicit Current(const Context &context)
      : driver_(context.driver()), isPushed_(driver_.cuCtxPushCurrent(context.get()) == Success) {}
  ~Current() {
    CUcontext previous;
    if (isPushed_)
      driver_.cuCtxPopCurrent(&previous);
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;

private:
  const Driver &driver_;
  bool isPushed_;
};

/// Something of a context's that is given back by `release`.
template <typename Handle>
class Owned {
public:
  Owned() = default;
  Owned(std::shared_ptr<const Context> context, Handle handle, CUresult (*release)(Handle))
      : context_(std::move(context)), handle_(handle), release_(release) {}
  Owned(Owned &&other) noexcept { *this = std::move(other); }
  Owned &operator=(Owned &&other) noexcept {
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Owned() {
    if (!context_)
      return;
    Current current(*context_);
    release_(handle_); // There is nobody to tell what goes wrong here.
  }
  Handle get() const { return handle_; }

private:
  std::shared_ptr<const Context> context_;
  Handle handle_{};
  CUresult (*release_)(Handle) = nullptr;
};

/// Memory of the GPU, at least a byte, aligned to 256. The context is current. An error says what it is for
/// and how much is free.
std::optional<Owned<CUdeviceptr>> allocate(const std::shared_ptr<const Context> &context, uint64_t bytes,
                                           const std::string &what, Diagnostics &diagnostics);

} // namespace npuc::cuda
