#include "runtime/ptx_sim/Access.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace npuc::ptx::execute {

void addresses(const Warp &warp, const Instruction &, Slot base, bool wide, int64_t offset, uint64_t *out) {
  const uint64_t plus = static_cast<uint64_t>(offset);
  if (wide) {
    const uint64_t *a = warp.source<uint64_t>(base);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = a[lane] + plus;
  } else { // Addresses of 32 bits stay so.
    const uint32_t *a = warp.source<uint32_t>(base);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = static_cast<uint32_t>(a[lane] + plus);
  }
}

std::string MemoryAccess::verb() const {
  return fmt::format("{} {} byte{}",
                     kind_ == Kind::Read    ? "reads"
                     : kind_ == Kind::Write ? "writes"
                                            : "changes",
                     bytes_, bytes_ == 1 ? "" : "s");
}

void MemoryAccess::outside(unsigned lane, uint64_t address, Space space, uint64_t size) {
  warp_.found(Check::OutOfBounds, i_, lane, [&] {
    return fmt::format("{} at {:#x} of {} memory, of which there are {} bytes", verb(), address, name(space),
                       size);
  });
}

Location MemoryAccess::inWindow(unsigned lane, uint64_t address, Space space, std::byte *data,
                                uint8_t *written, uint64_t size) {
  if (address > size || size - address < bytes_) {
    outside(lane, address, space, size);
    return {};
  }
  return {data + address, written + address, space, static_cast<uint32_t>(address)};
}

Location MemoryAccess::inGlobal(unsigned lane, uint64_t address) {
  if (!region_ || address - region_->address > region_->bytes ||
      region_->bytes - (address - region_->address) < bytes_) {
    const Memory &memory = warp_.block.grid.memory;
    region_ = memory.find(address);
    if (!region_ || region_->bytes - (address - region_->address) < bytes_) {
      const Region *below = memory.below(address);
      warp_.found(Check::OutOfBounds, i_, lane, [&] {
        if (!below || address - below->address > below->bytes + (uint64_t{1} << 32))
          return fmt::format("{} at {:#x}, where there is no memory", verb(), address);
        const uint64_t offset = address - below->address;
        return fmt::format("{} at byte {} of {}, which has {} bytes", verb(), offset, below->name,
                           below->bytes);
      });
      region_ = nullptr;
      return {};
    }
  }
  if (region_->constant && kind_ != Kind::Read) {
    warp_.found(Check::OutOfBounds, i_, lane,
                [&] { return fmt::format("{} of {}, which is constant", verb(), region_->name); });
    return {};
  }
  const uint64_t offset = address - region_->address;
  return {region_->data.get() + offset, region_->written.get() + offset, Space::Global, 0};
}

void MemoryAccess::checkWritten(unsigned lane, const Location &at) {
  // Blocks on other threads may change the same by atomics, and only by those.
  bool written = true;
  if (kind_ == Kind::Atomic)
    for (unsigned k = 0; k < bytes_; ++k)
      written &= __atomic_load_n(at.written + k, __ATOMIC_RELAXED) != 0;
  else
    written = !std::memchr(at.written, 0, bytes_);
  if (written)
    return;
  warp_.found(Check::UninitializedMemory, i_, lane, [&] {
    std::string where = fmt::format("{} memory at {:#x}", name(at.space), at.offset);
    if (at.space == Space::Global) {
      const uint64_t offset = static_cast<uint64_t>(at.data - region_->data.get());
      where = fmt::format("{} at byte {}", region_->name, offset);
    }
    return fmt::format("{} of {}, which nothing has written", verb(), where);
  });
}

Location MemoryAccess::at(unsigned lane, uint64_t address) {
  Space space = space_;
  if (space == Space::Generic) {
    const uint64_t window = address / sharedWindow;
    space = window == 1   ? Space::Shared
            : window == 2 ? Space::Local
            : window == 3 ? Space::Param
                          : Space::Global;
    if (window >= 1 && window <= 3)
      address -= window * sharedWindow;
  }
  if (address % bytes_) {
    warp_.found(Check::Misaligned, i_, lane, [&] {
      return fmt::format("{} at {:#x} of {} memory, which is no multiple of {}", verb(), address, name(space),
                         bytes_);
    });
    return {};
  }
  Location at;
  switch (space) {
  case Space::Shared:
    at = inWindow(lane, address, space, warp_.block.shared.data(), warp_.block.shared.written(),
                  warp_.block.shared.size());
    if (at.data) {
      sharedMask_ |= 1u << lane;
      offsets_[lane] = at.offset;
    }
    break;
  case Space::Local: {
    const size_t begin = size_t{lane} * warp_.kernel.localBytes;
    at = inWindow(lane, address, space, warp_.local.data() + begin,
                  reinterpret_cast<uint8_t *>(warp_.localWritten.data()) + begin, warp_.kernel.localBytes);
    break;
  }
  case Space::Param: {
    const std::vector<std::byte> &parameters = warp_.block.grid.parameters;
    if (address > parameters.size() || parameters.size() - address < bytes_ || kind_ != Kind::Read) {
      outside(lane, address, space, parameters.size());
      return {};
    }
    return {const_cast<std::byte *>(parameters.data()) + address, nullptr, space,
            static_cast<uint32_t>(address)};
  }
  default:
    at = inGlobal(lane, address);
    if (at.data)
      addresses_[global_++] = address;
  }
  if (at.data && kind_ != Kind::Write)
    checkWritten(lane, at);
  return at;
}

void reportConflict(Warp &warp, const Instruction &i, unsigned lane, const SharedMemory::Conflict &conflict,
                    SharedMemory::Access access) {
  using Access = SharedMemory::Access;
  const Dim3 other = warp.block.warps[conflict.other.warp].thread(conflict.other.lane);
  const uint32_t line = warp.kernel.code[conflict.other.instruction].line;
  const char *does = access == Access::Read ? "reads" : access == Access::Write ? "writes" : "changes";
  warp.found(conflict.copying ? Check::UnfinishedCopy : Check::SharedRace, i, lane, [&] {
    if (conflict.copying)
      return fmt::format("{} shared memory into which thread ({}, {}, {}) copies at line {}, a cp.async that "
                         "was not waited for",
                         does, other.x, other.y, other.z, line);
    return fmt::format("{} shared memory that thread ({}, {}, {}) {} at line {}, with no {} between", does,
                       other.x, other.y, other.z, conflict.otherAccess == Access::Read ? "reads" : "writes",
                       line, conflict.other.warp == warp.index ? "bar.warp.sync" : "barrier");
  });
}

void MemoryAccess::note(unsigned lane, const Location &at, const std::byte *bytes) {
  if (at.space != Space::Shared)
    return;
  const bool changes = !bytes || std::memcmp(at.data, bytes, bytes_) != 0;
  if (auto conflict = warp_.block.shared.access(at.offset, bytes_, kind_,
                                                {warp_.index, lane, warp_.position(i_)}, changes))
    reportConflict(warp_, i_, lane, *conflict, kind_);
}

unsigned bankPasses(const uint32_t *offsets, uint32_t mask, unsigned bytes, unsigned &least) {
  const unsigned group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  unsigned passes = 0;
  least = 0;
  for (unsigned first = 0; first < warpSize; first += group) {
    const uint32_t lanes = mask >> first & (group == 32 ? ~0u : (1u << group) - 1);
    if (!lanes)
      continue;
    uint32_t words[warpSize][8]; // Distinct words of each bank, of which there are at most a group's lanes.
    uint8_t counts[warpSize] = {};
    unsigned most = 1;
    uint32_t extra[warpSize];
    unsigned extras = 0;
    eachLane(lanes, [&](unsigned lane) {
      for (unsigned w = 0; w < std::max(1u, bytes / 4); ++w) {
        const uint32_t word = offsets[first + lane] / 4 + w, bank = word % warpSize;
        bool seen = false;
        for (unsigned k = 0; k < std::min<unsigned>(counts[bank], 8); ++k)
          seen |= words[bank][k] == word;
        for (unsigned k = 0; counts[bank] > 8 && k < extras; ++k)
          seen |= extra[k] == word;
        if (seen)
          continue;
        if (counts[bank] < 8)
          words[bank][counts[bank]] = word;
        else
          extra[extras++] = word;
        most = std::max<unsigned>(most, ++counts[bank]);
      }
    });
    passes += most;
    ++least;
  }
  return passes;
}

void MemoryAccess::count() {
  InstructionCounters &counters = warp_.counters(i_);
  if (global_) {
    uint64_t sectors[warpSize];
    unsigned distinct = 0;
    for (unsigned k = 0; k < global_; ++k) {
      const uint64_t sector = addresses_[k] / 32;
      // Neighbours are most often in the same.
      bool seen = false;
      for (unsigned s = distinct; s-- && !seen;)
        seen = sectors[s] == sector;
      if (!seen)
        sectors[distinct++] = sector;
    }
    ++counters.requests;
    counters.sectors += distinct;
    counters.leastSectors += std::min(distinct, (global_ * bytes_ + 31) / 32);
  }
  if (sharedMask_) {
    unsigned least;
    ++counters.sharedRequests;
    counters.wavefronts += bankPasses(offsets_, sharedMask_, bytes_, least);
    counters.leastWavefronts += least;
  }
}

} // namespace npuc::ptx::execute
