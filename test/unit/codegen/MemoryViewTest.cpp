#include "backends/npu/codegen/MemoryView.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::codegen;

namespace {

/// 24 elements, cut into chunks.
Memory memoryOf(int64_t chunk) {
  Memory memory;
  memory.space = isa::Space::Scratchpad;
  memory.type = ElementType::F16;
  memory.elements = 24;
  memory.chunk = chunk;
  for (int64_t first = 0; first < memory.elements; first += chunk)
    memory.buffers.push_back(100 + memory.buffers.size());
  return memory;
}

MemoryView whole(Memory &memory, llvm::ArrayRef<int64_t> sizes) {
  return {&memory, 0, llvm::SmallVector<int64_t, 4>(sizes), denseStrides(sizes)};
}

} // namespace

TEST_CASE("a view knows its elements and its end") {
  Memory memory = memoryOf(24);
  MemoryView view{&memory, 3, {2, 3}, {8, 2}}; // elements 3 5 7, 11 13 15
  CHECK(view.elements() == 6);
  CHECK(view.last() == 15);
  CHECK_FALSE(view.isWhole());
  CHECK(whole(memory, {4, 6}).isWhole());
}

TEST_CASE("reshapes that are views, and those that are not") {
  Memory memory = memoryOf(24);
  MemoryView dense = whole(memory, {4, 6});
  std::optional<MemoryView> split = reshaped(dense, {2, 2, 3, 2});
  REQUIRE(split);
  CHECK(split->strides == llvm::SmallVector<int64_t, 4>{12, 6, 2, 1});
  CHECK(reshaped(dense, {24}));

  // Columns 0 to 3 of the 4x6 matrix: rows are 6 apart, so rows and columns are no one run.
  MemoryView columns{&memory, 0, {4, 4}, {6, 1}};
  CHECK_FALSE(reshaped(columns, {16}));
  std::optional<MemoryView> halves = reshaped(columns, {4, 2, 2});
  REQUIRE(halves);
  CHECK(halves->strides == llvm::SmallVector<int64_t, 4>{6, 2, 1});
  CHECK_FALSE(reshaped(columns, {2, 8}));
  CHECK(reshaped(columns, {1, 4, 1, 4, 1}));
}

TEST_CASE("neighbouring loops that are one for every operand are merged") {
  // Two operands over loops of 2, 3, 1 and 4: the first dense, the second with the rows of 4 repeated for the
  // loop of 3.
  LoopNest nest{{2, 3, 1, 4}, {{12, 4, 9, 1}, {4, 0, 9, 1}}};
  CHECK(coalesce(nest) == llvm::SmallVector<int, 8>{0, 1, -1, 2});
  CHECK(nest.sizes == llvm::SmallVector<int64_t, 8>{2, 3, 4});

  LoopNest dense{{2, 3, 1, 4}, {{12, 4, 9, 1}}};
  CHECK(coalesce(dense) == llvm::SmallVector<int, 8>{0, 0, -1, 0});
  CHECK(dense.sizes == llvm::SmallVector<int64_t, 8>{24});
  CHECK(dense.strides[0] == llvm::SmallVector<int64_t, 8>{1});

  LoopNest indexed{{2, 3, 1, 4}, {{12, 4, 9, 1}}};
  CHECK(coalesce(indexed, {false, true, false, false}) == llvm::SmallVector<int, 8>{0, 1, -1, 2});
}

TEST_CASE("pieces lie inside one shard, and together are the whole") {
  // 4x6 elements in chunks of 10: a row may lie in two shards. Each element must be seen once, at its place.
  Memory from = memoryOf(10), to = memoryOf(24);
  MemoryView source = whole(from, {4, 6}), target{&to, 0, {4, 6}, {1, 4}}; // transposed
  std::vector<int64_t> seen(24, -1);
  forEachPiece(source, target, [&](const MemoryView &a, const MemoryView &b) {
    CHECK(a.offset / 10 == a.last() / 10);
    REQUIRE(a.sizes == b.sizes);
    for (int64_t i = 0; i < a.sizes[0]; ++i)
      for (int64_t j = 0; j < a.sizes[1]; ++j) {
        int64_t at = a.offset + i * a.strides[0] + j * a.strides[1];
        CHECK(seen[at] == -1);
        seen[at] = b.offset + i * b.strides[0] + j * b.strides[1];
      }
  });
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 6; ++j)
      CHECK(seen[i * 6 + j] == j * 4 + i);
}

TEST_CASE("a view of a shard is placed in the shard's buffer") {
  Memory memory = memoryOf(12);
  isa::View view = viewOf({&memory, 14, {2, 3}, {4, 1}}); // of shard 1, which begins at element 12
  CHECK(view.buffer == 101);
  CHECK(view.base == 2 * 2); // two halves of two bytes
  CHECK(view.rank == 2);
  CHECK(view.dims[0] == isa::Dim{2, 4});
  CHECK(view.dims[1] == isa::Dim{3, 1});
}
