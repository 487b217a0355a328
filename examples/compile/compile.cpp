// Compiles a model in this process, writes the artifact, and asks the simulator how long it takes.
#include "compiler/pipeline/Compile.h"
#include "runtime/device/Registry.h"
#include "runtime/npu_sim/NpuSim.h"

#include <npurt.hpp>

#include <cstdio>

using namespace npuc;

int main(int argc, char **argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: compile MODEL.onnx TARGET OUT.npa [SYMBOL SIZE]...\n");
    return 2;
  }
  pipeline::Options options;
  options.target = argv[2];
  for (int i = 4; i + 1 < argc; i += 2)
    options.shapes[argv[i]] = {std::atoll(argv[i + 1])};

  Diagnostics diagnostics;
  auto compilation = pipeline::Compilation::import(argv[1], options, diagnostics);
  if (!compilation || !compilation->lowerTo(pipeline::Level::Isa, diagnostics) ||
      !compilation->write(argv[3], /*withConstants=*/true, diagnostics)) {
    std::fputs(diagnostics.text().c_str(), stderr);
    return 1;
  }
  std::printf("predicted: %lld cycles\n", static_cast<long long>(compilation->solution().cycles));
  compilation.reset();

  device::registerDevice("npu-sim", npu_sim::createDevice);
  try {
    npurt::Device device("npu-sim");
    npurt::Artifact artifact(argv[3]);
    npurt::Session session(device, artifact.program());
    std::printf("simulated: %.0f cycles\n", session.time().cycles());
  } catch (const npurt::Error &error) {
    std::fputs(error.what(), stderr);
    return 1;
  }
}
