// The accesses to one buffer or memory that a later access may still conflict with.
#pragma once

#include "backends/npu/schedule/Footprint.h"
#include "backends/npu/schedule/IntervalMap.h"

namespace npuc::schedule {

/// One operation's access to bytes. Operations are numbered in their order.
struct LiveAccess {
  Footprint bytes;
  uint32_t operation = 0;
  uint32_t lane =
      isa::none; ///< Operations of one lane run one after another anyway; `none`: a lane of its own.
};

class LiveAccesses {
public:
  /// Calls visit(operation) for each write that overlaps `bytes`, and if `write` also for each read, then
  /// forgets those that `bytes` covers if `write`: whatever conflicts with them later conflicts with this
  /// write too.
  template <typename Visit>
  void visitConflicts(const Footprint &bytes, bool write, Visit visit) {
    auto onCandidate = [&](const LiveAccess &access) {
      if (!overlap(access.bytes, bytes))
        return false;
      visit(access.operation);
      return write && covers(bytes, access.bytes);
    };
    writes_.visitOverlaps(bytes.low, bytes.high, onCandidate);
    if (write)
      reads_.visitOverlaps(bytes.low, bytes.high, onCandidate);
  }

  void add(const LiveAccess &access, bool write) {
    const Footprint &bytes = access.bytes;
    if (!write && access.lane != isa::none)
      reads_.visitOverlaps(bytes.low, bytes.high, [&](const LiveAccess &old) {
        return old.lane == access.lane && covers(bytes, old.bytes);
      });
    (write ? writes_ : reads_).insert(bytes.low, bytes.high, access);
  }

private:
  IntervalMap<LiveAccess> reads_, writes_;
};

} // namespace npuc::schedule
