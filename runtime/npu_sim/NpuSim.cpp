#include "runtime/npu_sim/NpuSim.h"

#include "backends/npu/timing/Simulator.h"
#include "runtime/npu_sim/Functional.h"
#include "runtime/npu_sim/SimProfile.h"

#include <algorithm>
#include <fmt/format.h>
#include <thread>

namespace npuc::npu_sim {
namespace {

class NpuSimSession final : public device::Session {
public:
  NpuSimSession(std::shared_ptr<const device::Options> options,
                std::shared_ptr<const artifact::Artifact> artifact, size_t entryPoint)
      : options_(std::move(options)), artifact_(std::move(artifact)), entryPoint_(entryPoint) {}

  bool run(const device::Launch &launch, Diagnostics &diagnostics) override {
    if (!prepare(diagnostics))
      return false;
    std::vector<std::span<std::byte>> buffers = buffers_;
    for (size_t i = 0; i < buffers.size(); ++i)
      if (const isa::Role role = program().buffers[i].role;
          role == isa::Role::Input || role == isa::Role::Output)
        buffers[i] = launch.buffers[i];
    return functional_->run(buffers, launch.registers, diagnostics, launch.cancelled);
  }

  std::unique_ptr<device::Profile> time(std::span<const int64_t> registers,
                                        Diagnostics &diagnostics) override;

  std::optional<std::span<std::byte>> state(uint32_t buffer, Diagnostics &diagnostics) override {
    return allocate(diagnostics) ? std::optional(buffers_[buffer]) : std::nullopt;
  }

private:
  const isa::Program &program() const { return artifact_->program(entryPoint_); }

  // States and workspace, when they are first needed: to know the time alone takes no memory.
  bool allocate(Diagnostics &diagnostics) {
    if (!buffers_.empty())
      return true;
    std::vector<std::span<std::byte>> buffers(program().buffers.size());
    std::vector<device::Memory> memory;
    for (size_t i = 0; i < buffers.size(); ++i) {
      const isa::Buffer &b = program().buffers[i];
      if (b.role != isa::Role::State && b.role != isa::Role::Workspace)
        continue;
      auto owned =
          device::Memory::allocate(options_->hooks, static_cast<size_t>(b.bytes), std::max(b.alignment, 64u),
                                   fmt::format("{} '{}'", isa::name(b.role), b.name), diagnostics);
      if (!owned)
        return false;
      buffers[i] = owned->bytes();
      memory.push_back(std::move(*owned));
    }
    buffers_ = std::move(buffers);
    memory_ = std::move(memory);
    return true;
  }

  bool prepare(Diagnostics &diagnostics) {
    if (functional_)
      return true;
    if (!allocate(diagnostics))
      return false;
    for (size_t i = 0; i < buffers_.size(); ++i)
      if (program().buffers[i].role == isa::Role::Constant) {
        auto bytes = artifact_->constant(artifact_->entryPoint(entryPoint_).buffers(static_cast<int>(i)));
        // Constants are only read; the simulator's interface has one kind of span for all buffers.
        buffers_[i] = {const_cast<std::byte *>(bytes.data()), bytes.size()};
      }
    FunctionalOptions options;
    options.threads =
        options_->threads ? options_->threads : std::max(1u, std::thread::hardware_concurrency());
    options.checks = options_->checks;
    functional_ = Functional::create(program(), artifact_->target(), options, diagnostics);
    return functional_.has_value();
  }

  std::shared_ptr<const device::Options> options_;
  std::shared_ptr<const artifact::Artifact> artifact_;
  size_t entryPoint_;
  std::vector<std::span<std::byte>>
      buffers_; // of constants, states and workspace; empty until they are needed
  std::vector<device::Memory> memory_;
  std::optional<Functional> functional_;
};

std::unique_ptr<device::Profile> NpuSimSession::time(std::span<const int64_t> registers,
                                                     Diagnostics &diagnostics) {
  timing::SimulationOptions options;
  options.registers.assign(registers.begin(), registers.end());
  auto timeline = timing::simulate(program(), artifact_->target(), options, diagnostics);
  if (!timeline)
    return nullptr;
  return makeProfile(artifact_, entryPoint_, std::move(*timeline));
}

class NpuSim final : public device::Device {
public:
  explicit NpuSim(const device::Options &options)
      : options_(std::make_shared<const device::Options>(options)) {}
  std::string_view name() const override { return "npu-sim"; }
  std::unique_ptr<device::Session> createSession(std::shared_ptr<const artifact::Artifact> artifact,
                                                 size_t entryPoint, Diagnostics &diagnostics) override {
    if (artifact->target().has_gpu()) {
      diagnostics.error(artifact->name(), "the artifact does not run on 'npu-sim'",
                        fmt::format("its target '{}' is a GPU", artifact->target().name()),
                        "run it with --device=cuda, or without a GPU with --device=ptx-sim");
      return nullptr;
    }
    return std::make_unique<NpuSimSession>(options_, std::move(artifact), entryPoint);
  }

private:
  std::shared_ptr<const device::Options> options_;
};

} // namespace

std::shared_ptr<device::Device> createDevice(const device::Options &options, Diagnostics &diagnostics) {
  if (options.ordinal) {
    diagnostics.error(fmt::format("device 'npu-sim:{}'", options.ordinal), "there is one simulator alone", "",
                      "name it npu-sim");
    return nullptr;
  }
  return std::make_shared<NpuSim>(options);
}

} // namespace npuc::npu_sim
