// What the scheduler knows of a graph before it starts.
#pragma once

#include "backends/npu/schedule/Dependences.h"
#include "backends/npu/schedule/Scheduler.h"

namespace npuc::schedule {

/// Lists of numbers, one for each of 0 … size−1.
struct Lists {
  std::vector<size_t> first{0};
  std::vector<uint32_t> items;
  std::span<const uint32_t> operator[](size_t i) const {
    return {items.data() + first[i], first[i + 1] - first[i]};
  }
  void close() { first.push_back(items.size()); }
};

/// The inverse: result[j] has each i, ascending, whose list has j.
Lists transpose(const Lists &lists, size_t size);

/// Memories are numbered: the cores' scratchpads, their accumulators, shared memory.
uint32_t memoryCount(const Limits &limits);
uint32_t memoryOf(const Limits &limits, const VirtualBuffer &buffer); ///< isa::none: DRAM.
MemoryUse memoryAt(const Limits &limits, uint32_t memory);            ///< Its space, core and capacity.

/// Correct sequential orders of a graph's operations.
enum class Order : uint8_t {
  Written,    ///< As in the graph.
  ByConsumer, ///< Each just before the first that needs it, what takes longest to get first.
  Ahead,      ///< The same, but what must be transferred first comes earlier by what that takes.
  /// As Ahead, but of what is ready vector engines take what comes first in the graph: there stands first
  /// what matrix engines can go on with, and few stages of the work are left half done.
  VectorWritten,
};

struct Plan {
  explicit Plan(const Problem &problem, Order order = Order::Written);

  struct Choice {
    uint8_t dmaClass = 0;
    Price price;
  };

  const Problem problem;
  /// Operations in a sequential order, where each load of what is there from the beginning (a DMA operation
  /// without predecessors) stands just before its first successor; and their positions in it.
  std::vector<uint32_t> sequence, position;
  /// Of each operation: what an engine or a queue takes first of what is ready, least first.
  std::vector<uint32_t> turn;
  /// Cycles for which the busiest engine works on what stands before a position.
  std::vector<int64_t> workBefore;
  Lists predecessors;
  Lists buffers; ///< Of each operation, on chip, without repetition, by `turn`.
  std::vector<Choice> choices;
  std::vector<size_t> firstChoice;
  std::span<const Choice> choicesOf(uint32_t operation) const {
    return {choices.data() + firstChoice[operation], firstChoice[operation + 1] - firstChoice[operation]};
  }

  /// On-chip buffers that are used.
  struct Life {
    uint32_t memory = isa::none;
    uint32_t first = isa::none, last = 0; ///< Positions; a group's buffers start together.
    uint32_t users = 0;                   ///< Operations.
    uint32_t turn = 0;                    ///< Number in its memory, by first position.
    int64_t bytes = 0, alignment = 1;     ///< As the memory rounds them.
    bool isUsed() const { return users > 0; }
  };
  std::vector<Life> lives;
  Lists groups; ///< Used buffers of each group.
  /// need[memory][turn]: bytes alive in sequential order when that buffer starts, itself included.
  std::vector<std::vector<int64_t>> need;

  /// The buffers that get one address with `buffer`: its group or itself.
  std::span<const uint32_t> placedWith(const uint32_t &buffer) const;

private:
  void orderSequence(Order order);
  std::vector<uint32_t> orderByConsumer() const;
  void moveAhead(std::vector<uint32_t> &order) const;
  void findLives();
  void findNeed();
  void findChoices();
  void findWork();
};

/// An error for each memory in which more bytes live at once in sequential order than it has; one of those
/// that differ in the core alone.
bool fits(const Plan &plan, Diagnostics &diagnostics);

/// The greatest of the longest chain of operations, and of the work of each engine, DMA and shared resource.
int64_t lowerBound(const Plan &plan);

} // namespace npuc::schedule
