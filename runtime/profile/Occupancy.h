// Bytes of each core's scratchpad that hold something still needed, over time.
#pragma once

#include "backends/npu/timing/Timeline.h"

#include <vector>

namespace npuc::profile {

struct Occupancy {
  uint64_t cycle = 0;
  uint64_t bytes = 0; ///< From this cycle on.
};

/// For each core, changes in order of time. Bytes live from the start of the command that writes them to the
/// end of the last one that reads them before they are written anew; what is only ever read, from 0 on. An
/// operand counts as all bytes between its first and its last.
std::vector<std::vector<Occupancy>> scratchpadOccupancy(const isa::Program &program,
                                                        const timing::Timeline &timeline);

/// At most `most` of them: the greatest of each of as many equal parts of the time.
std::vector<Occupancy> thinned(const std::vector<Occupancy> &changes, uint64_t cycles, size_t most);

} // namespace npuc::profile
