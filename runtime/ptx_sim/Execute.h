// What runs instructions: for each family a function on a warp.
#pragma once

#include "runtime/ptx_sim/Warp.h"

namespace npuc::ptx::execute {

#define NPUC_HANDLER(name) void name(Warp &warp, const Instruction &i, uint32_t mask);
// Lanes.cpp's functions on registers.
NPUC_HANDLER(lanes)
NPUC_HANDLER(carry)
NPUC_HANDLER(move)   ///< What was not written stays so; `list`: the checked registers from and to.
NPUC_HANDLER(select) ///< Likewise.
NPUC_HANDLER(set)
NPUC_HANDLER(comparePair)
NPUC_HANDLER(convert)
// mov of a vector into one register and back: `list` has slots of `width` bytes, their checked registers or
// -1, and that of the whole. What was not written stays so.
NPUC_HANDLER(pack)
NPUC_HANDLER(unpack)
NPUC_HANDLER(add64) ///< cvta: plus `offset`.
NPUC_HANDLER(isSpace)
NPUC_HANDLER(clock)
NPUC_HANDLER(nothing)
// Memory.
NPUC_HANDLER(load)
NPUC_HANDLER(store)
NPUC_HANDLER(atomic)
NPUC_HANDLER(copyAsync)
NPUC_HANDLER(commitGroup)
NPUC_HANDLER(waitGroup)
// What warps and blocks do together.
NPUC_HANDLER(barrier)
NPUC_HANDLER(warpBarrier)
NPUC_HANDLER(shuffle) ///< `list`: the checked registers of a and d, or -1.
NPUC_HANDLER(vote)
NPUC_HANDLER(match)
NPUC_HANDLER(reduceWarp)
NPUC_HANDLER(activeMask)
NPUC_HANDLER(trap)
// Matrices.
NPUC_HANDLER(loadMatrix)
NPUC_HANDLER(moveMatrix)
NPUC_HANDLER(mma)
#undef NPUC_HANDLER

enum class AtomicOperation : uint8_t {
  And,
  Or,
  Xor,
  Exchange,
  CompareAndSwap,
  Add,
  Increment,
  Decrement,
  Min,
  Max
};
enum class ShuffleMode : uint8_t { Up, Down, Butterfly, Index };
enum class VoteMode : uint8_t { All, Any, Uniform, Ballot };

/// Calls body(lane) for the lanes of a mask, from the lowest.
template <typename F>
void eachLane(uint32_t mask, F body) {
  for (; mask; mask &= mask - 1)
    body(static_cast<unsigned>(__builtin_ctz(mask)));
}

/// For instructions of all lanes of a warp together: notes who is missing.
void checkWhole(Warp &warp, const Instruction &i, uint32_t mask);

} // namespace npuc::ptx::execute
