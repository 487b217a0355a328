// How long a session's kernels take, and what they do.
#include "runtime/cuda/Session.h"

#include <algorithm>
#include <array>

namespace npuc::cuda {
namespace {

constexpr size_t runs = 9; // after one that is not counted; the middle time is told

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

} // namespace

std::unique_ptr<device::Profile> Session::time(std::span<const int64_t>, Diagnostics &diagnostics) {
  const Current current(context());
  if (!prepare(diagnostics))
    return nullptr;
  Measured measured = describe();
  const bool isSimulated = driver().instruments != nullptr;
  if (!isSimulated || runs_.size() != kernels_.size()) {
    auto saved = saveStates(diagnostics);
    const bool ran =
        saved && (isSimulated ? execute(nullptr, diagnostics) : measure(*saved, measured, diagnostics));
    if (!saved || !restoreStates(*saved, diagnostics) || !ran)
      return nullptr;
  }
  for (size_t i = 0; isSimulated && i < runs_.size(); ++i)
    measured.kernels[i].counters = runs_[i].totals;
  return makeProfile(std::move(measured));
}

Measured Session::describe() const {
  const target::TargetDescription &target = artifact().target();
  const artifact::Statistics &bound = entry().statistics();
  Measured measured;
  measured.program = entry().name();
  measured.target = target.name();
  measured.device = context().device();
  measured.gpu = context().gpu();
  measured.lowerBoundCycles =
      std::max({bound.multiply_add_cycles(), bound.vector_cycles(), bound.dram_cycles()});
  measured.clockGhz = target.clock_ghz();
  std::map<std::string, const artifact::Kernel *> compiled;
  for (const artifact::Kernel &kernel : entry().kernels())
    compiled[kernel.name()] = &kernel;
  for (const artifact::KernelLaunch &launch : entry().launches()) {
    MeasuredKernel &kernel = measured.kernels.emplace_back();
    kernel.kernel = launch.kernel();
    kernel.source = launch.source();
    kernel.grid = {launch.grid(0), launch.grid(1), launch.grid(2)};
    kernel.block = {launch.block(0), launch.block(1), launch.block(2)};
    kernel.sharedBytes = launch.shared_bytes();
    if (auto known = compiled.find(launch.kernel()); known != compiled.end())
      kernel.compiled = *known->second;
    if (launch.has_prediction())
      kernel.predicted = launch.prediction();
  }
  return measured;
}

std::optional<Session::Saved> Session::saveStates(Diagnostics &diagnostics) {
  Saved saved(buffers().size());
  if (!copyMirrors(diagnostics))
    return std::nullopt;
  for (size_t i = 0; i < buffers().size(); ++i) {
    if (buffers()[i].role != isa::Role::State || buffers()[i].bytes == 0)
      continue;
    saved[i].resize(static_cast<size_t>(buffers()[i].bytes));
    if (!good(driver().cuMemcpyDtoHAsync(saved[i].data(), addresses_[i], saved[i].size(), stream_.get()),
              "cuMemcpyDtoHAsync", nameOf(i), diagnostics))
      return std::nullopt;
  }
  return wait(artifact().name(), diagnostics) ? std::optional(std::move(saved)) : std::nullopt;
}

bool Session::restoreStates(const Saved &saved, Diagnostics &diagnostics) {
  for (size_t i = 0; i < saved.size(); ++i)
    if (!saved[i].empty() &&
        !good(driver().cuMemcpyHtoDAsync(addresses_[i], saved[i].data(), saved[i].size(), stream_.get()),
              "cuMemcpyHtoDAsync", nameOf(i), diagnostics))
      return false;
  return wait(artifact().name(), diagnostics);
}

// Each run begins with the same states.
bool Session::measure(const Saved &saved, Measured &measured, Diagnostics &diagnostics) {
  std::vector<Owned<CUevent>> events;
  while (events.size() < std::max<size_t>(4, kernels_.size() + 1)) {
    CUevent event = nullptr;
    if (!good(driver().cuEventCreate(&event, 0), "cuEventCreate", artifact().name(), diagnostics))
      return false;
    events.emplace_back(loaded_->context(), event, driver().cuEventDestroy);
  }
  auto record = [&](size_t event) {
    return good(driver().cuEventRecord(events[event].get(), stream_.get()), "cuEventRecord",
                artifact().name(), diagnostics);
  };
  auto between = [&](size_t start, std::vector<double> &values) {
    float milliseconds = 0;
    const bool isGood =
        good(driver().cuEventElapsedTime(&milliseconds, events[start].get(), events[start + 1].get()),
             "cuEventElapsedTime", artifact().name(), diagnostics);
    values.push_back(milliseconds);
    return isGood;
  };
  std::vector<double> in, graph, out;
  std::vector<std::vector<double>> each(kernels_.size());
  for (size_t run = 0; run <= runs; ++run) {
    if (!restoreStates(saved, diagnostics) || !record(0) || !copyIn(diagnostics) || !record(1) ||
        !good(driver().cuGraphLaunch(graph_.get(), stream_.get()), "cuGraphLaunch", artifact().name(),
              diagnostics) ||
        !record(2) || !copyOut(diagnostics) || !record(3) || !wait(artifact().name(), diagnostics) ||
        !between(0, in) || !between(1, graph) || !between(2, out))
      return false;
    if (!restoreStates(saved, diagnostics) || !record(0))
      return false;
    for (size_t i = 0; i < kernels_.size(); ++i)
      if (!enqueue(entry().launches(static_cast<int>(i)), kernels_[i], diagnostics) || !record(i + 1))
        return false;
    if (!wait(artifact().name(), diagnostics))
      return false;
    for (size_t i = 0; i < kernels_.size(); ++i)
      if (!between(i, each[i]))
        return false;
  }
  auto told = [](std::vector<double> values) {
    values.erase(values.begin());
    return median(std::move(values));
  };
  measured.milliseconds = told(graph);
  measured.transferMilliseconds = told(in) + told(out);
  for (size_t i = 0; i < kernels_.size(); ++i)
    measured.kernels[i].milliseconds = told(each[i]);
  return true;
}

} // namespace npuc::cuda
