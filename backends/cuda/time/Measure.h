// The work of a program's launches, one after another.
#pragma once

#include "backends/cuda/codegen/Generate.h"

#include "llvm/IR/Module.h"

namespace llvm {
class TargetMachine;
}

namespace npuc::cuda {

/// Sets the work of each launch. `module` has the program's kernels. Of two runs one after the other it is
/// that of the second, which finds in L2 what the first left there.
void measure(Program &program, const llvm::Module &module, llvm::TargetMachine &machine,
             const target::TargetDescription &target);

} // namespace npuc::cuda
