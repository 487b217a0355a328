// npuc ops: the operators that import, and what compiles for which target. docs/operators.md is its Markdown
// form.
#include "tools/npuc/Command.h"

#include "backends/npu/target/Capability.h"
#include "compiler/import/Operators.h"
#include "compiler/lower/Handlers.h"
#include "compiler/pipeline/Dialects.h"

#include "mlir/IR/MLIRContext.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace npuc::tool {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> targets;
  bool json = false, markdown = false;
};

/// Operations of nn, with their conditions if they compile.
Json operations() {
  mlir::MLIRContext context(pipeline::dialects(), mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect>();
  std::vector<Json> list;
  for (mlir::RegisteredOperationName name :
       context.getRegisteredOperationsByDialect(nn::NNDialect::getDialectNamespace())) {
    if (name.getStringRef() == nn::ConstantOp::getOperationName())
      continue; // Not computed: it goes into the artifact.
    const lower::Handler *handler = lower::findHandler(name.getStringRef());
    Json conditions = Json::array();
    for (const lower::Condition &condition : handler ? handler->conditions : std::vector<lower::Condition>())
      conditions.push_back(condition.sentence.str());
    list.push_back({{"operation", name.getStringRef().str()},
                    {"compiles", handler != nullptr},
                    {"only_where", conditions}});
  }
  std::ranges::sort(list, {}, [](const Json &one) { return one["operation"].get<std::string>(); });
  return list;
}

Json onnxOperators() {
  Json list = Json::array();
  for (const importer::ImportedOperator &one : importer::importedOperators())
    list.push_back({{"domain", one.domain},
                    {"operator", one.name},
                    {"first_version", one.first ? Json(one.first) : Json()},
                    {"last_version", one.last ? Json(one.last) : Json()},
                    {"by_function_body", one.byFunctionBody}});
  return list;
}

Json targetJson(const target::TargetDescription &description) {
  Json constraints = Json::array();
  for (const target::Capability &capability : target::capabilities())
    if (target::applies(capability, description))
      constraints.push_back(
          {{"name", capability.name}, {"sentence", target::sentence(capability, description)}});
  return {{"target", description.name()}, {"title", description.title()}, {"constraints", constraints}};
}

std::string versions(const Json &one) {
  if (one["first_version"].is_null())
    return "by its function's body";
  int first = one["first_version"], last = one["last_version"];
  std::string out = first == last ? fmt::format("{}", first) : fmt::format("{} to {}", first, last);
  return one["by_function_body"] ? out + ", others by its function's body" : out;
}

std::string whenCompiled(const Json &one) {
  if (!one["compiles"])
    return "no";
  std::vector<std::string> conditions = one["only_where"];
  return conditions.empty() ? "yes" : fmt::format("only where {}", fmt::join(conditions, ", and "));
}

std::string markdown(const Json &report) {
  std::string out = "<!-- Written by `npuc ops --markdown`; `./dev docs` writes it anew. -->\n"
                    "# Operators\n\n"
                    "A model's ONNX operators become operations of `nn`, of which the interpreter runs all. "
                    "Which of them compile, and "
                    "what each target allows, stands below; `npuc check MODEL` asks it of a model.\n\n"
                    "## ONNX operators that import\n\n"
                    "Versions are those in which ONNX changed the operator. An operator that ONNX defines as "
                    "a function imports by its "
                    "body where the body's operators do.\n\n"
                    "| domain | operator | versions |\n| --- | --- | --- |\n";
  for (const Json &one : report["onnx"])
    out += fmt::format("| {} | {} | {} |\n", one["domain"].get<std::string>(),
                       one["operator"].get<std::string>(), versions(one));
  out += "\n## Operations of nn that compile\n\n| operation | compiles |\n| --- | --- |\n";
  for (const Json &one : report["operations"])
    out += fmt::format("| `{}` | {} |\n", one["operation"].get<std::string>(), whenCompiled(one));
  out += "\n## Targets\n";
  for (const Json &one : report["targets"]) {
    out +=
        fmt::format("\n### {}\n\n{}.\n\n", one["target"].get<std::string>(), one["title"].get<std::string>());
    for (const Json &constraint : one["constraints"])
      out += fmt::format("- `{}`: {}\n", constraint["name"].get<std::string>(),
                         constraint["sentence"].get<std::string>());
  }
  return out;
}

std::string text(const Json &report) {
  std::string out = "ONNX operators that import\n";
  for (const Json &one : report["onnx"])
    out += fmt::format("  {:<14} {:<34} {}\n", one["domain"].get<std::string>(),
                       one["operator"].get<std::string>(), versions(one));
  out += "\noperations of nn that compile\n";
  for (const Json &one : report["operations"])
    out += fmt::format("  {:<24} {}\n", one["operation"].get<std::string>(), whenCompiled(one));
  for (const Json &one : report["targets"]) {
    out += fmt::format("\n{}: {}\n", one["target"].get<std::string>(), one["title"].get<std::string>());
    for (const Json &constraint : one["constraints"])
      out += fmt::format("  {:<22} {}\n", constraint["name"].get<std::string>(),
                         constraint["sentence"].get<std::string>());
  }
  return out;
}

bool listOperators(const Options &options, Session &session) {
  Json report;
  report["schema_version"] = 1;
  report["onnx"] = onnxOperators();
  report["operations"] = operations();
  report["targets"] = Json::array();
  for (const std::string &name : options.targets.empty() ? target::builtinNames() : options.targets) {
    auto description = target::load(name, {}, session.diagnostics);
    if (description)
      report["targets"].push_back(targetJson(*description));
  }
  if (session.diagnostics.hasErrors())
    return false;
  std::cout << (options.json ? report.dump(2) + '\n' : options.markdown ? markdown(report) : text(report));
  return true;
}

} // namespace

Command addOps(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "ops", "lists the operators that import, those that compile, and what targets allow");
  auto options = std::make_shared<Options>();
  app->add_option("--target", options->targets,
                  "a target's name or a description's file (all targets by default); repeatable")
      ->allow_extra_args(false);
  auto *json = app->add_flag("--json", options->json, "the list as JSON");
  app->add_flag("--markdown", options->markdown, "the list as docs/operators.md")->excludes(json);
  return {app, [options](Session &session) { return listOperators(*options, session); }};
}

} // namespace npuc::tool
