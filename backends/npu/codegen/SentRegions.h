// What cores sent to where all cores reach it, while a program is expanded.
#pragma once

#include "backends/npu/codegen/MemoryView.h"

#include <vector>

namespace npuc::codegen {

/// Shared memory and DRAM.
bool isReachedByAll(const MemoryView &region);

/// What the loop over cores that runs, and the one before it, copied from buffers of their own. (Of older
/// loops nothing is known: their buffers would live too long.)
class SentRegions {
public:
  void beginLoop();
  /// `core` copied all of `from`, a buffer that the loop which runs allocated, to `to`.
  void add(uint32_t core, const MemoryView &from, const MemoryView &to);
  /// `memory` is written, by other copies than those: it is no longer what was sent of it, or to it before.
  void written(const Memory *memory);

  /// Where `core` has still what it sent to `to` in the loop before; null if it is not there.
  const MemoryView *kept(uint32_t core, const MemoryView &to) const;

  /// Cuts two regions of equal sizes so that what cores sent last of `source` in the loop before, if that is
  /// a part of it along one dimension, comes apart and last: a copy of the rest need not wait for it. Calls
  /// `part` for both regions' parts; once, with all of them, if `source` is not put together so.
  void forEachArrival(const MemoryView &source, const MemoryView &target,
                      llvm::function_ref<void(const MemoryView &, const MemoryView &)> part) const;

private:
  struct Sent {
    uint32_t core;
    MemoryView from, to;
  };
  std::vector<Sent> now_, before_;
};

} // namespace npuc::codegen
