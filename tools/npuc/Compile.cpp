// npuc compile: a model to an artifact, or to the text of a level.
#include "backends/cuda/ptxas/Ptxas.h"
#include "compiler/pipeline/Remarks.h"
#include "compiler/quantize/Report.h"
#include "support/File.h"
#include "tools/npuc/Command.h"
#include "tools/npuc/ModelOptions.h"
#include "tools/npuc/Steps.h"
#include "tools/npurun/RunArtifact.h"

#include <fmt/format.h>

#include <filesystem>

namespace npuc::tool {
namespace {

struct Options {
  ModelOptions model;
  std::string emit, output, weights = "all", dumpFolder, resumeFrom, precisionTable, report, ptxas, cubin;
};

/// What a level's text is called in the dump's folder: numbered in order, .mlir where MLIR's tools read it.
std::string dumpName(pipeline::Level level) {
  bool isMlir = level < pipeline::Level::Graph;
  return std::to_string(static_cast<int>(level)) + "-" + std::string(name(level)) +
         (isMlir ? ".mlir" : ".txt");
}

/// The report in the form that its file's name ends in.
bool writeReport(pipeline::Compilation &compilation, const std::string &path, Diagnostics &diagnostics) {
  if (compilation.level() == compilation.programLevel())
    compilation.addSaved();
  const quantize::Report &report = *compilation.report();
  std::filesystem::path ending = std::filesystem::path(path).extension();
  return writeText(path,
                   ending == ".html"   ? report.html()
                   : ending == ".json" ? report.json()
                                       : report.text(),
                   diagnostics);
}

/// The program that --ptxas asks for; empty: none is asked.
std::string ptxasOf(const std::string &option) {
  return option.empty() ? cuda::findPtxas() : option == "none" ? std::string() : option;
}

bool compileModel(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  options.model.compile.report = !options.report.empty();
  options.model.compile.ptxas = ptxasOf(options.ptxas);
  if (!options.cubin.empty() && options.model.compile.ptxas.empty())
    d.error("--cubin", "needs ptxas, which makes it",
            options.ptxas.empty() ? "there is none in PATH, nor in the folder bin of CUDA_HOME"
                                  : "--ptxas=none asks none",
            "--ptxas=FILE names one");
  bool good = options.model.finish({}, d);
  std::vector<NamedFile> read = options.model.files();
  read.push_back({"--resume-from", options.resumeFrom});
  std::vector<NamedFile> written = options.model.writtenFiles();
  written.push_back({"--output", options.output == "-" ? "" : options.output});
  written.push_back({"--write-precision-table", options.precisionTable});
  written.push_back({"--quantization-report", options.report});
  written.push_back({"--cubin", options.cubin});
  if (!checkFiles(written, read, d) || !good)
    return false;
  std::unique_ptr<pipeline::Compilation> compilation =
      import(options.model.model, options.model.compile, d, options.resumeFrom);
  std::optional<pipeline::Level> level = pipeline::levelFromName(options.emit);
  if (compilation && !level)
    level = compilation->programLevel();
  if (compilation && !options.cubin.empty() && compilation->programLevel() != pipeline::Level::Ptx)
    d.error("--cubin", "is of programs for a GPU", "the target is " + compilation->target().name());
  if (compilation && compilation->level() > *level)
    d.error("--emit=" + options.emit, "is behind the level to go on from");
  std::error_code failed; // Told when the first file is written.
  if (!options.dumpFolder.empty())
    std::filesystem::create_directories(options.dumpFolder, failed);
  auto dump = [&] {
    return options.dumpFolder.empty() ||
           writeText(options.dumpFolder + "/" + dumpName(compilation->level()), compilation->text(true), d);
  };
  const bool lowered = !d.hasErrors() && compilation && lower(*compilation, *level, d, dump);
  for (size_t i = 0; compilation && i < compilation->remarks().size(); ++i)
    d.add(compilation->remarks()[i]);
  if (!lowered || !options.model.write(*compilation, d))
    return false;
  if (!options.precisionTable.empty() && !writeText(options.precisionTable, compilation->precisionTable(), d))
    return false;
  if (!options.report.empty() && !writeReport(*compilation, options.report, d))
    return false;
  if (!options.cubin.empty() && !writeFile(options.cubin, std::as_bytes(std::span(compilation->cubin())), d))
    return false;
  if (!options.emit.empty())
    return writeText(options.output, compilation->text(), d);
  if (!compilation->write(options.output, options.weights != "none", d))
    return false;
  return writeText("", compilation->quantization(), d);
}

} // namespace

Command addCompile(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "compile", "compiles a model to an artifact (.npa), or prints a level of the compiler");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  options->model.addTarget(*app);
  app->add_option("--emit", options->emit,
                  "prints this level instead: nn, linalg, tiled, npu, graph, isa or ptx")
      ->check(CLI::IsMember(pipeline::levelNames()));
  app->add_option("--weights", options->weights,
                  "all, or none for an artifact that only its time can be asked of")
      ->check(CLI::IsMember({"all", "none"}));
  app->add_option("-o,--output", options->output, "the file to write");
  app->add_option("--write-precision-table", options->precisionTable,
                  "a file to write the format of each operator to, with the reason");
  app->add_option(
         "--quantization-report", options->report,
         "a file to write what quantization does to each tensor and operator to, measured on some of "
         "the samples: .html, .json or .txt")
      ->check([](const std::string &path) -> std::string {
        std::filesystem::path ending = std::filesystem::path(path).extension();
        return ending == ".html" || ending == ".json" || ending == ".txt"
                   ? ""
                   : "'" + path + "' does not end in .html, .json or .txt";
      });
  app->add_option("--dump-dir", options->dumpFolder, "a folder to write the text of every level to");
  app->add_option(
      "--ptxas", options->ptxas,
      "for a GPU: the ptxas that checks the kernels, or none; without the option that of PATH, or "
      "of CUDA_HOME, if there is one");
  app->add_option("--cubin", options->cubin, "a file to write what ptxas makes of the kernels to");
  app->add_option("--remarks", options->model.compile.remarks,
                  "tells decisions and their reasons: .* or another regular expression of their kinds, " +
                      fmt::format("{}", fmt::join(pipeline::remarkCategories(), ", ")));
  app->get_option("MODEL")->required(false);
  app->add_option("--resume-from", options->resumeFrom,
                  "instead of MODEL: the text of level nn or npu, as --dump-dir writes it, to go on from");
  app->callback([options] {
    if (options->model.model.empty() == options->resumeFrom.empty())
      throw CLI::ValidationError("one of MODEL and --resume-from is required");
    if (options->emit != "nn" && options->model.compile.target.empty())
      throw CLI::RequiredError("--target");
    if (options->emit == "nn" && !options->report.empty())
      throw CLI::ValidationError("--quantization-report", "--emit=nn is before the model is quantized");
    if (!options->cubin.empty() && !options->emit.empty() && options->emit != "ptx")
      throw CLI::ValidationError("--cubin", "--emit=" + options->emit + " is before there are kernels");
    if (options->emit.empty() && options->output.empty())
      throw CLI::RequiredError("-o");
  });
  return {app, [options](Session &session) { return compileModel(*options, session); }};
}

} // namespace npuc::tool
