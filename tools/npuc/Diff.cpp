// npuc diff: what changed from one artifact to another.
#include "tools/npuc/ArtifactReport.h"
#include "tools/npuc/Command.h"

#include "backends/npu/target/Target.h"
#include "runtime/artifact/Artifact.h"

#include <fmt/format.h>

#include <iostream>

namespace npuc::tool {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string first, second;
  bool json = false;
};

/// Fields of the target descriptions that differ: path to both values.
Json targetChanges(const Options &options, Diagnostics &diagnostics) {
  Json flat[2];
  for (int i : {0, 1}) {
    auto artifact = artifact::Artifact::open(i ? options.second : options.first, diagnostics);
    flat[i] = Json::parse(target::toJson(artifact->target())).flatten();
  }
  Json changes = Json::object();
  for (int i : {0, 1})
    for (const auto &[path, value] : flat[i].items()) {
      Json other = flat[1 - i].contains(path) ? flat[1 - i][path] : Json();
      if (other != value)
        changes[path] = i ? Json{other, value} : Json{value, other};
    }
  return changes;
}

/// Of a GPU there are launches in place of commands, and no simulated cycles.
bool isForGpu(const Json &report) {
  return report.contains("launches");
}

/// Figures by name in both reports.
Json figureChanges(const Json &a, const Json &b) {
  Json out = Json::object();
  if (isForGpu(a)) {
    for (const char *key : {"bytes", "kernel_count", "ptx_bytes", "lower_bound_cycles", "predicted_cycles"})
      out[key] = {a[key], b[key]};
    out["launches"] = {a["launches"].size(), b["launches"].size()};
    return out;
  }
  for (const char *key : {"bytes", "simulated_cycles", "simulated_ms", "predicted_cycles",
                          "lower_bound_cycles", "efficiency", "int8_share", "peak_scratchpad_bytes"})
    out[key] = {a[key], b[key]};
  out["commands"] = {a["commands"]["total"], b["commands"]["total"]};
  out["dram_read_bytes"] = {a["dram_bytes"]["read"], b["dram_bytes"]["read"]};
  out["dram_written_bytes"] = {a["dram_bytes"]["written"], b["dram_bytes"]["written"]};
  out["energy_joules"] = {a["energy_joules"]["total"], b["energy_joules"]["total"]};
  return out;
}

/// What is told of operators: what they are sorted by, and what else is compared.
struct OperatorKeys {
  const char *first, *second;
};
OperatorKeys operatorKeys(const Json &report) {
  return isForGpu(report) ? OperatorKeys{"threads", "launches"} : OperatorKeys{"cycles", "commands"};
}

/// Operators that differ, the greatest difference first. One that only one artifact has is null in the other.
Json operatorChanges(const Json &a, const Json &b) {
  const auto [first, second] = operatorKeys(a);
  std::map<std::string, Json> byName;
  for (int i : {0, 1})
    for (const Json &op : (i ? b : a)["operators"]) {
      Json &entry = byName
                        .try_emplace(op["name"], Json{{"name", op["name"]},
                                                      {first, {nullptr, nullptr}},
                                                      {second, {nullptr, nullptr}}})
                        .first->second;
      entry[first][i] = op[first];
      entry[second][i] = op[second];
    }
  auto change = [first](const Json &entry) {
    auto of = [&](int i) { return entry[first][i].is_null() ? 0 : entry[first][i].get<int64_t>(); };
    return of(1) - of(0);
  };
  std::vector<Json> changed;
  for (auto &[name, entry] : byName)
    if (entry[first][0] != entry[first][1] || entry[second][0] != entry[second][1])
      changed.push_back(std::move(entry));
  std::ranges::stable_sort(
      changed, [&](const Json &x, const Json &y) { return std::abs(change(x)) > std::abs(change(y)); });
  return changed;
}

std::string shown(const Json &value) {
  return value.is_null() ? "-" : value.dump();
}

std::string ratio(const Json &pair) {
  if (!pair[0].is_number() || !pair[1].is_number() || pair[0].get<double>() == 0)
    return "";
  return fmt::format("{:+.1f} %", 100 * (pair[1].get<double>() / pair[0].get<double>() - 1));
}

std::string line(const std::string &name, const Json &pair) {
  return fmt::format("{:>16} {:>16} {:>10}  {}\n", shown(pair[0]), shown(pair[1]), ratio(pair), name);
}

std::string text(const Json &report, OperatorKeys keys) {
  std::string out = fmt::format("A {}\nB {}\n", report["files"][0].get<std::string>(),
                                report["files"][1].get<std::string>());
  out += fmt::format(
      "target: {}{}\n", report["targets"][0].get<std::string>(),
      report["targets"][0] == report["targets"][1] ? "" : ", " + report["targets"][1].get<std::string>());
  for (const auto &[path, values] : report["target_changes"].items())
    out += fmt::format("  {}: {}, {}\n", path, shown(values[0]), shown(values[1]));
  out += fmt::format("\n{:>16} {:>16} {:>10}\n", "A", "B", "change");
  for (const auto &[name, pair] : report["figures"].items())
    out += line(name, pair);
  out += fmt::format("\n{} operators take another number of {} or {}; their {}:\n",
                     report["operators"].size(), keys.first, keys.second, keys.first);
  for (const Json &op : report["operators"])
    out += line(op["name"].get<std::string>().empty() ? "(no source)" : op["name"].get<std::string>(),
                op[keys.first]);
  return out;
}

bool diff(const Options &options, Session &session) {
  auto a = reportArtifact(options.first, "", session.diagnostics);
  auto b = reportArtifact(options.second, "", session.diagnostics);
  if (!a || !b)
    return false;
  if (isForGpu(a->json) != isForGpu(b->json)) {
    session.diagnostics.error(
        options.second, "cannot be compared with " + options.first,
        fmt::format("one is for {}, the other for {}: of a GPU's program nothing is known that an NPU's "
                    "has too",
                    a->json["target"].get<std::string>(), b->json["target"].get<std::string>()),
        "compare artifacts for two GPUs, or for two NPUs");
    return false;
  }
  Json report;
  report["schema_version"] = 1;
  report["files"] = {options.first, options.second};
  report["targets"] = {a->json["target"], b->json["target"]};
  report["target_changes"] = targetChanges(options, session.diagnostics);
  report["figures"] = figureChanges(a->json, b->json);
  report["operators"] = operatorChanges(a->json, b->json);
  std::cout << (options.json ? report.dump(2) + '\n' : text(report, operatorKeys(a->json)));
  return true;
}

} // namespace

Command addDiff(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("diff", "says what changed from one artifact to another");
  auto options = std::make_shared<Options>();
  app->add_option("A", options->first, "an artifact (.npa)")->required();
  app->add_option("B", options->second, "another one")->required();
  app->add_flag("--json", options->json, "the report as JSON");
  return {app, [options](Session &session) { return diff(*options, session); }};
}

} // namespace npuc::tool
