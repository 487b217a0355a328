// Options of every subcommand that takes a model.
#pragma once

#include "compiler/pipeline/Compile.h"
#include "support/Npz.h"
#include "tools/npurun/RunArtifact.h"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

namespace npuc::tool {

/// What a file holds. Nothing, and an error, if it cannot be read.
std::optional<std::string> contentOf(const std::string &path, Diagnostics &diagnostics);

struct ModelOptions {
  std::string model;
  pipeline::Options compile;

  /// MODEL, --shape, --threads.
  void add(CLI::App &app);
  /// --target, --target-option, --precision, calibration and what chooses formats: for what compiles.
  void addTarget(CLI::App &app);
  /// --target-option, --precision, --calibration alone.
  void addPrecision(CLI::App &app);
  /// --calibration, and how ranges follow from it.
  void addCalibration(CLI::App &app);

  /// Completes `compile`: shapes from --shape, then from `inputs`, if there are any, for the inputs that
  /// --shape leaves, and from the first of the calibration's samples. Inputs and samples must be the model's.
  bool finish(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics);

  /// The files that these options name, to be read.
  std::vector<NamedFile> files() const;
  /// And those to be written, after the compilation.
  std::vector<NamedFile> writtenFiles() const;
  bool write(const pipeline::Compilation &compilation, Diagnostics &diagnostics) const;

private:
  void addSamples(CLI::App &app);
  void addRanges(CLI::App &app);
  bool readTables(Diagnostics &diagnostics);
  bool bindSamples(Diagnostics &diagnostics);

  std::string precision, precisionTable, calibrationTable, writtenTable;
  std::string method = std::string(name(quantize::RangeOptions().method));
  std::optional<double> minCosine, maxSlowdown, maxLoss;
  std::vector<std::string> shapes;
};

} // namespace npuc::tool
