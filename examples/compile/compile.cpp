// Compiles a model in this process, writes the artifact, and asks the simulator how long it takes, or for a
// GPU what its kernels do.
#include "compiler/pipeline/Compile.h"
#include "runtime/cuda/Simulated.h"
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
  if (!compilation || !compilation->lowerTo(compilation->programLevel(), diagnostics) ||
      !compilation->write(argv[3], /*withConstants=*/true, diagnostics)) {
    std::fputs(diagnostics.text().c_str(), stderr);
    return 1;
  }
  const bool isForGpu = compilation->programLevel() == pipeline::Level::Ptx;
  if (!isForGpu)
    std::printf("predicted: %lld cycles\n", static_cast<long long>(compilation->solution().cycles));
  compilation.reset();

  device::registerDevice("npu-sim", npu_sim::createDevice);
  device::registerDevice("ptx-sim", cuda::createPtxSim);
  try {
    npurt::Device device(isForGpu ? "ptx-sim" : "npu-sim");
    npurt::Artifact artifact(argv[3]);
    npurt::Session session(device, artifact.program());
    npurt::Profile profile = session.time();
    if (isForGpu)
      std::fputs(profile.text().c_str(), stdout);
    else
      std::printf("simulated: %.0f cycles\n", profile.cycles());
  } catch (const npurt::Error &error) {
    std::fputs(error.what(), stderr);
    return 1;
  }
}
