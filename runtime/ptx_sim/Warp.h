// The state of a run: a grid, the block that a host thread works at, its warps.
#pragma once

#include "runtime/ptx_sim/Memory.h"
#include "runtime/ptx_sim/Report.h"
#include "runtime/ptx_sim/Shared.h"

#include <atomic>
#include <functional>

namespace npuc::ptx {

/// What all blocks of a run share.
struct Grid {
  const Program &program;
  const Kernel &kernel;
  Memory &memory;
  Dim3 grid, block;
  uint32_t dynamicShared = 0;
  std::vector<std::byte> parameters;
  uint64_t mostInstructions = 0; ///< Of one warp; 0: no limit.
  const std::atomic<bool> *cancelled = nullptr;
};

class Block;

/// Lanes that stand at the same instruction.
struct Part {
  uint32_t pc, mask;
};

/// A copy of cp.async that has not landed.
struct PendingCopy {
  uint32_t instruction, lane, group;
  uint64_t from;
  uint32_t to, bytes, taken; ///< What is not taken of `bytes` becomes 0.
};

/// 32 threads that go in step. Registers are arrays of 32 numbers, one behind the other; operands are places
/// in them. A warp that parts goes on with the part of least rank (Flow.cpp), so that parts meet again as
/// early as they can.
class Warp {
public:
  Warp(Block &block, unsigned index);

  /// For the block's next index.
  void reset();
  /// Until the warp waits, ends, or has run `budget` instructions.
  void run(uint64_t budget);
  bool done() const { return alive_ == 0; }
  bool waiting() const { return waiting_; }
  /// Behind the barrier that it waits at.
  void release();

  // For the handlers of instructions.
  template <typename T>
  const T *source(Slot slot) const {
    return reinterpret_cast<const T *>(slot >= 0 ? file_ + slot : constants_ + ~slot);
  }
  template <typename T>
  T *destination(Slot slot) {
    return reinterpret_cast<T *>(file_ + slot);
  }
  LaneArguments arguments(const Instruction &i, uint32_t mask);

  /// Notes what a check found; `message` is asked for only if this is the first of its kind.
  void found(Check check, const Instruction &i, unsigned lane, const std::function<std::string()> &message,
             uint64_t count = 1);
  Dim3 thread(unsigned lane) const;
  uint32_t position(const Instruction &i) const { return static_cast<uint32_t>(&i - kernel.code.data()); }
  InstructionCounters &counters(const Instruction &i);

  Block &block;
  const Kernel &kernel;
  const unsigned index;
  std::vector<uint32_t> defined; ///< Lanes of each checked register that were written.
  uint32_t carry = 0;
  std::vector<PendingCopy> copies;
  std::array<uint32_t, warpSize> copyGroup{}; ///< Of each lane: how many groups it has committed.
  std::vector<std::byte> local, localWritten; ///< By lane.

  uint64_t executed() const { return executed_; }
  uint32_t alive() const { return alive_; }
  uint32_t lanes() const { return lanes_; } ///< Those that the block's size fills.
  const Instruction &current() const { return kernel.code[parts_[0].pc]; }

private:
  void settle();
  void branch(const Instruction &i, uint32_t mask);
  void branchIndexed(const Instruction &i, uint32_t mask);
  void exit(uint32_t mask);
  /// `guarded`: the lanes whose guard is read.
  void checkDefined(const Instruction &i, uint32_t guarded, uint32_t mask);

  std::vector<Line> registers_;
  std::byte *file_; ///< The same as bytes.
  const std::byte *constants_;
  std::vector<Part> parts_; ///< The first goes on.
  uint32_t alive_ = 0, lanes_ = 0;
  uint64_t executed_ = 0;
  bool waiting_ = false;
};

struct Barrier {
  unsigned arrived = 0;  ///< Warps.
  unsigned expected = 0; ///< 0: all.
  uint32_t waiting = 0;  ///< Warps that wait, as a mask.
  uint32_t line = 0;
  uint32_t popc = 0;
  bool all = true, any = false;
  Clocks joined;
};

class Block {
public:
  explicit Block(const Grid &grid);

  /// Runs the block of this index from beginning to end.
  void run(uint64_t index);

  /// A warp arrives at a barrier, all of it. Its lanes for which `predicate` holds count for reductions.
  void arrive(Warp &warp, const Instruction &i, unsigned id, unsigned expectedThreads, bool waits,
              uint32_t predicate, uint32_t mask);
  /// Barriers that wait for all no longer wait for a warp that ended.
  void ended(Warp &warp);

  const Grid &grid;
  Dim3 index;
  uint64_t linear = 0;
  SharedMemory shared;
  std::vector<Warp> warps;
  std::vector<InstructionCounters> counters;
  std::map<std::pair<Check, uint32_t>, Finding> findings; ///< By check and instruction.
  bool stopped = false;                                   ///< A check found what no thread can go on from.

private:
  void complete(unsigned id);
  void reportDeadlock();
  unsigned live() const;

  std::array<Barrier, 16> barriers_;
};

} // namespace npuc::ptx
