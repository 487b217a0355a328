// Index arithmetic of a kernel for the 32 lanes of one warp, at one place of its loops: which lanes run a
// block of code, which addresses they touch.
#pragma once

#include "llvm/ADT/DenseMap.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/IR/Function.h"

#include <array>
#include <functional>
#include <memory>
#include <optional>

namespace npuc::cuda {

/// Of each lane, with as many bits as the type has, the rest 0; of a pointer its distance from what it points
/// into.
using LaneValues = std::array<uint64_t, 32>;

/// Where a warp stands.
struct Place {
  std::array<unsigned, 3> block = {}, grid = {1, 1, 1};
  unsigned firstThread = 0, threads = 32; ///< Of the block's.
  std::function<uint64_t(const llvm::Loop &)> iteration;
};

class Warp {
public:
  Warp(llvm::Function &function, const llvm::LoopInfo &loops, llvm::ScalarEvolution &evolution, Place place);

  /// Nothing if it depends on what is in memory, but for what all lanes read alike: that counts as 0.
  const std::optional<LaneValues> &of(const llvm::Value *value);
  /// Bit i: lane i runs the block. Where a branch depends on memory, all do; loops go on.
  uint32_t lanesIn(const llvm::BasicBlock *block) const { return lanes.lookup(block); }

private:
  std::optional<LaneValues> compute(const llvm::Value *value);
  std::optional<LaneValues> ofInstruction(const llvm::Instruction &instruction);
  std::optional<LaneValues> ofPhi(const llvm::PHINode &phi);
  std::optional<LaneValues> ofCall(const llvm::CallBase &call);
  uint32_t lanesAlong(const llvm::BasicBlock *from, const llvm::BasicBlock *to);

  const llvm::LoopInfo &loops;
  llvm::ScalarEvolution &evolution;
  const llvm::DataLayout &layout;
  Place place;
  /// Pointers, so that what was told stays where it is.
  llvm::DenseMap<const llvm::Value *, std::unique_ptr<std::optional<LaneValues>>> known;
  llvm::DenseMap<const llvm::BasicBlock *, uint32_t> lanes;
};

} // namespace npuc::cuda
