// Counts what kernels do on LLVM's instructions, as they stand before they become PTX.
#pragma once

#include "backends/cuda/time/Work.h"

#include "llvm/IR/Module.h"

#include <memory>

namespace llvm {
class TargetMachine;
}

namespace npuc::cuda {

class Counter {
public:
  /// `machine`: whose PTX the module becomes.
  Counter(const llvm::Module &module, llvm::TargetMachine &machine, const target::TargetDescription &target);
  ~Counter();

  /// Of a launch of `kernel`, which the module has: all but dramBytes and blockCycles.
  Work count(const std::string &kernel, const Geometry &geometry);
  /// Cycles of one block that has a multiprocessor for itself. `inL2`: of each argument, whether L2 holds it.
  double blockCycles(const std::string &kernel, const Geometry &geometry, const std::vector<bool> &inL2);

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace npuc::cuda
