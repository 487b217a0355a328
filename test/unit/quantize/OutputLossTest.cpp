#include "compiler/quantize/OutputLoss.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::quantize;

TEST_CASE("of many columns every n-th is taken, of all weights side by side", "[quantize]") {
  // 100 columns and 150, of two channels: 250 in steps of 2, numbered from 0, the second channel's negative.
  std::vector<float> first(200), second(300);
  for (int n = 0; n < 100; ++n) {
    first[static_cast<size_t>(n)] = static_cast<float>(n);
    first[static_cast<size_t>(100 + n)] = static_cast<float>(-n);
  }
  for (int n = 0; n < 150; ++n) { // [columns, channels].
    second[static_cast<size_t>(2 * n)] = static_cast<float>(100 + n);
    second[static_cast<size_t>(2 * n + 1)] = static_cast<float>(-100 - n);
  }
  std::vector<Weights> weights = {{first.data(), 100, false}, {second.data(), 150, true}};
  PickedColumns picked(weights, 2);
  REQUIRE(picked.columns == 125);
  REQUIRE(picked.values.size() == 250);
  for (size_t i = 0; i < 125; ++i) {
    CHECK(picked.values[i] == static_cast<float>(2 * i));
    CHECK(picked.values[125 + i] == -static_cast<float>(2 * i));
  }
  CHECK(channelMagnitudes(weights, 2) == std::vector<float>{249, 249});
}

TEST_CASE("what rows lose is relative to their own size", "[quantize]") {
  // Norms 5, 5000 and 0, the least size is a thousandth of (5005 / 3)². Errors 1 of each row.
  std::vector<float> exact = {3, 4, 3000, 4000, 0, 0}, found = {3, 5, 3001, 4000, 0, 1};
  double least = 5005.0 / 3 * (5005.0 / 3) / 1000;
  std::vector<double> squares = {25, 25e6, 0};
  CHECK(leastSize(squares) == Approx(least));
  std::vector<double> lost = rowLosses(exact, found, 2);
  REQUIRE(lost.size() == 3);
  CHECK(lost[0] == Approx(1 / least));
  CHECK(lost[1] == Approx(1 / 25e6));
  CHECK(lost[2] == Approx(1 / least));
  CHECK(rowLosses({0, 0}, {1, 1}, 2) == std::vector<double>{0});
}
