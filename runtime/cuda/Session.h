// A session on a GPU: its memory, its graph, its runs.
#pragma once

#include "runtime/cuda/Loaded.h"
#include "runtime/cuda/Profile.h"

namespace npuc::cuda {

class Session final : public device::Session {
public:
  /// Errors: those of Loaded::kernels.
  static std::unique_ptr<Session> create(std::shared_ptr<const device::Options> options,
                                         std::shared_ptr<Loaded> loaded, size_t entryPoint,
                                         Diagnostics &diagnostics);

  bool run(const device::Launch &launch, Diagnostics &diagnostics) override;
  std::unique_ptr<device::Profile> time(std::span<const int64_t> registers,
                                        Diagnostics &diagnostics) override;
  std::optional<std::span<std::byte>> state(uint32_t buffer, Diagnostics &diagnostics) override;

private:
  /// A state as the host sees it, once it has asked for it.
  struct Mirror {
    device::Memory memory;
    bool isOld = false, isNew = false; ///< The GPU has newer bytes; the host may have.
  };

  Session(std::shared_ptr<const device::Options> options, std::shared_ptr<Loaded> loaded, size_t entryPoint)
      : options_(std::move(options)), loaded_(std::move(loaded)), entryPoint_(entryPoint) {}
  const Context &context() const { return *loaded_->context(); }
  const Driver &driver() const { return context().driver(); }
  const artifact::Artifact &artifact() const { return loaded_->artifact(); }
  const artifact::EntryPoint &entry() const { return artifact().entryPoint(entryPoint_); }
  const std::vector<isa::Buffer> &buffers() const { return artifact().program(entryPoint_).buffers; }
  std::string nameOf(size_t buffer) const;
  std::string nameOf(const artifact::KernelLaunch &launch) const;
  bool isCopied(size_t buffer) const;

  bool good(CUresult status, const char *call, const std::string &where, Diagnostics &diagnostics) const {
    return context().good(status, call, where, diagnostics);
  }
  bool wait(const std::string &where, Diagnostics &diagnostics);

  /// Memory, constants and the graph, once. The context is current here and below.
  bool prepare(Diagnostics &diagnostics);
  bool place(size_t buffer, Diagnostics &diagnostics);
  bool makeStaging(Diagnostics &diagnostics);
  bool makeGraph(Diagnostics &diagnostics);

  bool enqueue(const artifact::KernelLaunch &launch, CUfunction kernel, Diagnostics &diagnostics);
  bool copyIn(Diagnostics &diagnostics);
  bool copyOut(Diagnostics &diagnostics);
  bool copyMirrors(Diagnostics &diagnostics);
  bool runGraph(Diagnostics &diagnostics);
  /// The kernels one by one, each waited for, so that one that fails is known.
  bool runStepwise(const std::atomic<bool> *cancelled, Diagnostics &diagnostics);
  bool execute(const std::atomic<bool> *cancelled, Diagnostics &diagnostics);
  void reportFindings(Diagnostics &diagnostics) const;

  // SessionTime.cpp
  using Saved = std::vector<std::vector<std::byte>>; ///< By buffer; empty for what is no state.
  std::optional<Saved> saveStates(Diagnostics &diagnostics);
  bool restoreStates(const Saved &saved, Diagnostics &diagnostics);
  bool measure(const Saved &saved, Measured &measured, Diagnostics &diagnostics);
  Measured describe() const;

  std::shared_ptr<const device::Options> options_;
  std::shared_ptr<Loaded> loaded_;
  size_t entryPoint_;
  std::vector<CUfunction> kernels_; ///< By launch.
  Owned<CUstream> stream_;
  std::vector<CUdeviceptr> addresses_; ///< By buffer.
  std::vector<Owned<CUdeviceptr>> memory_;
  Owned<void *> staging_;                  ///< Pinned, for inputs and outputs.
  std::vector<std::span<std::byte>> host_; ///< By buffer: its part of that.
  std::map<uint32_t, Mirror> mirrors_;     ///< By buffer.
  Owned<CUgraphExec> graph_;
  bool isPrepared_ = false;
  std::vector<KernelRun> runs_; ///< Of the last run, in a simulator.
};

} // namespace npuc::cuda
