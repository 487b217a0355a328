#include "runtime/device/Runtime.h"

#include <cstring>
#include <fmt/format.h>

namespace npuc::runtime {
namespace {

std::optional<Role> hostRole(isa::Role role) {
  switch (role) {
  case isa::Role::Input:
    return Role::Input;
  case isa::Role::Output:
    return Role::Output;
  case isa::Role::State:
    return Role::State;
  case isa::Role::Constant:
  case isa::Role::Workspace:
    return std::nullopt;
  }
  return std::nullopt;
}

Tensor tensorOf(const artifact::Buffer &buffer, uint32_t index) {
  Tensor t;
  t.name = buffer.name();
  t.deviceType = *elementTypeFromName(buffer.type());
  t.type = buffer.host_type().empty() ? t.deviceType : *elementTypeFromName(buffer.host_type());
  const auto &shape = buffer.has_host_shape() ? buffer.host_shape() : buffer.shape();
  t.shape.assign(shape.begin(), shape.end());
  size_t elements = 1;
  for (int64_t size : t.shape)
    elements *= static_cast<size_t>(size);
  t.bytes = byteSize(t.type, elements);
  t.deviceBytes = byteSize(t.deviceType, elements);
  t.buffer = index;
  t.hasRange = buffer.has_range();
  t.least = buffer.least();
  t.greatest = buffer.greatest();
  return t;
}

std::string positionOf(const Tensor &tensor, size_t element) {
  std::vector<int64_t> index(tensor.shape.size());
  for (size_t d = index.size(); d-- > 0;) {
    index[d] = static_cast<int64_t>(element % static_cast<size_t>(tensor.shape[d]));
    element /= static_cast<size_t>(tensor.shape[d]);
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

template <typename T>
T at(std::span<const std::byte> bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

struct Limits {
  int64_t least, greatest;
};

// What a value may be: the model's range, and what the device's type holds.
Limits limitsOf(const Tensor &t) {
  Limits limits = {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  if (t.converts())
    limits = {std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
  if (t.hasRange)
    limits = {std::max(limits.least, t.least), std::min(limits.greatest, t.greatest)};
  return limits;
}

// Checks every value of an integer input, and narrows it if `narrowed` is given. At most eight errors each.
template <typename T>
bool checkValues(const Tensor &t, std::span<const std::byte> memory, std::byte *narrowed,
                 Diagnostics &diagnostics) {
  const Limits limits = limitsOf(t);
  size_t faults = 0;
  for (size_t i = 0, count = memory.size() / sizeof(T); i < count; ++i) {
    const T value = at<T>(memory, i);
    // A U64 beyond I64 is above every limit.
    const bool isHuge = std::is_same_v<T, uint64_t> && value > T(std::numeric_limits<int64_t>::max());
    const auto number = static_cast<int64_t>(value);
    if (isHuge || number < limits.least || number > limits.greatest) {
      if (++faults <= 8)
        diagnostics.error(fmt::format("input '{}'", t.name), "a value is out of range",
                          fmt::format("at {} it is {}, allowed are {} to {}", positionOf(t, i), value,
                                      limits.least, limits.greatest));
      continue;
    }
    if (narrowed) {
      auto small = static_cast<int32_t>(number);
      std::memcpy(narrowed + i * sizeof small, &small, sizeof small);
    }
  }
  if (faults > 8)
    diagnostics.error(fmt::format("input '{}'", t.name),
                      fmt::format("{} more values are out of range", faults - 8));
  return faults == 0;
}

template <typename From, typename To>
void convert(std::span<const std::byte> from, std::byte *to) {
  for (size_t i = 0, count = from.size() / sizeof(From); i < count; ++i) {
    const To value = static_cast<To>(at<From>(from, i));
    std::memcpy(to + i * sizeof value, &value, sizeof value);
  }
}

bool checkInput(const Tensor &t, std::span<const std::byte> memory, std::byte *narrowed,
                Diagnostics &diagnostics) {
  switch (t.type) {
  case ElementType::I8:
    return checkValues<int8_t>(t, memory, narrowed, diagnostics);
  case ElementType::U8:
  case ElementType::Bool:
    return checkValues<uint8_t>(t, memory, narrowed, diagnostics);
  case ElementType::I16:
    return checkValues<int16_t>(t, memory, narrowed, diagnostics);
  case ElementType::U16:
    return checkValues<uint16_t>(t, memory, narrowed, diagnostics);
  case ElementType::I32:
    return checkValues<int32_t>(t, memory, narrowed, diagnostics);
  case ElementType::U32:
    return checkValues<uint32_t>(t, memory, narrowed, diagnostics);
  case ElementType::I64:
    return checkValues<int64_t>(t, memory, narrowed, diagnostics);
  case ElementType::U64:
    return checkValues<uint64_t>(t, memory, narrowed, diagnostics);
  case ElementType::F64:
    convert<double, float>(memory, narrowed);
    return true;
  default:
    return true; // floats have no range
  }
}

} // namespace

std::string_view name(Role role) {
  constexpr std::array<std::string_view, roleCount> names = {"input", "output", "state"};
  return names[static_cast<size_t>(role)];
}

std::string Tensor::describe() const {
  return fmt::format("{}[{}]", npuc::name(type), fmt::join(shape, "x"));
}

Program::Program(std::shared_ptr<const artifact::Artifact> artifact, size_t entryPoint)
    : artifact_(std::move(artifact)), entryPoint_(entryPoint) {
  const artifact::EntryPoint &entry = artifact_->entryPoint(entryPoint);
  for (uint32_t i = 0; i < image().buffers.size(); ++i)
    if (auto role = hostRole(image().buffers[i].role))
      tensors_[static_cast<size_t>(*role)].push_back(
          tensorOf(artifact_->buffer(entry.buffers(static_cast<int>(i))), i));
}

std::optional<size_t> Program::find(Role role, const std::string &wanted, Diagnostics &diagnostics) const {
  std::vector<std::string> descriptions, names;
  for (const Tensor &t : tensors(role)) {
    if (t.name == wanted)
      return names.size();
    names.push_back(t.name);
    descriptions.push_back(fmt::format("'{}' {}", t.name, t.describe()));
  }
  std::string near = nearest(wanted, names);
  diagnostics.error(fmt::format("{} '{}'", name(role), wanted),
                    fmt::format("the model has no {} of this name", name(role)),
                    names.empty() ? "it has none" : fmt::format("it has {}", fmt::join(descriptions, ", ")),
                    near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  return std::nullopt;
}

std::unique_ptr<Session> Session::create(std::shared_ptr<device::Device> device,
                                         std::shared_ptr<const device::Options> options,
                                         std::shared_ptr<const Program> program, Diagnostics &diagnostics) {
  auto session = std::unique_ptr<Session>(new Session);
  session->session_ = device->createSession(program->sharedArtifact(), program->entryPoint(), diagnostics);
  if (!session->session_)
    return nullptr;
  for (const isa::Register &r : program->image().registers)
    session->registers_.push_back(r.least);
  for (Role role : {Role::Input, Role::Output}) {
    auto &bindings = session->bindings_[static_cast<size_t>(role)];
    for (const Tensor &t : program->tensors(role)) {
      Binding &binding = bindings.emplace_back();
      if (t.converts())
        binding.converted = device::Memory::allocate(options->hooks, t.deviceBytes, 64,
                                                     fmt::format("{} '{}'", name(role), t.name), diagnostics);
      if (t.converts() && !binding.converted)
        return nullptr;
    }
  }
  session->options_ = std::move(options);
  session->device_ = std::move(device);
  session->program_ = std::move(program);
  return session;
}

bool Session::bind(Role role, size_t index, std::span<std::byte> memory, std::shared_ptr<void> owner,
                   Diagnostics &diagnostics) {
  const Tensor &t = program_->tensors(role)[index];
  const std::string where = fmt::format("{} '{}'", name(role), t.name);
  if (memory.size() != t.bytes) {
    diagnostics.error(where, "the memory has the wrong size",
                      fmt::format("it has {} bytes, {} takes {}", memory.size(), t.describe(), t.bytes));
    return false;
  }
  const size_t element = std::max<size_t>(bitWidth(t.type) / 8, 1);
  if (reinterpret_cast<uintptr_t>(memory.data()) % element != 0) {
    diagnostics.error(where, "the memory is not aligned",
                      fmt::format("elements of {} bytes need an address that is a multiple of it", element));
    return false;
  }
  Binding &binding = bindings_[static_cast<size_t>(role)][index];
  binding.memory = memory;
  binding.owner = std::move(owner);
  return true;
}

bool Session::setRegister(size_t index, int64_t value, Diagnostics &diagnostics) {
  const isa::Register &r = program_->image().registers[index];
  if (value < r.least || value > r.greatest) {
    diagnostics.error(fmt::format("register '{}'", r.name), "the value is out of range",
                      fmt::format("it is {}, allowed are {} to {}", value, r.least, r.greatest));
    return false;
  }
  registers_[index] = value;
  return true;
}

bool Session::checkBindings(Diagnostics &diagnostics) const {
  bool good = true;
  for (Role role : {Role::Input, Role::Output})
    for (size_t i = 0; i < program_->tensors(role).size(); ++i) {
      const Tensor &t = program_->tensors(role)[i];
      if (bindings_[static_cast<size_t>(role)][i].memory.data() || t.bytes == 0)
        continue;
      diagnostics.error(fmt::format("{} '{}'", name(role), t.name), "nothing is bound to it", t.describe());
      good = false;
    }
  return good;
}

bool Session::convertInputs(Diagnostics &diagnostics) {
  bool good = true;
  for (size_t i = 0; i < program_->tensors(Role::Input).size(); ++i) {
    const Tensor &t = program_->tensors(Role::Input)[i];
    Binding &binding = bindings_[0][i];
    if (t.converts() || t.hasRange)
      good = checkInput(t, binding.memory, t.converts() ? binding.converted->bytes().data() : nullptr,
                        diagnostics) &&
             good;
  }
  return good;
}

// The device's 32 bits, widened. (An unsigned integer's are never negative.)
void Session::convertOutputs() {
  for (size_t i = 0; i < program_->tensors(Role::Output).size(); ++i) {
    Binding &binding = bindings_[1][i];
    if (!binding.converted)
      continue;
    std::span<const std::byte> own = binding.converted->bytes();
    switch (program_->tensors(Role::Output)[i].type) {
    case ElementType::F64:
      convert<float, double>(own, binding.memory.data());
      break;
    case ElementType::U32:
      convert<int32_t, uint32_t>(own, binding.memory.data());
      break;
    default:
      convert<int32_t, int64_t>(own, binding.memory.data());
    }
  }
}

bool Session::execute(Diagnostics &diagnostics) {
  const artifact::Artifact &artifact = program_->artifact();
  if (!artifact.hasConstants()) {
    diagnostics.error(artifact.name(), "the artifact can be timed, not run",
                      "it was compiled without its constants",
                      "compile it again without --weights=none, or run with --timing-only");
    return false;
  }
  if (!artifact.checkConstants(diagnostics) || !checkBindings(diagnostics) || !convertInputs(diagnostics))
    return false;
  std::vector<std::span<std::byte>> buffers(program_->image().buffers.size());
  for (Role role : {Role::Input, Role::Output})
    for (size_t i = 0; i < program_->tensors(role).size(); ++i) {
      Binding &binding = bindings_[static_cast<size_t>(role)][i];
      buffers[program_->tensors(role)[i].buffer] =
          binding.converted ? binding.converted->bytes() : binding.memory;
    }
  Diagnostics found;
  const bool good = session_->run({buffers, registers_, &cancelled_}, found);
  if (!good && cancelled_) // whatever the device says of it
    return false;
  for (const Diagnostic &d : found.all())
    diagnostics.add(d);
  if (!good)
    return false;
  convertOutputs();
  return true;
}

std::unique_ptr<device::Profile> Session::time(Diagnostics &diagnostics) {
  return session_->time(registers_, diagnostics);
}

std::optional<std::span<std::byte>> Session::state(size_t index, Diagnostics &diagnostics) {
  const Tensor &t = program_->tensors(Role::State)[index];
  auto memory = session_->state(t.buffer, diagnostics);
  return memory ? std::optional(memory->first(t.bytes)) : std::nullopt;
}

} // namespace npuc::runtime
