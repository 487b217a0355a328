// Constants in the order in which a program reads them: a block of weights is cut out of many rows of a
// matrix, and DRAM gives one long run faster than many short ones.
#pragma once

#include "backends/npu/schedule/TileGraph.h"

#include <cstddef>
#include <span>
#include <vector>

namespace npuc::schedule {

/// For each DRAM buffer, the views of its old bytes that now lie one after another, each dense, from its
/// start; none if the buffer is as it was.
using Packings = std::vector<std::vector<isa::View>>;

/// Lays out anew each constant of which copies read parts that do not overlap, and that nothing else reads;
/// the copies then read dense parts. In the order of first use. A part that is read several times lies there
/// once. Types of less than a byte stay as they are.
Packings packConstants(TileGraph &graph);

/// The bytes of a buffer as `views` pack them; as many as `bytes`, what no view reads is 0 at the end.
std::vector<std::byte> packed(std::span<const std::byte> bytes, std::span<const isa::View> views);

} // namespace npuc::schedule
