#include "runtime/ptx_sim/Report.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace npuc::ptx {
namespace {

constexpr size_t shownLines = 5;

/// 1234567 as "1,234,567".
std::string grouped(uint64_t value) {
  return value < 1000 ? std::to_string(value) : fmt::format("{},{:03}", grouped(value / 1000), value % 1000);
}

double ratio(uint64_t a, uint64_t b) {
  return b ? static_cast<double>(a) / static_cast<double>(b) : 0;
}

std::string text(Dim3 d) {
  return fmt::format("({}, {}, {})", d.x, d.y, d.z);
}

/// Sectors and wavefronts of a source line beyond the least.
struct Excess {
  uint32_t line;
  InstructionCounters counters;
  uint64_t excess() const {
    return counters.sectors - counters.leastSectors + counters.wavefronts - counters.leastWavefronts;
  }
};

std::vector<Excess> worst(const Report &report, const Kernel &kernel) {
  std::map<uint32_t, InstructionCounters> lines;
  for (size_t k = 0; k < kernel.code.size(); ++k)
    lines[kernel.code[k].line] += report.counters[k];
  std::vector<Excess> found;
  for (const auto &[line, counters] : lines)
    if (Excess e{line, counters}; e.excess())
      found.push_back(e);
  std::ranges::stable_sort(found, std::greater<>(), &Excess::excess);
  found.resize(std::min(found.size(), shownLines));
  return found;
}

} // namespace

std::string_view name(Class c) {
  static constexpr std::array<std::string_view, classCount> names = {
      "move",    "integer", "float", "half",   "special",    "convert", "compare",     "control",
      "barrier", "load",    "store", "atomic", "async copy", "shuffle", "matrix load", "tensor"};
  return names[static_cast<size_t>(c)];
}

Dim3 coordinates(uint64_t index, Dim3 size) {
  return {static_cast<uint32_t>(index % size.x), static_cast<uint32_t>(index / size.x % size.y),
          static_cast<uint32_t>(index / size.x / size.y)};
}

InstructionCounters &InstructionCounters::operator+=(const InstructionCounters &other) {
  warps += other.warps;
  threads += other.threads;
  requests += other.requests;
  sectors += other.sectors;
  leastSectors += other.leastSectors;
  sharedRequests += other.sharedRequests;
  wavefronts += other.wavefronts;
  leastWavefronts += other.leastWavefronts;
  divergences += other.divergences;
  return *this;
}

std::string_view name(Check check) {
  static constexpr std::string_view names[] = {
      "shared-race",   "uninitialized-memory", "uninitialized-register", "misaligned",
      "out-of-bounds", "barrier-divergence",   "unfinished-copy",        "trap",
      "endless"};
  return names[static_cast<size_t>(check)];
}

double Totals::tensorShare() const {
  return ratio(tensorMultiplyAdds, tensorMultiplyAdds + otherMultiplyAdds);
}

Totals Report::totals(const Kernel &kernel) const {
  Totals totals;
  for (size_t k = 0; k < kernel.code.size(); ++k) {
    const Instruction &i = kernel.code[k];
    const InstructionCounters &c = counters[k];
    totals.warps[static_cast<size_t>(i.kind)] += c.warps;
    totals.threads[static_cast<size_t>(i.kind)] += c.threads;
    totals.all += c;
    (i.kind == Class::Tensor ? totals.tensorMultiplyAdds : totals.otherMultiplyAdds) +=
        c.threads * i.multiplyAdds;
  }
  return totals;
}

std::string Report::text(const Kernel &kernel, const std::string &file) const {
  const Totals t = totals(kernel);
  std::string out =
      fmt::format("kernel {}: {} x {} x {} blocks of {} x {} x {} threads, {} bytes of shared memory\n\n",
                  this->kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, sharedBytes);
  out += fmt::format("{:<14}{:>16}{:>18}\n", "instructions", "of warps", "of threads");
  for (size_t c = 0; c < classCount; ++c)
    if (t.warps[c])
      out += fmt::format("  {:<12}{:>16}{:>18}\n", name(static_cast<Class>(c)), grouped(t.warps[c]),
                         grouped(t.threads[c]));
  out += fmt::format("  {:<12}{:>16}{:>18}\n\n", "all", grouped(t.all.warps), grouped(t.all.threads));
  if (t.tensorMultiplyAdds + t.otherMultiplyAdds)
    out += fmt::format("multiply-adds: {}, {:.1f} % of them by tensor cores\n",
                       grouped(t.tensorMultiplyAdds + t.otherMultiplyAdds), 100 * t.tensorShare());
  if (t.all.requests)
    out += fmt::format(
        "global memory: {} requests, {} sectors of 32 bytes ({:.2f} a request; {:.2f} would do)\n",
        grouped(t.all.requests), grouped(t.all.sectors), ratio(t.all.sectors, t.all.requests),
        ratio(t.all.leastSectors, t.all.requests));
  if (t.all.sharedRequests)
    out += fmt::format("shared memory: {} requests, {} wavefronts, {} of them by bank conflicts\n",
                       grouped(t.all.sharedRequests), grouped(t.all.wavefronts),
                       grouped(t.all.wavefronts - t.all.leastWavefronts));
  out += fmt::format("branches at which a warp parted: {}\n", grouped(t.all.divergences));
  if (const std::vector<Excess> lines = worst(*this, kernel); !lines.empty()) {
    out += "\nlines that move most beyond what they need:\n";
    for (const Excess &e : lines) {
      const InstructionCounters &c = e.counters;
      if (c.sectors > c.leastSectors)
        out += fmt::format("  {}:{}: {:.2f} sectors a request, {:.2f} would do\n", file, e.line,
                           ratio(c.sectors, c.requests), ratio(c.leastSectors, c.requests));
      if (c.wavefronts > c.leastWavefronts)
        out += fmt::format("  {}:{}: {:.2f} wavefronts a request, {:.2f} would do\n", file, e.line,
                           ratio(c.wavefronts, c.sharedRequests), ratio(c.leastWavefronts, c.sharedRequests));
    }
  }
  if (findings.empty())
    out += "\nthe checks found nothing\n";
  else
    out += "\nthe checks found:\n";
  for (const Finding &f : findings)
    out += fmt::format("  {}:{}: {}: thread {} of block {} {}{}\n", file, f.line, name(f.check),
                       ptx::text(f.thread), ptx::text(f.block), f.message,
                       f.count > 1 ? fmt::format(" ({} times)", grouped(f.count)) : "");
  out +=
      fmt::format("\nsimulated on this machine in {:.1f} ms: {:.2f} million instructions of warps a second\n",
                  seconds * 1e3, seconds > 0 ? static_cast<double>(t.all.warps) / seconds / 1e6 : 0);
  return out;
}

std::string Report::json(const Kernel &kernel) const {
  using nlohmann::ordered_json;
  const Totals t = totals(kernel);
  auto dim = [](Dim3 d) { return ordered_json::array({d.x, d.y, d.z}); };
  ordered_json document;
  document["schema_version"] = 1;
  document["kernel"] = this->kernel;
  document["grid"] = dim(grid);
  document["block"] = dim(block);
  document["shared_bytes"] = sharedBytes;
  ordered_json instructions = ordered_json::object();
  for (size_t c = 0; c < classCount; ++c)
    instructions[std::string(name(static_cast<Class>(c)))] = {{"warps", t.warps[c]},
                                                              {"threads", t.threads[c]}};
  instructions["all"] = {{"warps", t.all.warps}, {"threads", t.all.threads}};
  document["instructions"] = instructions;
  document["multiply_adds"] = t.tensorMultiplyAdds + t.otherMultiplyAdds;
  document["tensor_share"] = t.tensorShare();
  document["global"] = {
      {"requests", t.all.requests}, {"sectors", t.all.sectors}, {"least_sectors", t.all.leastSectors}};
  document["shared"] = {{"requests", t.all.sharedRequests},
                        {"wavefronts", t.all.wavefronts},
                        {"least_wavefronts", t.all.leastWavefronts}};
  document["divergences"] = t.all.divergences;
  ordered_json lines = ordered_json::array();
  for (const Excess &e : worst(*this, kernel))
    lines.push_back({{"line", e.line},
                     {"requests", e.counters.requests},
                     {"sectors", e.counters.sectors},
                     {"least_sectors", e.counters.leastSectors},
                     {"shared_requests", e.counters.sharedRequests},
                     {"wavefronts", e.counters.wavefronts},
                     {"least_wavefronts", e.counters.leastWavefronts}});
  document["lines"] = lines;
  ordered_json list = ordered_json::array();
  for (const Finding &f : findings)
    list.push_back({{"check", name(f.check)},
                    {"line", f.line},
                    {"block", dim(f.block)},
                    {"thread", dim(f.thread)},
                    {"message", f.message},
                    {"count", f.count}});
  document["findings"] = list;
  document["host_ms"] = seconds * 1e3;
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

} // namespace npuc::ptx
