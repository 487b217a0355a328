// npurt for C++17: the C interface with handles that release themselves and failures that are thrown.
//
//   npurt::Device device("npu-sim");
//   npurt::Artifact artifact("model.npa");
//   npurt::Session session(device, artifact.program());
//   session.bind(npurt::Role::Input, "input_ids", ids);     // a contiguous container of the tensor's bytes
//   session.bind(npurt::Role::Output, "logits", logits);
//   session.run();
#pragma once

#include "npurt.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace npurt {

/// What a call that failed had to say; what() is npurt_last_error().
class Error : public std::runtime_error {
public:
  explicit Error(npurt_status status)
      : std::runtime_error(npurt_last_error()), status_(status), json_(npurt_last_error_json()) {}
  npurt_status status() const { return status_; }
  const std::string &json() const { return json_; }

private:
  npurt_status status_;
  std::string json_;
};

inline void check(npurt_status status) {
  if (status != NPURT_OK)
    throw Error(status);
}

enum class Type {
  Bool = NPURT_BOOL,
  I4 = NPURT_I4,
  U4 = NPURT_U4,
  I8 = NPURT_I8,
  U8 = NPURT_U8,
  I16 = NPURT_I16,
  U16 = NPURT_U16,
  I32 = NPURT_I32,
  U32 = NPURT_U32,
  I64 = NPURT_I64,
  U64 = NPURT_U64,
  F8E4M3 = NPURT_F8E4M3,
  F8E5M2 = NPURT_F8E5M2,
  F16 = NPURT_F16,
  BF16 = NPURT_BF16,
  F32 = NPURT_F32,
  F64 = NPURT_F64
};
inline std::string name(Type type) {
  return npurt_type_name(static_cast<npurt_type>(type));
}

enum class Role { Input = NPURT_INPUT, Output = NPURT_OUTPUT, State = NPURT_STATE };

namespace detail {
template <typename T, void (*Release)(T *)>
struct Releaser {
  void operator()(T *handle) const { Release(handle); }
};
template <typename T, void (*Release)(T *)>
using Handle = std::unique_ptr<T, Releaser<T, Release>>;
} // namespace detail

class Device {
public:
  explicit Device(const std::string &name, const npurt_device_options *options = nullptr) {
    npurt_device *device = nullptr;
    check(npurt_device_create(name.c_str(), options, &device));
    handle_.reset(device);
  }
  npurt_device *get() const { return handle_.get(); }

private:
  detail::Handle<npurt_device, npurt_device_release> handle_;
};

struct Tensor {
  std::string name;
  Type type = Type::F32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  bool hasRange = false;
  std::int64_t least = 0, greatest = 0;
};

struct Register {
  std::string name;
  std::int64_t least = 0, greatest = 0;
};

class Program {
public:
  explicit Program(npurt_program *program) : handle_(program) {}
  npurt_program *get() const { return handle_.get(); }

  std::vector<Tensor> tensors(Role role) const {
    std::vector<Tensor> out(npurt_program_tensor_count(get(), static_cast<npurt_role>(role)));
    for (std::size_t i = 0; i < out.size(); ++i) {
      npurt_tensor t;
      check(npurt_program_tensor(get(), static_cast<npurt_role>(role), i, &t));
      out[i] = {t.name,    static_cast<Type>(t.type), {t.shape, t.shape + t.rank},
                t.bytes,   t.has_range != 0,          t.least,
                t.greatest};
    }
    return out;
  }
  std::size_t find(Role role, const std::string &name) const {
    std::size_t index = 0;
    check(npurt_program_find(get(), static_cast<npurt_role>(role), name.c_str(), &index));
    return index;
  }
  std::vector<Register> registers() const {
    std::vector<Register> out(npurt_program_register_count(get()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      npurt_register r;
      check(npurt_program_register(get(), i, &r));
      out[i] = {r.name, r.least, r.greatest};
    }
    return out;
  }

private:
  detail::Handle<npurt_program, npurt_program_release> handle_;
};

class Artifact {
public:
  explicit Artifact(const std::string &path) {
    npurt_artifact *artifact = nullptr;
    check(npurt_artifact_open(path.c_str(), &artifact));
    handle_.reset(artifact);
  }
  /// The bytes must outlive the artifact and all that is made from it, and be aligned to 64 bytes.
  Artifact(const void *bytes, std::size_t size, const std::string &name) {
    npurt_artifact *artifact = nullptr;
    check(npurt_artifact_open_memory(bytes, size, name.c_str(), &artifact));
    handle_.reset(artifact);
  }
  npurt_artifact *get() const { return handle_.get(); }

  std::string target() const { return npurt_artifact_target(get()); }
  std::string device() const { return npurt_artifact_device(get()); }
  bool hasConstants() const { return npurt_artifact_has_constants(get()) != 0; }
  std::vector<std::string> programs() const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < npurt_artifact_program_count(get()); ++i)
      names.emplace_back(npurt_artifact_program_name(get(), i));
    return names;
  }
  /// The program of that name, or the only one.
  Program program(const std::string &name = {}) const {
    npurt_program *program = nullptr;
    check(npurt_artifact_program(get(), name.empty() ? nullptr : name.c_str(), &program));
    return Program(program);
  }

private:
  detail::Handle<npurt_artifact, npurt_artifact_release> handle_;
};

class Buffer {
public:
  Buffer(const Device &device, std::size_t bytes) {
    npurt_buffer *buffer = nullptr;
    check(npurt_buffer_create(device.get(), bytes, &buffer));
    handle_.reset(buffer);
  }
  npurt_buffer *get() const { return handle_.get(); }
  void *data() const { return npurt_buffer_data(get()); }
  std::size_t size() const { return npurt_buffer_size(get()); }

private:
  detail::Handle<npurt_buffer, npurt_buffer_release> handle_;
};

class Event {
public:
  explicit Event(npurt_event *event) : handle_(event) {}
  /// Throws what the run failed with.
  void wait() { check(npurt_event_wait(handle_.get(), -1)); }
  /// False if it is not done yet.
  bool wait(std::chrono::milliseconds limit) {
    npurt_status status = npurt_event_wait(handle_.get(), limit.count());
    if (status == NPURT_TIMED_OUT)
      return false;
    check(status);
    return true;
  }
  void cancel() { npurt_event_cancel(handle_.get()); }

private:
  detail::Handle<npurt_event, npurt_event_release> handle_;
};

class Profile {
public:
  explicit Profile(npurt_profile *profile) : handle_(profile) {}
  double cycles() const { return npurt_profile_cycles(handle_.get()); }
  double milliseconds() const { return npurt_profile_milliseconds(handle_.get()); }
  std::string text() const { return npurt_profile_text(handle_.get()); }
  std::string json() const { return npurt_profile_json(handle_.get()); }
  void writeTrace(const std::string &path) const {
    check(npurt_profile_write_trace(handle_.get(), path.c_str()));
  }
  void writeReport(const std::string &path) const {
    check(npurt_profile_write_report(handle_.get(), path.c_str()));
  }

private:
  detail::Handle<npurt_profile, npurt_profile_release> handle_;
};

class Session {
public:
  Session(const Device &device, Program program) : program_(std::move(program)) {
    npurt_session *session = nullptr;
    check(npurt_session_create(device.get(), program_.get(), &session));
    handle_.reset(session);
  }
  npurt_session *get() const { return handle_.get(); }
  const Program &program() const { return program_; }

  void bind(Role role, std::size_t index, void *memory, std::size_t bytes) {
    check(npurt_session_bind(get(), static_cast<npurt_role>(role), index, memory, bytes));
  }
  /// A contiguous container, such as std::vector or std::array, that stays in place. Inputs are only read.
  template <typename Container,
            typename = std::enable_if_t<!std::is_same_v<std::remove_cv_t<Container>, Buffer>>>
  void bind(Role role, const std::string &name, Container &container) {
    const void *data = container.data();
    bind(role, program_.find(role, name), const_cast<void *>(data),
         container.size() * sizeof(*container.data()));
  }
  void bind(Role role, const std::string &name, const Buffer &buffer) {
    check(npurt_session_bind_buffer(get(), static_cast<npurt_role>(role), program_.find(role, name),
                                    buffer.get()));
  }
  void setRegister(std::size_t index, std::int64_t value) {
    check(npurt_session_set_register(get(), index, value));
  }

  void run() { check(npurt_session_run(get())); }
  Event start() {
    npurt_event *event = nullptr;
    check(npurt_session_start(get(), &event));
    return Event(event);
  }
  /// From any thread.
  void cancel() { npurt_session_cancel(get()); }

  void resetStates() { check(npurt_session_reset_states(get())); }
  void readState(std::size_t index, void *memory, std::size_t bytes) const {
    check(npurt_session_read_state(get(), index, memory, bytes));
  }
  void writeState(std::size_t index, const void *memory, std::size_t bytes) {
    check(npurt_session_write_state(get(), index, memory, bytes));
  }

  Profile time() {
    npurt_profile *profile = nullptr;
    check(npurt_session_time(get(), &profile));
    return Profile(profile);
  }

private:
  Program program_;
  detail::Handle<npurt_session, npurt_session_release> handle_;
};

} // namespace npurt
