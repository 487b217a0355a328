/* npurt: loads and runs what npuc compiled. The C interface; npurt.hpp is a C++ one over it.
 *
 *   npurt_device *device;   npurt_device_create("npu-sim", NULL, &device);
 *   npurt_artifact *file;   npurt_artifact_open("model.npa", &file);
 *   npurt_program *program; npurt_artifact_program(file, NULL, &program);
 *   npurt_session *session; npurt_session_create(device, program, &session);
 *   npurt_session_bind(session, NPURT_INPUT, 0, ids, sizeof ids);
 *   npurt_session_bind(session, NPURT_OUTPUT, 0, y, sizeof y);
 *   if (npurt_session_run(session) != NPURT_OK) puts(npurt_last_error());
 *
 * Handles are counted: each release() gives back one, and what another handle needs stays. Devices,
 * artifacts, programs and profiles may be used by any number of threads; a session or event by one at a time,
 * but for the cancel functions. Every function that returns a status leaves its outputs alone when it fails.
 * Release functions accept NULL.
 */
#ifndef NPURT_H
#define NPURT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define NPURT_API __attribute__((visibility("default")))
#else
#define NPURT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum npurt_status {
  NPURT_OK = 0,
  NPURT_INVALID = 1, /* a call that the interface does not allow: a null handle, an index out of range */
  NPURT_FAILED = 2,  /* a fault of the data: a file, an input's value, a missing device */
  NPURT_CANCELLED = 3,
  NPURT_OUT_OF_MEMORY = 4,
  NPURT_TIMED_OUT = 5, /* npurt_event_wait: not done yet */
  NPURT_INTERNAL = 6   /* a bug of npurt */
} npurt_status;

typedef enum npurt_type {
  NPURT_BOOL = 0,
  NPURT_I4 = 1,
  NPURT_U4 = 2,
  NPURT_I8 = 3,
  NPURT_U8 = 4,
  NPURT_I16 = 5,
  NPURT_U16 = 6,
  NPURT_I32 = 7,
  NPURT_U32 = 8,
  NPURT_I64 = 9,
  NPURT_U64 = 10,
  NPURT_F8E4M3 = 11,
  NPURT_F8E5M2 = 12,
  NPURT_F16 = 13,
  NPURT_BF16 = 14,
  NPURT_F32 = 15,
  NPURT_F64 = 16
} npurt_type;

typedef enum npurt_role { NPURT_INPUT = 0, NPURT_OUTPUT = 1, NPURT_STATE = 2 } npurt_role;

typedef enum npurt_log_level { NPURT_LOG_INFO = 0, NPURT_LOG_WARNING = 1 } npurt_log_level;

typedef struct npurt_device npurt_device;
typedef struct npurt_artifact npurt_artifact;
typedef struct npurt_program npurt_program;
typedef struct npurt_buffer npurt_buffer;
typedef struct npurt_session npurt_session;
typedef struct npurt_event npurt_event;
typedef struct npurt_profile npurt_profile;

/* "0.1.0" */
NPURT_API const char *npurt_version(void);
/* What the last call on this thread that failed had to say: each error with what, where, why and what to do.
 * Stays until the next call on this thread that fails. The second form is JSON: {"schema_version",
 * "diagnostics": [...]}. */
NPURT_API const char *npurt_last_error(void);
NPURT_API const char *npurt_last_error_json(void);
/* "i8", "f16", … ; bits of one element. */
NPURT_API const char *npurt_type_name(npurt_type type);
NPURT_API uint32_t npurt_type_bits(npurt_type type);

/* ---- devices ---- */

/* How a device does what the program around it may want to do itself. Members that are NULL or 0 take their
 * default. Hooks may be called from any thread, and must outlive the device and all that was made from it. */
typedef struct npurt_device_options {
  size_t size; /* sizeof(npurt_device_options) */
  void *user;  /* handed to every hook */
  void (*log)(void *user, npurt_log_level level, const char *message);
  /* Memory of states, workspace and buffers, as far as it is the host's; `allocate` returns NULL if there is
   * none. Both or none. */
  void *(*allocate)(void *user, size_t bytes, size_t alignment);
  void (*deallocate)(void *user, void *memory, size_t bytes, size_t alignment);
  /* Runs task(context) once, on any thread, without waiting for it: npurt_session_start. Default: a thread of
   * its own. */
  void (*start)(void *user, void (*task)(void *context), void *context);
  /* Threads that one launch may use; 0: one for each processor. Results do not depend on it. */
  uint32_t threads;
  /* Where device libraries are looked for; NULL: beside this library. */
  const char *library_folder;
  /* Simulators: also report reads of what was never written, and sums that leave the accumulators. "cuda":
   * runs kernel by kernel, so that one that fails is known. */
  int32_t checks;
} npurt_device_options;

/* A device by name: "npu-sim"; of artifacts for a GPU "cuda", "cuda:1" for the second, or its simulator
 * "ptx-sim". Its library is loaded when it is first asked for. */
NPURT_API npurt_status npurt_device_create(const char *name, const npurt_device_options *options,
                                           npurt_device **device);
NPURT_API void npurt_device_release(npurt_device *device);

/* ---- artifacts and programs ---- */

/* Maps a file, checks it and verifies its programs. */
NPURT_API npurt_status npurt_artifact_open(const char *path, npurt_artifact **artifact);
/* The same for bytes in memory, which stay the caller's and must outlive the artifact and its programs and
 * sessions. Aligned to 64 bytes. `name` is what errors call them. */
NPURT_API npurt_status npurt_artifact_open_memory(const void *bytes, size_t size, const char *name,
                                                  npurt_artifact **artifact);
NPURT_API void npurt_artifact_release(npurt_artifact *artifact);
/* The name of the target that it was compiled for. */
NPURT_API const char *npurt_artifact_target(const npurt_artifact *artifact);
/* The device that runs it where none is asked for: "npu-sim", or "cuda" if its target is a GPU. */
NPURT_API const char *npurt_artifact_device(const npurt_artifact *artifact);
/* 0 if it was compiled without its constants: then it can be timed, not run. */
NPURT_API int32_t npurt_artifact_has_constants(const npurt_artifact *artifact);
NPURT_API size_t npurt_artifact_program_count(const npurt_artifact *artifact);
/* NULL if there is no such index. */
NPURT_API const char *npurt_artifact_program_name(const npurt_artifact *artifact, size_t index);
/* An entry point by name, or with NULL the only one. */
NPURT_API npurt_status npurt_artifact_program(npurt_artifact *artifact, const char *name,
                                              npurt_program **program);
NPURT_API void npurt_program_release(npurt_program *program);

/* An input, output or state as the caller sees it: dense, row-major. Lives as long as the program. */
typedef struct npurt_tensor {
  const char *name;
  npurt_type type;
  uint32_t rank;
  const int64_t *shape;
  uint64_t bytes;
  int32_t has_range; /* integers: values outside least…greatest are an error */
  int64_t least, greatest;
} npurt_tensor;

/* A value set before a run, such as the position in a sequence. */
typedef struct npurt_register {
  const char *name;
  int64_t least, greatest;
} npurt_register;

NPURT_API size_t npurt_program_tensor_count(const npurt_program *program, npurt_role role);
NPURT_API npurt_status npurt_program_tensor(const npurt_program *program, npurt_role role, size_t index,
                                            npurt_tensor *tensor);
/* The index of the tensor of that name; the error lists those that there are. */
NPURT_API npurt_status npurt_program_find(const npurt_program *program, npurt_role role, const char *name,
                                          size_t *index);
NPURT_API size_t npurt_program_register_count(const npurt_program *program);
NPURT_API npurt_status npurt_program_register(const npurt_program *program, size_t index,
                                              npurt_register *info);

/* ---- buffers: memory that sessions may share ---- */

NPURT_API npurt_status npurt_buffer_create(npurt_device *device, size_t bytes, npurt_buffer **buffer);
/* The caller's memory, without a copy. `release(user, memory)`, if given, is called when nothing uses it any
 * more. */
NPURT_API npurt_status npurt_buffer_wrap(void *memory, size_t bytes,
                                         void (*release)(void *user, void *memory), void *user,
                                         npurt_buffer **buffer);
NPURT_API void *npurt_buffer_data(npurt_buffer *buffer);
NPURT_API size_t npurt_buffer_size(const npurt_buffer *buffer);
NPURT_API void npurt_buffer_release(npurt_buffer *buffer);

/* ---- sessions ---- */

/* States (zero at first), bindings and registers (each at its least value) of one user of a program. */
NPURT_API npurt_status npurt_session_create(npurt_device *device, npurt_program *program,
                                            npurt_session **session);
NPURT_API void npurt_session_release(npurt_session *session);
/* Inputs are read from, outputs written to `memory` at every run, without a copy, until something else is
 * bound. `bytes` is the tensor's; the address a multiple of its element's size. Where the device holds 32
 * bits of a 64-bit integer they are converted on the way: a value that does not fit is an error which names
 * input, position, value and limit. */
NPURT_API npurt_status npurt_session_bind(npurt_session *session, npurt_role role, size_t index, void *memory,
                                          size_t bytes);
/* The same for a buffer, which the session keeps. */
NPURT_API npurt_status npurt_session_bind_buffer(npurt_session *session, npurt_role role, size_t index,
                                                 npurt_buffer *buffer);
NPURT_API npurt_status npurt_session_set_register(npurt_session *session, size_t index, int64_t value);

/* Runs the program once, and returns when it is done. Outputs and states are undefined after a failure. */
NPURT_API npurt_status npurt_session_run(npurt_session *session);
/* The same without waiting. The session is in use until the event is done; one run at a time. */
NPURT_API npurt_status npurt_session_start(npurt_session *session, npurt_event **event);
/* Ends the run in progress early, which then returns NPURT_CANCELLED; without one, does nothing. From any
 * thread. */
NPURT_API void npurt_session_cancel(npurt_session *session);

NPURT_API npurt_status npurt_session_reset_states(npurt_session *session);
NPURT_API npurt_status npurt_session_read_state(npurt_session *session, size_t index, void *memory,
                                                size_t bytes);
NPURT_API npurt_status npurt_session_write_state(npurt_session *session, size_t index, const void *memory,
                                                 size_t bytes);

/* ---- events ---- */

/* Waits until the run is done, for at most that many milliseconds (negative: for ever), and returns what
 * npurt_session_run would have. */
NPURT_API npurt_status npurt_event_wait(npurt_event *event, int64_t milliseconds);
NPURT_API void npurt_event_cancel(npurt_event *event);
/* Waits if the run is not done. */
NPURT_API void npurt_event_release(npurt_event *event);

/* ---- profiles ---- */

/* How long a run with the session's registers takes on the machine. Needs neither inputs nor constants. */
NPURT_API npurt_status npurt_session_time(npurt_session *session, npurt_profile **profile);
NPURT_API double npurt_profile_cycles(const npurt_profile *profile);
NPURT_API double npurt_profile_milliseconds(const npurt_profile *profile);
/* The report as text for a reader and as JSON; both live as long as the profile. */
NPURT_API const char *npurt_profile_text(const npurt_profile *profile);
NPURT_API const char *npurt_profile_json(const npurt_profile *profile);
/* A trace for Perfetto; one HTML file. */
NPURT_API npurt_status npurt_profile_write_trace(const npurt_profile *profile, const char *path);
NPURT_API npurt_status npurt_profile_write_report(const npurt_profile *profile, const char *path);
NPURT_API void npurt_profile_release(npurt_profile *profile);

#ifdef __cplusplus
}
#endif

#endif
