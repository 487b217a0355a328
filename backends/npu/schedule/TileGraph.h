// All tile operations of a program, in a sequential order that is correct, and the virtual buffers they work on.
//
// The meaning is that of plain sequential code: what may run at once follows from who reads and writes which part of which
// buffer, never from what is written here.
#pragma once

#include "backends/npu/isa/Program.h"

namespace npuc::schedule {

/// A buffer without an address: on one core's scratchpad or accumulator memory, in shared memory, or in DRAM. On-chip
/// buffers live from their first to their last operation; several may take the same bytes one after another.
struct VirtualBuffer {
  isa::Space space = isa::Space::Scratchpad;
  uint32_t core = 0;          ///< Scratchpad, Accumulator: the owner.
  int64_t bytes = 0;          ///< Accumulator: 4 (or 8) for each element.
  uint32_t alignment = 1;
  uint32_t dram = isa::none;  ///< Dram: index in TileGraph::dram.
  friend bool operator==(const VirtualBuffer &, const VirtualBuffer &) = default;
};

/// Operands' View::buffer is an index in `buffers`, View::base an offset in it. Commands have no waits and no signals.
/// cores[i] is the core whose stream operation i belongs to.
struct TileGraph : isa::Pools {
  std::string name;
  std::vector<VirtualBuffer> buffers;
  std::vector<isa::Buffer> dram;
  std::vector<isa::Register> registers;
  std::vector<isa::Command> operations;
  std::vector<uint32_t> cores;
};

} // namespace npuc::schedule
