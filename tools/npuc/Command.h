// What the subcommands of npuc share: each is a file of its own that adds itself to the command line.
#pragma once

#include "support/Diagnostic.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace npuc::tool {

/// What a run of the tool collects.
struct Session {
  Diagnostics diagnostics;
};

/// A subcommand: its place on the command line, and what it does once that has been read. It returns false if
/// it could not be done, with errors.
struct Command {
  CLI::App *app;
  std::function<bool(Session &)> run;
};

Command addCheck(CLI::App &tool);
Command addCompare(CLI::App &tool);
Command addCompile(CLI::App &tool);
Command addDiff(CLI::App &tool);
Command addInspect(CLI::App &tool);
Command addOps(CLI::App &tool);
Command addQuantize(CLI::App &tool);
Command addRun(CLI::App &tool);
Command addTargets(CLI::App &tool);
Command addVersion(CLI::App &tool);

/// Writes text to a file, or to standard output if no file is named (or "-").
bool writeText(const std::string &path, const std::string &text, Diagnostics &diagnostics);

} // namespace npuc::tool
