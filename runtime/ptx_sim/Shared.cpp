#include "runtime/ptx_sim/Shared.h"

#include <algorithm>
#include <bit>

namespace npuc::ptx {

SharedMemory::SharedMemory(uint32_t bytes, unsigned warps, unsigned granule)
    : warps_(warps), shift_(static_cast<unsigned>(std::countr_zero(granule))), data_(bytes), written_(bytes),
      writes_((bytes >> shift_) + 1), reads_(writes_.size() * warps), copying_(writes_.size()),
      copyingThread_(writes_.size()), clocks_(size_t{warps} * warps) {
  reset();
}

void SharedMemory::reset() {
  std::ranges::fill(written_, 0);
  std::ranges::fill(copying_, 0);
  uint32_t last = *std::ranges::max_element(clocks_);
  if (last > UINT32_MAX / 2) {
    std::ranges::fill(writes_, Write{});
    std::ranges::fill(reads_, Read{});
    last = 0;
  }
  std::ranges::fill(clocks_, last);
  for (unsigned w = 0; w < warps_; ++w)
    clock(w, w) = last + 1;
}

void SharedMemory::arrive(unsigned warp, Clocks &joined) {
  joined.resize(warps_);
  for (unsigned w = 0; w < warps_; ++w)
    joined[w] = std::max(joined[w], clock(warp, w));
  ++clock(warp, warp);
}

void SharedMemory::leave(unsigned warp, const Clocks &joined) {
  for (unsigned w = 0; w < warps_; ++w)
    clock(warp, w) = std::max(clock(warp, w), joined[w]);
}

SharedMemory::Conflict SharedMemory::unfinished(uint32_t g) const {
  return {{copyingThread_[g] / 32u, copyingThread_[g] % 32u, copying_[g] - 1}, Access::Write, true};
}

std::optional<SharedMemory::Conflict> SharedMemory::conflict(uint32_t g, Access access, Who who,
                                                             bool changes) {
  const uint32_t now = clock(who.warp, who.warp);
  const Write &write = writes_[g];
  if (write.clock && !(access == Access::Atomic && write.atomic)) {
    const bool other = write.warp != who.warp;
    const bool sameStore = !other && write.instruction == who.instruction && access != Access::Read;
    if (other ? write.clock > clock(who.warp, write.warp)
              : write.clock == now && write.lane != who.lane && (!sameStore || changes))
      return Conflict{
          {write.warp, write.lane, write.instruction}, write.atomic ? Access::Atomic : Access::Write, false};
  }
  if (access == Access::Read)
    return std::nullopt;
  const Read *reads = &reads_[size_t{g} * warps_];
  for (unsigned w = 0; w < warps_; ++w) {
    const Read &read = reads[w];
    if (read.clock && (w != who.warp ? read.clock > clock(who.warp, w)
                                     : read.clock == now && (read.several || read.lane != who.lane)))
      return Conflict{{w, read.lane, read.instruction}, Access::Read, false};
  }
  return std::nullopt;
}

std::optional<SharedMemory::Conflict> SharedMemory::access(uint32_t offset, uint32_t bytes, Access access,
                                                           Who who, bool changes) {
  std::optional<Conflict> found;
  const uint32_t now = clock(who.warp, who.warp);
  for (uint32_t g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    if (copying_[g] && !found)
      found = unfinished(g);
    if (!found)
      found = conflict(g, access, who, changes);
    if (access == Access::Read) {
      Read &read = reads_[size_t{g} * warps_ + who.warp];
      const bool several = read.clock == now && (read.several || read.lane != who.lane);
      read = {now, who.instruction, static_cast<uint8_t>(who.lane), several};
    } else {
      writes_[g] = {now, who.instruction, static_cast<uint16_t>(who.warp), static_cast<uint8_t>(who.lane),
                    access == Access::Atomic};
    }
  }
  return found;
}

std::optional<SharedMemory::Conflict> SharedMemory::copy(uint32_t offset, uint32_t bytes, Who who,
                                                         bool landing) {
  std::optional<Conflict> found;
  for (uint32_t g = offset >> shift_; g <= (offset + bytes - 1) >> shift_; ++g) {
    if (landing) {
      copying_[g] = 0;
      writes_[g] = {clock(who.warp, who.warp), who.instruction, static_cast<uint16_t>(who.warp),
                    static_cast<uint8_t>(who.lane), 0};
      continue;
    }
    if (!found)
      found = copying_[g] ? unfinished(g) : conflict(g, Access::Write, who, true);
    copying_[g] = who.instruction + 1;
    copyingThread_[g] = static_cast<uint16_t>(who.warp * 32 + who.lane);
  }
  return found;
}

} // namespace npuc::ptx
