// What of an artifact is on a GPU once for all its sessions: kernels and constants.
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/cuda/Context.h"

#include <map>
#include <mutex>
#include <span>

namespace npuc::cuda {

/// Used by any number of threads.
class Loaded {
public:
  /// Errors: the artifact is no GPU's, or needs a newer one, or its PTX a newer driver. Loads nothing yet.
  static std::shared_ptr<Loaded> create(std::shared_ptr<const Context> context,
                                        std::shared_ptr<const artifact::Artifact> artifact,
                                        Diagnostics &diagnostics);

  const std::shared_ptr<const Context> &context() const { return context_; }
  const artifact::Artifact &artifact() const { return *artifact_; }

  /// The kernel of each launch of an entry point, its PTX compiled when it is first asked for. Errors: the
  /// driver rejects the PTX (with its log), a kernel is not in it. The context is current.
  std::optional<std::vector<CUfunction>> kernels(size_t entryPoint, Diagnostics &diagnostics);
  /// Where a constant is, copied with the help of the stream when it is first asked for; zeros if the
  /// artifact has none. The context is current. Nothing if it does not go on the GPU, with an error.
  std::optional<CUdeviceptr> constant(uint32_t buffer, CUstream stream, Diagnostics &diagnostics);

private:
  Loaded(std::shared_ptr<const Context> context, std::shared_ptr<const artifact::Artifact> artifact)
      : context_(std::move(context)), artifact_(std::move(artifact)) {}
  bool checkTarget(Diagnostics &diagnostics) const;
  bool checkPtx(const artifact::EntryPoint &entry, Diagnostics &diagnostics) const;
  bool compile(uint32_t section, const std::string &where, Diagnostics &diagnostics);

  std::shared_ptr<const Context> context_;
  std::shared_ptr<const artifact::Artifact> artifact_;
  std::mutex mutex_;
  std::map<uint32_t, Owned<CUmodule>> modules_;      // by section
  std::map<uint32_t, Owned<CUdeviceptr>> constants_; // by buffer
};

} // namespace npuc::cuda
