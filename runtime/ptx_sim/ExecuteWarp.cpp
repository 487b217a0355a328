// What the lanes of a warp and the warps of a block do together.
#include "runtime/ptx_sim/Execute.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace npuc::ptx::execute {
namespace {

/// Whether the lanes that a membermask names are there; notes if not.
void checkMembers(Warp &warp, const Instruction &i, uint32_t mask, Slot members) {
  const uint32_t *named = warp.source<uint32_t>(members);
  eachLane(mask, [&](unsigned l) {
    const uint32_t missing = named[l] & warp.alive() & ~mask;
    if (!(named[l] >> l & 1))
      warp.found(Check::BarrierDivergence, i, l,
                 [&] { return fmt::format("is not named by its own membermask {:#x}", named[l]); });
    else if (missing)
      warp.found(Check::BarrierDivergence, i, l, [&] {
        return fmt::format("waits for lane {}, which its membermask {:#x} names and which took another way",
                           std::countr_zero(missing), named[l]);
      });
  });
}

uint32_t predicate(const Warp &warp, const Instruction &i, Slot slot) {
  return *warp.source<uint32_t>(slot) ^ (i.flags & NegateC ? ~0u : 0);
}

} // namespace

void checkWhole(Warp &warp, const Instruction &i, uint32_t mask) {
  if (mask == warp.lanes() && mask == ~0u)
    return;
  const unsigned missing = static_cast<unsigned>(std::countr_zero(~mask));
  warp.found(Check::BarrierDivergence, i, static_cast<unsigned>(std::countr_zero(mask)), [&] {
    return fmt::format("needs all 32 lanes of its warp, of which lane {} is not there", missing);
  });
}

void barrier(Warp &warp, const Instruction &i, uint32_t mask) {
  const unsigned lane = static_cast<unsigned>(std::countr_zero(mask));
  const uint32_t id = warp.source<uint32_t>(i.a)[lane];
  const uint32_t count = i.b == noSlot ? 0 : warp.source<uint32_t>(i.b)[lane];
  if (id >= 16) {
    warp.found(Check::OutOfBounds, i, lane,
               [&] { return fmt::format("waits at barrier {}, of which there are 16", id); });
    warp.block.stopped = true;
    return;
  }
  warp.block.arrive(warp, i, id, count, i.vector, i.c == noSlot ? 0 : predicate(warp, i, i.c), mask);
}

void warpBarrier(Warp &warp, const Instruction &i, uint32_t mask) {
  checkMembers(warp, i, mask, i.a);
  warp.block.shared.warpBarrier(warp.index);
}

void trap(Warp &warp, const Instruction &i, uint32_t mask) {
  warp.found(
      Check::Trap, i, static_cast<unsigned>(std::countr_zero(mask)),
      [] { return std::string("runs a trap"); }, static_cast<uint64_t>(std::popcount(mask)));
  warp.block.stopped = true;
}

/// PTX ISA, "Data Movement and Conversion Instructions: shfl.sync".
void shuffle(Warp &warp, const Instruction &i, uint32_t mask) {
  checkMembers(warp, i, mask, i.e);
  const uint32_t *a = warp.source<uint32_t>(i.a), *b = warp.source<uint32_t>(i.b),
                 *c = warp.source<uint32_t>(i.c);
  const int32_t given = warp.kernel.lists[i.list], taken = warp.kernel.lists[i.list + 1];
  const uint32_t known = given < 0 ? ~0u : warp.defined[static_cast<size_t>(given)];
  uint32_t result[warpSize], inside = 0, defined = 0;
  eachLane(mask, [&](unsigned l) {
    const int lane = static_cast<int>(l), step = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = lane;
    bool in = false;
    switch (static_cast<ShuffleMode>(i.operation)) {
    case ShuffleMode::Up:
      from = lane - step;
      in = from >= last;
      break;
    case ShuffleMode::Down:
      from = lane + step;
      in = from <= last;
      break;
    case ShuffleMode::Butterfly:
      from = lane ^ step;
      in = from <= last;
      break;
    case ShuffleMode::Index:
      from = first | (step & ~segment);
      in = from <= last;
      break;
    }
    if (!in)
      from = lane;
    inside |= static_cast<uint32_t>(in) << l;
    if (!(mask >> from & 1))
      warp.found(Check::UninitializedRegister, i, l,
                 [&] { return fmt::format("takes from lane {}, which is not there", from); });
    result[l] = a[from];
    defined |= (known >> from & 1) << l;
  });
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) { d[l] = result[l]; });
  if (taken >= 0)
    warp.defined[static_cast<size_t>(taken)] = (warp.defined[static_cast<size_t>(taken)] & ~mask) | defined;
  if (i.d2 != noSlot) {
    uint32_t &p = *warp.destination<uint32_t>(i.d2);
    p = (p & ~mask) | (inside & mask);
  }
}

void vote(Warp &warp, const Instruction &i, uint32_t mask) {
  checkMembers(warp, i, mask, i.b);
  const uint32_t holds = predicate(warp, i, i.a);
  const uint32_t *members = warp.source<uint32_t>(i.b);
  uint32_t results[warpSize];
  eachLane(mask, [&](unsigned l) {
    const uint32_t asked = members[l] & mask, yes = holds & asked;
    switch (static_cast<VoteMode>(i.operation)) {
    case VoteMode::All:
      results[l] = yes == asked;
      break;
    case VoteMode::Any:
      results[l] = yes != 0;
      break;
    case VoteMode::Uniform:
      results[l] = yes == 0 || yes == asked;
      break;
    case VoteMode::Ballot:
      results[l] = yes;
      break;
    }
  });
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) {
    if (static_cast<VoteMode>(i.operation) == VoteMode::Ballot)
      d[l] = results[l];
    else
      *d = (*d & ~(1u << l)) | results[l] << l;
  });
}

void match(Warp &warp, const Instruction &i, uint32_t mask) {
  checkMembers(warp, i, mask, i.b);
  auto value = [&](unsigned l) {
    return i.width == 8 ? warp.source<uint64_t>(i.a)[l] : warp.source<uint32_t>(i.a)[l];
  };
  uint32_t results[warpSize], agree = 0;
  eachLane(mask, [&](unsigned l) {
    const uint32_t asked = warp.source<uint32_t>(i.b)[l] & mask;
    uint32_t equal = 0;
    eachLane(asked,
             [&](unsigned other) { equal |= static_cast<uint32_t>(value(other) == value(l)) << other; });
    const bool all = i.operation;
    agree |= static_cast<uint32_t>(equal == asked) << l;
    results[l] = !all ? equal : equal == asked ? asked : 0;
  });
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) { d[l] = results[l]; });
  if (i.d2 != noSlot) {
    uint32_t &p = *warp.destination<uint32_t>(i.d2);
    p = (p & ~mask) | (agree & mask);
  }
}

void reduceWarp(Warp &warp, const Instruction &i, uint32_t mask) {
  checkMembers(warp, i, mask, i.b);
  const uint32_t *a = warp.source<uint32_t>(i.a), *members = warp.source<uint32_t>(i.b);
  uint32_t results[warpSize];
  eachLane(mask, [&](unsigned l) {
    bool first = true;
    uint32_t r = 0;
    eachLane(members[l] & mask, [&](unsigned other) {
      const uint32_t v = a[other];
      const bool less = i.type == Type::S32 ? static_cast<int32_t>(v) < static_cast<int32_t>(r) : v < r;
      switch (static_cast<AtomicOperation>(i.operation)) {
      case AtomicOperation::Add:
        r += v;
        break;
      case AtomicOperation::And:
        r = first ? v : r & v;
        break;
      case AtomicOperation::Or:
        r |= v;
        break;
      case AtomicOperation::Xor:
        r ^= v;
        break;
      case AtomicOperation::Min:
        r = first || less ? v : r;
        break;
      default:
        r = first || (!less && v != r) ? v : r;
        break;
      }
      first = false;
    });
    results[l] = r;
  });
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) { d[l] = results[l]; });
}

void activeMask(Warp &warp, const Instruction &i, uint32_t mask) {
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) { d[l] = mask; });
}

} // namespace npuc::ptx::execute
