// Instructions on registers alone.
#include "runtime/ptx_sim/Execute.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace npuc::ptx::execute {
namespace {

uint32_t defined(const Warp &warp, int32_t number) {
  return number < 0 ? ~0u : warp.defined[static_cast<size_t>(number)];
}

void setDefined(Warp &warp, int32_t number, uint32_t lanes, uint32_t mask) {
  if (number >= 0)
    warp.defined[static_cast<size_t>(number)] = (defined(warp, number) & ~mask) | (lanes & mask);
}

} // namespace

void lanes(Warp &warp, const Instruction &i, uint32_t mask) {
  i.lanes(warp.arguments(i, mask));
}

void carry(Warp &warp, const Instruction &i, uint32_t mask) {
  LaneArguments x = warp.arguments(i, mask);
  x.d2 = &warp.carry;
  i.lanes(x);
}

void move(Warp &warp, const Instruction &i, uint32_t mask) {
  i.lanes(warp.arguments(i, mask));
  if (i.listCount)
    setDefined(warp, warp.kernel.lists[i.list + 1], defined(warp, warp.kernel.lists[i.list]), mask);
}

/// `list`: the checked registers of a, b and d, or -1.
void select(Warp &warp, const Instruction &i, uint32_t mask) {
  const uint32_t first = *warp.source<uint32_t>(i.c);
  i.lanes(warp.arguments(i, mask));
  const int32_t *numbers = &warp.kernel.lists[i.list];
  setDefined(warp, numbers[2], (defined(warp, numbers[0]) & first) | (defined(warp, numbers[1]) & ~first),
             mask);
}

/// A comparison whose result is a number: all ones, or 1.0.
void set(Warp &warp, const Instruction &i, uint32_t mask) {
  uint32_t holds = 0;
  LaneArguments x = warp.arguments(i, mask);
  x.d = &holds;
  i.lanes(x);
  const uint32_t yes = i.type == Type::F32    ? 0x3f800000u
                       : i.type == Type::F16  ? 0x3c00u
                       : i.type == Type::BF16 ? 0x3f80u
                                              : ~0u;
  eachLane(mask, [&](unsigned l) {
    if (byteWidth(i.type) == 2)
      warp.destination<uint16_t>(i.d)[l] = static_cast<uint16_t>(holds >> l & 1 ? yes : 0);
    else
      warp.destination<uint32_t>(i.d)[l] = holds >> l & 1 ? yes : 0;
  });
}

/// Of two halves: two predicates, the first of the lower, or (`operation`) two numbers 1.0 or 0.
void comparePair(Warp &warp, const Instruction &i, uint32_t mask) {
  uint32_t holds[2] = {};
  const uint32_t *a = warp.source<uint32_t>(i.a), *b = warp.source<uint32_t>(i.b);
  for (unsigned half = 0; half < 2; ++half) {
    uint16_t x[warpSize], y[warpSize];
    for (unsigned l = 0; l < warpSize; ++l) {
      x[l] = static_cast<uint16_t>(a[l] >> (16 * half));
      y[l] = static_cast<uint16_t>(b[l] >> (16 * half));
    }
    LaneArguments arguments = warp.arguments(i, mask);
    arguments.d = &holds[half];
    arguments.d2 = nullptr;
    arguments.a = x;
    arguments.b = y;
    i.lanes(arguments);
  }
  if (i.operation) {
    const uint32_t yes = i.type == Type::F16x2 ? 0x3c00u : 0x3f80u;
    uint32_t *d = warp.destination<uint32_t>(i.d);
    eachLane(mask,
             [&](unsigned l) { d[l] = (holds[1] >> l & 1 ? yes << 16 : 0) | (holds[0] >> l & 1 ? yes : 0); });
    return;
  }
  for (unsigned half = 0; half < 2; ++half) {
    uint32_t &p = *warp.destination<uint32_t>(half ? i.d2 : i.d);
    p = (p & ~mask) | (holds[half] & mask);
  }
}

void convert(Warp &warp, const Instruction &i, uint32_t mask) {
  alignas(64) uint64_t wide[warpSize];
  LaneArguments x = warp.arguments(i, mask);
  x.d = wide;
  i.lanes(x);
  x.d = warp.destination<std::byte>(i.d);
  x.a = wide;
  i.lanes2(x);
}

void pack(Warp &warp, const Instruction &i, uint32_t mask) {
  uint64_t value[warpSize] = {};
  for (unsigned e = 0; e < i.vector; ++e) {
    const Slot slot = warp.kernel.lists[i.list + e];
    for (unsigned l = 0; l < warpSize; ++l) {
      const uint64_t part = i.width == 2   ? warp.source<uint16_t>(slot)[l]
                            : i.width == 4 ? warp.source<uint32_t>(slot)[l]
                                           : 0;
      value[l] |= part << (8 * i.width * e);
    }
  }
  const bool wide = unsigned{i.width} * i.vector == 8;
  eachLane(mask, [&](unsigned l) {
    if (wide)
      warp.destination<uint64_t>(i.d)[l] = value[l];
    else
      warp.destination<uint32_t>(i.d)[l] = static_cast<uint32_t>(value[l]);
  });
  const int32_t *numbers = &warp.kernel.lists[i.list + i.vector];
  uint32_t known = ~0u;
  for (unsigned e = 0; e < i.vector; ++e)
    known &= defined(warp, numbers[e]);
  setDefined(warp, numbers[i.vector], known, mask);
}

void unpack(Warp &warp, const Instruction &i, uint32_t mask) {
  const bool wide = unsigned{i.width} * i.vector == 8;
  uint64_t value[warpSize];
  for (unsigned l = 0; l < warpSize; ++l)
    value[l] = wide ? warp.source<uint64_t>(i.a)[l] : warp.source<uint32_t>(i.a)[l];
  for (unsigned e = 0; e < i.vector; ++e) {
    const Slot slot = warp.kernel.lists[i.list + e];
    eachLane(mask, [&](unsigned l) {
      const uint64_t part = value[l] >> (8 * i.width * e);
      if (i.width == 2)
        warp.destination<uint16_t>(slot)[l] = static_cast<uint16_t>(part);
      else
        warp.destination<uint32_t>(slot)[l] = static_cast<uint32_t>(part);
    });
  }
  const int32_t *numbers = &warp.kernel.lists[i.list + i.vector];
  const uint32_t known = defined(warp, numbers[i.vector]);
  for (unsigned e = 0; e < i.vector; ++e)
    setDefined(warp, numbers[e], known, mask);
}

void add64(Warp &warp, const Instruction &i, uint32_t mask) {
  const uint64_t *a = warp.source<uint64_t>(i.a);
  uint64_t *d = warp.destination<uint64_t>(i.d);
  eachLane(mask, [&](unsigned l) { d[l] = a[l] + static_cast<uint64_t>(i.offset); });
}

void isSpace(Warp &warp, const Instruction &i, uint32_t mask) {
  const uint64_t *a = warp.source<uint64_t>(i.a);
  uint32_t &d = *warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) {
    const uint64_t window = a[l] / sharedWindow;
    const Space space = window == 1   ? Space::Shared
                        : window == 2 ? Space::Local
                        : window == 3 ? Space::Param
                                      : Space::Global;
    d = (d & ~(1u << l)) | static_cast<uint32_t>(space == i.space) << l;
  });
}

/// Clocks count what the warp has run; globaltimer is the host's, in nanoseconds.
void clock(Warp &warp, const Instruction &i, uint32_t mask) {
  const auto special = static_cast<Special>(i.operation);
  const uint64_t value =
      special == Special::GlobalTimer
          ? static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count())
          : warp.executed();
  eachLane(mask, [&](unsigned l) {
    if (i.width == 8)
      warp.destination<uint64_t>(i.d)[l] = value;
    else
      warp.destination<uint32_t>(i.d)[l] = static_cast<uint32_t>(value);
  });
}

void nothing(Warp &, const Instruction &, uint32_t) {}

} // namespace npuc::ptx::execute
