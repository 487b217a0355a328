// npuc: the compiler on the command line. Exit codes: 0 done, 1 the user's mistake, 2 wrong usage, 70 a bug
// of ours.
#include "backends/npu/target/Target.h"
#include "compiler/import/Import.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/pipeline/Compile.h"
#include "support/File.h"
#include "support/Npz.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <iostream>

using namespace npuc;

namespace {

constexpr int done = 0, mistake = 1, usage = 2;

/// What a run collects, and how it is told.
struct Session {
  Diagnostics diagnostics;
  bool json = false;

  int finish() const {
    std::cerr << (json ? diagnostics.json() : diagnostics.text());
    return diagnostics.hasErrors() ? mistake : done;
  }
};

/// "1x128" as sizes; nothing if it is not of that form.
std::optional<std::vector<int64_t>> parseShape(std::string_view text) {
  std::vector<int64_t> sizes;
  while (true) {
    size_t end = std::min(text.find('x'), text.size());
    int64_t size = -1;
    auto [rest, error] = std::from_chars(text.data(), text.data() + end, size);
    if (error != std::errc() || rest != text.data() + end || size < 0)
      return std::nullopt;
    sizes.push_back(size);
    if (end == text.size())
      return sizes;
    text.remove_prefix(end + 1);
  }
}

/// Options that compile and run share.
struct ModelOptions {
  std::string model, precision;
  std::vector<std::string> shapes;
  pipeline::Options compile;

  void add(CLI::App &app) {
    app.add_option("MODEL", model, "the model, an .onnx file")->required();
    app.add_option("--shape", shapes,
                   "sizes of an input, NAME=1x128, or of a symbolic dimension, NAME=128; repeatable");
    app.add_option("--threads", compile.threads, "threads to compile and run with")->capture_default_str();
  }

  /// Binds what --shape gives, then what `inputs` has for the rest.
  bool bind(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics) {
    for (const std::string &shape : shapes) {
      size_t equals = shape.find('=');
      std::optional<std::vector<int64_t>> sizes =
          equals == std::string::npos ? std::nullopt : parseShape(std::string_view(shape).substr(equals + 1));
      if (!sizes) {
        diagnostics.error("--shape=" + shape, "is not NAME=SIZES",
                          "sizes are numbers with x between, as in 1x128");
        continue;
      }
      compile.shapes[shape.substr(0, equals)] = *sizes;
    }
    for (const NamedArray &input : inputs)
      compile.shapes.try_emplace(input.name, input.array.shape);
    return !diagnostics.hasErrors();
  }
};

/// Writes text to a file, or to standard output if no file is named.
bool writeText(const std::string &path, const std::string &text, Diagnostics &diagnostics) {
  if (path.empty() || path == "-") {
    std::cout << text;
    return true;
  }
  return writeFile(path, std::as_bytes(std::span(text)), diagnostics);
}

int compileModel(ModelOptions &options, const std::string &emit, const std::string &output,
                 const std::string &weights, Session &session) {
  Diagnostics &d = session.diagnostics;
  if (!options.bind({}, d))
    return session.finish();
  std::optional<pipeline::Level> level = emit.empty() ? pipeline::Level::Isa : pipeline::levelFromName(emit);
  options.compile.precision = pipeline::precisionFromName(options.precision);
  std::unique_ptr<pipeline::Compilation> compilation =
      pipeline::Compilation::import(options.model, options.compile, d);
  if (!compilation || !compilation->lowerTo(*level, d))
    return session.finish();
  if (!emit.empty())
    writeText(output, compilation->text(), d);
  else
    compilation->write(output, weights != "none", d);
  return session.finish();
}

int interpretModel(ModelOptions &options, const std::string &inputs, const std::string &outputs,
                   Session &session) {
  Diagnostics &d = session.diagnostics;
  std::optional<std::vector<NamedArray>> arrays = readArrays(inputs, d);
  if (!arrays || !options.bind(*arrays, d))
    return session.finish();
  std::unique_ptr<pipeline::Compilation> compilation =
      pipeline::Compilation::import(options.model, options.compile, d);
  if (!compilation)
    return session.finish();
  auto main = *compilation->module().getOps<mlir::func::FuncOp>().begin();
  interpret::Interpreter interpreter(main, {.threads = options.compile.threads});
  std::optional<std::vector<NamedArray>> results = interpreter.run(*arrays, d);
  if (results && !outputs.empty())
    writeNpz(outputs, *results, d);
  return session.finish();
}

int showTargets(const std::string &name, const std::vector<std::string> &overrides, bool asJson,
                Session &session) {
  if (name.empty()) {
    for (const std::string &builtin : target::builtinNames())
      if (auto description = target::load(builtin, {}, session.diagnostics))
        std::cout << builtin << std::string(builtin.size() < 16 ? 16 - builtin.size() : 1, ' ')
                  << description->title() << '\n';
    return session.finish();
  }
  if (auto description = target::load(name, overrides, session.diagnostics))
    std::cout << (asJson ? target::toJson(*description) : target::describe(*description));
  return session.finish();
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Compiles ONNX models for neural processing units", "npuc");
  app.require_subcommand(1);
  Session session;
  std::string diagnosticsForm = "text";
  app.add_option("--diagnostics", diagnosticsForm, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));

  CLI::App *compile = app.add_subcommand(
      "compile", "compiles a model to an artifact (.npa), or prints a level of the compiler");
  ModelOptions compileOptions;
  std::string emit, output, weights = "all";
  compileOptions.add(*compile);
  compile->add_option("--target", compileOptions.compile.target,
                      "a target's name (see npuc targets) or a description's file");
  compile->add_option("--target-option", compileOptions.compile.targetOptions,
                      "PATH=VALUE: another value of a field of the description; repeatable");
  compile->add_option("--precision", compileOptions.precision, "type of the model's floats: fp16 or bf16")
      ->check(CLI::IsMember(pipeline::precisionNames()));
  compile->add_option("--emit", emit, "prints this level instead: nn, linalg, tiled, npu, graph or isa")
      ->check(CLI::IsMember(pipeline::levelNames()));
  compile->add_option("--weights", weights, "all, or none for an artifact that only its time can be asked of")
      ->check(CLI::IsMember({"all", "none"}));
  compile->add_option("-o,--output", output, "the file to write");
  compile->callback([&] {
    if (emit != "nn" && compileOptions.compile.target.empty())
      throw CLI::RequiredError("--target");
    if (emit.empty() && output.empty())
      throw CLI::RequiredError("-o");
  });

  CLI::App *run = app.add_subcommand("run", "runs a model on the host");
  ModelOptions runOptions;
  std::string inputs, outputs, device = "interpreter";
  runOptions.add(*run);
  run->add_option("--inputs", inputs, "the inputs, an .npz file with arrays named as the model's inputs")
      ->required();
  run->add_option("--outputs", outputs, "the .npz file to write");
  run->add_option("--device", device, "what runs it: interpreter")->check(CLI::IsMember({"interpreter"}));

  CLI::App *targets = app.add_subcommand("targets", "lists targets, or describes one");
  std::string target;
  std::vector<std::string> overrides;
  bool asJson = false;
  targets->add_option("NAME", target, "a target's name or a description's file");
  targets->add_option("--target-option", overrides, "PATH=VALUE: another value of a field; repeatable");
  targets->add_flag("--json", asJson, "the description itself");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    int status = app.exit(error);
    return status == 0 ? done : usage;
  }
  session.json = diagnosticsForm == "json";
  if (*compile)
    return compileModel(compileOptions, emit, output, weights, session);
  if (*run)
    return interpretModel(runOptions, inputs, outputs, session);
  return showTargets(target, overrides, asJson, session);
}
