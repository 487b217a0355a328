// One of ONNX's operator tests: read, run, compared.
#pragma once

#include "support/ThreadPool.h"

#include "mlir/IR/MLIRContext.h"

#include <filesystem>
#include <string>

namespace npuc::conformance {

struct Outcome {
  bool passed = false;
  bool constantInputs = false; ///< It passed only with inputs imported as constants.
  std::string message;         ///< Why not, on one line.
  double seconds = 0;
};

class TestRunner {
public:
  /// The test in `folder`, against all of its data sets.
  Outcome run(const std::filesystem::path &folder);

private:
  ThreadPool pool_{2};
};

} // namespace npuc::conformance
