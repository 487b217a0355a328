// One of ONNX's operator tests: read, run, compared.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace npuc::conformance {

struct Outcome {
  bool passed = false;
  bool constantInputs = false; ///< It passed only with inputs imported as constants.
  std::string message;         ///< Why not, on one line.
  /// The message is an error of the compiler or the runtime, not of this program's comparisons.
  bool refused = false;
};

/// Runs tests, used by one thread at a time.
class Runner {
public:
  virtual ~Runner() = default;
  /// The test in `folder`, against all of its data sets.
  virtual Outcome run(const std::filesystem::path &folder) = 0;
};

/// Through importer and interpreter.
std::unique_ptr<Runner> interpreterRunner();
/// Through compiler and simulator, as a user calls them; what `npuc check` says must be what happens.
std::unique_ptr<Runner> compiledRunner(std::string target);

} // namespace npuc::conformance
