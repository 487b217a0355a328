#include "compiler/quantize/Pareto.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>

using namespace npuc::quantize;

namespace {

/// (time, damage) of every choice of one format for each operator.
std::vector<FormatCost> everyChoice(const std::vector<std::vector<FormatCost>> &operators) {
  std::vector<FormatCost> sums = {{0, 0}};
  for (const std::vector<FormatCost> &formats : operators) {
    std::vector<FormatCost> next;
    for (const FormatCost &sum : sums)
      for (const FormatCost &format : formats)
        next.push_back({sum.time + format.time, sum.damage + format.damage});
    sums = next;
  }
  return sums;
}

} // namespace

TEST_CASE("the front starts with the least damage and ends with the least time", "[pareto]") {
  // Float (10, 0) or int8: the first operator saves 6 for 0.01, the second 2 for 0.04, the third nothing.
  std::vector<ParetoPoint> front =
      paretoFront({{{10, 0}, {4, 0.01}}, {{10, 0}, {8, 0.04}}, {{10, 0}, {10, 0.02}}});
  REQUIRE(front.size() == 3);
  CHECK(front[0].formats == std::vector<size_t>{0, 0, 0});
  CHECK(front[0].time == 30);
  CHECK(front[1].formats == std::vector<size_t>{1, 0, 0});
  CHECK(front[1].damage == Approx(0.01));
  CHECK(front[2].formats == std::vector<size_t>{1, 1, 0});
  CHECK(front[2].time == 22);
  CHECK(front[2].damage == Approx(0.05));

  CHECK(fastestWithin(front, 0.03) == 1u);
  CHECK(fastestWithin(front, 1) == 2u);
  CHECK_FALSE(fastestWithin(front, -1));
  CHECK(bestWithin(front, 1) == 2u);
  CHECK(bestWithin(front, 24.0 / 22) == 1u);
  CHECK(bestWithin(front, 2) == 0u);
}

TEST_CASE("a format above the line between two others is passed over", "[pareto]") {
  // From (10, 0) to (2, 8) at 1 for each damage; (9, 6) saves 1 for 6.
  std::vector<ParetoPoint> front = paretoFront({{{10, 0}, {9, 6}, {2, 8}}});
  REQUIRE(front.size() == 2);
  CHECK(front[1].formats == std::vector<size_t>{2});
  // One that is worse in both is never taken, wherever it stands.
  CHECK(paretoFront({{{12, 1}, {10, 0}}}).size() == 1);
  CHECK(paretoFront({{{12, 1}, {10, 0}}})[0].formats == std::vector<size_t>{1});
}

TEST_CASE("nothing lies below the front of random operators", "[pareto]") {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> number(0, 1);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<FormatCost>> operators(5, std::vector<FormatCost>(3));
    for (auto &formats : operators)
      for (FormatCost &format : formats)
        format = {number(random), number(random)};
    std::vector<ParetoPoint> front = paretoFront(operators);
    for (size_t i = 1; i < front.size(); ++i) {
      CHECK(front[i].time < front[i - 1].time);
      CHECK(front[i].damage > front[i - 1].damage);
    }
    for (const FormatCost &choice : everyChoice(operators)) {
      CHECK(choice.damage >= front.front().damage - 1e-12);
      CHECK(choice.time >= front.back().time - 1e-12);
      // Not below any edge: to the left of the line from one point to the next.
      for (size_t i = 1; i < front.size(); ++i) {
        const ParetoPoint &a = front[i - 1], &b = front[i];
        CHECK((choice.damage - a.damage) * (a.time - b.time) +
                  (choice.time - a.time) * (b.damage - a.damage) >=
              -1e-12);
      }
    }
  }
}
