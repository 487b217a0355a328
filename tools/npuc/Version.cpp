// npuc version: which npuc this is, and what its artifacts are read by.
#include "tools/npuc/Command.h"

#include "runtime/artifact/Format.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

namespace npuc::tool {

Command addVersion(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("version", "says which npuc this is");
  auto json = std::make_shared<bool>(false);
  app->add_flag("--json", *json, "the same as JSON");
  return {app, [json](Session &) {
            std::string schema = fmt::format("{:016x}", artifact::schemaHash);
            nlohmann::ordered_json report = {{"schema_version", 1},
                                             {"version", artifact::version},
                                             {"artifact_format", artifact::formatVersion},
                                             {"artifact_schema", schema}};
            if (*json)
              fmt::print("{}\n", report.dump(2));
            else
              fmt::print("npuc {}\nartifacts: format {}, schema {}\n", artifact::version,
                         artifact::formatVersion, schema);
            return true;
          }};
}

} // namespace npuc::tool
