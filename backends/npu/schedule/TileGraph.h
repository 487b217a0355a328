// All tile operations of a program, in a sequential order that is correct, and the virtual buffers they work
// on.
//
// The meaning is that of plain sequential code: what may run at once follows from who reads and writes which
// part of which buffer, never from what is written here.
#pragma once

#include "backends/npu/isa/Program.h"
#include "support/Diagnostic.h"

namespace npuc::schedule {

/// A buffer without an address: in one core's scratchpad or accumulator memory, in shared memory, or in DRAM.
/// On-chip buffers and workspaces live from their first to their last operation in sequential order, and
/// several may take the same bytes one after another: so each allocation is a fresh buffer, written before it
/// is read.
struct VirtualBuffer {
  isa::Space space = isa::Space::Scratchpad;
  uint32_t core = 0; ///< Scratchpad, Accumulator: the owner. Others: 0.
  int64_t bytes = 0;
  uint32_t alignment = 1;    ///< Of its address, a power of two; the memory's own alignment holds as well.
  uint32_t dram = isa::none; ///< Dram: index in TileGraph::dram, of which it is the only virtual buffer.
  /// Scratchpad: the buffers of one group have one address on all their cores, at most one buffer on each,
  /// and equal bytes and alignment: what a multicast writes. `none`: on its own. Groups are numbered from 0.
  uint32_t group = isa::none;
  friend bool operator==(const VirtualBuffer &, const VirtualBuffer &) = default;
};

/// Operands' View::buffer is an index in `buffers`, View::base an offset in it. cores[i] is the core whose
/// stream operation i belongs to. Operations have no waits and no signals, and are no barriers; the scheduler
/// chooses dmaClass and queue. A multicast's destination names a buffer of a group, which has one on each
/// listed core.
struct TileGraph : isa::Pools {
  std::string name;
  std::vector<VirtualBuffer> buffers;
  std::vector<isa::Buffer> dram;
  std::vector<isa::Register> registers;
  std::vector<isa::Command> operations;
  std::vector<uint32_t> cores;
};

} // namespace npuc::schedule
