#include "compiler/quantize/Sensitivity.h"

#include "test/unit/quantize/Model.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Two linears of a 2x4 input within ±1. The range of the first is that, with steps of 0.008; that of the
/// second is ±200, whose steps of 1.6 leave nothing of what it is given.
constexpr const char *twoLinears = R"(
  func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x4xf32> {nn.name = "y"}) {
    %w = nn.constant dense<[[1.0, 0.1, 0.0, 0.2], [0.0, 1.0, 0.3, 0.0], [0.1, 0.0, 1.0, 0.0], [0.0, 0.2, 0.0, 1.0]]> : tensor<4x4xf32>
    %0 = nn.linear %x, %w {nn.format = "int8", nn.ranges = [[array<f32: -1.0>, array<f32: 1.0>]]} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("fine")
    %1 = nn.linear %0, %w {nn.format = "int8", nn.ranges = [[array<f32: -200.0>, array<f32: 200.0>]]} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("coarse")
    return %1 : tensor<2x4xf32>
  })";

struct Mixed {
  Model m;
  SamplesInMemory samples;
  Decision decision{{{"fine", "int8", "asked for", 0}, {"coarse", "int8", "asked for", 0}}, {}};
  Diagnostics diagnostics;

  Mixed()
      : m(twoLinears), samples({{array("x", {2, 4}, {0.5f, -0.25f, 0.9f, 0.1f, -1, 0.3f, 0.2f, 0.7f})}}) {}

  bool mix(MixedOptions options) {
    // Integers take 4, scales of rows 5, floats 10.
    auto timeOf = [](mlir::Operation *, const OperatorFormat &format) -> std::optional<double> {
      return format.activations == Activations::Float ? 10 : format.activations == Activations::Int8 ? 4 : 5;
    };
    return mixFormats(m.main(), samples, m.constants, {}, timeOf, options, decision, diagnostics);
  }
  std::string format(const char *name) {
    for (auto &[op, found] : multiplications(m.main()))
      if (found == name)
        return op->getAttrOfType<mlir::StringAttr>(formatAttr).getValue().str();
    return "";
  }
};

} // namespace

TEST_CASE("outputs are compared with one operator quantized or all", "[sensitivity]") {
  Mixed mixed;
  auto all = multiplications(mixed.m.main());
  Outputs outputs(mixed.m.main(), mixed.samples, 1, mixed.m.constants, 1, mixed.diagnostics);
  auto cosine = [&](mlir::Operation *only) -> std::optional<double> {
    auto found = outputs.measure(
        {}, nullptr, [&](mlir::Operation *op) { return !only || op == only; }, 1, mixed.diagnostics);
    return found ? std::optional(found->cosine) : std::nullopt;
  };
  std::optional<double> fine = cosine(all[0].first), coarse = cosine(all[1].first), both = cosine(nullptr);
  REQUIRE((fine && coarse && both));
  // Errors of half a step of 2/255 at most, beside values of about a half.
  CHECK(*fine > 0.9995);
  CHECK(*fine < 1);
  CHECK(*coarse < 0.9);
  CHECK(*both < 0.9);
  // The model itself is as it was.
  CHECK(all[0].first->hasAttr(rangesAttr));
}

TEST_CASE("the operator that does the damage gets the better format", "[sensitivity]") {
  Mixed mixed;
  REQUIRE(mixed.mix({.minCosine = 0.999, .samples = 1, .available = {"int8", "float"}, .threads = 1}));
  CHECK(mixed.format("fine") == "int8");
  CHECK(mixed.format("coarse") == "float");
  CHECK(mixed.decision.rows[1].format == "float");
  CHECK(mixed.decision.rows[1].reason.find("damage 0 alone, time 10; int8 ") == 0);
  REQUIRE(mixed.decision.steps.size() == 1);
  // 4 + 10 over 4 + 4.
  CHECK(mixed.decision.steps[0].find("operators' time 1.750 of the fastest") != std::string::npos);
}

TEST_CASE("a format between both is taken where it is enough", "[sensitivity]") {
  Mixed mixed;
  REQUIRE(mixed.mix(
      {.minCosine = 0.999, .samples = 1, .available = {"int8", "int8-token", "float"}, .threads = 1}));
  CHECK(mixed.format("coarse") == "int8-token");
}

TEST_CASE("at most so much time is spent", "[sensitivity]") {
  Mixed none;
  REQUIRE(none.mix({.maxSlowdown = 1, .samples = 1, .available = {"int8", "float"}, .threads = 1}));
  CHECK(none.format("coarse") == "int8");
  Mixed some; // 14 / 8 is within 1.8, 20 / 8 is not.
  REQUIRE(some.mix({.maxSlowdown = 1.8, .samples = 1, .available = {"int8", "float"}, .threads = 1}));
  CHECK(some.format("fine") == "int8");
  CHECK(some.format("coarse") == "float");
}

TEST_CASE("what no format reaches is an error", "[sensitivity]") {
  Mixed mixed;
  CHECK_FALSE(mixed.mix({.minCosine = 0.999, .samples = 1, .available = {"int8"}, .threads = 1}));
  CHECK(mixed.diagnostics.text().find("--min-cosine=0.999: cannot be reached: the best formats that the "
                                      "target has give 0.") != std::string::npos);
}

TEST_CASE("what a table gave stays", "[sensitivity]") {
  Mixed mixed;
  mixed.decision.rows[1].reason = "given by the table";
  REQUIRE(mixed.mix({.maxSlowdown = 100, .samples = 1, .available = {"int8", "float"}, .threads = 1}));
  CHECK(mixed.format("fine") == "float");
  CHECK(mixed.format("coarse") == "int8");
}
