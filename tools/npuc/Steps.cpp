#include "tools/npuc/Steps.h"

#include <cstdio>
#include <unistd.h>

namespace npuc::tool {

Progress::Progress() : shown_(::isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (shown_)
    std::fputs("\r\033[K", stderr);
}

void Progress::say(const std::string &step) const {
  if (shown_)
    std::fprintf(stderr, "\r\033[Knpuc: %s …", step.c_str());
}

std::unique_ptr<pipeline::Compilation> import(const std::string &model, const pipeline::Options &options,
                                              Diagnostics &diagnostics, const std::string &resume) {
  Progress progress;
  progress.say("reading " + (resume.empty() ? model : resume));
  return resume.empty() ? pipeline::Compilation::import(model, options, diagnostics)
                        : pipeline::Compilation::resume(resume, options, diagnostics);
}

bool lower(pipeline::Compilation &compilation, pipeline::Level last, Diagnostics &diagnostics,
           const std::function<bool()> &at) {
  Progress progress;
  if (!compilation.hasLevel(last, diagnostics))
    return false;
  while (!at || at()) {
    if (compilation.level() >= last)
      return true;
    pipeline::Level next = compilation.nextLevel();
    progress.say("making level " + std::string(pipeline::name(next)) + " (" +
                 std::to_string(static_cast<int>(next)) + " of " + std::to_string(static_cast<int>(last)) +
                 ")");
    if (!compilation.lowerTo(next, diagnostics))
      return false;
  }
  return false;
}

} // namespace npuc::tool
