// How long a block takes that has a multiprocessor for itself: from barrier to barrier, and from branch to
// branch, what is longest, the instructions' issue, their lanes, tensor cores, or what waits for what.
#pragma once

#include "backends/cuda/time/Instructions.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/Function.h"

namespace npuc::cuda {

class BlockTimes {
public:
  explicit BlockTimes(const target::TargetDescription &target) : target(target), instructions(target) {}

  /// Cycles of one block of `warps` warps that go together and run every branch of `function`. `trips`: of a
  /// loop; `inL2`: of each argument, whether L2 holds it.
  double cyclesOf(const llvm::Function &function, const llvm::LoopInfo &loops,
                  llvm::function_ref<uint64_t(const llvm::Loop &)> trips, unsigned warps,
                  const std::vector<bool> &inL2) const;

private:
  const target::TargetDescription &target;
  Instructions instructions;
};

} // namespace npuc::cuda
