#include "runtime/cuda/Simulated.h"

#include "runtime/ptx_sim/Simulator.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <utility>

namespace npuc::cuda {

struct CUctx_st {
  std::mutex mutex; // of the memory's list of allocations
  ptx::Memory memory;
};

struct CUfunc_st {
  CUmodule module;
  const ptx::Kernel *kernel;
};

struct CUmod_st {
  CUcontext context;
  std::shared_ptr<const ptx::Program> program;
  ptx::Memory variables;
  std::map<std::string, CUfunc_st> functions;
};

namespace {

/// What runs later, when the graph does.
using Node = std::function<CUresult(CUstream)>;

} // namespace

struct CUgraph_st {
  std::vector<Node> nodes;
};

struct CUgraphExec_st {
  std::vector<Node> nodes;
};

struct CUstream_st {
  CUcontext context;
  unsigned threads = 0;
  const std::atomic<bool> *cancelled = nullptr;
  std::unique_ptr<CUgraph_st> captured; // while what is launched is not run
  std::vector<KernelRun> runs;
  CUresult status = Success; // what cuStreamSynchronize will say
};

struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

namespace {

/// Lives as long as the process, as a driver does: threads may give memory back while the program ends.
CUctx_st &primary() {
  static CUctx_st *const context = new CUctx_st;
  return *context;
}

std::vector<CUcontext> &current() {
  thread_local std::vector<CUcontext> contexts;
  return contexts;
}

std::string &lastReason() {
  thread_local std::string reason;
  return reason;
}

CUresult fail(CUresult status, std::string reason = {}) {
  lastReason() = std::move(reason);
  return status;
}

/// A function that needs a context to be current, as most do.
template <auto function>
struct InContext;
template <typename... Arguments, CUresult (*function)(Arguments...)>
struct InContext<function> {
  static CUresult call(Arguments... arguments) {
    return current().empty() ? fail(InvalidContext) : function(arguments...);
  }
};

/// In one line each, without hints: there is a diagnostic around them.
std::string summary(const Diagnostics &diagnostics) {
  std::string text;
  for (const Diagnostic &d : diagnostics.all())
    text += fmt::format("{}{}{}{}{}{}", text.empty() ? "" : "\n", d.where, d.where.empty() ? "" : ": ",
                        d.what, d.why.empty() ? "" : ": ", d.why);
  return text;
}

// --- The driver, devices, contexts

CUresult init(unsigned) {
  return Success;
}

CUresult driverGetVersion(int *version) {
  *version = 99990;
  return Success;
}

CUresult getErrorName(CUresult status, const char **text) {
  *text = status == InvalidValue     ? "CUDA_ERROR_INVALID_VALUE"
          : status == OutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : status == InvalidPtx     ? "CUDA_ERROR_INVALID_PTX"
          : status == InvalidContext ? "CUDA_ERROR_INVALID_CONTEXT"
          : status == NotFound       ? "CUDA_ERROR_NOT_FOUND"
          : status == LaunchFailed   ? "CUDA_ERROR_LAUNCH_FAILED"
                                     : nullptr;
  return *text ? Success : InvalidValue;
}

CUresult getErrorString(CUresult, const char **text) {
  *text = nullptr;
  return InvalidValue;
}

CUresult deviceGetCount(int *count) {
  *count = 1;
  return Success;
}

CUresult deviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? Success : InvalidDevice;
}

CUresult deviceGetName(char *name, int size, CUdevice) {
  fmt::format_to_n(name, static_cast<size_t>(size), "PTX simulator");
  return Success;
}

CUresult deviceGetAttribute(int *value, int, CUdevice) {
  *value = 99;
  return Success;
}

CUresult primaryRetain(CUcontext *context, CUdevice) {
  *context = &primary();
  return Success;
}

CUresult primaryRelease(CUdevice) {
  return Success;
}

CUresult pushCurrent(CUcontext context) {
  current().push_back(context);
  return Success;
}

CUresult popCurrent(CUcontext *context) {
  if (current().empty())
    return fail(InvalidContext);
  *context = current().back();
  current().pop_back();
  return Success;
}

// --- Modules

CUresult moduleLoad(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  Diagnostics diagnostics;
  auto program = ptx::Program::load(static_cast<const char *>(image), "PTX", diagnostics);
  if (!program) {
    char *log = nullptr;
    size_t size = 0;
    for (unsigned k = 0; k < count; ++k) {
      if (options[k] == jitErrorLog)
        log = static_cast<char *>(values[k]);
      if (options[k] == jitErrorLogBytes)
        size = reinterpret_cast<uintptr_t>(values[k]);
    }
    const std::string text = summary(diagnostics);
    if (log && size)
      log[text.copy(log, size - 1)] = 0;
    return fail(InvalidPtx);
  }
  auto made = std::make_unique<CUmod_st>(CUmod_st{current().back(), program, ptx::Memory(*program), {}});
  for (const ptx::Kernel &kernel : program->kernels)
    made->functions.emplace(kernel.name, CUfunc_st{made.get(), &kernel});
  *module = made.release();
  return Success;
}

CUresult moduleUnload(CUmodule module) {
  delete module;
  return Success;
}

CUresult moduleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  auto found = module->functions.find(name);
  if (found == module->functions.end())
    return fail(NotFound);
  *function = &found->second;
  return Success;
}

CUresult funcSetAttribute(CUfunction, int, int) {
  return Success;
}

// --- Memory

CUresult memGetInfo(size_t *free, size_t *total) {
  *free = *total = 0;
  return Success;
}

CUresult memAlloc(CUdeviceptr *memory, size_t bytes) {
  CUctx_st &context = *current().back();
  const std::lock_guard lock(context.mutex);
  try {
    *memory = context.memory.allocate("memory", bytes);
  } catch (const std::bad_alloc &) {
    return fail(OutOfMemory);
  }
  return Success;
}

CUresult memFree(CUdeviceptr memory) {
  CUctx_st &context = *current().back();
  const std::lock_guard lock(context.mutex);
  context.memory.release(memory);
  return Success;
}

CUresult memAllocHost(void **memory, size_t bytes) {
  *memory = ::operator new(bytes, std::align_val_t(256), std::nothrow);
  return *memory ? Success : fail(OutOfMemory);
}

CUresult memFreeHost(void *memory) {
  ::operator delete(memory, std::align_val_t(256));
  return Success;
}

/// The allocation around those bytes, which stays as it is while it is in use.
std::optional<ptx::Region> regionOf(CUstream stream, CUdeviceptr memory, size_t bytes) {
  const std::lock_guard lock(stream->context->mutex);
  const ptx::Region *region = stream->context->memory.find(memory);
  if (!region || bytes > region->bytes - (memory - region->address))
    return std::nullopt;
  return *region;
}

CUresult copyToDevice(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  const auto region = regionOf(stream, to, bytes);
  if (!region)
    return fail(InvalidValue);
  std::memcpy(region->data.get() + (to - region->address), from, bytes);
  std::memset(region->written.get() + (to - region->address), 1, bytes);
  return Success;
}

CUresult copyToHost(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (stream->status != Success || (stream->cancelled && *stream->cancelled))
    return Success;
  const auto region = regionOf(stream, from, bytes);
  if (!region)
    return fail(InvalidValue);
  const uint64_t offset = from - region->address;
  std::memcpy(to, region->data.get() + offset, bytes);
  const uint8_t *written = region->written.get() + offset;
  if (const auto missing = std::count(written, written + bytes, 0))
    return fail(LaunchFailed, fmt::format("of its {} bytes no kernel has written {}, the first at {}", bytes,
                                          missing, std::find(written, written + bytes, 0) - written));
  return Success;
}

CUresult memset8(CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream) {
  const auto region = regionOf(stream, memory, bytes);
  if (!region)
    return fail(InvalidValue);
  std::memset(region->data.get() + (memory - region->address), value, bytes);
  std::memset(region->written.get() + (memory - region->address), 1, bytes);
  return Success;
}

// --- Streams, graphs, kernels

CUresult streamCreate(CUstream *stream, unsigned) {
  *stream = new CUstream_st{current().back(), 0, nullptr, nullptr, {}, Success};
  return Success;
}

CUresult streamDestroy(CUstream stream) {
  delete stream;
  return Success;
}

CUresult streamSynchronize(CUstream stream) {
  const CUresult status = std::exchange(stream->status, Success);
  return status == Success ? Success : fail(status);
}

CUresult beginCapture(CUstream stream, int) {
  stream->captured = std::make_unique<CUgraph_st>();
  return Success;
}

CUresult endCapture(CUstream stream, CUgraph *graph) {
  *graph = stream->captured.release();
  return *graph ? Success : fail(InvalidValue);
}

CUresult graphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->nodes};
  return Success;
}

CUresult graphLaunch(CUgraphExec executable, CUstream stream) {
  for (const Node &node : executable->nodes)
    if (stream->status == Success)
      stream->status = node(stream);
  return Success;
}

CUresult graphDestroy(CUgraph graph) {
  delete graph;
  return Success;
}

CUresult graphExecDestroy(CUgraphExec executable) {
  delete executable;
  return Success;
}

CUresult runKernel(CUmodule module, ptx::Launch launch, CUstream stream) {
  if (stream->cancelled && *stream->cancelled)
    return Success;
  ptx::Memory memory = module->variables;
  {
    const std::lock_guard lock(stream->context->mutex);
    memory.add(stream->context->memory);
  }
  launch.threads = stream->threads;
  launch.cancelled = stream->cancelled;
  Diagnostics none; // It was checked when it was launched.
  auto report = ptx::run(*module->program, memory, launch, none);
  if (!report)
    return LaunchFailed;
  KernelRun &run = stream->runs.emplace_back();
  run.totals = report->totals(*module->program->find(launch.kernel));
  run.findings = std::move(report->findings);
  return run.findings.empty() ? Success : LaunchFailed;
}

CUresult launchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                      unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream,
                      void **parameters, void **extra) {
  ptx::Launch launch;
  launch.kernel = function->kernel->name;
  launch.grid = {gridX, gridY, gridZ};
  launch.block = {blockX, blockY, blockZ};
  launch.sharedBytes = sharedBytes;
  if (parameters)
    return fail(InvalidValue, "parameters come as one piece here");
  const std::byte *begin = nullptr;
  size_t size = 0;
  for (; extra && reinterpret_cast<uintptr_t>(extra[0]) != launchEnd; extra += 2) {
    if (reinterpret_cast<uintptr_t>(extra[0]) == launchPointer)
      begin = static_cast<const std::byte *>(extra[1]);
    else
      size = *static_cast<const size_t *>(extra[1]);
  }
  launch.parameters.assign(begin, begin + size);
  Diagnostics diagnostics;
  if (!ptx::check(*function->module->program, launch, diagnostics))
    return fail(InvalidValue, summary(diagnostics));
  Node node = [module = function->module, launch](CUstream on) { return runKernel(module, launch, on); };
  if (stream->captured)
    stream->captured->nodes.push_back(std::move(node));
  else if (stream->status == Success)
    stream->status = node(stream);
  return Success;
}

// --- Events

CUresult eventCreate(CUevent *event, unsigned) {
  *event = new CUevent_st;
  return Success;
}

CUresult eventDestroy(CUevent event) {
  delete event;
  return Success;
}

CUresult eventRecord(CUevent event, CUstream) {
  event->time = std::chrono::steady_clock::now();
  return Success;
}

CUresult eventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return Success;
}

class SimulatorInstruments final : public Instruments {
public:
  void describe(CUdeviceptr memory, const std::string &name, bool constant) override {
    CUctx_st &context = primary();
    const std::lock_guard lock(context.mutex);
    context.memory.describe(memory, name, constant);
  }

  void forget(CUdeviceptr memory) override {
    CUctx_st &context = primary();
    const std::lock_guard lock(context.mutex);
    context.memory.setWritten(memory, false);
  }

  void configure(CUstream stream, unsigned threads, const std::atomic<bool> *cancelled) override {
    stream->threads = threads;
    stream->cancelled = cancelled;
    stream->runs.clear();
  }

  std::vector<KernelRun> take(CUstream stream) override { return std::exchange(stream->runs, {}); }

  std::string reason() override { return std::exchange(lastReason(), {}); }
};

} // namespace

Driver simulatedDriver() {
  static SimulatorInstruments instruments;
  Driver driver;
  driver.cuInit = init;
  driver.cuDriverGetVersion = driverGetVersion;
  driver.cuGetErrorName = getErrorName;
  driver.cuGetErrorString = getErrorString;
  driver.cuDeviceGetCount = deviceGetCount;
  driver.cuDeviceGet = deviceGet;
  driver.cuDeviceGetName = deviceGetName;
  driver.cuDeviceGetAttribute = deviceGetAttribute;
  driver.cuDevicePrimaryCtxRetain = primaryRetain;
  driver.cuDevicePrimaryCtxRelease = primaryRelease;
  driver.cuCtxPushCurrent = pushCurrent;
  driver.cuCtxPopCurrent = popCurrent;
  driver.cuModuleLoadDataEx = InContext<moduleLoad>::call;
  driver.cuModuleUnload = InContext<moduleUnload>::call;
  driver.cuModuleGetFunction = InContext<moduleGetFunction>::call;
  driver.cuFuncSetAttribute = InContext<funcSetAttribute>::call;
  driver.cuMemGetInfo = InContext<memGetInfo>::call;
  driver.cuMemAlloc = InContext<memAlloc>::call;
  driver.cuMemFree = InContext<memFree>::call;
  driver.cuMemAllocHost = InContext<memAllocHost>::call;
  driver.cuMemFreeHost = InContext<memFreeHost>::call;
  driver.cuMemcpyHtoDAsync = InContext<copyToDevice>::call;
  driver.cuMemcpyDtoHAsync = InContext<copyToHost>::call;
  driver.cuMemsetD8Async = InContext<memset8>::call;
  driver.cuStreamCreate = InContext<streamCreate>::call;
  driver.cuStreamDestroy = InContext<streamDestroy>::call;
  driver.cuStreamSynchronize = InContext<streamSynchronize>::call;
  driver.cuStreamBeginCapture = InContext<beginCapture>::call;
  driver.cuStreamEndCapture = InContext<endCapture>::call;
  driver.cuGraphInstantiate = InContext<graphInstantiate>::call;
  driver.cuGraphLaunch = InContext<graphLaunch>::call;
  driver.cuGraphDestroy = InContext<graphDestroy>::call;
  driver.cuGraphExecDestroy = InContext<graphExecDestroy>::call;
  driver.cuLaunchKernel = InContext<launchKernel>::call;
  driver.cuEventCreate = InContext<eventCreate>::call;
  driver.cuEventDestroy = InContext<eventDestroy>::call;
  driver.cuEventRecord = InContext<eventRecord>::call;
  driver.cuEventElapsedTime = InContext<eventElapsedTime>::call;
  driver.instruments = &instruments;
  return driver;
}

std::shared_ptr<device::Device> createPtxSim(const device::Options &options, Diagnostics &diagnostics) {
  return createDevice(simulatedDriver(), "ptx-sim", options, diagnostics);
}

} // namespace npuc::cuda
