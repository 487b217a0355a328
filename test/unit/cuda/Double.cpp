#include "test/unit/cuda/Double.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace npuc::cuda::test {
namespace {

enum Function {
#define NPUC_CUDA_NUMBER(name, symbol, parameters) name##Number,
  NPUC_CUDA_FUNCTIONS(NPUC_CUDA_NUMBER)
#undef NPUC_CUDA_NUMBER
      functionCount
};

constexpr std::array<const char *, functionCount> names = {
#define NPUC_CUDA_NAME(name, symbol, parameters) #name,
    NPUC_CUDA_FUNCTIONS(NPUC_CUDA_NAME)
#undef NPUC_CUDA_NAME
};

struct Counted {
  int calls = 0, successes = 0;
};

constexpr std::pair<Function, Function> pairs[] = {
    {cuDevicePrimaryCtxRetainNumber, cuDevicePrimaryCtxReleaseNumber},
    {cuCtxPushCurrentNumber, cuCtxPopCurrentNumber},
    {cuModuleLoadDataExNumber, cuModuleUnloadNumber},
    {cuMemAllocNumber, cuMemFreeNumber},
    {cuMemAllocHostNumber, cuMemFreeHostNumber},
    {cuStreamCreateNumber, cuStreamDestroyNumber},
    {cuStreamEndCaptureNumber, cuGraphDestroyNumber},
    {cuGraphInstantiateNumber, cuGraphExecDestroyNumber},
    {cuEventCreateNumber, cuEventDestroyNumber},
};

bool givesBack(Function f) {
  return std::ranges::any_of(pairs, [f](const auto &pair) { return pair.second == f; });
}

std::mutex mutex;
std::array<Counted, functionCount> counted;
int failing = -1, left = 0;
CUresult failure = Success;
bool failed = false;
Machine machine;

Function numberOf(const std::string &function) {
  auto at = std::ranges::find(names, function);
  if (at == names.end())
    throw std::runtime_error("no function " + function);
  return static_cast<Function>(at - names.begin());
}

std::optional<CUresult> refusal(Function f) {
  const std::lock_guard lock(mutex);
  ++counted[f].calls;
  if (f != failing || left-- > 0)
    return std::nullopt;
  failing = -1;
  failed = true;
  return failure;
}

template <Function f, typename Pointer>
struct Wrapped;
template <Function f, typename... Arguments>
struct Wrapped<f, CUresult (*)(Arguments...)> {
  static inline CUresult (*original)(Arguments...) = nullptr;
  static CUresult call(Arguments... arguments) {
    const std::optional<CUresult> refused = refusal(f);
    if (refused && !givesBack(f))
      return *refused;
    const CUresult status = original(arguments...);
    const std::lock_guard lock(mutex);
    counted[f].successes += status == Success;
    return refused.value_or(status); // What was to be given back is gone all the same.
  }
};

} // namespace

Driver makeDouble(bool isGpu, const Machine &given) {
  counted = {};
  failing = -1;
  failed = false;
  machine = given;
  Driver simulated = simulatedDriver(), driver;
  if (machine.driverVersion)
    simulated.cuDriverGetVersion = [](int *version) {
      *version = *machine.driverVersion;
      return CUresult{Success};
    };
  if (machine.gpus)
    simulated.cuDeviceGetCount = [](int *count) {
      *count = *machine.gpus;
      return CUresult{Success};
    };
  if (machine.computeCapability)
    simulated.cuDeviceGetAttribute = [](int *value, int attribute, CUdevice) {
      *value = attribute == computeCapabilityMajor ? *machine.computeCapability / 10
                                                   : *machine.computeCapability % 10;
      return CUresult{Success};
    };
  if (machine.elapsed)
    simulated.cuEventElapsedTime = [](float *milliseconds, CUevent, CUevent) {
      *milliseconds = *machine.elapsed;
      return CUresult{Success};
    };
#define NPUC_CUDA_WRAP(name, symbol, parameters)                                                             \
  Wrapped<name##Number, decltype(Driver::name)>::original = simulated.name;                                  \
  driver.name = Wrapped<name##Number, decltype(Driver::name)>::call;
  NPUC_CUDA_FUNCTIONS(NPUC_CUDA_WRAP)
#undef NPUC_CUDA_WRAP
  driver.instruments = isGpu ? nullptr : simulated.instruments;
  return driver;
}

void failOnce(const std::string &function, CUresult status, int spared) {
  const std::lock_guard lock(mutex);
  failing = numberOf(function);
  left = spared;
  failure = status;
  failed = false;
}

bool hasFailed() {
  return failed;
}

int calls(const std::string &function) {
  const std::lock_guard lock(mutex);
  return counted[numberOf(function)].calls;
}

std::vector<std::string> functions() {
  return {names.begin(), names.end()};
}

std::string leaks() {
  const std::lock_guard lock(mutex);
  std::string text;
  for (auto [take, give] : pairs)
    if (counted[take].successes != counted[give].successes)
      text += std::string(names[take]) + " " + std::to_string(counted[take].successes) + ", " + names[give] +
              " " + std::to_string(counted[give].successes) + "\n";
  return text;
}

Small::Small(const std::function<void(artifact::Manifest &)> &change, const std::string &ptx) {
  artifact::test::Options options;
  options.gpu = true;
  if (!ptx.empty())
    options.ptx = ptx;
  artifact::Manifest manifest = artifact::test::manifestOf(options);
  if (change)
    change(manifest);
  bytes_ = artifact::test::bytesOf(manifest, options);
  artifact = artifact::Artifact::fromMemory(std::as_bytes(std::span(bytes_)), "small.npa", diagnostics);
  if (!artifact)
    throw std::runtime_error(diagnostics.text());
}

std::unique_ptr<device::Session> Small::session(const std::shared_ptr<device::Device> &device) {
  return device ? device->createSession(artifact, 0, diagnostics) : nullptr;
}

bool Small::run(device::Session &session, const std::atomic<bool> *cancelled) {
  std::vector<std::span<std::byte>> buffers(artifact->program(0).buffers.size());
  buffers[0] = std::as_writable_bytes(std::span(ids));
  buffers[3] = std::as_writable_bytes(std::span(y));
  return session.run({buffers, {}, cancelled}, diagnostics);
}

std::array<int32_t, 16> Small::expected(int runs) const {
  std::array<int32_t, 16> values{};
  for (int i = 0; i < 4; ++i)
    for (int n = 0; n < 4; ++n)
      for (int k = 0; k < 16; ++k)
        values[static_cast<size_t>(i * 4 + n)] +=
            runs * artifact::test::tableAt(ids[static_cast<size_t>(i)], k) * artifact::test::weightAt(k, n);
  return values;
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

} // namespace npuc::cuda::test
