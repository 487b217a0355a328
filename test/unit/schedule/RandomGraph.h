// Random tile graphs, a small machine for them, and an executor of graphs and programs that follows every
// byte.
#pragma once

#include "backends/npu/schedule/Scheduler.h"

#include <random>

namespace npuc::schedule::test {

using Random = std::mt19937;
/// least … greatest.
inline int pick(Random &random, int least, int greatest) {
  return least + static_cast<int>(random() % static_cast<unsigned>(greatest - least + 1));
}

/// Two DMA classes: one between DRAM and scratchpads (own and remote) that multicasts, with two queues; one
/// between DRAM, shared memory and scratchpads that gathers and scatters.
Limits smallMachine(uint32_t cores);

/// 8 cycles + 1 for each 8 bytes touched; DRAM gives 32 bytes, shared memory 16 bytes a cycle.
class ByteCost : public CostModel {
public:
  Price price(const TileGraph &graph, uint32_t operation, uint8_t dmaClass) const override;
};

struct RandomOptions {
  uint32_t cores = 2;
  int steps = 40;      ///< Buffers that are made, each by a few operations.
  int livePerCore = 4; ///< Buffers that are kept at once.
  int columns = 16;    ///< Most columns of a buffer; rows are at most half as many.
};

/// Fills buffers tile by tile (loads, vector programs, contractions, copies from other cores, multicasts),
/// reads, updates and stores them; every byte is written before it is read. Constants, an output, a state
/// with a register in its address, workspaces.
TileGraph randomGraph(Random &random, const RandomOptions &options);

/// Every byte a number that tells how it came about.
using Bytes = std::vector<uint64_t>;

/// What DRAM buffers (not workspaces) hold after the operations ran one after another. A read of a byte that
/// nothing wrote fails the test. Registers have the value least + (greatest − least) · `register share`.
std::vector<Bytes> runGraph(const TileGraph &graph, double registerShare);

/// The same for a program, whose commands start and finish in a random order among those that queues, their
/// depth and semaphores allow: operands are read at the start and written at the end. Empty if it cannot go
/// on.
std::vector<Bytes> runProgram(const isa::Program &program, const Limits &limits, double registerShare,
                              Random &random);

} // namespace npuc::schedule::test
