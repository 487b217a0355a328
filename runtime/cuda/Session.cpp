#include "runtime/cuda/Session.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace npuc::cuda {
namespace {

constexpr size_t stagingAlignment = 256, mostFindings = 8;
constexpr CUresult firstKernelFault = 700; // statuses from here on are of kernels that failed

bool isSet(const std::atomic<bool> *flag) {
  return flag && *flag;
}

size_t alignUp(size_t value) {
  return (value + stagingAlignment - 1) / stagingAlignment * stagingAlignment;
}

/// An input of zeros, or where the model does not take them, of the least value that it does.
void fill(std::span<std::byte> bytes, const artifact::Buffer &buffer, ElementType type) {
  std::ranges::fill(bytes, std::byte{0});
  if (!buffer.has_range() || (buffer.least() <= 0 && buffer.greatest() >= 0))
    return;
  const int64_t value = buffer.least();
  const size_t width = bitWidth(type) / 8;
  for (size_t at = 0; at + width <= bytes.size(); at += width)
    std::memcpy(bytes.data() + at, &value, width); // little-endian
}

} // namespace

std::unique_ptr<Session> Session::create(std::shared_ptr<const device::Options> options,
                                         std::shared_ptr<Loaded> loaded, size_t entryPoint,
                                         Diagnostics &diagnostics) {
  auto session = std::unique_ptr<Session>(new Session(std::move(options), std::move(loaded), entryPoint));
  const Current current(session->context());
  auto kernels = session->loaded_->kernels(entryPoint, diagnostics);
  CUstream stream = nullptr;
  if (!kernels || !session->good(session->driver().cuStreamCreate(&stream, streamNonBlocking),
                                 "cuStreamCreate", session->artifact().name(), diagnostics))
    return nullptr;
  session->kernels_ = std::move(*kernels);
  session->stream_ = {session->loaded_->context(), stream, session->driver().cuStreamDestroy};
  return session;
}

std::string Session::nameOf(size_t buffer) const {
  return fmt::format("{} '{}'", isa::name(buffers()[buffer].role), buffers()[buffer].name);
}

std::string Session::nameOf(const artifact::KernelLaunch &launch) const {
  return fmt::format("kernel '{}'{}", launch.kernel(),
                     launch.source().empty() ? "" : fmt::format(" of node '{}'", launch.source()));
}

bool Session::isCopied(size_t buffer) const {
  const isa::Role role = buffers()[buffer].role;
  return role == isa::Role::Input || role == isa::Role::Output;
}

bool Session::wait(const std::string &where, Diagnostics &diagnostics) {
  return good(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", where, diagnostics);
}

// --- Preparation

bool Session::prepare(Diagnostics &diagnostics) {
  if (isPrepared_)
    return true;
  addresses_.assign(buffers().size(), 0);
  bool placed = true;
  for (size_t i = 0; placed && i < buffers().size(); ++i)
    placed = place(i, diagnostics);
  isPrepared_ =
      placed && makeStaging(diagnostics) && makeGraph(diagnostics) && wait(artifact().name(), diagnostics);
  if (!isPrepared_) {
    driver().cuStreamSynchronize(stream_.get());
    memory_.clear();
  }
  return isPrepared_;
}

bool Session::place(size_t buffer, Diagnostics &diagnostics) {
  const isa::Buffer &b = buffers()[buffer];
  if (b.role == isa::Role::Constant) {
    auto known = loaded_->constant(entry().buffers(static_cast<int>(buffer)), stream_.get(), diagnostics);
    addresses_[buffer] = known.value_or(0);
    return known.has_value();
  }
  auto memory = allocate(loaded_->context(), static_cast<uint64_t>(b.bytes), nameOf(buffer), diagnostics);
  if (!memory)
    return false;
  addresses_[buffer] = memory->get();
  memory_.push_back(std::move(*memory));
  if (driver().instruments)
    driver().instruments->describe(addresses_[buffer], nameOf(buffer), b.role == isa::Role::Input);
  return b.role != isa::Role::State || b.bytes == 0 ||
         good(driver().cuMemsetD8Async(addresses_[buffer], 0, static_cast<size_t>(b.bytes), stream_.get()),
              "cuMemsetD8Async", nameOf(buffer), diagnostics);
}

bool Session::makeStaging(Diagnostics &diagnostics) {
  size_t bytes = 1;
  for (size_t i = 0; i < buffers().size(); ++i)
    if (isCopied(i))
      bytes = alignUp(bytes) + static_cast<size_t>(buffers()[i].bytes);
  void *memory = nullptr;
  if (!good(driver().cuMemAllocHost(&memory, bytes), "cuMemAllocHost",
            fmt::format("{} bytes of this machine's memory for inputs and outputs", bytes), diagnostics))
    return false;
  staging_ = {loaded_->context(), memory, driver().cuMemFreeHost};
  host_.assign(buffers().size(), {});
  bytes = 1;
  for (size_t i = 0; i < buffers().size(); ++i) {
    if (!isCopied(i))
      continue;
    bytes = alignUp(bytes);
    host_[i] = {static_cast<std::byte *>(memory) + bytes, static_cast<size_t>(buffers()[i].bytes)};
    bytes += host_[i].size();
    fill(host_[i], artifact().buffer(entry().buffers(static_cast<int>(i))), buffers()[i].type);
  }
  return true;
}

bool Session::makeGraph(Diagnostics &diagnostics) {
  const std::string where = fmt::format("{}: entry point '{}'", artifact().name(), entry().name());
  if (!good(driver().cuStreamBeginCapture(stream_.get(), captureThreadLocal), "cuStreamBeginCapture", where,
            diagnostics))
    return false;
  bool launched = true;
  for (int i = 0; launched && i < entry().launches_size(); ++i)
    launched = enqueue(entry().launches(i), kernels_[static_cast<size_t>(i)], diagnostics);
  CUgraph graph = nullptr;
  const CUresult ended = driver().cuStreamEndCapture(stream_.get(), &graph);
  const Owned<CUgraph> owned =
      graph ? Owned<CUgraph>(loaded_->context(), graph, driver().cuGraphDestroy) : Owned<CUgraph>();
  CUgraphExec executable = nullptr;
  if (!launched || !good(ended, "cuStreamEndCapture", where, diagnostics) ||
      !good(driver().cuGraphInstantiate(&executable, graph, 0), "cuGraphInstantiate", where, diagnostics))
    return false;
  graph_ = {loaded_->context(), executable, driver().cuGraphExecDestroy};
  return true;
}

bool Session::enqueue(const artifact::KernelLaunch &launch, CUfunction kernel, Diagnostics &diagnostics) {
  std::vector<CUdeviceptr> arguments;
  for (const artifact::KernelArgument &a : launch.arguments())
    arguments.push_back(addresses_[a.buffer()] + a.offset());
  // As one piece, of which the driver knows the size.
  size_t bytes = arguments.size() * sizeof(CUdeviceptr);
  void *extra[] = {reinterpret_cast<void *>(launchPointer), arguments.data(),
                   reinterpret_cast<void *>(launchBytes), &bytes, reinterpret_cast<void *>(launchEnd)};
  return good(driver().cuLaunchKernel(kernel, launch.grid(0), launch.grid(1), launch.grid(2), launch.block(0),
                                      launch.block(1), launch.block(2), launch.shared_bytes(), stream_.get(),
                                      nullptr, bytes ? extra : nullptr),
              "cuLaunchKernel", nameOf(launch), diagnostics);
}

// --- Runs

bool Session::run(const device::Launch &launch, Diagnostics &diagnostics) {
  const Current current(context());
  if (!prepare(diagnostics) || isSet(launch.cancelled))
    return false;
  const size_t before = diagnostics.errorCount();
  for (size_t i = 0; i < buffers().size(); ++i)
    if (launch.buffers[i].size() < host_[i].size()) // What is no input or output has none of either.
      diagnostics.error(
          nameOf(i), "the memory is too small",
          fmt::format("{} bytes are given, {} are needed", launch.buffers[i].size(), host_[i].size()));
    else if (buffers()[i].role == isa::Role::Input)
      std::ranges::copy(launch.buffers[i].first(host_[i].size()), host_[i].begin());
  if (diagnostics.errorCount() > before || !execute(launch.cancelled, diagnostics))
    return false;
  for (size_t i = 0; i < buffers().size(); ++i)
    if (buffers()[i].role == isa::Role::Output)
      std::ranges::copy(host_[i], launch.buffers[i].begin());
  return true;
}

bool Session::execute(const std::atomic<bool> *cancelled, Diagnostics &diagnostics) {
  Instruments *instruments = driver().instruments;
  if (instruments) {
    for (size_t i = 0; i < buffers().size(); ++i)
      if (buffers()[i].role == isa::Role::Output || buffers()[i].role == isa::Role::Workspace)
        instruments->forget(addresses_[i]);
    instruments->configure(stream_.get(), options_->threads, cancelled);
  }
  bool ran = copyMirrors(diagnostics) && copyIn(diagnostics);
  if (ran)
    ran = options_->checks && !instruments ? runStepwise(cancelled, diagnostics) : runGraph(diagnostics);
  if (!ran)
    driver().cuStreamSynchronize(stream_.get()); // Nothing goes on behind an error.
  for (auto &[buffer, mirror] : mirrors_)
    mirror.isOld = true;
  if (instruments) {
    runs_ = instruments->take(stream_.get());
    instruments->configure(stream_.get(), 0, nullptr);
    reportFindings(diagnostics);
  }
  return ran && !isSet(cancelled);
}

bool Session::copyMirrors(Diagnostics &diagnostics) {
  for (auto &[buffer, mirror] : mirrors_) {
    if (!mirror.isNew)
      continue;
    const std::span<std::byte> bytes = mirror.memory.bytes();
    if (!bytes.empty() &&
        !good(driver().cuMemcpyHtoDAsync(addresses_[buffer], bytes.data(), bytes.size(), stream_.get()),
              "cuMemcpyHtoDAsync", nameOf(buffer), diagnostics))
      return false;
    mirror.isNew = false;
  }
  return true;
}

bool Session::copyIn(Diagnostics &diagnostics) {
  for (size_t i = 0; i < buffers().size(); ++i)
    if (buffers()[i].role == isa::Role::Input && !host_[i].empty() &&
        !good(driver().cuMemcpyHtoDAsync(addresses_[i], host_[i].data(), host_[i].size(), stream_.get()),
              "cuMemcpyHtoDAsync", nameOf(i), diagnostics))
      return false;
  return true;
}

bool Session::copyOut(Diagnostics &diagnostics) {
  for (size_t i = 0; i < buffers().size(); ++i)
    if (buffers()[i].role == isa::Role::Output && !host_[i].empty() &&
        !good(driver().cuMemcpyDtoHAsync(host_[i].data(), addresses_[i], host_[i].size(), stream_.get()),
              "cuMemcpyDtoHAsync", nameOf(i), diagnostics))
      return false;
  return true;
}

bool Session::runGraph(Diagnostics &diagnostics) {
  const std::string where = fmt::format("{}: entry point '{}'", artifact().name(), entry().name());
  if (!good(driver().cuGraphLaunch(graph_.get(), stream_.get()), "cuGraphLaunch", where, diagnostics) ||
      !copyOut(diagnostics))
    return false;
  const CUresult status = driver().cuStreamSynchronize(stream_.get());
  if (status == Success)
    return true;
  if (driver().instruments && status == LaunchFailed)
    return false; // reportFindings() has more to say.
  if (status < firstKernelFault)
    return good(status, "cuStreamSynchronize", where, diagnostics);
  diagnostics.error(
      where, "a kernel failed", context().describe(status),
      "the process cannot use this GPU any more; start it anew with checks (npurun --checks) to "
      "learn which kernel it was, or with --device=ptx-sim to learn why");
  return false;
}

bool Session::runStepwise(const std::atomic<bool> *cancelled, Diagnostics &diagnostics) {
  for (int i = 0; i < entry().launches_size() && !isSet(cancelled); ++i) {
    const artifact::KernelLaunch &launch = entry().launches(i);
    if (!enqueue(launch, kernels_[static_cast<size_t>(i)], diagnostics))
      return false;
    if (const CUresult status = driver().cuStreamSynchronize(stream_.get()); status != Success) {
      diagnostics.error(nameOf(launch), "the kernel failed", context().describe(status),
                        "the process cannot use this GPU any more; run with --device=ptx-sim to learn why");
      return false;
    }
  }
  return copyOut(diagnostics) && wait(artifact().name(), diagnostics);
}

// Only the last kernel that ran can have any.
void Session::reportFindings(Diagnostics &diagnostics) const {
  if (runs_.empty() || runs_.back().findings.empty())
    return;
  const artifact::KernelLaunch &launch = entry().launches(static_cast<int>(runs_.size()) - 1);
  const std::vector<ptx::Finding> &findings = runs_.back().findings;
  for (size_t i = 0; i < std::min(findings.size(), mostFindings); ++i) {
    const ptx::Finding &f = findings[i];
    diagnostics.error(nameOf(launch),
                      fmt::format("the simulator's check '{}' found a fault", ptx::name(f.check)),
                      fmt::format("line {} of the PTX, block ({}, {}, {}), thread ({}, {}, {}): it {}{}",
                                  f.line, f.block.x, f.block.y, f.block.z, f.thread.x, f.thread.y, f.thread.z,
                                  f.message, f.count > 1 ? fmt::format(" ({} times)", f.count) : ""));
  }
  if (findings.size() > mostFindings)
    diagnostics.error(nameOf(launch), fmt::format("the simulator's checks found {} more faults",
                                                  findings.size() - mostFindings));
}

std::optional<std::span<std::byte>> Session::state(uint32_t buffer, Diagnostics &diagnostics) {
  auto known = mirrors_.find(buffer);
  if (known == mirrors_.end()) {
    auto memory = device::Memory::allocate(options_->hooks, static_cast<size_t>(buffers()[buffer].bytes), 64,
                                           nameOf(buffer), diagnostics);
    if (!memory)
      return std::nullopt;
    known = mirrors_.emplace(buffer, Mirror{std::move(*memory), isPrepared_, false}).first;
  }
  Mirror &mirror = known->second;
  const std::span<std::byte> bytes = mirror.memory.bytes();
  if (mirror.isOld && !bytes.empty()) {
    const Current current(context());
    if (!good(driver().cuMemcpyDtoHAsync(bytes.data(), addresses_[buffer], bytes.size(), stream_.get()),
              "cuMemcpyDtoHAsync", nameOf(buffer), diagnostics) ||
        !wait(nameOf(buffer), diagnostics))
      return std::nullopt;
  }
  mirror.isOld = false;
  mirror.isNew = true;
  return bytes;
}

} // namespace npuc::cuda
