// npuc compile: a model to an artifact, or to the text of a level.
#include "tools/npuc/Command.h"
#include "tools/npuc/ModelOptions.h"

namespace npuc::tool {
namespace {

struct Options {
  ModelOptions model;
  std::string emit, output, weights = "all";
};

bool compileModel(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  if (!options.model.finish({}, d))
    return false;
  std::optional<pipeline::Level> level =
      options.emit.empty() ? pipeline::Level::Isa : pipeline::levelFromName(options.emit);
  std::unique_ptr<pipeline::Compilation> compilation =
      pipeline::Compilation::import(options.model.model, options.model.compile, d);
  if (!compilation || !compilation->lowerTo(*level, d))
    return false;
  if (!options.emit.empty())
    return writeText(options.output, compilation->text(), d);
  return compilation->write(options.output, options.weights != "none", d);
}

} // namespace

Command addCompile(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "compile", "compiles a model to an artifact (.npa), or prints a level of the compiler");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  options->model.addTarget(*app);
  app->add_option("--emit", options->emit, "prints this level instead: nn, linalg, tiled, npu, graph or isa")
      ->check(CLI::IsMember(pipeline::levelNames()));
  app->add_option("--weights", options->weights,
                  "all, or none for an artifact that only its time can be asked of")
      ->check(CLI::IsMember({"all", "none"}));
  app->add_option("-o,--output", options->output, "the file to write");
  app->callback([options] {
    if (options->emit != "nn" && options->model.compile.target.empty())
      throw CLI::RequiredError("--target");
    if (options->emit.empty() && options->output.empty())
      throw CLI::RequiredError("-o");
  });
  return {app, [options](Session &session) { return compileModel(*options, session); }};
}

} // namespace npuc::tool
