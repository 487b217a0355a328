// npuc targets: the machines that are known.
#include "tools/npuc/Command.h"

#include "backends/npu/target/Target.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iostream>

namespace npuc::tool {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> overrides;
  bool json = false, schema = false;
};

bool list(const Options &options, Session &session) {
  nlohmann::ordered_json report = {{"schema_version", 1}, {"targets", nlohmann::ordered_json::array()}};
  std::string text;
  for (const std::string &builtin : target::builtinNames()) {
    auto description = target::load(builtin, {}, session.diagnostics);
    if (!description)
      return false;
    text += fmt::format("{:<15} {}\n", builtin, description->title());
    report["targets"].push_back({{"target", builtin}, {"title", description->title()}});
  }
  std::cout << (options.json ? report.dump(2) + '\n' : text);
  return true;
}

bool show(const Options &options, Session &session) {
  auto description = target::load(options.name, options.overrides, session.diagnostics);
  if (!description)
    return false;
  std::cout << (options.json ? target::toJson(*description) : target::describe(*description));
  return true;
}

} // namespace

Command addTargets(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("targets", "lists targets, or describes one");
  auto options = std::make_shared<Options>();
  app->add_option("NAME", options->name,
                  "a target's name or a description's file; without one the targets are listed");
  // As in `npuc targets show NAME`.
  app->add_subcommand("show", "describes a target")->fallthrough();
  app->add_option("--target-option", options->overrides,
                  "PATH=VALUE: another value of a field of the description; repeatable")
      ->allow_extra_args(false);
  app->add_flag("--json", options->json, "the description itself, or the list, as JSON");
  app->add_flag("--schema", options->schema, "the fields that descriptions have, as Markdown");
  return {app, [options](Session &session) {
            if (options->schema)
              return writeText("", target::schemaReference(), session.diagnostics);
            return options->name.empty() ? list(*options, session) : show(*options, session);
          }};
}

} // namespace npuc::tool
