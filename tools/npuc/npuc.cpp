// npuc: the compiler on the command line. Exit codes: 0 done, 1 the user's mistake, 2 wrong usage, 70 a bug
// of ours.
#include "tools/npuc/Command.h"

#include "support/File.h"

#include <iostream>

namespace npuc::tool {

bool writeText(const std::string &path, const std::string &text, Diagnostics &diagnostics) {
  if (path.empty() || path == "-") {
    std::cout << text << std::flush;
    return true;
  }
  return writeFile(path, std::as_bytes(std::span(text)), diagnostics);
}

namespace {

int finish(bool done, const Diagnostics &diagnostics, bool json) {
  std::cerr << (json ? diagnostics.json() : diagnostics.text());
  if (diagnostics.hasErrors())
    return UsersMistake;
  if (!done)
    std::cerr << "npuc: this is a bug of npuc: it failed without saying why\n";
  return done ? Done : OurBug;
}

int run(const Command &command, bool json) {
  Session session;
  try {
    bool done = command.run(session);
    return finish(done, session.diagnostics, json);
  } catch (const std::bad_alloc &) {
    session.diagnostics.error("", "there is not enough memory");
    return finish(false, session.diagnostics, json);
  } catch (const std::exception &bug) {
    std::cerr << session.diagnostics.text() << "npuc: this is a bug of npuc: " << bug.what() << '\n';
    return OurBug;
  }
}

} // namespace
} // namespace npuc::tool

int main(int argc, char **argv) {
  using namespace npuc::tool;
  CLI::App tool("Compiles ONNX models for neural processing units", "npuc");
  tool.require_subcommand(1);
  tool.fallthrough();
  std::string form = "text";
  tool.add_option("--diagnostics", form, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  const Command commands[] = {addCompile(tool), addRun(tool), addTargets(tool), addVersion(tool)};
  try {
    tool.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return tool.exit(error) == 0 ? Done : WrongUsage;
  }
  for (const Command &command : commands)
    if (*command.app)
      return run(command, form == "json");
  return WrongUsage;
}
