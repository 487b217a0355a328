#include "runtime/ptx_sim/Warp.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <utility>

namespace npuc::ptx {
namespace {

/// Value of a special register in a lane.
uint64_t special(Special which, const Warp &warp, unsigned lane) {
  const Block &block = warp.block;
  const Grid &grid = block.grid;
  const Dim3 thread = warp.thread(lane);
  const uint32_t bit = 1u << lane;
  switch (which) {
  case Special::TidX:
    return thread.x;
  case Special::TidY:
    return thread.y;
  case Special::TidZ:
    return thread.z;
  case Special::NtidX:
    return grid.block.x;
  case Special::NtidY:
    return grid.block.y;
  case Special::NtidZ:
    return grid.block.z;
  case Special::CtaidX:
    return block.index.x;
  case Special::CtaidY:
    return block.index.y;
  case Special::CtaidZ:
    return block.index.z;
  case Special::NctaidX:
    return grid.grid.x;
  case Special::NctaidY:
    return grid.grid.y;
  case Special::NctaidZ:
    return grid.grid.z;
  case Special::LaneId:
    return lane;
  case Special::WarpId:
    return warp.index;
  case Special::NWarpId:
    return block.warps.size();
  case Special::SmId:
    return 0;
  case Special::NSmId:
    return 1;
  case Special::GridId:
    return 0;
  case Special::LaneMaskEq:
    return bit;
  case Special::LaneMaskLt:
    return bit - 1;
  case Special::LaneMaskLe:
    return bit | (bit - 1);
  case Special::LaneMaskGe:
    return ~(bit - 1);
  case Special::LaneMaskGt:
    return ~(bit | (bit - 1));
  case Special::DynamicSharedSize:
    return grid.dynamicShared;
  case Special::TotalSharedSize:
    return warp.kernel.sharedBytes + grid.dynamicShared;
  case Special::Clock:
  case Special::Clock64:
  case Special::GlobalTimer:
    return 0; // Read anew by mov.
  }
  return 0;
}

} // namespace

Warp::Warp(Block &block, unsigned index)
    : block(block), kernel(block.grid.kernel), index(index), defined(kernel.registerNames.size()),
      local(size_t{kernel.localBytes} * warpSize), localWritten(local.size()),
      registers_(kernel.registerBytes / sizeof(Line)), file_(registers_.data()->bytes),
      constants_(kernel.constants.data()->bytes) {
  const uint64_t left = block.grid.block.count() - uint64_t{index} * warpSize;
  lanes_ = left >= warpSize ? ~0u : (1u << left) - 1;
}

void Warp::reset() {
  std::ranges::fill(defined, 0);
  std::ranges::fill(localWritten, std::byte{0});
  for (const Kernel::SpecialRegister &r : kernel.specials)
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      const uint64_t value = special(r.special, *this, lane);
      if (r.special == Special::GridId)
        destination<uint64_t>(r.slot)[lane] = value;
      else
        destination<uint32_t>(r.slot)[lane] = static_cast<uint32_t>(value);
    }
  copies.clear();
  copyGroup = {};
  carry = 0;
  parts_ = {{0, lanes_}};
  alive_ = lanes_;
  executed_ = 0;
  waiting_ = false;
}

Dim3 Warp::thread(unsigned lane) const {
  return coordinates(uint64_t{index} * warpSize + lane, block.grid.block);
}

InstructionCounters &Warp::counters(const Instruction &i) {
  return block.counters[position(i)];
}

LaneArguments Warp::arguments(const Instruction &i, uint32_t mask) {
  LaneArguments x;
  x.d = i.d == noSlot ? nullptr : destination<std::byte>(i.d);
  x.d2 = i.d2 == noSlot ? nullptr : destination<std::byte>(i.d2);
  auto at = [&](Slot slot) -> const void * { return slot == noSlot ? nullptr : source<std::byte>(slot); };
  x.a = at(i.a);
  x.b = at(i.b);
  x.c = at(i.c);
  x.e = at(i.e);
  x.mask = mask;
  x.flags = i.flags;
  return x;
}

void Warp::found(Check check, const Instruction &i, unsigned lane,
                 const std::function<std::string()> &message, uint64_t count) {
  Finding &finding = block.findings[{check, position(i)}];
  const Dim3 at = thread(lane);
  const auto order = [](Dim3 d) { return std::tuple(d.z, d.y, d.x); };
  if (finding.count == 0 ||
      std::tuple(order(block.index), order(at)) < std::tuple(order(finding.block), order(finding.thread)))
    finding = {check, kernel.name, i.line, block.index, at, message(), finding.count};
  finding.count += count;
}

void Warp::checkDefined(const Instruction &i, uint32_t guarded, uint32_t mask) {
  auto check = [&](int32_t r, uint32_t lanes) {
    const uint32_t missing = lanes & ~defined[static_cast<size_t>(r)];
    if (missing)
      found(
          Check::UninitializedRegister, i, static_cast<unsigned>(std::countr_zero(missing)),
          [&] {
            return fmt::format("reads register {}, which nothing has written",
                               kernel.registerNames[static_cast<size_t>(r)]);
          },
          static_cast<uint64_t>(std::popcount(missing)));
  };
  if (i.guardRegister >= 0)
    check(i.guardRegister, guarded);
  for (unsigned u = 0; u < i.useCount; ++u)
    check(kernel.lists[i.uses + u], mask);
}

/// Ends parts of which only the end is left, joins those that stand at one instruction, and brings the one of
/// least rank to the front. None may be left.
void Warp::settle() {
  // At once, and not when their rank has come: others may be about to wait for all that have not ended.
  std::erase_if(parts_, [&](const Part &p) {
    const Instruction &i = kernel.code[p.pc];
    if (i.flow != Flow::Exit || i.guard != noSlot || i.run)
      return false;
    ++block.counters[p.pc].warps;
    block.counters[p.pc].threads += static_cast<unsigned>(std::popcount(p.mask));
    alive_ &= ~p.mask;
    return true;
  });
  std::ranges::sort(parts_, {}, [&](const Part &p) { return kernel.code[p.pc].rank; });
  size_t kept = 0;
  for (size_t p = 1; p < parts_.size(); ++p)
    if (parts_[p].pc == parts_[kept].pc)
      parts_[kept].mask |= parts_[p].mask;
    else
      parts_[++kept] = parts_[p];
  if (!parts_.empty())
    parts_.resize(kept + 1);
}

void Warp::branch(const Instruction &i, uint32_t mask) {
  Part &part = parts_[0];
  const uint32_t stay = part.mask & ~mask;
  if (!stay) {
    part.pc = i.target;
  } else if (!mask) {
    ++part.pc;
  } else {
    ++counters(i).divergences;
    const Part taken{i.target, mask};
    part = {part.pc + 1, stay};
    parts_.push_back(taken);
    settle();
  }
}

void Warp::branchIndexed(const Instruction &i, uint32_t mask) {
  const uint32_t *index = source<uint32_t>(i.a);
  const Part part = parts_[0];
  parts_.erase(parts_.begin());
  if (part.mask & ~mask)
    parts_.push_back({part.pc + 1, part.mask & ~mask});
  for (unsigned lane = 0; lane < warpSize; ++lane)
    if (mask >> lane & 1) {
      if (index[lane] >= i.listCount) {
        found(Check::OutOfBounds, i, lane,
              [&] { return fmt::format("branches to target {} of {}", index[lane], i.listCount); });
        alive_ &= ~(1u << lane);
        continue;
      }
      parts_.push_back({static_cast<uint32_t>(kernel.lists[i.list + index[lane]]), 1u << lane});
    }
  if (parts_.empty())
    return;
  const size_t before = parts_.size();
  settle();
  counters(i).divergences += before > 1 && parts_.size() > 1;
}

void Warp::exit(uint32_t mask) {
  alive_ &= ~mask;
  Part &part = parts_[0];
  part.mask &= ~mask;
  ++part.pc;
  if (!part.mask)
    parts_.erase(parts_.begin());
  if (!parts_.empty())
    settle();
}

void Warp::release() {
  waiting_ = false;
  ++parts_[0].pc;
}

void Warp::run(uint64_t budget) {
  const uint64_t limit = block.grid.mostInstructions;
  while (budget-- && alive_) {
    if (parts_.size() > 1 && kernel.code[parts_[0].pc].leads)
      settle();
    if (parts_.empty())
      return;
    const Part part = parts_[0];
    const Instruction &i = kernel.code[part.pc];
    uint32_t mask = part.mask;
    if (i.guard != noSlot) {
      const uint32_t guard = *source<uint32_t>(i.guard);
      mask &= i.guardNegated ? ~guard : guard;
    }
    checkDefined(i, part.mask, mask);
    InstructionCounters &counted = block.counters[part.pc];
    ++counted.warps;
    counted.threads += static_cast<unsigned>(std::popcount(mask));
    ++executed_;
    if (limit && executed_ > limit) {
      found(Check::Endless, i, static_cast<unsigned>(std::countr_zero(part.mask)),
            [&] { return fmt::format("is still running after {} instructions of its warp", limit); });
      block.stopped = true;
      return;
    }
    switch (i.flow) {
    case Flow::Next:
      if (mask)
        i.run(*this, i, mask);
      for (unsigned d = 0; d < i.defineCount; ++d)
        defined[static_cast<size_t>(kernel.lists[i.defines + d])] |= mask;
      ++parts_[0].pc;
      break;
    case Flow::Branch:
      branch(i, mask);
      break;
    case Flow::Indexed:
      if (mask)
        branchIndexed(i, mask);
      else
        ++parts_[0].pc;
      break;
    case Flow::Exit:
      if (i.run && mask)
        i.run(*this, i, mask);
      exit(mask);
      break;
    case Flow::Barrier:
      if (!mask) {
        ++parts_[0].pc;
        break;
      }
      waiting_ = true; // The handler may release this warp at once.
      i.run(*this, i, mask);
      for (unsigned d = 0; d < i.defineCount; ++d)
        defined[static_cast<size_t>(kernel.lists[i.defines + d])] |= mask;
      break;
    }
    if (block.stopped || waiting_)
      return;
  }
}

Block::Block(const Grid &grid)
    : grid(grid), shared(grid.kernel.sharedBytes + grid.dynamicShared,
                         static_cast<unsigned>((grid.block.count() + warpSize - 1) / warpSize),
                         grid.kernel.leastSharedWidth),
      counters(grid.kernel.code.size()) {
  const unsigned count = static_cast<unsigned>((grid.block.count() + warpSize - 1) / warpSize);
  warps.reserve(count);
  for (unsigned w = 0; w < count; ++w)
    warps.emplace_back(*this, w);
}

unsigned Block::live() const {
  return static_cast<unsigned>(std::ranges::count_if(warps, [](const Warp &w) { return !w.done(); }));
}

void Block::run(uint64_t at) {
  linear = at;
  index = coordinates(at, grid.grid);
  shared.reset();
  stopped = false;
  barriers_ = {};
  for (Warp &warp : warps)
    warp.reset();
  // Warps take turns, so that one that waits for what another writes gets it.
  constexpr uint64_t turn = 1 << 14;
  while (!stopped && !(grid.cancelled && *grid.cancelled)) {
    bool ran = false;
    for (Warp &warp : warps) {
      if (warp.done() || warp.waiting())
        continue;
      ran = true;
      warp.run(turn);
      if (stopped)
        return;
      if (warp.done())
        ended(warp);
    }
    if (!ran) {
      if (live())
        reportDeadlock();
      return;
    }
  }
}

void Block::arrive(Warp &warp, const Instruction &i, unsigned id, unsigned expectedThreads, bool waits,
                   uint32_t predicate, uint32_t mask) {
  Barrier &barrier = barriers_[id];
  const unsigned lane = static_cast<unsigned>(std::countr_zero(mask));
  if (expectedThreads % warpSize) {
    warp.found(Check::BarrierDivergence, i, lane, [&] {
      return fmt::format("waits for {} threads, which is no multiple of 32", expectedThreads);
    });
    stopped = true;
    return;
  }
  if (mask != warp.alive()) {
    const unsigned absent = static_cast<unsigned>(std::countr_zero(warp.alive() & ~mask));
    const Dim3 t = warp.thread(absent);
    warp.found(Check::BarrierDivergence, i, lane, [&] {
      return fmt::format("is at barrier {} without thread ({}, {}, {}) of its warp, which took another way",
                         id, t.x, t.y, t.z);
    });
    stopped = true;
    return;
  }
  const unsigned expected = expectedThreads / warpSize;
  if (barrier.arrived && barrier.expected != expected) {
    warp.found(Check::BarrierDivergence, i, lane, [&] {
      return fmt::format("waits at barrier {} for another number of threads than line {} does", id,
                         barrier.line);
    });
    stopped = true;
    return;
  }
  barrier.expected = expected;
  barrier.line = i.line;
  ++barrier.arrived;
  barrier.popc += static_cast<unsigned>(std::popcount(predicate & mask));
  barrier.all &= (predicate & mask) == mask;
  barrier.any |= (predicate & mask) != 0;
  shared.arrive(warp.index, barrier.joined);
  if (waits)
    barrier.waiting |= 1u << warp.index;
  else
    warp.release();
  complete(id);
}

void Block::complete(unsigned id) {
  Barrier &barrier = barriers_[id];
  if (!barrier.arrived || barrier.arrived < (barrier.expected ? barrier.expected : live()))
    return;
  const Barrier done = std::exchange(barrier, Barrier{});
  for (Warp &warp : warps)
    if (done.waiting >> warp.index & 1) {
      shared.leave(warp.index, done.joined);
      const Instruction &i = warp.current();
      if (i.d != noSlot) { // bar.red: 0 popc, 1 and, 2 or.
        const uint32_t value = i.operation == 0                           ? done.popc
                               : (i.operation == 1 ? done.all : done.any) ? ~0u
                                                                          : 0;
        if (i.type == Type::Pred)
          *warp.destination<uint32_t>(i.d) = value;
        else
          std::fill_n(warp.destination<uint32_t>(i.d), warpSize, value);
      }
      warp.release();
    }
}

void Block::ended(Warp &) {
  for (unsigned id = 0; id < barriers_.size(); ++id)
    if (!barriers_[id].expected)
      complete(id);
}

void Block::reportDeadlock() {
  for (Warp &warp : warps)
    if (!warp.done()) {
      const Instruction &i = warp.current();
      std::string others;
      for (const Warp &other : warps)
        if (!other.done() && other.current().line != i.line) {
          others = fmt::format("; others of its block wait at line {}", other.current().line);
          break;
        }
      if (others.empty() && live() < warps.size())
        others = "; others of its block have ended";
      warp.found(Check::BarrierDivergence, i, static_cast<unsigned>(std::countr_zero(warp.alive())),
                 [&] { return "waits at a barrier for ever" + others; });
      return;
    }
}

} // namespace npuc::ptx
