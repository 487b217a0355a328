// The work of a program's launches, one after another.
#pragma once

#include "backends/cuda/codegen/Generate.h"
#include "backends/cuda/time/Count.h"

#include <map>
#include <tuple>

namespace npuc::cuda {

class Residency;

/// A launch that can stand in place of `count` launches of a program from the one of number `first` on.
struct Alternative {
  size_t first = 0, count = 0;
  Launch launch;
  /// What it is predicted to take, and those launches one after another.
  double microseconds = 0, apart = 0;
};

class Meter {
public:
  /// `module` has the program's kernels.
  Meter(const llvm::Module &module, llvm::TargetMachine &machine, const target::TargetDescription &target)
      : target(target), counter(module, machine, target) {}

  /// Sets the work of each launch, and of each alternative, as if it alone stood in the place of others. Of
  /// two runs one after the other it is that of the second, which finds in L2 what the first left there.
  void measure(Program &program, llvm::MutableArrayRef<Alternative> alternatives = {});

private:
  void touch(Launch &launch, Residency &l2);

  const target::TargetDescription &target;
  Counter counter;
  std::map<std::tuple<std::string, std::array<unsigned, 3>, unsigned>, Work> counted;
  std::map<std::tuple<std::string, unsigned, std::vector<bool>>, double> cycles;
};

} // namespace npuc::cuda
