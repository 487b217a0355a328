// The C interface: handles around shared pointers, statuses around diagnostics.
#include "runtime/include/npurt.h"

#include "runtime/artifact/Format.h"
#include "runtime/device/Registry.h"
#include "runtime/device/Runtime.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>

using namespace npuc;

struct npurt_device {
  std::shared_ptr<const device::Options> options;
  std::shared_ptr<device::Device> device;
};

struct npurt_artifact {
  std::shared_ptr<const artifact::Artifact> artifact;
};

struct npurt_program {
  std::shared_ptr<const runtime::Program> program;
};

struct npurt_buffer {
  std::shared_ptr<void> owner;
  std::span<std::byte> bytes;
};

namespace {

// A run that was started: shared by its event, its session and the thread that runs it.
struct Run {
  std::shared_ptr<runtime::Session> session;
  std::mutex mutex;
  std::condition_variable done;
  std::optional<npurt_status> status;
  Diagnostics diagnostics;
};

} // namespace

struct npurt_session {
  std::shared_ptr<runtime::Session> session;
  std::shared_ptr<const device::Options> options;
  std::shared_ptr<Run> started; // the last one
};

struct npurt_event {
  std::shared_ptr<Run> run;
};

struct npurt_profile {
  std::unique_ptr<device::Profile> profile;
  std::string text, json;
};

namespace {

struct LastError {
  std::string text, json;
};

LastError &lastError() {
  thread_local LastError error;
  return error;
}

npurt_status fail(npurt_status status, const Diagnostics &diagnostics) {
  lastError() = {diagnostics.text(), diagnostics.json()};
  return status;
}

npurt_status fail(npurt_status status, const char *where, std::string what) {
  Diagnostics diagnostics;
  diagnostics.error(where, std::move(what));
  return fail(status, diagnostics);
}

// No exception leaves the C interface.
template <typename Body>
npurt_status guarded(const char *function, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return fail(NPURT_OUT_OF_MEMORY, function, "there is not enough memory");
  } catch (const std::exception &e) {
    return fail(NPURT_INTERNAL, function, std::string("this is a bug of npurt: ") + e.what());
  }
}

npurt_status invalid(const char *function, const char *what) {
  return fail(NPURT_INVALID, function, what);
}

// Warnings of a call that went well are the log's.
npurt_status finished(bool good, const Diagnostics &diagnostics) {
  return good ? NPURT_OK : fail(diagnostics.hasErrors() ? NPURT_FAILED : NPURT_CANCELLED, diagnostics);
}

device::Options optionsFrom(const npurt_device_options *given) {
  device::Options options;
  if (!given)
    return options;
  // A caller built with an older header gives fewer members; the others are zero.
  npurt_device_options o{};
  std::memcpy(&o, given, std::min(given->size, sizeof o));
  if (o.log)
    options.hooks.log = [log = o.log, user = o.user](bool isWarning, const std::string &message) {
      log(user, isWarning ? NPURT_LOG_WARNING : NPURT_LOG_INFO, message.c_str());
    };
  if (o.allocate && o.deallocate) {
    options.hooks.allocate = [allocate = o.allocate, user = o.user](size_t bytes, size_t alignment) {
      return allocate(user, bytes, alignment);
    };
    options.hooks.deallocate = [deallocate = o.deallocate, user = o.user](void *memory, size_t bytes,
                                                                          size_t alignment) {
      deallocate(user, memory, bytes, alignment);
    };
  }
  if (o.start)
    options.hooks.start = [start = o.start, user = o.user](std::function<void()> task) {
      auto *context = new std::function<void()>(std::move(task));
      start(
          user,
          [](void *c) {
            std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()> *>(c));
            (*owned)();
          },
          context);
    };
  options.threads = o.threads;
  options.checks = o.checks != 0;
  if (o.library_folder)
    options.libraryFolder = o.library_folder;
  return options;
}

std::optional<runtime::Role> roleFrom(npurt_role role) {
  if (role < NPURT_INPUT || role > NPURT_STATE)
    return std::nullopt;
  return static_cast<runtime::Role>(role);
}

const std::vector<runtime::Tensor> *tensorsOf(const npurt_program *program, npurt_role role) {
  auto known = roleFrom(role);
  return program && known ? &program->program->tensors(*known) : nullptr;
}

npurt_status bind(const char *function, npurt_session *session, npurt_role role, size_t index,
                  std::span<std::byte> memory, std::shared_ptr<void> owner) {
  if (!session || (role != NPURT_INPUT && role != NPURT_OUTPUT))
    return invalid(function, "a session and a role of input or output are needed");
  auto known = static_cast<runtime::Role>(role);
  if (index >= session->session->program().tensors(known).size())
    return invalid(function, "there is no tensor of this index");
  if (!memory.data() && !memory.empty())
    return invalid(function, "the memory is null");
  Diagnostics diagnostics;
  return finished(session->session->bind(known, index, memory, std::move(owner), diagnostics), diagnostics);
}

bool isRunning(const npurt_session &session) {
  if (!session.started)
    return false;
  std::lock_guard lock(session.started->mutex);
  return !session.started->status;
}

void waitFor(Run &run) {
  std::unique_lock lock(run.mutex);
  run.done.wait(lock, [&] { return run.status.has_value(); });
}

npurt_status openArtifact(std::shared_ptr<const artifact::Artifact> opened, const Diagnostics &diagnostics,
                          npurt_artifact **artifact) {
  if (!opened)
    return fail(NPURT_FAILED, diagnostics);
  *artifact = new npurt_artifact{std::move(opened)};
  return NPURT_OK;
}

npurt_status withState(const char *function, npurt_session *session, size_t index, const void *memory,
                       size_t bytes, void (*copy)(std::span<std::byte> state, void *memory)) {
  if (!session || !memory)
    return invalid(function, "a session and memory are needed");
  const auto &states = session->session->program().tensors(runtime::Role::State);
  if (index >= states.size() || bytes != states[index].bytes)
    return invalid(function, "there is no state of this index and size");
  if (isRunning(*session))
    return invalid(function, "the session is running");
  Diagnostics diagnostics;
  auto state = session->session->state(index, diagnostics);
  if (!state)
    return fail(NPURT_OUT_OF_MEMORY, diagnostics);
  copy(*state, const_cast<void *>(memory));
  return NPURT_OK;
}

static_assert(static_cast<int>(ElementType::Bool) == NPURT_BOOL &&
                  static_cast<int>(ElementType::U4) == NPURT_U4 &&
                  static_cast<int>(ElementType::U16) == NPURT_U16 &&
                  static_cast<int>(ElementType::U64) == NPURT_U64 &&
                  static_cast<int>(ElementType::F8E5M2) == NPURT_F8E5M2 &&
                  static_cast<int>(ElementType::F64) == NPURT_F64,
              "npurt_type has ElementType's values");

bool isType(npurt_type type) {
  return type >= NPURT_BOOL && type <= NPURT_F64;
}

} // namespace

extern "C" {

const char *npurt_version(void) {
  return artifact::version.data();
}
const char *npurt_last_error(void) {
  return lastError().text.c_str();
}
const char *npurt_last_error_json(void) {
  return lastError().json.c_str();
}
const char *npurt_type_name(npurt_type type) {
  return isType(type) ? name(static_cast<ElementType>(type)).data() : "?";
}
uint32_t npurt_type_bits(npurt_type type) {
  return isType(type) ? bitWidth(static_cast<ElementType>(type)) : 0;
}

npurt_status npurt_device_create(const char *deviceName, const npurt_device_options *options,
                                 npurt_device **device) {
  return guarded(__func__, [&] {
    if (!deviceName || !device)
      return invalid("npurt_device_create", "a name and a place for the device are needed");
    if (options && !options->allocate != !options->deallocate)
      return invalid("npurt_device_create", "allocate and deallocate go together");
    Diagnostics diagnostics;
    auto shared = std::make_shared<const device::Options>(optionsFrom(options));
    auto created = device::create(deviceName, *shared, diagnostics);
    if (!created)
      return fail(NPURT_FAILED, diagnostics);
    *device = new npurt_device{std::move(shared), std::move(created)};
    return NPURT_OK;
  });
}

void npurt_device_release(npurt_device *device) {
  delete device;
}

npurt_status npurt_artifact_open(const char *path, npurt_artifact **artifact) {
  return guarded(__func__, [&] {
    if (!path || !artifact)
      return invalid("npurt_artifact_open", "a path and a place for the artifact are needed");
    Diagnostics diagnostics;
    auto opened = artifact::Artifact::open(path, diagnostics);
    return openArtifact(std::move(opened), diagnostics, artifact);
  });
}

npurt_status npurt_artifact_open_memory(const void *bytes, size_t size, const char *label,
                                        npurt_artifact **artifact) {
  return guarded(__func__, [&] {
    if (!bytes || !artifact || reinterpret_cast<uintptr_t>(bytes) % 64 != 0)
      return invalid("npurt_artifact_open_memory",
                     "bytes aligned to 64 and a place for the artifact are needed");
    Diagnostics diagnostics;
    auto opened = artifact::Artifact::fromMemory({static_cast<const std::byte *>(bytes), size},
                                                 label ? label : "memory", diagnostics);
    return openArtifact(std::move(opened), diagnostics, artifact);
  });
}

void npurt_artifact_release(npurt_artifact *artifact) {
  delete artifact;
}
const char *npurt_artifact_target(const npurt_artifact *artifact) {
  return artifact->artifact->target().name().c_str();
}
const char *npurt_artifact_device(const npurt_artifact *artifact) {
  return artifact->artifact->target().has_gpu() ? "cuda" : "npu-sim";
}
int32_t npurt_artifact_has_constants(const npurt_artifact *artifact) {
  return artifact->artifact->hasConstants();
}
size_t npurt_artifact_program_count(const npurt_artifact *artifact) {
  return artifact->artifact->entryPointCount();
}

const char *npurt_artifact_program_name(const npurt_artifact *artifact, size_t index) {
  return index < artifact->artifact->entryPointCount() ? artifact->artifact->entryPoint(index).name().c_str()
                                                       : nullptr;
}

npurt_status npurt_artifact_program(npurt_artifact *artifact, const char *entry, npurt_program **program) {
  return guarded(__func__, [&] {
    if (!artifact || !program)
      return invalid("npurt_artifact_program", "an artifact and a place for the program are needed");
    Diagnostics diagnostics;
    auto index = artifact->artifact->findEntryPoint(entry ? entry : "", diagnostics);
    if (!index)
      return fail(NPURT_FAILED, diagnostics);
    *program = new npurt_program{std::make_shared<const runtime::Program>(artifact->artifact, *index)};
    return NPURT_OK;
  });
}

void npurt_program_release(npurt_program *program) {
  delete program;
}

size_t npurt_program_tensor_count(const npurt_program *program, npurt_role role) {
  const auto *tensors = tensorsOf(program, role);
  return tensors ? tensors->size() : 0;
}

npurt_status npurt_program_tensor(const npurt_program *program, npurt_role role, size_t index,
                                  npurt_tensor *tensor) {
  return guarded(__func__, [&] {
    const auto *tensors = tensorsOf(program, role);
    if (!tensors || !tensor || index >= tensors->size())
      return invalid("npurt_program_tensor", "there is no tensor of this role and index");
    const runtime::Tensor &t = (*tensors)[index];
    *tensor = {t.name.c_str(),
               static_cast<npurt_type>(t.type),
               static_cast<uint32_t>(t.shape.size()),
               t.shape.data(),
               t.bytes,
               t.hasRange,
               t.least,
               t.greatest};
    return NPURT_OK;
  });
}

npurt_status npurt_program_find(const npurt_program *program, npurt_role role, const char *wanted,
                                size_t *index) {
  return guarded(__func__, [&] {
    auto known = roleFrom(role);
    if (!program || !known || !wanted || !index)
      return invalid("npurt_program_find", "a program, role, name and a place for the index are needed");
    Diagnostics diagnostics;
    auto found = program->program->find(*known, wanted, diagnostics);
    if (!found)
      return fail(NPURT_FAILED, diagnostics);
    *index = *found;
    return NPURT_OK;
  });
}

size_t npurt_program_register_count(const npurt_program *program) {
  return program->program->image().registers.size();
}

npurt_status npurt_program_register(const npurt_program *program, size_t index, npurt_register *info) {
  return guarded(__func__, [&] {
    if (!program || !info || index >= program->program->image().registers.size())
      return invalid("npurt_program_register", "there is no register of this index");
    const isa::Register &r = program->program->image().registers[index];
    *info = {r.name.c_str(), r.least, r.greatest};
    return NPURT_OK;
  });
}

npurt_status npurt_buffer_create(npurt_device *device, size_t bytes, npurt_buffer **buffer) {
  return guarded(__func__, [&] {
    if (!device || !buffer)
      return invalid("npurt_buffer_create", "a device and a place for the buffer are needed");
    // The options own the hooks that the memory goes back to.
    struct Owned {
      std::shared_ptr<const device::Options> options;
      device::Memory memory;
    };
    Diagnostics diagnostics;
    auto memory = device::Memory::allocate(device->options->hooks, bytes, 64, "buffer", diagnostics);
    if (!memory)
      return fail(NPURT_OUT_OF_MEMORY, diagnostics);
    auto owned = std::make_shared<Owned>(device->options, std::move(*memory));
    *buffer = new npurt_buffer{owned, owned->memory.bytes()};
    return NPURT_OK;
  });
}

npurt_status npurt_buffer_wrap(void *memory, size_t bytes, void (*release)(void *user, void *memory),
                               void *user, npurt_buffer **buffer) {
  return guarded(__func__, [&] {
    if (!memory || !buffer)
      return invalid("npurt_buffer_wrap", "memory and a place for the buffer are needed");
    auto owner = std::shared_ptr<void>(memory, [release, user](void *wrapped) {
      if (release)
        release(user, wrapped);
    });
    *buffer = new npurt_buffer{std::move(owner), {static_cast<std::byte *>(memory), bytes}};
    return NPURT_OK;
  });
}

void *npurt_buffer_data(npurt_buffer *buffer) {
  return buffer->bytes.data();
}
size_t npurt_buffer_size(const npurt_buffer *buffer) {
  return buffer->bytes.size();
}
void npurt_buffer_release(npurt_buffer *buffer) {
  delete buffer;
}

npurt_status npurt_session_create(npurt_device *device, npurt_program *program, npurt_session **session) {
  return guarded(__func__, [&] {
    if (!device || !program || !session)
      return invalid("npurt_session_create", "a device, a program and a place for the session are needed");
    Diagnostics diagnostics;
    std::shared_ptr<runtime::Session> created =
        runtime::Session::create(device->device, device->options, program->program, diagnostics);
    if (!created)
      return fail(NPURT_FAILED, diagnostics);
    *session = new npurt_session{std::move(created), device->options, nullptr};
    return NPURT_OK;
  });
}

void npurt_session_release(npurt_session *session) {
  delete session;
}

npurt_status npurt_session_bind(npurt_session *session, npurt_role role, size_t index, void *memory,
                                size_t bytes) {
  return guarded(__func__, [&] {
    return bind("npurt_session_bind", session, role, index, {static_cast<std::byte *>(memory), bytes},
                nullptr);
  });
}

npurt_status npurt_session_bind_buffer(npurt_session *session, npurt_role role, size_t index,
                                       npurt_buffer *buffer) {
  return guarded(__func__, [&] {
    if (!buffer)
      return invalid("npurt_session_bind_buffer", "a buffer is needed");
    return bind("npurt_session_bind_buffer", session, role, index, buffer->bytes, buffer->owner);
  });
}

npurt_status npurt_session_set_register(npurt_session *session, size_t index, int64_t value) {
  return guarded(__func__, [&] {
    if (!session || index >= session->session->program().image().registers.size())
      return invalid("npurt_session_set_register", "there is no register of this index");
    Diagnostics diagnostics;
    return finished(session->session->setRegister(index, value, diagnostics), diagnostics);
  });
}

npurt_status npurt_session_run(npurt_session *session) {
  return guarded(__func__, [&] {
    if (!session || isRunning(*session))
      return invalid("npurt_session_run", "a session that is not running is needed");
    Diagnostics diagnostics;
    return finished(session->session->run(diagnostics), diagnostics);
  });
}

npurt_status npurt_session_start(npurt_session *session, npurt_event **event) {
  return guarded(__func__, [&] {
    if (!session || !event || isRunning(*session))
      return invalid("npurt_session_start",
                     "a session that is not running and a place for the event are needed");
    auto run = std::make_shared<Run>();
    run->session = session->session;
    auto handle = std::make_unique<npurt_event>(npurt_event{run});
    run->session->begin();
    // The options stay until the task, which is one of their hooks', has returned.
    session->options->hooks.start([run, options = session->options] {
      const bool good = run->session->execute(run->diagnostics);
      std::lock_guard lock(run->mutex);
      run->status = good ? NPURT_OK : run->diagnostics.hasErrors() ? NPURT_FAILED : NPURT_CANCELLED;
      run->done.notify_all();
    });
    session->started = std::move(run);
    *event = handle.release();
    return NPURT_OK;
  });
}

void npurt_session_cancel(npurt_session *session) {
  if (session)
    session->session->cancel();
}

npurt_status npurt_session_reset_states(npurt_session *session) {
  return guarded(__func__, [&] {
    if (!session || isRunning(*session))
      return invalid("npurt_session_reset_states", "a session that is not running is needed");
    Diagnostics diagnostics;
    for (size_t i = 0; i < session->session->program().tensors(runtime::Role::State).size(); ++i) {
      auto state = session->session->state(i, diagnostics);
      if (!state)
        return fail(NPURT_OUT_OF_MEMORY, diagnostics);
      std::ranges::fill(*state, std::byte{0});
    }
    return NPURT_OK;
  });
}

npurt_status npurt_session_read_state(npurt_session *session, size_t index, void *memory, size_t bytes) {
  return guarded(__func__, [&] {
    return withState("npurt_session_read_state", session, index, memory, bytes,
                     [](std::span<std::byte> state, void *m) { std::memcpy(m, state.data(), state.size()); });
  });
}

npurt_status npurt_session_write_state(npurt_session *session, size_t index, const void *memory,
                                       size_t bytes) {
  return guarded(__func__, [&] {
    return withState("npurt_session_write_state", session, index, memory, bytes,
                     [](std::span<std::byte> state, void *m) { std::memcpy(state.data(), m, state.size()); });
  });
}

npurt_status npurt_event_wait(npurt_event *event, int64_t milliseconds) {
  return guarded(__func__, [&] {
    if (!event)
      return invalid("npurt_event_wait", "an event is needed");
    Run &run = *event->run;
    std::unique_lock lock(run.mutex);
    auto isDone = [&] { return run.status.has_value(); };
    if (milliseconds < 0)
      run.done.wait(lock, isDone);
    else if (!run.done.wait_for(lock, std::chrono::milliseconds(milliseconds), isDone))
      return fail(NPURT_TIMED_OUT, "npurt_event_wait", "the run is not done yet");
    return *run.status == NPURT_OK ? NPURT_OK : fail(*run.status, run.diagnostics);
  });
}

void npurt_event_cancel(npurt_event *event) {
  if (event)
    event->run->session->cancel();
}

void npurt_event_release(npurt_event *event) {
  if (!event)
    return;
  waitFor(*event->run);
  delete event;
}

npurt_status npurt_session_time(npurt_session *session, npurt_profile **profile) {
  return guarded(__func__, [&] {
    if (!session || !profile)
      return invalid("npurt_session_time", "a session and a place for the profile are needed");
    Diagnostics diagnostics;
    auto made = session->session->time(diagnostics);
    if (!made)
      return fail(NPURT_FAILED, diagnostics);
    std::string text = made->text(), json = made->json();
    *profile = new npurt_profile{std::move(made), std::move(text), std::move(json)};
    return NPURT_OK;
  });
}

double npurt_profile_cycles(const npurt_profile *profile) {
  return profile->profile->cycles();
}
double npurt_profile_milliseconds(const npurt_profile *profile) {
  return profile->profile->milliseconds();
}
const char *npurt_profile_text(const npurt_profile *profile) {
  return profile->text.c_str();
}
const char *npurt_profile_json(const npurt_profile *profile) {
  return profile->json.c_str();
}

npurt_status npurt_profile_write_trace(const npurt_profile *profile, const char *path) {
  return guarded(__func__, [&] {
    if (!profile || !path)
      return invalid("npurt_profile_write_trace", "a profile and a path are needed");
    Diagnostics diagnostics;
    return finished(profile->profile->writeTrace(path, diagnostics), diagnostics);
  });
}

npurt_status npurt_profile_write_report(const npurt_profile *profile, const char *path) {
  return guarded(__func__, [&] {
    if (!profile || !path)
      return invalid("npurt_profile_write_report", "a profile and a path are needed");
    Diagnostics diagnostics;
    return finished(profile->profile->writeReport(path, diagnostics), diagnostics);
  });
}

void npurt_profile_release(npurt_profile *profile) {
  delete profile;
}

} // extern "C"
