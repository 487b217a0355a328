// Footprints, dependences, reservations and packings against plain enumeration.
#include "RandomGraph.h"
#include "backends/npu/schedule/Dependences.h"
#include "backends/npu/schedule/Memory.h"
#include "backends/npu/schedule/Packing.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

// Views of up to four dimensions, negative, zero and overlapping strides among them, all within bytes −2000 …
// 2000.
isa::View randomView(Random &random) {
  isa::View view;
  view.type =
      std::array{ElementType::I8, ElementType::F16, ElementType::I32, ElementType::I4}[pick(random, 0, 3)];
  const bool isHalf = view.type == ElementType::I4;
  view.base = pick(random, 0, 60);
  view.rank = static_cast<uint8_t>(pick(random, 1, 4));
  for (unsigned d = 0; d < view.rank; ++d) {
    view.dims[d].size = pick(random, 1, 4);
    view.dims[d].stride = isHalf ? 2 * pick(random, 0, 12) : pick(random, -2, 24);
  }
  if (isHalf)
    view.dims[view.rank - 1].stride = pick(random, 0, 1);
  if (pick(random, 0, 3) == 0) {
    view.baseRegister = 0;
    view.registerScale = pick(random, -8, 16);
  }
  return view;
}
const std::vector<isa::Register> registers = {{"r", -1, 2}};

std::set<int64_t> bytesOf(const isa::View &view) {
  std::set<int64_t> result;
  const int64_t bits = bitWidth(view.type);
  for (int64_t r = registers[0].least; r <= registers[0].greatest; ++r)
    for (int64_t i = 0; i < view.elements(); ++i) {
      int64_t rest = i,
              at = view.base * 8 + (view.baseRegister == isa::noRegister ? 0 : r * view.registerScale * 8);
      for (unsigned d = view.rank; d-- > 0; rest /= view.dims[d].size)
        at += rest % view.dims[d].size * view.dims[d].stride * bits;
      for (int64_t bit = at; bit < at + bits; ++bit)
        result.insert(bit >= 0 ? bit / 8 : -((-bit + 7) / 8));
    }
  return result;
}

bool meet(const std::set<int64_t> &a, const std::set<int64_t> &b) {
  return std::any_of(a.begin(), a.end(), [&](int64_t byte) { return b.count(byte) > 0; });
}

isa::View tile(int64_t base, std::vector<isa::Dim> dims) {
  isa::View view;
  view.base = base;
  view.rank = static_cast<uint8_t>(dims.size());
  std::copy(dims.begin(), dims.end(), view.dims.begin());
  return view;
}
bool overlap(const isa::View &a, const isa::View &b) {
  return schedule::overlap(footprint(a, registers), footprint(b, registers));
}

} // namespace

TEST_CASE("No byte of a view is missing from its footprint, and no common byte from an overlap") {
  Random random(1);
  int apart = 0, seen = 0;
  for (int i = 0; i < 8000; ++i) {
    const isa::View a = randomView(random), b = randomView(random);
    const std::set<int64_t> left = bytesOf(a), right = bytesOf(b);
    const Footprint x = footprint(a, registers), y = footprint(b, registers);
    REQUIRE(x.low == *left.begin());
    REQUIRE(x.high == *left.rbegin() + 1);
    if (meet(left, right))
      REQUIRE(schedule::overlap(x, y));
    if (covers(x, y))
      REQUIRE((x.rank == 0 || std::includes(left.begin(), left.end(), right.begin(), right.end())));
    REQUIRE(schedule::overlap(x, y) == schedule::overlap(y, x));
    const bool intervalsMeet = x.low < y.high && y.low < x.high;
    apart += intervalsMeet && !meet(left, right);
    seen += intervalsMeet && !schedule::overlap(x, y);
  }
  // These views are far wilder than tiles; some of what is apart within one interval is still seen to be.
  CHECK(4 * seen > apart);
}

TEST_CASE("Tiles of one matrix are told apart") {
  // A matrix of 8 rows of 32 bytes.
  CHECK_FALSE(overlap(tile(0, {{8, 32}, {16, 1}}), tile(16, {{8, 32}, {16, 1}})));  // left half, right half
  CHECK_FALSE(overlap(tile(0, {{4, 32}, {32, 1}}), tile(128, {{4, 32}, {32, 1}}))); // upper half, lower half
  CHECK_FALSE(
      overlap(tile(0, {{4, 32}, {16, 1}}), tile(80, {{4, 32}, {16, 1}})));   // rows 0–3 left, rows 2–5 right
  CHECK(overlap(tile(0, {{4, 32}, {17, 1}}), tile(80, {{4, 32}, {16, 1}}))); // one column in common
  // Heads of 4 batches of such matrices: the same rows in each, other columns.
  CHECK_FALSE(overlap(tile(0, {{4, 256}, {3, 32}, {8, 1}}), tile(8, {{4, 256}, {3, 32}, {8, 1}})));
  // Other rows in each.
  CHECK_FALSE(overlap(tile(0, {{4, 256}, {3, 32}, {32, 1}}), tile(96, {{4, 256}, {5, 32}, {32, 1}})));
  CHECK(overlap(tile(0, {{4, 256}, {4, 32}, {32, 1}}), tile(96, {{4, 256}, {5, 32}, {32, 1}})));
  // Overlapping windows of a convolution are one run, a broadcast is one byte.
  CHECK(footprint(tile(0, {{4, 2}, {3, 1}}), registers).rank == 0);
  CHECK(footprint(tile(7, {{100, 0}}), registers).high == 8);
}

TEST_CASE("A register's whole range counts") {
  isa::View view = tile(10, {{4, 1}});
  view.baseRegister = 0;
  view.registerScale = 100;
  // Registers are −1 … 2: bytes −90 … −87, 10 … 13, 110 … 113, 210 … 213.
  const Footprint bytes = footprint(view, registers);
  CHECK(bytes.low == -90);
  CHECK(bytes.high == 214);
  CHECK(overlap(view, tile(113, {{1, 1}})));
  CHECK_FALSE(overlap(view, tile(114, {{96, 1}})));
}

TEST_CASE("Dependences order all that conflicts and nothing else") {
  for (unsigned seed = 0; seed < 30; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const TileGraph graph = randomGraph(random, {2, 20});
    const Dependences dependences(graph);
    const auto count = static_cast<uint32_t>(graph.operations.size());
    REQUIRE(dependences.operations() == count);
    GraphAccesses accesses(graph);
    std::vector<std::vector<BufferAccess>> lists;
    for (uint32_t i = 0; i < count; ++i) {
      const auto list = accesses.of(i);
      lists.emplace_back(list.begin(), list.end());
    }
    // reached[j]: whether i comes after j, by any chain.
    std::vector<std::vector<bool>> after(count, std::vector<bool>(count));
    for (uint32_t i = 0; i < count; ++i) {
      for (uint32_t p : dependences.predecessors(i)) {
        REQUIRE(p < i);
        after[i][p] = true;
        for (uint32_t j = 0; j < p; ++j)
          after[i][j] = after[i][j] || after[p][j];
      }
      for (uint32_t j = 0; j < i; ++j) {
        bool conflict = false;
        for (const BufferAccess &x : lists[i])
          for (const BufferAccess &y : lists[j])
            conflict |= x.buffer == y.buffer && (x.write || y.write) && schedule::overlap(x.bytes, y.bytes);
        if (conflict)
          REQUIRE(after[i][j]);
        const auto direct = dependences.predecessors(i);
        if (!conflict)
          REQUIRE(std::find(direct.begin(), direct.end(), j) == direct.end());
      }
    }
  }
}

TEST_CASE("A reservation keeps room for those that come first") {
  // Three buffers of 40, 50 and 30 bytes; the second starts when the first is gone: 40, 50, 80 bytes alive,
  // of 100.
  const std::array<int64_t, 3> need = {40, 50, 80};
  Reservation reservation(need, 100, 100);
  CHECK(reservation.admits(0, 40));
  CHECK(reservation.admits(2, 30)); // beside the first, then beside the second
  reservation.place(2, 30);
  CHECK_FALSE(reservation.admits(1, 31)); // 40 + 30 + 31 > 100 while the first lives
  CHECK(reservation.admits(1, 30));
  reservation.place(0, 40);
  CHECK(reservation.admits(1, 50)); // now the oldest: nothing before it needs room
  reservation.undo(0);
  CHECK_FALSE(reservation.admits(1, 50));
  CHECK_FALSE(Reservation(need, 100, 20).admits(2, 30)); // more than may be ahead
}

TEST_CASE("Range maxima agree with plain loops") {
  Random random(4);
  for (int size : {1, 2, 7, 32}) {
    std::vector<int64_t> values(size);
    std::iota(values.begin(), values.end(), -3);
    RangeMaximum tree(values);
    for (int i = 0; i < 500; ++i) {
      const int first = pick(random, 0, size - 1), end = pick(random, first + 1, size),
                amount = pick(random, -9, 9);
      REQUIRE(tree.greatest(first, end) == *std::max_element(values.begin() + first, values.begin() + end));
      tree.add(first, end, amount);
      std::for_each(values.begin() + first, values.begin() + end, [&](int64_t &v) { v += amount; });
    }
  }
}

TEST_CASE("Packings are sound and reach the lower bound where that is easy") {
  Random random(5);
  int reached = 0;
  constexpr int problems = 40;
  for (int i = 0; i < problems; ++i) {
    PackingProblem problem;
    problem.memories = 2;
    for (int n = 0; n < 60; ++n) {
      PackingProblem::Item item{4 * pick(random, 1, 32), int64_t(1) << pick(random, 0, 2), {}};
      for (uint32_t m = 0; m < 2; ++m)
        if (m == static_cast<uint32_t>(n % 2) || n % 10 == 0) {
          const int begin = pick(random, 0, 90);
          item.lives.push_back({m, begin, begin + pick(random, 1, 12)});
        }
      problem.items.push_back(item);
    }
    const PackingSolution solution = pack(problem);
    REQUIRE(verify(problem, solution));
    const auto bounds = lowerBounds(problem);
    for (size_t m = 0; m < bounds.size(); ++m)
      REQUIRE(solution.peaks[m] >= bounds[m]);
    reached += solution.peaks == bounds;
    PackingSolution broken = solution;
    broken.addresses[0] = broken.addresses[1] + 1; // may still be sound where they do not live together
    broken.peaks[0] = bounds[0] - 1;               // is not
    REQUIRE_FALSE(verify(problem, broken));
  }
  CHECK(reached > problems / 2);
}

TEST_CASE("Nothing is packed into no bytes") {
  PackingProblem problem;
  problem.memories = 2;
  CHECK(pack(problem).peaks == std::vector<int64_t>{0, 0});
}

TEST_CASE("Hill climbing packs what greedy orders do not") {
  // Lives of five buffers over time 0 … 6; the bound is 6 bytes: 4 + 2 at 0, 4 + 2 at 2, 2 + 4 at 4.
  PackingProblem problem;
  problem.items = {{4, 1, {{0, 0, 3}}},
                   {2, 1, {{0, 0, 2}}},
                   {2, 1, {{0, 2, 5}}},
                   {4, 1, {{0, 3, 6}}},
                   {2, 1, {{0, 5, 6}}}};
  const PackingSolution solution = pack(problem);
  CHECK(verify(problem, solution));
  CHECK(lowerBounds(problem)[0] == 6);
  CHECK(solution.peaks[0] == 6);
}
