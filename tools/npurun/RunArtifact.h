// Running an artifact as the command line asks for it: what npurun and npuc run share. Uses nothing of this
// project but npurt and array files.
#pragma once

#include "npurt.hpp"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace npuc::tool {

/// Exit codes.
enum Status { Done = 0, UsersMistake = 1, WrongUsage = 2, OurBug = 70 };

struct RunOptions {
  std::string inputs, outputs, device = "npu-sim", profile, report, entryPoint, deviceFolder;
  bool timingOnly = false, json = false;
  unsigned repeat = 1, threads = 0;

  /// All but the device and its threads.
  void add(CLI::App &app);
};

/// What was found wrong, all of it; thrown once nothing more can be found.
struct Failure {
  Diagnostics diagnostics;
};

/// Runs the artifact, which errors call `name`, writes what the options ask for, and prints the report.
/// Throws Failure or npurt::Error.
void runArtifact(const npurt::Artifact &artifact, const std::string &name, const RunOptions &options);

/// The outputs of one run on arrays named as its inputs and registers. Throws likewise.
std::vector<NamedArray> outputsOf(npurt::Session &session, std::vector<NamedArray> inputs);

/// Calls `body` and tells on standard error what it throws; the exit code.
int reportFailures(const char *tool, bool asJson, const std::function<void()> &body);

} // namespace npuc::tool
