// The functions of the CUDA driver that the runtime uses, as a table: of libcuda, loaded at run time, or of
// the PTX simulator (Simulated.h). Types and numbers are the driver's own (CUDA Driver API Reference).
#pragma once

#include "runtime/ptx_sim/Report.h"
#include "support/Diagnostic.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace npuc::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphExec = struct CUgraphExec_st *;

enum Status : CUresult {
  Success = 0,
  InvalidValue = 1,
  OutOfMemory = 2,
  NotInitialized = 3,
  NoDevice = 100,
  InvalidDevice = 101,
  InvalidContext = 201,
  NoBinaryForGpu = 209,
  InvalidPtx = 218,
  UnsupportedPtxVersion = 222,
  InvalidHandle = 400,
  NotFound = 500,
  LaunchFailed = 719,
};

/// Arguments of functions below.
inline constexpr int computeCapabilityMajor = 75, computeCapabilityMinor = 76; ///< cuDeviceGetAttribute
inline constexpr int maxDynamicSharedBytes = 8;                                ///< cuFuncSetAttribute
inline constexpr int jitErrorLog = 5, jitErrorLogBytes = 6;                    ///< cuModuleLoadDataEx
inline constexpr int captureThreadLocal = 1;                                   ///< cuStreamBeginCapture
inline constexpr unsigned streamNonBlocking = 1;                               ///< cuStreamCreate
inline constexpr uintptr_t launchEnd = 0, launchPointer = 1, launchBytes = 2;  ///< cuLaunchKernel, `extra`

/// FUNCTION(name, name in the library, parameters) for each.
#define NPUC_CUDA_FUNCTIONS(FUNCTION)                                                                        \
  FUNCTION(cuInit, cuInit, (unsigned flags))                                                                 \
  FUNCTION(cuDriverGetVersion, cuDriverGetVersion, (int *version))                                           \
  FUNCTION(cuGetErrorName, cuGetErrorName, (CUresult status, const char **text))                             \
  FUNCTION(cuGetErrorString, cuGetErrorString, (CUresult status, const char **text))                         \
  FUNCTION(cuDeviceGetCount, cuDeviceGetCount, (int *count))                                                 \
  FUNCTION(cuDeviceGet, cuDeviceGet, (CUdevice * device, int ordinal))                                       \
  FUNCTION(cuDeviceGetName, cuDeviceGetName, (char *name, int size, CUdevice device))                        \
  FUNCTION(cuDeviceGetAttribute, cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))         \
  FUNCTION(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))       \
  FUNCTION(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                       \
  FUNCTION(cuCtxPushCurrent, cuCtxPushCurrent_v2, (CUcontext context))                                       \
  FUNCTION(cuCtxPopCurrent, cuCtxPopCurrent_v2, (CUcontext * context))                                       \
  FUNCTION(cuModuleLoadDataEx, cuModuleLoadDataEx,                                                           \
           (CUmodule * module, const void *image, unsigned count, int *options, void **values))              \
  FUNCTION(cuModuleUnload, cuModuleUnload, (CUmodule module))                                                \
  FUNCTION(cuModuleGetFunction, cuModuleGetFunction,                                                         \
           (CUfunction * function, CUmodule module, const char *name))                                       \
  FUNCTION(cuFuncSetAttribute, cuFuncSetAttribute, (CUfunction function, int attribute, int value))          \
  FUNCTION(cuMemGetInfo, cuMemGetInfo_v2, (size_t *free, size_t *total))                                     \
  FUNCTION(cuMemAlloc, cuMemAlloc_v2, (CUdeviceptr * memory, size_t bytes))                                  \
  FUNCTION(cuMemFree, cuMemFree_v2, (CUdeviceptr memory))                                                    \
  FUNCTION(cuMemAllocHost, cuMemAllocHost_v2, (void **memory, size_t bytes))                                 \
  FUNCTION(cuMemFreeHost, cuMemFreeHost, (void *memory))                                                     \
  FUNCTION(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                          \
           (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                                \
  FUNCTION(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                          \
           (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                                      \
  FUNCTION(cuMemsetD8Async, cuMemsetD8Async,                                                                 \
           (CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream))                         \
  FUNCTION(cuStreamCreate, cuStreamCreate, (CUstream * stream, unsigned flags))                              \
  FUNCTION(cuStreamDestroy, cuStreamDestroy_v2, (CUstream stream))                                           \
  FUNCTION(cuStreamSynchronize, cuStreamSynchronize, (CUstream stream))                                      \
  FUNCTION(cuStreamBeginCapture, cuStreamBeginCapture_v2, (CUstream stream, int mode))                       \
  FUNCTION(cuStreamEndCapture, cuStreamEndCapture, (CUstream stream, CUgraph * graph))                       \
  FUNCTION(cuGraphInstantiate, cuGraphInstantiateWithFlags,                                                  \
           (CUgraphExec * executable, CUgraph graph, unsigned long long flags))                              \
  FUNCTION(cuGraphLaunch, cuGraphLaunch, (CUgraphExec executable, CUstream stream))                          \
  FUNCTION(cuGraphDestroy, cuGraphDestroy, (CUgraph graph))                                                  \
  FUNCTION(cuGraphExecDestroy, cuGraphExecDestroy, (CUgraphExec executable))                                 \
  FUNCTION(cuLaunchKernel, cuLaunchKernel,                                                                   \
           (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,            \
            unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream, void **parameters,      \
            void **extra))                                                                                   \
  FUNCTION(cuEventCreate, cuEventCreate, (CUevent * event, unsigned flags))                                  \
  FUNCTION(cuEventDestroy, cuEventDestroy_v2, (CUevent event))                                               \
  FUNCTION(cuEventRecord, cuEventRecord, (CUevent event, CUstream stream))                                   \
  FUNCTION(cuEventElapsedTime, cuEventElapsedTime, (float *milliseconds, CUevent start, CUevent end))

/// What a kernel did in the simulator.
struct KernelRun {
  ptx::Totals totals;
  std::vector<ptx::Finding> findings;
};

/// What a simulator can do beside what CUDA has.
class Instruments {
public:
  virtual ~Instruments() = default;
  /// What findings call the memory, and whether kernels may only read it.
  virtual void describe(CUdeviceptr memory, const std::string &name, bool constant) = 0;
  /// From now on the memory counts as written by nothing.
  virtual void forget(CUdeviceptr memory) = 0;
  /// For what is launched on the stream from now on: host threads, and what stops it when it becomes true.
  virtual void configure(CUstream stream, unsigned threads, const std::atomic<bool> *cancelled) = 0;
  /// The kernels that ran since configure(), in their order. The last may have findings, which end a run.
  virtual std::vector<KernelRun> take(CUstream stream) = 0;
  /// What was wrong with the last call of this thread that failed; empty: its status says it all.
  virtual std::string reason() = 0;
};

struct Driver {
#define NPUC_CUDA_MEMBER(name, symbol, parameters) CUresult(*name) parameters = nullptr;
  NPUC_CUDA_FUNCTIONS(NPUC_CUDA_MEMBER)
#undef NPUC_CUDA_MEMBER
  Instruments *instruments = nullptr; ///< Of a simulator.
};

/// The table of the driver's library on this machine, which stays loaded. Errors: there is none, or one too
/// old to have all functions; what to do without.
std::optional<Driver> loadDriver(const char *library, Diagnostics &diagnostics);
inline constexpr const char *driverLibrary = "libcuda.so.1";

} // namespace npuc::cuda
