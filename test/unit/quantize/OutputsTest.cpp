#include "compiler/quantize/Outputs.h"

#include "compiler/quantize/Precision.h"
#include "test/unit/quantize/Model.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace npuc;
using namespace npuc::quantize;

namespace {

bool every(mlir::Operation *) {
  return true;
}

std::vector<NamedArray> sample(std::vector<float> x) {
  return {array("x", {2, 2}, std::move(x))};
}

} // namespace

TEST_CASE("what the outputs lose is squared error, and of logits divergence", "[outputs]") {
  Model m(R"(
    func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2x2xf32> {nn.name = "y"}, tensor<2x2xf32> {nn.name = "z"}) {
      %w = nn.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
      %0 = nn.linear %x, %w {nn.format = "int8", nn.ranges = [[array<f32: -100.0>, array<f32: 100.0>]]} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
      %1 = nn.add %0, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
      return %0, %1 : tensor<2x2xf32>, tensor<2x2xf32>
    })");
  SamplesInMemory samples({sample({10, 10.3f, 30, 20})});
  Diagnostics diagnostics;
  Outputs outputs(m.main(), samples, 4, m.constants, 1, diagnostics);
  REQUIRE(outputs.samples() == 1);
  auto found = outputs.measure({}, nullptr, every, 4, diagnostics);
  REQUIRE(found);
  const double step = 200.0 / 255;
  auto rounded = [&](double x) { return step * std::nearbyint(x / step); };
  double squares = 0, errors = 0, divergence = 0;
  for (auto [a, b] : {std::pair(10.0, 10.3), std::pair(30.0, 20.0)}) {
    squares += a * a + b * b;
    errors += std::pow(a - rounded(a), 2) + std::pow(b - rounded(b), 2);
    double p = 1 / (1 + std::exp(b - a)), q = 1 / (1 + std::exp(rounded(b) - rounded(a)));
    divergence += (p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q))) / 2;
  }
  // Only y may be of logits; of z half as much is lost. A row's odds lose more than its values.
  REQUIRE(divergence > errors / squares);
  CHECK(found->loss == Approx(divergence).epsilon(1e-3));
  auto none = outputs.measure({}, nullptr, [](mlir::Operation *) { return false; }, 4, diagnostics);
  REQUIRE(none);
  CHECK(none->loss == 0);
  CHECK(none->cosine == Approx(1));
}

TEST_CASE("keys and values that are attended to are no outputs", "[outputs]") {
  Model m(R"(
    func.func @main(%x: tensor<1x1x2x4xf32> {nn.name = "x"}) -> (tensor<1x1x2x4xf32> {nn.name = "y"}, tensor<1x1x2x4xf32> {nn.name = "k"}) {
      %w = nn.constant dense<0.5> : tensor<4x4xf32>
      %k = nn.linear %x, %w {nn.format = "int8", nn.ranges = [[array<f32: -100.0>, array<f32: 100.0>]]} : (tensor<1x1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x1x2x4xf32>
      %y = nn.attention %x, %k, %x {scale = 0.0 : f32} : (tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>) -> tensor<1x1x2x4xf32>
      return %y, %k : tensor<1x1x2x4xf32>, tensor<1x1x2x4xf32>
    })");
  SamplesInMemory samples({{array("x", {1, 1, 2, 4}, {0.3f, 0.2f, 0.1f, 0, 1, 2, 3, 4})}});
  Diagnostics diagnostics;
  Outputs outputs(m.main(), samples, 1, m.constants, 1, diagnostics);
  auto found = outputs.measure({}, nullptr, every, 1, diagnostics);
  REQUIRE(found);
  // The keys are rounded coarsely, but scores count nothing.
  CHECK(found->loss == 0);
}

TEST_CASE("what comes before the quantized multiplications runs once", "[outputs]") {
  std::string body = "%w = nn.constant dense<[[1.0, 0.1], [0.2, 1.0]]> : tensor<2x2xf32>\n";
  for (int i = 0; i < 40; ++i)
    body += "%" + std::to_string(i + 1) + " = nn.linear %" + std::to_string(i) +
            ", %w {nn.format = \"int8\", nn.ranges = [[array<f32: -200.0>, array<f32: 200.0>]]} : "
            "(tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>\n";
  Model m(
      "func.func @main(%0: tensor<2x2xf32> {nn.name = \"x\"}) -> (tensor<2x2xf32> {nn.name = \"y\"}) {\n" +
      body + "return %40 : tensor<2x2xf32>\n}");
  // Two samples run from the start, one from where it is cut.
  SamplesInMemory twice({sample({1, 2, 3, 4}), sample({1, 2, 3, 4})});
  Diagnostics diagnostics;
  Outputs outputs(m.main(), twice, 2, m.constants, 1, diagnostics);
  auto all = multiplications(m.main());
  for (size_t at : {0, 1, 20, 39}) {
    auto only = [&](mlir::Operation *op) { return op == all[at].first; };
    auto one = outputs.measure({}, nullptr, only, 1, diagnostics),
         two = outputs.measure({}, nullptr, only, 2, diagnostics);
    REQUIRE((one && two));
    CHECK(one->loss > 0);
    CHECK(one->loss == two->loss);
  }
}
