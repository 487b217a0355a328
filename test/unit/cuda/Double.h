// A double of the CUDA driver for tests: the simulator's functions, of which any call can be made to fail,
// with all of them counted; and a small artifact to run on it.
#pragma once

#include "runtime/cuda/Simulated.h"
#include "test/unit/artifact/SmallArtifact.h"

#include <array>
#include <atomic>
#include <functional>

namespace npuc::cuda::test {

/// What the double says of itself; as the simulator does where nothing is given.
struct Machine {
  std::optional<int> driverVersion, gpus, computeCapability;
  std::optional<float> elapsed; ///< Milliseconds between any two events.
};

/// As if it were a GPU, or with the simulator's instruments. Forgets what it counted and was told before.
Driver makeDouble(bool isGpu = true, const Machine &machine = {});

/// Makes one call of the function fail, after `spared` ones.
void failOnce(const std::string &function, CUresult status, int spared = 0);
/// Whether that call came.
bool hasFailed();
int calls(const std::string &function);
std::vector<std::string> functions();
/// What was taken and not given back.
std::string leaks();

/// The small artifact's inputs and outputs on a device.
struct Small {
  explicit Small(const std::function<void(artifact::Manifest &)> &change = {}, const std::string &ptx = {});
  /// Null with errors.
  std::unique_ptr<device::Session> session(const std::shared_ptr<device::Device> &device);
  bool run(device::Session &session, const std::atomic<bool> *cancelled = nullptr);
  /// What y is after `runs` runs with the same ids.
  std::array<int32_t, 16> expected(int runs = 1) const;

  std::shared_ptr<const artifact::Artifact> artifact;
  Diagnostics diagnostics;
  std::array<int32_t, 4> ids = {3, 1, 4, 7};
  std::array<int32_t, 16> y{};

private:
  std::string bytes_;
};

bool has(const std::string &text, const std::string &part);

} // namespace npuc::cuda::test
