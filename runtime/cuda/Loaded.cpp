#include "runtime/cuda/Loaded.h"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>

namespace npuc::cuda {
namespace {

constexpr uint32_t alwaysShared = 48 << 10; // bytes of dynamic shared memory that need not be asked for

std::string_view textOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// Of ".version 7.8" 78; nothing if the text says none.
std::optional<int> ptxVersion(std::string_view text) {
  constexpr std::string_view directive = "\n.version";
  size_t at = text.starts_with(directive.substr(1)) ? directive.size() - 1 : text.find(directive);
  if (at == std::string_view::npos)
    return std::nullopt;
  if (at != directive.size() - 1)
    at += directive.size();
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t'))
    ++at;
  if (at + 2 >= text.size() || !std::isdigit(static_cast<unsigned char>(text[at])) || text[at + 1] != '.' ||
      !std::isdigit(static_cast<unsigned char>(text[at + 2])))
    return std::nullopt;
  return (text[at] - '0') * 10 + (text[at + 2] - '0');
}

/// The first CUDA whose driver compiles that version of PTX (PTX ISA, "Release Notes"), as cuDriverGetVersion
/// says it; nothing for versions that are not known here.
std::optional<int> cudaOf(int ptx) {
  const int minor = ptx % 10;
  switch (ptx / 10) {
  case 7:
    return minor <= 8 ? std::optional(11000 + minor * 10) : std::nullopt;
  case 8:
    return minor <= 5   ? std::optional(12000 + minor * 10)
           : minor <= 8 ? std::optional(12010 + minor * 10)
                        : std::nullopt;
  case 9:
    return minor <= 1 ? std::optional(13000 + minor * 10) : std::nullopt;
  default:
    return std::nullopt;
  }
}

std::string dotted(int cuda) {
  return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
}

std::string tenths(int version) {
  return fmt::format("{}.{}", version / 10, version % 10);
}

} // namespace

std::shared_ptr<Loaded> Loaded::create(std::shared_ptr<const Context> context,
                                       std::shared_ptr<const artifact::Artifact> artifact,
                                       Diagnostics &diagnostics) {
  auto loaded = std::shared_ptr<Loaded>(new Loaded(std::move(context), std::move(artifact)));
  if (!loaded->checkTarget(diagnostics))
    return nullptr;
  bool good = true;
  for (const artifact::EntryPoint &entry : loaded->artifact_->manifest().entry_points())
    good = loaded->checkPtx(entry, diagnostics) && good;
  return good ? loaded : nullptr;
}

bool Loaded::checkTarget(Diagnostics &diagnostics) const {
  const target::TargetDescription &target = artifact_->target();
  if (!target.has_gpu()) {
    diagnostics.error(artifact_->name(), fmt::format("the artifact does not run on '{}'", context_->device()),
                      fmt::format("its target '{}' is no GPU", target.name()),
                      "run it with --device=npu-sim, or compile the model for a GPU");
    return false;
  }
  const int needed = static_cast<int>(target.gpu().compute_capability());
  if (context_->computeCapability() >= needed)
    return true;
  diagnostics.error(artifact_->name(), fmt::format("the GPU is older than the artifact's target"),
                    fmt::format("{} has compute capability {}, '{}' needs {}", context_->gpu(),
                                tenths(context_->computeCapability()), target.name(), tenths(needed)),
                    "compile the model for this GPU's compute capability");
  return false;
}

bool Loaded::checkPtx(const artifact::EntryPoint &entry, Diagnostics &diagnostics) const {
  const std::optional<int> version = ptxVersion(textOf(artifact_->section(entry.ptx())));
  const std::optional<int> needed = version ? cudaOf(*version) : std::nullopt;
  if (!needed || context_->driverVersion() >= *needed)
    return true;
  diagnostics.error(fmt::format("{}: entry point '{}'", artifact_->name(), entry.name()),
                    "the CUDA driver is too old for the artifact's PTX",
                    fmt::format("the driver is for CUDA {}, PTX {} needs one for CUDA {}",
                                dotted(context_->driverVersion()), tenths(*version), dotted(*needed)),
                    "install a newer driver, or run on the simulator, --device=ptx-sim");
  return false;
}

bool Loaded::compile(uint32_t section, const std::string &where, Diagnostics &diagnostics) {
  if (modules_.contains(section))
    return true;
  const std::string text(textOf(artifact_->section(section))); // with a 0 behind it
  std::vector<char> log(16 << 10);
  int options[] = {jitErrorLog, jitErrorLogBytes};
  void *values[] = {log.data(), reinterpret_cast<void *>(static_cast<uintptr_t>(log.size() - 1))};
  CUmodule module = nullptr;
  const CUresult status = context_->driver().cuModuleLoadDataEx(&module, text.c_str(), 2, options, values);
  if (status == Success) {
    modules_.emplace(section, Owned<CUmodule>(context_, module, context_->driver().cuModuleUnload));
    return true;
  }
  std::string said = log.data();
  while (!said.empty() && std::isspace(static_cast<unsigned char>(said.back())))
    said.pop_back();
  diagnostics.error(where, "the CUDA driver rejects the artifact's PTX",
                    context_->describe(status) + (said.empty() ? "" : "\n" + said),
                    status == UnsupportedPtxVersion ? "install a newer driver"
                                                    : "compile the model again for this GPU");
  return false;
}

std::optional<std::vector<CUfunction>> Loaded::kernels(size_t entryPoint, Diagnostics &diagnostics) {
  const artifact::EntryPoint &entry = artifact_->entryPoint(entryPoint);
  const std::string where = fmt::format("{}: entry point '{}'", artifact_->name(), entry.name());
  const Driver &driver = context_->driver();
  const size_t before = diagnostics.errorCount();
  if (entry.launches().empty()) // Of tensors without elements there is nothing to compute, and no kernel.
    return std::vector<CUfunction>();
  const std::lock_guard lock(mutex_);
  if (!compile(entry.ptx(), where, diagnostics))
    return std::nullopt;
  // What a kernel may ask for holds for all launches of the module.
  std::map<std::string, uint32_t> shared;
  for (const artifact::EntryPoint &other : artifact_->manifest().entry_points())
    for (const artifact::KernelLaunch &launch : other.launches())
      if (other.ptx() == entry.ptx())
        shared[launch.kernel()] = std::max(shared[launch.kernel()], launch.shared_bytes());
  std::map<std::string, CUfunction> functions;
  std::vector<CUfunction> kernels;
  for (const artifact::KernelLaunch &launch : entry.launches()) {
    auto [known, fresh] = functions.try_emplace(launch.kernel());
    const std::string at = fmt::format("{}, kernel '{}'", where, launch.kernel());
    if (fresh) {
      const CUresult status =
          driver.cuModuleGetFunction(&known->second, modules_.at(entry.ptx()).get(), launch.kernel().c_str());
      if (status == NotFound)
        diagnostics.error(at, "the artifact is corrupt", "its PTX has no such kernel",
                          "the file is damaged or was not written by npuc; copy or compile it again");
      else if (context_->good(status, "cuModuleGetFunction", at, diagnostics) &&
               shared[launch.kernel()] > alwaysShared)
        context_->good(driver.cuFuncSetAttribute(known->second, maxDynamicSharedBytes,
                                                 static_cast<int>(shared[launch.kernel()])),
                       "cuFuncSetAttribute", at, diagnostics);
    }
    kernels.push_back(known->second);
  }
  return diagnostics.errorCount() > before ? std::nullopt : std::optional(std::move(kernels));
}

std::optional<CUdeviceptr> Loaded::constant(uint32_t buffer, CUstream stream, Diagnostics &diagnostics) {
  const std::lock_guard lock(mutex_);
  if (auto known = constants_.find(buffer); known != constants_.end())
    return known->second.get();
  const artifact::Buffer &described = artifact_->buffer(buffer);
  const std::string what = fmt::format("constant '{}'", described.name());
  const auto bytes = static_cast<size_t>(described.bytes());
  auto memory = allocate(context_, bytes, what, diagnostics);
  if (!memory)
    return std::nullopt;
  const Driver &driver = context_->driver();
  const bool has = artifact_->hasConstants();
  if (bytes > 0 && !context_->good(has ? driver.cuMemcpyHtoDAsync(
                                             memory->get(), artifact_->constant(buffer).data(), bytes, stream)
                                       : driver.cuMemsetD8Async(memory->get(), 0, bytes, stream),
                                   has ? "cuMemcpyHtoDAsync" : "cuMemsetD8Async", what, diagnostics))
    return std::nullopt;
  if (!context_->good(driver.cuStreamSynchronize(stream), "cuStreamSynchronize", what, diagnostics))
    return std::nullopt;
  if (driver.instruments)
    driver.instruments->describe(memory->get(), what, true);
  return constants_.emplace(buffer, std::move(*memory)).first->second.get();
}

} // namespace npuc::cuda
