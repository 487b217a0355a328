// Shared memory of one block, and who touched it when: races are accesses of which neither happens before the
// other.
//
// Each warp has a clock for each warp: what it knows to have happened there. A barrier joins the clocks of
// those who take part and then advances them, so an access happened before another exactly if its warp's
// clock at that time is not beyond what the other's warp knows (vector clocks; bar.arrive gives and does not
// take, named barriers join only their own). Within a warp, bar.warp.sync advances its own clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace npuc::ptx {

using Clocks = std::vector<uint32_t>;

class SharedMemory {
public:
  enum class Access : uint8_t { Read, Write, Atomic };
  struct Who {
    uint32_t warp, lane, instruction;
  };
  struct Conflict {
    Who other;
    Access otherAccess;
    bool copying; ///< The other is a copy of cp.async that was not waited for.
  };

  /// For a block of `warps` warps; `granule` bytes, 1, 2 or 4, are no more than any access has.
  SharedMemory(uint32_t bytes, unsigned warps, unsigned granule);

  /// For the next block: nothing is written, and all that was happened before.
  void reset();

  uint32_t size() const { return static_cast<uint32_t>(data_.size()); }
  std::byte *data() { return data_.data(); }
  uint8_t *written() { return written_.data(); }

  /// Notes an access of bytes that lie inside, and returns one that it conflicts with. `changes`: a write
  /// whose bytes differ from what is there; those of one instruction may write the same.
  std::optional<Conflict> access(uint32_t offset, uint32_t bytes, Access access, Who who,
                                 bool changes = true);
  /// Notes that a copy is on its way to these bytes, or (`landing`) has arrived.
  std::optional<Conflict> copy(uint32_t offset, uint32_t bytes, Who who, bool landing);

  /// A warp that arrives at a barrier adds what it knows; one that leaves it takes what all knew.
  void arrive(unsigned warp, Clocks &joined);
  void leave(unsigned warp, const Clocks &joined);
  void warpBarrier(unsigned warp) { ++clock(warp, warp); }

private:
  struct Write {
    uint32_t clock = 0, instruction = 0;
    uint16_t warp = 0;
    uint8_t lane = 0, atomic = 0;
  };
  struct Read {
    uint32_t clock = 0, instruction = 0;
    uint8_t lane = 0, several = 0;
  };

  uint32_t &clock(unsigned warp, unsigned of) { return clocks_[warp * warps_ + of]; }
  std::optional<Conflict> conflict(uint32_t g, Access access, Who who, bool changes);
  Conflict unfinished(uint32_t g) const;

  unsigned warps_, shift_;
  std::vector<std::byte> data_;
  std::vector<uint8_t> written_;
  std::vector<Write> writes_;
  std::vector<Read> reads_;             ///< Of each granule, by warp.
  std::vector<uint32_t> copying_;       ///< The instruction plus 1 of a copy on its way.
  std::vector<uint16_t> copyingThread_; ///< Of the block, that copies.
  Clocks clocks_;
};

} // namespace npuc::ptx
