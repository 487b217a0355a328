// Running an artifact as the command line asks for it: what npurun and npuc run share. Uses nothing of this
// project but npurt and array files.
#pragma once

#include "npurt.hpp"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace npuc::tool {

/// Exit codes.
enum Status { Done = 0, UsersMistake = 1, WrongUsage = 2, OurBug = 70 };

/// What --threads takes at most.
inline constexpr unsigned mostThreads = 1024;

/// A file that the command line names, and the option or argument by which it does.
struct NamedFile {
  std::string option, path;
};

/// Whether the files to be written can be, before long work is done for them, and whether each is another
/// than all that are read and written. Files that are not named, and what is not a regular file, are not
/// tried.
bool checkFiles(const std::vector<NamedFile> &written, const std::vector<NamedFile> &read,
                Diagnostics &diagnostics);

struct RunOptions {
  std::string inputs, outputs, profile, report, entryPoint, deviceFolder;
  std::string device; ///< Empty: the artifact's own.
  bool timingOnly = false, json = false, checks = false;
  unsigned repeat = 1, threads = 0;

  /// All but the device, its threads and its checks.
  void add(CLI::App &app);
  /// checkFiles of what these options name, where `read` are further files that are read.
  bool checkFiles(std::vector<NamedFile> read, Diagnostics &diagnostics) const;
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

/// Reads the command line. An exit code if there is nothing more to do: help was asked for, or the usage is
/// wrong, which it has told.
std::optional<int> parse(CLI::App &app, int argc, char **argv);

/// Calls `body` and tells on standard error what it throws; the exit code.
int reportFailures(const char *tool, bool asJson, const std::function<void()> &body);

} // namespace npuc::tool
