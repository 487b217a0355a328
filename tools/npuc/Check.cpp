// npuc check: what of a model would run where, and what stands in the way.
#include "tools/npuc/Command.h"
#include "tools/npuc/ModelOptions.h"

#include "backends/npu/target/Target.h"
#include "compiler/pipeline/Check.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace npuc::tool {
namespace {

using Json = nlohmann::ordered_json;
using pipeline::CheckReport;
using pipeline::Obstacle;
using pipeline::TargetCheck;

struct Options {
  ModelOptions model;
  std::vector<std::string> targets;
  bool json = false;
};

bool blocks(const TargetCheck &target, const std::string &operation) {
  return std::ranges::find(target.obstacles, operation, &Obstacle::operation) != target.obstacles.end();
}

std::string nodesText(const std::vector<std::string> &nodes) {
  constexpr size_t shown = 4;
  std::string out;
  for (size_t i = 0; i < std::min(shown, nodes.size()); ++i)
    out += fmt::format("{}'{}'", i ? ", " : "", nodes[i]);
  return nodes.size() > shown ? fmt::format("{} and {} more", out, nodes.size() - shown) : out;
}

/// A row for each kind of operation, a column for each target.
std::string tableText(const CheckReport &report) {
  std::string out = fmt::format("{:<20} {:>5}  {:<12}", "operation", "count", "types");
  for (const TargetCheck &target : report.targets)
    out += fmt::format(" {:>12}", target.target);
  out += '\n';
  for (const pipeline::OperationKind &kind : report.operations) {
    out += fmt::format("{:<20} {:>5}  {:<12}", kind.operation, kind.count,
                       fmt::format("{}", fmt::join(kind.types, " ")));
    for (const TargetCheck &target : report.targets)
      out += fmt::format(" {:>12}", blocks(target, kind.operation) ? "no" : "yes");
    out += '\n';
  }
  auto row = [&](const char *label, auto cell) {
    out += fmt::format("{:<40}", label);
    for (const TargetCheck &target : report.targets)
      out += fmt::format(" {:>12}", cell(target));
    out += '\n';
  };
  auto mebibytes = [](uint64_t bytes) { return fmt::format("{:.1f}", double(bytes) / (1 << 20)); };
  row("precision", [](const TargetCheck &t) { return t.precision; });
  row("constants, MiB", [&](const TargetCheck &t) { return mebibytes(t.constantBytes); });
  row("DRAM for programs, MiB", [&](const TargetCheck &t) { return mebibytes(t.dramBytes); });
  row("runs", [](const TargetCheck &t) { return t.runs() ? "yes" : "no"; });
  return out;
}

/// Each obstacle once, with the targets that it stands in the way of.
std::string obstaclesText(const CheckReport &report) {
  struct Shared {
    const Obstacle *obstacle;
    std::vector<std::string> targets;
  };
  std::vector<Shared> all;
  for (const TargetCheck &target : report.targets)
    for (const Obstacle &one : target.obstacles) {
      auto same = std::ranges::find_if(all, [&](const Shared &s) {
        return s.obstacle->operation == one.operation && s.obstacle->what == one.what &&
               s.obstacle->why == one.why;
      });
      if (same == all.end())
        same = all.insert(same, {&one, {}});
      same->targets.push_back(target.target);
    }
  std::string out;
  for (const Shared &s : all) {
    const Obstacle &one = *s.obstacle;
    out +=
        fmt::format("\n{}: {}{}{}{}\n", fmt::join(s.targets, ", "),
                    one.operation.empty() || one.what.starts_with(one.operation) ? "" : one.operation + ": ",
                    one.what, one.why.empty() ? "" : ": ", one.why);
    if (!one.nodes.empty())
      out += fmt::format("  {}: {}\n", one.nodes.size() == 1 ? "node" : "nodes", nodesText(one.nodes));
    if (!one.hint.empty())
      out += fmt::format("  hint: {}\n", one.hint);
  }
  return out;
}

Json toJson(const std::string &model, const CheckReport &report) {
  Json out;
  out["schema_version"] = 1;
  out["model"] = model;
  out["operations"] = Json::array();
  for (const pipeline::OperationKind &kind : report.operations)
    out["operations"].push_back(
        {{"operation", kind.operation}, {"count", kind.count}, {"types", kind.types}});
  out["targets"] = Json::array();
  for (const TargetCheck &target : report.targets) {
    Json obstacles = Json::array();
    for (const Obstacle &one : target.obstacles)
      obstacles.push_back({{"operation", one.operation},
                           {"nodes", one.nodes},
                           {"count", one.count},
                           {"what", one.what},
                           {"why", one.why},
                           {"hint", one.hint}});
    out["targets"].push_back({{"target", target.target},
                              {"runs", target.runs()},
                              {"precision", target.precision},
                              {"constant_bytes", target.constantBytes},
                              {"input_and_output_bytes", target.boundaryBytes},
                              {"dram_bytes", target.dramBytes},
                              {"obstacles", std::move(obstacles)}});
  }
  return out;
}

bool checkModel(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  if (!options.model.finish({}, d))
    return false;
  pipeline::CheckOptions wanted;
  for (const std::string &name : options.targets.empty() ? std::vector<std::string>{"all"} : options.targets)
    for (const std::string &one : name == "all" ? target::builtinNames() : std::vector<std::string>{name})
      if (std::ranges::find(wanted.targets, one) == wanted.targets.end())
        wanted.targets.push_back(one);
  wanted.targetOptions = options.model.compile.targetOptions;
  wanted.shapes = options.model.compile.shapes;
  wanted.precision = options.model.compile.precision;
  wanted.threads = options.model.compile.threads;
  std::optional<CheckReport> report = pipeline::check(options.model.model, wanted, d);
  if (!report)
    return false;
  std::cout << (options.json ? toJson(options.model.model, *report).dump(2) + '\n'
                             : tableText(*report) + obstaclesText(*report));
  if (std::ranges::none_of(report->targets, &TargetCheck::runs))
    d.error(options.model.model, report->targets.size() == 1
                                     ? "it does not run on " + report->targets.front().target
                                     : "it runs on none of these targets");
  return !d.hasErrors();
}

} // namespace

Command addCheck(CLI::App &tool) {
  CLI::App *app =
      tool.add_subcommand("check", "says what of a model would run where and what stands in the way, without "
                                   "compiling it; exit code 1 if it would run on none of the targets");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  options->model.addPrecision(*app);
  app->add_option("--target", options->targets,
                  "a target's name or a description's file, or all (the default); repeatable")
      ->allow_extra_args(false);
  app->add_flag("--json", options->json, "the report as JSON");
  return {app, [options](Session &session) { return checkModel(*options, session); }};
}

} // namespace npuc::tool
