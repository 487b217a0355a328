#include "runtime/ptx_sim/Simulator.h"

#include "runtime/ptx_sim/Limits.h"
#include "runtime/ptx_sim/Warp.h"
#include "support/ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <mutex>

namespace npuc::ptx {
namespace {

std::string text(Dim3 d) {
  return fmt::format("{} x {} x {}", d.x, d.y, d.z);
}

bool within(Dim3 d, const uint32_t (&most)[3]) {
  return d.x >= 1 && d.x <= most[0] && d.y >= 1 && d.y <= most[1] && d.z >= 1 && d.z <= most[2];
}

bool checkSizes(const Kernel &kernel, const Launch &launch, Diagnostics &diagnostics) {
  const std::string where = fmt::format("kernel '{}'", launch.kernel);
  const size_t before = diagnostics.errorCount();
  const Dim3 g = launch.grid, b = launch.block;
  if (!within(g, mostGrid))
    diagnostics.error(
        where, "the grid is impossible",
        fmt::format("it is {}; from 1 to {} are possible", text(g), fmt::join(mostGrid, " x ")));
  if (!within(b, mostBlock) || b.count() > mostThreads)
    diagnostics.error(where, "the block is impossible",
                      fmt::format("it is {}; from 1 to {} are possible, and {} threads in all", text(b),
                                  fmt::join(mostBlock, " x "), mostThreads));
  auto at = [](const std::vector<uint64_t> &sizes, size_t k) { return k < sizes.size() ? sizes[k] : 1; };
  if (!kernel.reqntid.empty() &&
      (at(kernel.reqntid, 0) != b.x || at(kernel.reqntid, 1) != b.y || at(kernel.reqntid, 2) != b.z))
    diagnostics.error(where, "the block is another than the kernel requires",
                      fmt::format("it is {}, .reqntid says {} x {} x {}", text(b), at(kernel.reqntid, 0),
                                  at(kernel.reqntid, 1), at(kernel.reqntid, 2)));
  const uint64_t most = at(kernel.maxntid, 0) * at(kernel.maxntid, 1) * at(kernel.maxntid, 2);
  if (!kernel.maxntid.empty() && b.count() > most)
    diagnostics.error(where, "the block is larger than the kernel allows",
                      fmt::format("it has {} threads, .maxntid allows {}", b.count(), most));
  constexpr uint64_t mostShared = 227 << 10;
  if (uint64_t{kernel.sharedBytes} + launch.sharedBytes > mostShared)
    diagnostics.error(where, "there is not so much shared memory",
                      fmt::format("the kernel has {} bytes, {} more are asked for, a block has up to {}",
                                  kernel.sharedBytes, launch.sharedBytes, mostShared));
  if (launch.parameters.size() != kernel.parameterBytes)
    diagnostics.error(where, "the parameters have the wrong size",
                      fmt::format("they have {} bytes, the kernel takes {}", launch.parameters.size(),
                                  kernel.parameterBytes));
  return diagnostics.errorCount() == before;
}

bool before(const Finding &a, const Finding &b) {
  const auto order = [](const Finding &f) {
    return std::tuple(f.block.z, f.block.y, f.block.x, f.thread.z, f.thread.y, f.thread.x);
  };
  return order(a) < order(b);
}

} // namespace

bool check(const Program &program, const Launch &launch, Diagnostics &diagnostics) {
  if (const Kernel *kernel = program.find(launch.kernel))
    return checkSizes(*kernel, launch, diagnostics);
  std::vector<std::string> names;
  for (const Kernel &k : program.kernels)
    names.push_back(k.name);
  const std::string near = nearest(launch.kernel, names);
  diagnostics.error(program.file, fmt::format("there is no kernel '{}'", launch.kernel),
                    fmt::format("there is {}", fmt::join(names, ", ")),
                    near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  return false;
}

std::optional<Report> run(const Program &program, Memory &memory, const Launch &launch,
                          Diagnostics &diagnostics) {
  if (!check(program, launch, diagnostics))
    return std::nullopt;
  const Kernel *kernel = program.find(launch.kernel);
  const Grid grid{program,
                  *kernel,
                  memory,
                  launch.grid,
                  launch.block,
                  launch.sharedBytes,
                  launch.parameters,
                  launch.mostInstructions,
                  launch.cancelled};
  const auto start = std::chrono::steady_clock::now();
  std::mutex mutex;
  std::vector<std::unique_ptr<Block>> blocks; // One for each host thread at most.
  std::vector<Block *> idle;
  ThreadPool pool(launch.threads);
  pool.run(static_cast<int64_t>(launch.grid.count()), [&](int64_t at) {
    Block *block = nullptr;
    {
      const std::lock_guard lock(mutex);
      if (idle.empty()) {
        blocks.push_back(std::make_unique<Block>(grid));
        idle.push_back(blocks.back().get());
      }
      block = idle.back();
      idle.pop_back();
    }
    block->run(static_cast<uint64_t>(at));
    const std::lock_guard lock(mutex);
    idle.push_back(block);
  });

  Report report;
  report.kernel = launch.kernel;
  report.grid = launch.grid;
  report.block = launch.block;
  report.blocks = launch.grid.count();
  report.warps = report.blocks * ((launch.block.count() + warpSize - 1) / warpSize);
  report.sharedBytes = kernel->sharedBytes + launch.sharedBytes;
  report.counters.resize(kernel->code.size());
  std::map<std::pair<Check, uint32_t>, Finding> findings;
  for (const auto &block : blocks) {
    for (size_t k = 0; k < report.counters.size(); ++k)
      report.counters[k] += block->counters[k];
    for (const auto &[key, finding] : block->findings) {
      auto [known, fresh] = findings.try_emplace(key, finding);
      if (fresh)
        continue;
      const uint64_t count = known->second.count + finding.count;
      if (before(finding, known->second))
        known->second = finding;
      known->second.count = count;
    }
  }
  for (auto &[key, finding] : findings)
    report.findings.push_back(std::move(finding));
  std::ranges::stable_sort(report.findings, {}, &Finding::line);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

} // namespace npuc::ptx
