// npuc targets: the machines that are known.
#include "tools/npuc/Command.h"

#include "backends/npu/target/Target.h"

#include <iostream>

namespace npuc::tool {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> overrides;
  bool json = false, schema = false;
};

bool list(Session &session) {
  for (const std::string &builtin : target::builtinNames()) {
    auto description = target::load(builtin, {}, session.diagnostics);
    if (!description)
      return false;
    std::cout << builtin << std::string(builtin.size() < 16 ? 16 - builtin.size() : 1, ' ')
              << description->title() << '\n';
  }
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
  app->add_option("NAME", options->name, "a target's name or a description's file");
  app->add_option("--target-option", options->overrides,
                  "PATH=VALUE: another value of a field of the description; repeatable")
      ->allow_extra_args(false);
  app->add_flag("--json", options->json, "the description itself");
  app->add_flag("--schema", options->schema, "the fields that descriptions have, as Markdown");
  return {app, [options](Session &session) {
            if (options->schema)
              return writeText("", target::schemaReference(), session.diagnostics);
            return options->name.empty() ? list(session) : show(*options, session);
          }};
}

} // namespace npuc::tool
