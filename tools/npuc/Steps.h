// The steps of a compilation as the tool takes them: with progress on a terminal.
#pragma once

#include "compiler/pipeline/Compile.h"

#include <functional>
#include <string>

namespace npuc::tool {

/// Says on standard error, if that is a terminal, what is being done; the line goes with the object.
class Progress {
public:
  Progress();
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;
  void say(const std::string &step) const;

private:
  bool shown_;
};

/// Imports the model, or goes on from a level's text if `resume` names a file.
std::unique_ptr<pipeline::Compilation> import(const std::string &model, const pipeline::Options &options,
                                              Diagnostics &diagnostics, const std::string &resume = {});

/// Lowers to `last`, calling `at` at every level, the present one first; false, with errors, if either fails.
bool lower(pipeline::Compilation &compilation, pipeline::Level last, Diagnostics &diagnostics,
           const std::function<bool()> &at = {});

} // namespace npuc::tool
