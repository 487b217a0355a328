// The text form of tile graphs, for tests and bug reports.
//
//   graph "encoder" {
//     buffer "weights" constant i8[512] bytes=512 align=64
//     register "position" 0..511
//     virtual 0 dram[0] bytes=512 align=64
//     virtual 1 scratchpad[0] bytes=256 align=32 group=0
//     core 0 {
//       copy @dma0.0 (dram[0]:i8[256], scratchpad[1]:i8[256]) from "layer.0/query"
//     }
//   }
//
// `virtual` buffers are numbered in order; the index is the DRAM buffer's or the core's (of shared memory 0).
// Operands name virtual buffers. The operations stand in sequential order, those that follow each other on
// one core in one block; they are written as isa/Text.h says.
#pragma once

#include "backends/npu/schedule/TileGraph.h"

#include <optional>

namespace npuc::schedule {

/// print() and parseGraph() are inverse up to equivalent().
std::string print(const TileGraph &graph);
std::optional<TileGraph> parseGraph(std::string_view text, std::string file, Diagnostics &diagnostics);

/// The two are one graph: equal but for how their pools are laid out.
bool equivalent(const TileGraph &a, const TileGraph &b);

} // namespace npuc::schedule
