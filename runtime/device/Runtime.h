// Programs and sessions as the caller sees them: tensors of the model's own types and shapes, named. The C
// interface is a thin layer over this one, and tools of this tree may use it directly.
#pragma once

#include "runtime/device/Device.h"

#include <array>

namespace npuc::runtime {

enum class Role : uint8_t { Input, Output, State };
inline constexpr size_t roleCount = 3;
std::string_view name(Role role);

struct Tensor {
  std::string name;
  ElementType type = ElementType::F32; ///< As the host sees it.
  ElementType deviceType = ElementType::F32;
  std::vector<int64_t> shape;
  uint64_t bytes = 0; ///< As the host sees it.
  uint64_t deviceBytes = 0;
  uint32_t buffer = 0; ///< Index in Program::buffers.
  bool hasRange = false;
  int64_t least = 0, greatest = 0;
  bool converts() const { return type != deviceType; }
  /// "i64[1x128]".
  std::string describe() const;
};

/// One entry point of an artifact. Immutable.
class Program {
public:
  Program(std::shared_ptr<const artifact::Artifact> artifact, size_t entryPoint);

  const artifact::Artifact &artifact() const { return *artifact_; }
  std::shared_ptr<const artifact::Artifact> sharedArtifact() const { return artifact_; }
  size_t entryPoint() const { return entryPoint_; }
  const isa::Program &image() const { return artifact_->program(entryPoint_); }
  const std::vector<Tensor> &tensors(Role role) const { return tensors_[static_cast<size_t>(role)]; }
  std::optional<size_t> find(Role role, const std::string &name, Diagnostics &diagnostics) const;

private:
  std::shared_ptr<const artifact::Artifact> artifact_;
  size_t entryPoint_;
  std::array<std::vector<Tensor>, roleCount> tensors_;
};

/// Bindings, registers and states of one user of a program. Used by one thread at a time, but for cancel().
class Session {
public:
  static std::unique_ptr<Session> create(std::shared_ptr<device::Device> device,
                                         std::shared_ptr<const device::Options> options,
                                         std::shared_ptr<const Program> program, Diagnostics &diagnostics);

  const Program &program() const { return *program_; }
  /// Inputs are only read. `owner`, if any, is kept as long as the binding.
  bool bind(Role role, size_t index, std::span<std::byte> memory, std::shared_ptr<void> owner,
            Diagnostics &diagnostics);
  bool setRegister(size_t index, int64_t value, Diagnostics &diagnostics);
  /// One run is begin() and execute(), which may be on another thread. False with errors; false without one
  /// if it was cancelled since begin().
  bool run(Diagnostics &diagnostics) {
    begin();
    return execute(diagnostics);
  }
  void begin() { cancelled_ = false; }
  bool execute(Diagnostics &diagnostics);
  /// From any thread.
  void cancel() { cancelled_ = true; }
  std::unique_ptr<device::Profile> time(Diagnostics &diagnostics);
  std::optional<std::span<std::byte>> state(size_t index, Diagnostics &diagnostics);

private:
  struct Binding {
    std::span<std::byte> memory;
    std::shared_ptr<void> owner;
    std::optional<device::Memory> converted; ///< The device's form, if it differs.
  };
  Session() = default;
  bool checkBindings(Diagnostics &diagnostics) const;
  bool convertInputs(Diagnostics &diagnostics);
  void convertOutputs();

  std::shared_ptr<const device::Options> options_; // last to go: memory is given back to its hooks
  std::shared_ptr<device::Device> device_;
  std::shared_ptr<const Program> program_;
  std::unique_ptr<device::Session> session_;
  std::array<std::vector<Binding>, 2> bindings_; // inputs, outputs
  std::vector<int64_t> registers_;
  std::atomic<bool> cancelled_ = false;
};

} // namespace npuc::runtime
