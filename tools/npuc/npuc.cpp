// npuc: the compiler on the command line. Exit codes: 0 done, 1 the user's mistake, 2 wrong usage, 70 a bug
// of ours.
#include "tools/npuc/Command.h"

#include "support/File.h"
#include "tools/npurun/RunArtifact.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <iostream>
#include <stdexcept>

namespace npuc::tool {

bool writeText(const std::string &path, const std::string &text, Diagnostics &diagnostics) {
  if (path.empty() || path == "-") {
    std::cout << text << std::flush;
    return true;
  }
  return writeFile(path, std::as_bytes(std::span(text)), diagnostics);
}

namespace {

int run(const Command &command, bool json) {
  return reportFailures("npuc", json, [&] {
    Session session;
    bool done = command.run(session);
    if (session.diagnostics.hasErrors())
      throw Failure{session.diagnostics};
    if (!done)
      throw std::logic_error("it failed without saying why");
    std::cerr << (json && session.diagnostics.all().empty() ? ""
                  : json                                    ? session.diagnostics.json()
                                                            : session.diagnostics.text());
  });
}

} // namespace
} // namespace npuc::tool

int main(int argc, char **argv) {
  using namespace npuc::tool;
#ifdef __GLIBC__
  // Weights pass through memory one after another. What is larger than this goes back at once; by itself the
  // allocator keeps such blocks, up to twice of all that is used.
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
#endif
  CLI::App tool("Compiles ONNX models for neural processing units", "npuc");
  tool.require_subcommand(1);
  tool.fallthrough();
  std::string form = "text";
  tool.add_option("--diagnostics", form, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  const Command commands[] = {addCheck(tool),   addCompile(tool), addQuantize(tool), addRun(tool),
                              addCompare(tool), addInspect(tool), addDiff(tool),     addOps(tool),
                              addTargets(tool), addVersion(tool)};
  if (std::optional<int> code = parse(tool, argc, argv))
    return *code;
  for (const Command &command : commands)
    if (*command.app)
      return run(command, form == "json");
  return WrongUsage;
}
