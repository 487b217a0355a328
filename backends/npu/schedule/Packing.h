// Addresses for buffers whose lifetimes are known: none shares a byte with another that lives at the same
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace npuc::schedule {

/// Lifetimes are half-open intervals of any clock.
struct PackingProblem {
  struct Life {
    uint32_t memory = 0;
    int64_t begin = 0, end = 0;
  };
  /// One address in all memories that it lives in.
  struct Item {
    int64_t bytes = 0, alignment = 1;
    std::vector<Life> lives;
  };
  uint32_t memories = 1;
  std::vector<int64_t> enough; ///< Bytes of each memory: a peak within them needs no search. Empty: 0.
  std::vector<Item> items;
  int64_t climbing = 200'000; ///< Items that hill climbing may place.
};

struct PackingSolution {
  std::vector<int64_t> addresses; ///< Of each item.
  std::vector<int64_t> peaks;     ///< Of each memory: the end of its highest item.
};

/// For each memory the greatest sum of bytes that live at once: no packing takes less.
std::vector<int64_t> lowerBounds(const PackingProblem &problem);

/// First fit in several orders (by start; by size; by size and length), then hill climbing on the best: what
/// blocks the highest items is placed before them. Stops when each memory is at its lower bound or within
/// `enough`, or after bounded work. The same problem always has the same solution.
PackingSolution pack(const PackingProblem &problem);

/// Whether no two items overlap in a memory while both live, and all are aligned.
bool verify(const PackingProblem &problem, const PackingSolution &solution);

} // namespace npuc::schedule
