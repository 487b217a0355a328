// npuc version: which npuc this is, and what its artifacts are read by.
#include "tools/npuc/Command.h"

#include "runtime/artifact/Format.h"

#include <fmt/format.h>

namespace npuc::tool {

Command addVersion(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("version", "says which npuc this is");
  return {app, [](Session &) {
            fmt::print("npuc {}\nartifacts: format {}, schema {:016x}\n", artifact::version,
                       artifact::formatVersion, artifact::schemaHash);
            return true;
          }};
}

} // namespace npuc::tool
