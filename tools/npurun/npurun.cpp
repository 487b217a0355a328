// npurun: runs an artifact, or says how long a run would take; npurun ptx: runs a kernel of a PTX file.
#include "tools/npurun/Ptx.h"
#include "tools/npurun/RunArtifact.h"

#include <string_view>

int main(int argc, char **argv) {
  using namespace npuc::tool;
  if (argc > 1 && std::string_view(argv[1]) == "ptx")
    return runPtx(argc - 1, argv + 1);
  RunOptions options;
  std::string file, diagnosticsForm = "text";
  CLI::App app{"Runs an artifact that npuc compiled, or says how long a run would take.", "npurun"};
  app.footer("Subcommands:\n  ptx                         Runs a kernel of a PTX file on this machine, "
             "without a GPU.");
  app.set_version_flag("--version", std::string("npurun ") + npurt_version());
  app.add_option("FILE", file, "an artifact (.npa)")->required();
  options.add(app);
  app.add_option(
      "--device", options.device,
      "what to run on: npu-sim, or for a GPU's artifact cuda (cuda:1: the second GPU) or its simulator "
      "ptx-sim; by default npu-sim or cuda, as the artifact's target is");
  app.add_flag(
      "--checks", options.checks,
      "npu-sim: also report reads of what was never written, and sums that leave the accumulators; cuda: "
      "run kernel by kernel, to name one that fails");
  app.add_option("--threads", options.threads, "of the simulation; 0: one for each processor")
      ->check(CLI::Range(0u, mostThreads));
  app.add_option("--diagnostics", diagnosticsForm, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  if (std::optional<int> code = parse(app, argc, argv))
    return *code;
  return reportFailures("npurun", diagnosticsForm == "json",
                        [&] { runArtifact(npurt::Artifact(file), file, options); });
}
