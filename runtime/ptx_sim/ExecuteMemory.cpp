// Loads, stores, atomics, and copies that land when they are waited for.
#include "runtime/ptx_sim/Access.h"
#include "support/ElementType.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace npuc::ptx::execute {
namespace {

/// A number of `width` bytes, extended to 64 bits as its type is.
uint64_t read(const std::byte *from, unsigned width, bool isSigned) {
  uint64_t value = 0;
  std::memcpy(&value, from, width);
  const unsigned unused = 64 - 8 * width;
  return isSigned ? static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused) : value;
}

template <typename T>
void setLane(Warp &warp, Slot slot, unsigned lane, uint64_t value) {
  warp.destination<T>(slot)[lane] = static_cast<T>(value);
}

void setLane(Warp &warp, Slot slot, unsigned width, unsigned lane, uint64_t value) {
  if (width == 4)
    setLane<uint32_t>(warp, slot, lane, value);
  else if (width == 8)
    setLane<uint64_t>(warp, slot, lane, value);
  else
    setLane<uint16_t>(warp, slot, lane, value);
}

uint64_t lane(const Warp &warp, Slot slot, unsigned width, unsigned lane) {
  return width == 4   ? warp.source<uint32_t>(slot)[lane]
         : width == 8 ? warp.source<uint64_t>(slot)[lane]
                      : warp.source<uint16_t>(slot)[lane];
}

/// Whether the address register has 64 bits.
constexpr uint32_t wideAddress = 1, wideSource = 2, ignoreSource = 4;

float addHalf(uint16_t a, uint16_t b) {
  return fromF16(a) + fromF16(b);
}
float addBrain(uint16_t a, uint16_t b) {
  return fromBF16(a) + fromBF16(b);
}

template <typename F>
uint64_t pairs(uint64_t a, uint64_t b, F f) {
  return static_cast<uint64_t>(f(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16))) << 16 |
         f(static_cast<uint16_t>(a), static_cast<uint16_t>(b));
}

uint64_t add(Type type, uint64_t a, uint64_t b) {
  switch (type) {
  case Type::F32:
    return std::bit_cast<uint32_t>(std::bit_cast<float>(static_cast<uint32_t>(a)) +
                                   std::bit_cast<float>(static_cast<uint32_t>(b)));
  case Type::F64:
    return std::bit_cast<uint64_t>(std::bit_cast<double>(a) + std::bit_cast<double>(b));
  case Type::F16:
    return toF16(addHalf(static_cast<uint16_t>(a), static_cast<uint16_t>(b)));
  case Type::BF16:
    return toBF16(addBrain(static_cast<uint16_t>(a), static_cast<uint16_t>(b)));
  case Type::F16x2:
    return pairs(a, b, [](uint16_t x, uint16_t y) { return toF16(addHalf(x, y)); });
  case Type::BF16x2:
    return pairs(a, b, [](uint16_t x, uint16_t y) { return toBF16(addBrain(x, y)); });
  default:
    return a + b;
  }
}

/// What an atomic makes of `old`; operands are extended as the type is.
uint64_t apply(AtomicOperation operation, Type type, uint64_t old, uint64_t b, uint64_t c) {
  const auto less = [&](uint64_t x, uint64_t y) {
    return isSigned(type) ? static_cast<int64_t>(x) < static_cast<int64_t>(y) : x < y;
  };
  switch (operation) {
  case AtomicOperation::And:
    return old & b;
  case AtomicOperation::Or:
    return old | b;
  case AtomicOperation::Xor:
    return old ^ b;
  case AtomicOperation::Exchange:
    return b;
  case AtomicOperation::CompareAndSwap:
    return old == b ? c : old;
  case AtomicOperation::Add:
    return add(type, old, b);
  case AtomicOperation::Increment:
    return old >= b ? 0 : old + 1;
  case AtomicOperation::Decrement:
    return old == 0 || old > b ? b : old - 1;
  case AtomicOperation::Min:
    return less(b, old) ? b : old;
  case AtomicOperation::Max:
    return less(old, b) ? b : old;
  }
  return old;
}

/// Also against other host threads. The old value.
template <typename T, typename F>
uint64_t exchange(std::byte *at, F next) {
  T *word = reinterpret_cast<T *>(at);
  T old = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(word, &old, static_cast<T>(next(old)), true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}

} // namespace

void load(Warp &warp, const Instruction &i, uint32_t mask) {
  uint64_t address[warpSize];
  addresses(warp, i, i.a, i.flags & wideAddress, i.offset, address);
  const unsigned bytes = static_cast<unsigned>(i.width) * i.vector;
  MemoryAccess access(warp, i, i.space, bytes, MemoryAccess::Kind::Read);
  const bool extend = isSigned(i.type);
  eachLane(mask, [&](unsigned l) {
    const Location at = access.at(l, address[l]);
    if (at.data)
      access.note(l, at);
    for (unsigned e = 0; e < i.vector; ++e) {
      const Slot slot = warp.kernel.lists[i.list + 2 * e];
      const unsigned width = static_cast<unsigned>(warp.kernel.lists[i.list + 2 * e + 1]);
      setLane(warp, slot, width, l, at.data ? read(at.data + e * i.width, i.width, extend) : 0);
    }
  });
  access.count();
}

void store(Warp &warp, const Instruction &i, uint32_t mask) {
  uint64_t address[warpSize];
  addresses(warp, i, i.a, i.flags & wideAddress, i.offset, address);
  const unsigned bytes = static_cast<unsigned>(i.width) * i.vector;
  MemoryAccess access(warp, i, i.space, bytes, MemoryAccess::Kind::Write);
  eachLane(mask, [&](unsigned l) {
    const Location at = access.at(l, address[l]);
    if (!at.data)
      return;
    std::byte value[32];
    for (unsigned e = 0; e < i.vector; ++e) {
      const uint64_t number = lane(warp, warp.kernel.lists[i.list + 2 * e],
                                   static_cast<unsigned>(warp.kernel.lists[i.list + 2 * e + 1]), l);
      std::memcpy(value + e * i.width, &number, i.width);
    }
    access.note(l, at, value);
    std::memcpy(at.data, value, bytes);
    std::memset(at.written, 1, bytes);
  });
  access.count();
}

void atomic(Warp &warp, const Instruction &i, uint32_t mask) {
  uint64_t address[warpSize];
  addresses(warp, i, i.a, i.flags & wideAddress, i.offset, address);
  MemoryAccess access(warp, i, i.space, i.width, MemoryAccess::Kind::Atomic);
  const auto operation = static_cast<AtomicOperation>(i.operation);
  const bool extend = isSigned(i.type);
  auto number = [&](Slot slot, unsigned l) {
    if (slot == noSlot)
      return uint64_t{0};
    const uint64_t raw = lane(warp, slot, i.width, l);
    return read(reinterpret_cast<const std::byte *>(&raw), i.width, extend);
  };
  eachLane(mask, [&](unsigned l) {
    const Location at = access.at(l, address[l]);
    uint64_t old = 0;
    if (at.data) {
      access.note(l, at);
      const uint64_t b = number(i.b, l), c = number(i.c, l);
      auto next = [&](auto value) {
        return apply(operation, i.type, read(reinterpret_cast<const std::byte *>(&value), i.width, extend), b,
                     c);
      };
      old = i.width == 8   ? exchange<uint64_t>(at.data, next)
            : i.width == 4 ? exchange<uint32_t>(at.data, next)
                           : exchange<uint16_t>(at.data, next);
      for (unsigned k = 0; k < i.width; ++k)
        __atomic_store_n(at.written + k, 1, __ATOMIC_RELAXED);
    }
    if (i.d != noSlot)
      setLane(warp, i.d, i.width, l, old);
  });
  access.count();
}

void copyAsync(Warp &warp, const Instruction &i, uint32_t mask) {
  uint64_t to[warpSize], from[warpSize];
  addresses(warp, i, i.a, i.flags & wideAddress, i.offset, to);
  addresses(warp, i, i.b, i.flags & wideSource, static_cast<int32_t>(i.target), from);
  MemoryAccess write(warp, i, Space::Shared, i.width, MemoryAccess::Kind::Write);
  MemoryAccess source(warp, i, Space::Global, i.width, MemoryAccess::Kind::Read);
  eachLane(mask, [&](unsigned l) {
    const Location at = write.at(l, to[l]);
    uint32_t taken = i.width;
    if (i.c != noSlot)
      taken = i.flags & ignoreSource ? (*warp.source<uint32_t>(i.c) >> l & 1 ? 0 : taken)
                                     : std::min<uint32_t>(warp.source<uint32_t>(i.c)[l], taken);
    // What is not taken need not be there. Part of it is taken from what is, so that is checked whole.
    if (!at.data || (taken && !source.at(l, from[l]).data))
      return;
    if (auto conflict = warp.block.shared.copy(at.offset, i.width, {warp.index, l, warp.position(i)}, false))
      reportConflict(warp, i, l, *conflict, SharedMemory::Access::Write);
    warp.copies.push_back({warp.position(i), l, warp.copyGroup[l], from[l], at.offset, i.width, taken});
  });
  write.count();
  source.count();
}

void commitGroup(Warp &warp, const Instruction &, uint32_t mask) {
  eachLane(mask, [&](unsigned l) { ++warp.copyGroup[l]; });
}

/// Lands what the lanes wait for: of the groups they have committed all but the `offset` youngest; wait_all:
/// everything.
void waitGroup(Warp &warp, const Instruction &i, uint32_t mask) {
  const bool all = i.operation;
  const uint64_t left = static_cast<uint64_t>(i.offset);
  std::erase_if(warp.copies, [&](const PendingCopy &copy) {
    if (!(mask >> copy.lane & 1) || !(all || copy.group + left < warp.copyGroup[copy.lane]))
      return false;
    SharedMemory &shared = warp.block.shared;
    std::byte *to = shared.data() + copy.to;
    std::memset(to, 0, copy.bytes);
    if (copy.taken) {
      const Region *region = warp.block.grid.memory.find(copy.from);
      std::memcpy(to, region->data.get() + (copy.from - region->address), copy.taken);
    }
    std::memset(shared.written() + copy.to, 1, copy.bytes);
    shared.copy(copy.to, copy.bytes, {warp.index, copy.lane, copy.instruction}, true);
    return true;
  });
}

} // namespace npuc::ptx::execute
