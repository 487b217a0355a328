#include "runtime/cuda/Profile.h"

#include "support/File.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <numeric>

namespace npuc::cuda {
namespace {

using nlohmann::ordered_json;

constexpr size_t shownKernels = 20;

void add(ptx::Totals &sum, const ptx::Totals &t) {
  for (size_t c = 0; c < ptx::classCount; ++c) {
    sum.warps[c] += t.warps[c];
    sum.threads[c] += t.threads[c];
  }
  sum.all += t.all;
  sum.tensorMultiplyAdds += t.tensorMultiplyAdds;
  sum.otherMultiplyAdds += t.otherMultiplyAdds;
}

ordered_json toJson(const ptx::Totals &t) {
  ordered_json instructions = ordered_json::object();
  for (size_t c = 0; c < ptx::classCount; ++c)
    if (t.warps[c])
      instructions[std::string(ptx::name(static_cast<ptx::Class>(c)))] = {{"warps", t.warps[c]},
                                                                          {"threads", t.threads[c]}};
  instructions["all"] = {{"warps", t.all.warps}, {"threads", t.all.threads}};
  return {{"instructions", instructions},
          {"multiply_adds", t.tensorMultiplyAdds + t.otherMultiplyAdds},
          {"tensor_share", t.tensorShare()},
          {"global",
           {{"requests", t.all.requests}, {"sectors", t.all.sectors}, {"least_sectors", t.all.leastSectors}}},
          {"shared",
           {{"requests", t.all.sharedRequests},
            {"wavefronts", t.all.wavefronts},
            {"least_wavefronts", t.all.leastWavefronts}}},
          {"divergences", t.all.divergences}};
}

/// The quotient, or a dash where there is nothing to divide.
std::string quotient(uint64_t a, uint64_t b, double scale = 1) {
  return b ? fmt::format("{:.2f}", scale * static_cast<double>(a) / static_cast<double>(b)) : "-";
}

/// One line; the heading's columns.
std::string row(const std::string &what, const ptx::Totals &t) {
  return fmt::format("{:>14} {:>7} {:>7} {:>9} {:>8} {:>11}  {}\n", t.all.warps,
                     quotient(t.all.sectors, t.all.requests), quotient(t.all.leastSectors, t.all.requests),
                     quotient(t.all.wavefronts, t.all.leastWavefronts),
                     quotient(t.tensorMultiplyAdds, t.tensorMultiplyAdds + t.otherMultiplyAdds, 100),
                     t.all.divergences, what);
}

std::string label(const MeasuredKernel &k) {
  return k.source.empty() ? k.kernel : fmt::format("{} ({})", k.kernel, k.source);
}

class KernelProfile final : public device::Profile {
public:
  explicit KernelProfile(Measured measured) : m_(std::move(measured)) {
    for (const MeasuredKernel &k : m_.kernels)
      if (k.counters)
        add(totals_, *k.counters);
  }

  double cycles() const override { return 0; }
  double milliseconds() const override { return m_.milliseconds.value_or(0); }
  std::string text() const override {
    return fmt::format("program '{}' for {} on {} ({}): {} launches\n", m_.program, m_.target, m_.device,
                       m_.gpu, m_.kernels.size()) +
           (m_.milliseconds ? times() : counters());
  }
  std::string json() const override;
  bool writeTrace(const std::string &path, Diagnostics &diagnostics) const override;
  bool writeReport(const std::string &path, Diagnostics &diagnostics) const override {
    const std::string page =
        toHtml(fmt::format("{} for {} on {}", m_.program, m_.target, m_.device), text(), json());
    return writeFile(path, std::as_bytes(std::span(page)), diagnostics);
  }

private:
  double lowerBoundMilliseconds() const { return m_.lowerBoundCycles / (m_.clockGhz * 1e6); }
  /// Milliseconds, summed over the kernels.
  double predicted() const {
    double microseconds = 0;
    for (const MeasuredKernel &k : m_.kernels)
      microseconds += k.predicted ? k.predicted->microseconds() : 0;
    return microseconds / 1e3;
  }
  std::string times() const;
  std::string counters() const;
  /// The kernels' indices by what `key` says of them, falling, and no more than are shown.
  template <typename Key>
  std::vector<size_t> greatest(Key key) const {
    std::vector<size_t> order(m_.kernels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return key(m_.kernels[i]); });
    order.resize(std::min(order.size(), shownKernels));
    return order;
  }

  Measured m_;
  ptx::Totals totals_;
};

std::string KernelProfile::times() const {
  double sum = 0;
  for (const MeasuredKernel &k : m_.kernels)
    sum += k.milliseconds.value_or(0);
  std::string text = fmt::format(
      "time            {:.4f} ms as one graph; {:.4f} ms kernel by kernel, with the events between\n",
      *m_.milliseconds, sum);
  text +=
      fmt::format("transfers       {:.4f} ms of inputs and outputs\n", m_.transferMilliseconds.value_or(0));
  if (m_.lowerBoundCycles > 0)
    text += fmt::format("lower bound     {:.4f} ms by the target's figures, {:.1f} % of the time\n",
                        lowerBoundMilliseconds(),
                        *m_.milliseconds > 0 ? 100 * lowerBoundMilliseconds() / *m_.milliseconds : 0);
  if (predicted() > 0)
    text += fmt::format("predicted       {:.4f} ms by the compiler for the target\n", predicted());
  text += fmt::format("\n{:>10} {:>6} {:>10}  kernel (node)\n", "ms", "%", "predicted");
  for (size_t i : greatest([](const MeasuredKernel &k) { return k.milliseconds.value_or(0); })) {
    const MeasuredKernel &k = m_.kernels[i];
    text +=
        fmt::format("{:>10.4f} {:>6.1f} {:>10}  {}\n", k.milliseconds.value_or(0),
                    sum > 0 ? 100 * k.milliseconds.value_or(0) / sum : 0,
                    k.predicted ? fmt::format("{:.4f}", k.predicted->microseconds() / 1e3) : "-", label(k));
  }
  return text;
}

std::string KernelProfile::counters() const {
  std::string text = "the simulator counts and checks; how long a GPU takes it does not say\n\n";
  text += fmt::format("{:>14} {:>7} {:>7} {:>9} {:>8} {:>11}  {}\n", "instructions", "sectors", "least",
                      "conflicts", "tensor %", "divergences", "kernel (node)");
  for (size_t i : greatest([](const MeasuredKernel &k) { return k.counters ? k.counters->all.warps : 0; }))
    if (m_.kernels[i].counters)
      text += row(label(m_.kernels[i]), *m_.kernels[i].counters);
  text += row("all", totals_);
  text += fmt::format("\n{:<14}{:>16}{:>18}\n", "instructions", "of warps", "of threads");
  for (size_t c = 0; c < ptx::classCount; ++c)
    if (totals_.warps[c])
      text += fmt::format("  {:<12}{:>16}{:>18}\n", ptx::name(static_cast<ptx::Class>(c)), totals_.warps[c],
                          totals_.threads[c]);
  return text;
}

std::string KernelProfile::json() const {
  auto optional = [](const std::optional<double> &value) {
    return value ? ordered_json(*value) : ordered_json();
  };
  ordered_json out;
  out["schema_version"] = 1;
  out["program"] = m_.program;
  out["target"] = m_.target;
  out["device"] = m_.device;
  out["gpu"] = m_.gpu;
  out["simulated_cycles"] = nullptr;
  out["simulated_ms"] = nullptr;
  out["measured_ms"] = optional(m_.milliseconds);
  out["predicted_ms"] = predicted() > 0 ? ordered_json(predicted()) : ordered_json();
  out["transfer_ms"] = optional(m_.transferMilliseconds);
  const bool isBounded = m_.lowerBoundCycles > 0;
  out["lower_bound_cycles"] = isBounded ? ordered_json(m_.lowerBoundCycles) : ordered_json();
  out["efficiency"] = isBounded && milliseconds() > 0
                          ? ordered_json(lowerBoundMilliseconds() / milliseconds())
                          : ordered_json();
  out["counters"] = m_.milliseconds ? ordered_json() : toJson(totals_);
  out["kernels"] = ordered_json::array();
  for (const MeasuredKernel &k : m_.kernels) {
    ordered_json kernel = {{"kernel", k.kernel},
                           {"source", k.source},
                           {"grid", {k.grid.x, k.grid.y, k.grid.z}},
                           {"block", {k.block.x, k.block.y, k.block.z}},
                           {"shared_bytes", k.sharedBytes}};
    if (k.compiled) {
      kernel["registers"] = k.compiled->registers();
      kernel["spilled_bytes"] = k.compiled->spilled_bytes();
      kernel["static_shared_bytes"] = k.compiled->shared_bytes();
    }
    kernel["predicted_us"] = k.predicted ? ordered_json(k.predicted->microseconds()) : ordered_json();
    kernel["bound"] = k.predicted ? ordered_json(k.predicted->bound()) : ordered_json();
    kernel["ms"] = optional(k.milliseconds);
    kernel["counters"] = k.counters ? toJson(*k.counters) : ordered_json();
    out["kernels"].push_back(std::move(kernel));
  }
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

// One kernel behind the other, each as long as it took by itself.
bool KernelProfile::writeTrace(const std::string &path, Diagnostics &diagnostics) const {
  if (!m_.milliseconds) {
    diagnostics.error(path, fmt::format("device '{}' writes no trace", m_.device), "it knows no time",
                      "run on a GPU, --device=cuda");
    return false;
  }
  ordered_json events = ordered_json::array();
  double at = 0;
  for (const MeasuredKernel &k : m_.kernels) {
    const double microseconds = 1e3 * k.milliseconds.value_or(0);
    events.push_back({{"name", k.source.empty() ? k.kernel : k.source},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", 0},
                      {"ts", at},
                      {"dur", microseconds},
                      {"args",
                       {{"kernel", k.kernel},
                        {"grid", {k.grid.x, k.grid.y, k.grid.z}},
                        {"block", {k.block.x, k.block.y, k.block.z}}}}});
    at += microseconds;
  }
  const std::string text = ordered_json({{"traceEvents", events}, {"displayTimeUnit", "ns"}})
                               .dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return writeFile(path, std::as_bytes(std::span(text)), diagnostics);
}

} // namespace

std::unique_ptr<device::Profile> makeProfile(Measured measured) {
  return std::make_unique<KernelProfile>(std::move(measured));
}

} // namespace npuc::cuda
