#include "compiler/pipeline/Check.h"
#include "compiler/pipeline/Compile.h"
#include "test/fuzz/Require.h"
#include "test/fuzz/ScratchFile.h"
#include "test/fuzz/Targets.h"

namespace npuc::fuzz {

void model(const uint8_t *data, size_t size) {
  static const ScratchFile file("model.onnx");
  file.write(data, size);
  pipeline::Options options;
  options.target = "toy";
  options.threads = 1;
  Diagnostics diagnostics;
  auto compilation = pipeline::Compilation::import(file.path(), options, diagnostics);
  require((compilation == nullptr) == diagnostics.hasErrors());
  if (compilation)
    require(compilation->lowerTo(pipeline::Level::Linalg, diagnostics) == !diagnostics.hasErrors());
}

} // namespace npuc::fuzz
