// npuc inspect: what an artifact holds, and how long it would take.
#include "tools/npuc/ArtifactReport.h"
#include "tools/npuc/Command.h"

#include <iostream>

namespace npuc::tool {

Command addInspect(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("inspect", "says what an artifact holds, and how long it would take");
  struct Options {
    std::string file, entryPoint;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app->add_option("FILE", options->file, "an artifact (.npa)")->required();
  app->add_option("--entry-point", options->entryPoint, "which program of the artifact, if it has several");
  app->add_flag("--json", options->json, "the report as JSON");
  return {app, [options](Session &session) {
            auto report = reportArtifact(options->file, options->entryPoint, session.diagnostics);
            if (report)
              std::cout << (options->json ? report->json.dump(2) + '\n' : report->text);
            return report.has_value();
          }};
}

} // namespace npuc::tool
