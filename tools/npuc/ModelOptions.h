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

struct ModelOptions {
  std::string model;
  pipeline::Options compile;

  /// MODEL, --shape, --threads.
  void add(CLI::App &app);
  /// --target, --target-option, --precision, --calibration and what chooses formats: for what compiles.
  void addTarget(CLI::App &app);
  /// --target-option, --precision, --calibration alone.
  void addPrecision(CLI::App &app);
  /// --calibration alone.
  void addCalibration(CLI::App &app);

  /// Completes `compile`: shapes from --shape, then from `inputs`, if there are any, for the inputs that
  /// --shape leaves; without either, from the calibration's arrays. Inputs must be the model's.
  bool finish(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics);

  /// The files that these options name, to be read.
  std::vector<NamedFile> files() const;

private:
  bool readCalibration(Diagnostics &diagnostics);

  std::string precision, precisionTable, calibration;
  std::optional<double> minCosine, maxSlowdown;
  std::vector<std::string> shapes;
};

} // namespace npuc::tool
