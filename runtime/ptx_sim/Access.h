// One access of a warp to memory: where each lane's bytes are, checked and counted.
#pragma once

#include "runtime/ptx_sim/Execute.h"

namespace npuc::ptx::execute {

struct Location {
  std::byte *data = nullptr; ///< Null: there is nothing, which a check has told.
  uint8_t *written = nullptr;
  Space space = Space::Global;
  uint32_t offset = 0; ///< In shared memory.
};

class MemoryAccess {
public:
  using Kind = SharedMemory::Access;
  /// Of `bytes` bytes in each lane.
  MemoryAccess(Warp &warp, const Instruction &i, Space space, unsigned bytes, Kind kind)
      : warp_(warp), i_(i), space_(space), bytes_(bytes), kind_(kind) {}

  /// Where a lane's bytes are. Checks bounds and alignment, and of what is read whether it was written.
  Location at(unsigned lane, uint64_t address);
  /// Notes an access to shared memory that at() found, for races; `bytes`: what will be written.
  void note(unsigned lane, const Location &at, const std::byte *bytes = nullptr);
  /// Counts what the lanes did.
  void count();

private:
  Location inGlobal(unsigned lane, uint64_t address);
  Location inWindow(unsigned lane, uint64_t address, Space space, std::byte *data, uint8_t *written,
                    uint64_t size);
  void checkWritten(unsigned lane, const Location &at);
  void outside(unsigned lane, uint64_t address, Space space, uint64_t size);
  std::string verb() const;

  Warp &warp_;
  const Instruction &i_;
  Space space_;
  unsigned bytes_;
  Kind kind_;
  const Region *region_ = nullptr;
  unsigned global_ = 0;
  uint64_t addresses_[warpSize];
  uint32_t sharedMask_ = 0;
  uint32_t offsets_[warpSize];
};

/// What tells of two accesses to the same shared memory.
void reportConflict(Warp &warp, const Instruction &i, unsigned lane, const SharedMemory::Conflict &conflict,
                    SharedMemory::Access access);

/// How many passes the 32 banks of 4 bytes need for accesses of `bytes` bytes by the lanes of `mask`: as many
/// lanes go together as have 128 bytes; of one bank only one word in a pass. `least`: the passes if no two
/// words were of one bank.
unsigned bankPasses(const uint32_t *offsets, uint32_t mask, unsigned bytes, unsigned &least);

/// The address of each lane: what the register or constant `base` holds plus the instruction's offset.
void addresses(const Warp &warp, const Instruction &i, Slot base, bool wide, int64_t offset, uint64_t *out);

} // namespace npuc::ptx::execute
