// Whether a tile graph means something and can run on a machine at all.
#pragma once

#include "backends/npu/schedule/Limits.h"

namespace npuc::schedule {

/// Checks everything that scheduling relies on: indices, views within their buffers for all values of their
/// registers, engines that reach only their own core's memories, a DMA class for every transfer, groups that
/// match their multicasts, and that on-chip buffers and workspaces are written before they are read. Adds an
/// error for each fault (at most 100), located by the operation's source.
bool verify(const TileGraph &graph, const Limits &limits, Diagnostics &diagnostics);

} // namespace npuc::schedule
