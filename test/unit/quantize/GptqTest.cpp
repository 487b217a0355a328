#include "compiler/quantize/Gptq.h"
#include "compiler/quantize/Panel.h"
#include "support/ElementType.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <random>

using namespace npuc;
using namespace npuc::quantize;

namespace {

std::optional<std::vector<int8_t>> byGptq(std::span<const float> weights, int64_t rows, int64_t columns,
                                          std::span<const double> gram, const WeightGrid &grid,
                                          ThreadPool &pool, const GptqOptions &options = {}) {
  std::optional<GptqFactor> factor = gptqFactor(gram, rows, pool, options);
  return factor ? std::optional(gptq(weights, rows, columns, *factor, grid, pool)) : std::nullopt;
}

/// Weights, and the Gram matrix of inputs whose channels depend on each other, as those of a network do.
struct Problem {
  int64_t rows, columns;
  std::vector<float> weights;
  std::vector<double> gram;

  Problem(int64_t rows, int64_t columns, unsigned seed, int64_t samples = 400, int64_t factors = 8)
      : rows(rows), columns(columns), gram(static_cast<size_t>(rows * rows)) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    auto numbers = [&](int64_t count) {
      std::vector<double> values(static_cast<size_t>(count));
      for (double &value : values)
        value = normal(random);
      return values;
    };
    for (double w : numbers(rows * columns))
      weights.push_back(static_cast<float>(w));
    std::vector<double> mixing = numbers(factors * rows), x(static_cast<size_t>(rows));
    for (int64_t s = 0; s < samples; ++s) {
      std::vector<double> hidden = numbers(factors), noise = numbers(rows);
      for (int64_t r = 0; r < rows; ++r) {
        x[static_cast<size_t>(r)] = 0.3 * noise[static_cast<size_t>(r)];
        for (int64_t f = 0; f < factors; ++f)
          x[static_cast<size_t>(r)] +=
              hidden[static_cast<size_t>(f)] * mixing[static_cast<size_t>(f * rows + r)];
      }
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < rows; ++c)
          gram[static_cast<size_t>(r * rows + c)] += x[static_cast<size_t>(r)] * x[static_cast<size_t>(c)];
    }
  }

  WeightGrid grid(unsigned bits, int64_t group, ThreadPool &pool, bool asymmetric = false) const {
    return weightGrid(weights, rows, columns, bits, group, asymmetric, {}, pool);
  }
  double error(const std::vector<int8_t> &q, const WeightGrid &grid, ThreadPool &pool) const {
    return productError(weights, q, rows, columns, gram, grid, pool);
  }
};

/// The least error of all integers that a column of few rows can have.
double leastError(const Problem &p, const WeightGrid &grid, int64_t column) {
  std::vector<int32_t> q(static_cast<size_t>(p.rows), grid.least);
  double least = std::numeric_limits<double>::infinity();
  while (true) {
    double sum = 0;
    std::vector<double> e;
    for (int64_t r = 0; r < p.rows; ++r) {
      auto at = static_cast<size_t>(r * p.columns + column);
      e.push_back(p.weights[at] - grid.scales[static_cast<size_t>(column)] * q[static_cast<size_t>(r)]);
    }
    for (int64_t r = 0; r < p.rows; ++r)
      for (int64_t c = 0; c < p.rows; ++c)
        sum += e[static_cast<size_t>(r)] * p.gram[static_cast<size_t>(r * p.rows + c)] *
               e[static_cast<size_t>(c)];
    least = std::min(least, sum);
    size_t at = 0;
    while (at < q.size() && q[at] == grid.greatest)
      q[at++] = grid.least;
    if (at == q.size())
      return least;
    ++q[at];
  }
}

} // namespace

TEST_CASE("a symmetric positive matrix is the product of its upper factor and that's transpose", "[gptq]") {
  ThreadPool pool(2);
  // Sizes within, at and across the factorization's own blocks.
  for (int64_t size : {1, 5, 32, 33, 130}) {
    Problem p(size, 1, 3, 4 * size + 8);
    std::vector<double> r = p.gram;
    REQUIRE(factorUpper(r, size, pool));
    double most = 0, scale = 0;
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < size; ++k)
          sum += r[static_cast<size_t>(i * size + k)] * r[static_cast<size_t>(j * size + k)];
        most = std::max(most, std::abs(sum - p.gram[static_cast<size_t>(i * size + j)]));
        scale = std::max(scale, std::abs(p.gram[static_cast<size_t>(i * size + j)]));
        if (j < i)
          CHECK(r[static_cast<size_t>(i * size + j)] == 0);
      }
    CHECK(most <= 1e-12 * scale * static_cast<double>(size));
  }
  std::vector<double> indefinite = {1, 2, 2, 1}; // Eigenvalues 3 and -1.
  CHECK_FALSE(factorUpper(indefinite, 2, pool));
}

TEST_CASE("an input that carries another's error is rounded to make up for it", "[gptq]") {
  // Both inputs are always equal (x0 = x1): only the sum of the weights counts. 0.4 + 0.4 rounds to 0 and 0
  // on its own; with the first row's error of 0.4 carried, the second becomes round(0.8) = 1.
  ThreadPool pool(1);
  std::vector<float> weights = {0.4f, 0.4f};
  std::vector<double> gram = {1, 1, 1, 1};
  WeightGrid grid{{1}, {}, 2, -8, 7};
  CHECK(roundToNearest(weights, 2, 1, grid) == std::vector<int8_t>{0, 0});
  std::optional<std::vector<int8_t>> q = byGptq(weights, 2, 1, gram, grid, pool);
  REQUIRE(q);
  CHECK(*q == std::vector<int8_t>{0, 1});
  // Independent inputs: nothing is carried.
  std::vector<double> identity = {1, 0, 0, 1};
  CHECK(*byGptq(weights, 2, 1, identity, grid, pool) == std::vector<int8_t>{0, 0});
}

TEST_CASE("the products' error is far below that of rounding to nearest", "[gptq]") {
  ThreadPool pool(2);
  struct Case {
    unsigned bits;
    int64_t group;
    bool asymmetric;
  };
  for (unsigned seed : {1u, 2u, 3u})
    for (Case c : {Case{8, 128, false}, Case{4, 32, false}, Case{4, 64, false}, Case{4, 128, false},
                   Case{4, 32, true}}) {
      Problem p(128, 40, seed);
      WeightGrid grid = p.grid(c.bits, c.group, pool, c.asymmetric);
      std::optional<std::vector<int8_t>> q = byGptq(p.weights, p.rows, p.columns, p.gram, grid, pool);
      REQUIRE(q);
      double nearest = p.error(roundToNearest(p.weights, p.rows, p.columns, grid), grid, pool);
      CHECK(p.error(*q, grid, pool) < nearest / 3);
      CHECK(std::ranges::all_of(*q, [&](int8_t v) { return v >= grid.least && v <= grid.greatest; }));
    }
}

TEST_CASE("it comes near to the best of all roundings where all can be tried", "[gptq]") {
  // 5 rows of 4 bits: 16^5 roundings for each of 3 columns.
  ThreadPool pool(1);
  double reached = 0, nearest = 0, least = 0;
  for (unsigned seed = 0; seed < 4; ++seed) {
    Problem p(5, 3, seed, 50, 2);
    WeightGrid grid = p.grid(4, 5, pool);
    reached += p.error(*byGptq(p.weights, 5, 3, p.gram, grid, pool, {.damping = 1e-6}), grid, pool);
    nearest += p.error(roundToNearest(p.weights, 5, 3, grid), grid, pool);
    for (int64_t c = 0; c < 3; ++c)
      least += leastError(p, grid, c);
  }
  CHECK(least <= reached);
  // Of what rounding to nearest loses beyond the best, it wins back most.
  CHECK(reached - least < (nearest - least) / 3);
}

TEST_CASE("threads change nothing", "[gptq]") {
  ThreadPool one(1), two(2);
  Problem p(100, 70, 5);
  WeightGrid grid = p.grid(4, 50, one);
  CHECK(*byGptq(p.weights, p.rows, p.columns, p.gram, grid, two) ==
        *byGptq(p.weights, p.rows, p.columns, p.gram, grid, one));
}

TEST_CASE("rows of a panel are added in order, with every kind of vector instructions", "[gptq]") {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  constexpr int64_t rows = 37, stride = 41;
  auto numbers = [&](int64_t count) {
    std::vector<double> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(normal(random));
    return values;
  };
  std::vector<double> panel = numbers(rows * panelWidth), factors = numbers(panelSums * stride),
                      before = numbers(panelSums * panelWidth);
  for (int level = 0; level <= static_cast<int>(simdLevel()); ++level)
    for (int64_t count = 1; count <= panelSums; ++count)
      for (int64_t added : {int64_t{0}, int64_t{1}, rows}) {
        std::vector<double> sums = before, wanted = before;
        panelKernels(static_cast<SimdLevel>(level))
            .addRows(factors.data(), stride, count, panel.data(), added, sums.data());
        for (int64_t s = 0; s < count; ++s)
          for (int64_t l = 0; l < added; ++l)
            for (int64_t c = 0; c < panelWidth; ++c)
              wanted[static_cast<size_t>(s * panelWidth + c)] +=
                  factors[static_cast<size_t>(s * stride + l)] *
                  panel[static_cast<size_t>(l * panelWidth + c)];
        CHECK(sums == wanted); // Also what lies beyond `count` is as it was.
      }
}

TEST_CASE("numbers of fp8 are rounded to their own steps", "[gptq]") {
  // e4m3: 3 bits behind the point. From 16 on a step is 2: 17.5 is 18; below 2^-6 a step is 2^-9.
  ThreadPool pool(1);
  WeightGrid grid{{1, 2}, {}, 2, -127, 127, true};
  std::vector<float> weights = {17.5f, -35.f, 0.001f, 10000.f}; // [2, 2]
  std::vector<int8_t> q = roundToNearest(weights, 2, 2, grid);
  auto value = [&](size_t i) { return fromF8E4M3(static_cast<uint8_t>(q[i])); };
  CHECK(value(0) == 18);
  CHECK(value(1) == -18); // -35 / 2 = -17.5
  CHECK(value(2) == std::ldexp(1.f, -9));
  CHECK(value(3) == 448); // 5000: the greatest number.
  for (unsigned seed : {1u, 2u, 3u}) {
    Problem p(96, 20, seed);
    WeightGrid columns = p.grid(8, 96, pool);
    columns.fp8 = true;
    for (float &scale : columns.scales)
      scale *= 127.f / 448;
    double nearest = p.error(roundToNearest(p.weights, p.rows, p.columns, columns), columns, pool);
    CHECK(p.error(*byGptq(p.weights, p.rows, p.columns, p.gram, columns, pool), columns, pool) < nearest / 3);
  }
}

TEST_CASE("inputs that are always 0, and data that are none", "[gptq]") {
  ThreadPool pool(1);
  Problem p(8, 4, 6);
  WeightGrid grid = p.grid(8, 8, pool);
  std::vector<int8_t> nearest = roundToNearest(p.weights, 8, 4, grid);
  std::vector<double> nothing(64, 0.0), broken = p.gram;
  CHECK(*byGptq(p.weights, 8, 4, nothing, grid, pool) == nearest);
  // A dead input keeps its own rounding and moves no other.
  std::vector<double> dead(64, 0.0);
  for (size_t i = 0; i < 7; ++i)
    dead[i * 9] = 1;
  CHECK(*byGptq(p.weights, 8, 4, dead, grid, pool) == nearest);
  broken[0] = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(byGptq(p.weights, 8, 4, broken, grid, pool));
  broken[0] = -1e9;
  CHECK_FALSE(byGptq(p.weights, 8, 4, broken, grid, pool));
}

TEST_CASE("grids hold their weights, and narrower ones are taken where these lose less", "[gptq]") {
  ThreadPool pool(1);
  // Symmetric of 8 bits: 2.54 / 127; the second column 1.27 / 127.
  std::vector<float> weights = {2.54f, 0.5f, -1, -1.27f};
  WeightGrid eight = weightGrid(weights, 2, 2, 8, 2, false, {}, pool);
  CHECK(eight.least == -127);
  CHECK(eight.scales[0] == Approx(0.02));
  CHECK(eight.scales[1] == Approx(0.01));
  // Asymmetric of 4 bits over [-1, 2]: 3 / 15 = 0.2; the zero is -8 + 5.
  std::vector<float> column = {-1, 2};
  WeightGrid four = weightGrid(column, 2, 1, 4, 2, true, {}, pool);
  CHECK(four.scales[0] == Approx(0.2));
  CHECK(four.zeros[0] == -3);
  CHECK(roundToNearest(column, 2, 1, four) == std::vector<int8_t>{-8, 7});
  // One weight twice as large as 31 others whose steps matter: if its own input hardly counts, it is clipped.
  std::vector<float> outlier(32, 0.5f);
  std::vector<double> importance(32, 1.0);
  for (size_t i = 0; i < 31; ++i)
    outlier[i] = 0.47f + 0.002f * static_cast<float>(i);
  outlier[31] = 0.8f;
  importance[31] = 1e-6;
  WeightGrid wide = weightGrid(outlier, 32, 1, 4, 32, false, {}, pool),
             narrow = weightGrid(outlier, 32, 1, 4, 32, false, importance, pool);
  // Of -8 to 7 the side with one number more is that of the greatest weight.
  CHECK(wide.scales[0] == Approx(-0.8 / 7));
  CHECK(std::abs(narrow.scales[0]) < std::abs(wide.scales[0]));
}
