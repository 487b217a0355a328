#include "compiler/quantize/Raise.h"

#include "test/unit/quantize/Model.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Eight linears of a 2x4 input within ±1, of which the sixth has a range of ±200, whose steps of 1.6 leave
/// nothing of what it is given.
std::string eightLinears() {
  std::string body =
      "%w = nn.constant dense<[[1.0, 0.1, 0.0, 0.2], [0.0, 1.0, 0.3, 0.0], [0.1, 0.0, 1.0, 0.0], "
      "[0.0, 0.2, 0.0, 1.0]]> : tensor<4x4xf32>\n";
  for (int i = 0; i < 8; ++i) {
    std::string most = i == 5 ? "200.0" : "4.0";
    body += "%" + std::to_string(i + 1) + " = nn.linear %" + std::to_string(i) +
            ", %w {nn.format = \"int8\", nn.ranges = [[array<f32: -" + most + ">, array<f32: " + most +
            ">]]} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc(\"l" + std::to_string(i) +
            "\")\n";
  }
  return "func.func @main(%0: tensor<2x4xf32> {nn.name = \"x\"}) -> (tensor<2x4xf32> {nn.name = \"y\"}) {\n" +
         body + "return %8 : tensor<2x4xf32>\n}";
}

struct Raised {
  Model m{eightLinears()};
  SamplesInMemory samples{{{array("x", {2, 4}, {0.5f, -0.25f, 0.9f, 0.1f, -1, 0.3f, 0.2f, 0.7f})}}};
  Decision decision;
  Diagnostics diagnostics;
  RoundedWeights rounded;

  Raised() {
    for (auto &[op, name] : multiplications(m.main()))
      decision.rows.push_back({name, "int8", "asked for", 0});
  }
  bool raise(double mostLoss, std::vector<std::string> available) {
    return raiseFormats(m.main(), samples, m.constants, {}, rounded,
                        {.mostLoss = mostLoss, .available = std::move(available), .samples = 1, .threads = 1},
                        decision, diagnostics);
  }
  /// Those that are not in int8, from both places that tell.
  std::string others() const {
    std::string found;
    Model &model = const_cast<Model &>(m);
    auto all = multiplications(model.main());
    for (size_t i = 0; i < all.size(); ++i) {
      auto format = all[i].first->getAttrOfType<mlir::StringAttr>(formatAttr).getValue().str();
      REQUIRE(decision.rows[i].format == format);
      if (format != "int8")
        found += (found.empty() ? "" : " ") + all[i].second + ":" + format;
    }
    return found;
  }
};

} // namespace

TEST_CASE("the operator that does the harm gets scales of rows", "[raise]") {
  Raised r;
  REQUIRE(r.raise(0.01, {"int8", "int8-token", "float"}));
  CHECK(r.others() == "l5:int8-token");
  CHECK(r.decision.rows[5].reason.find("asked for; as int8 the outputs lose ") == 0);
  REQUIRE(r.decision.steps.size() == 1);
  CHECK(r.decision.steps[0].find("more than 1 %: of 8 multiplications 1 to int8-token raised, and ") !=
        std::string::npos);
  CHECK(r.diagnostics.all().empty());
}

TEST_CASE("it stays in floats where the target has nothing between", "[raise]") {
  Raised r;
  REQUIRE(r.raise(0.01, {"int8", "float"}));
  CHECK(r.others() == "l5:float");
}

TEST_CASE("what loses little stays as it is", "[raise]") {
  Raised r;
  auto all = multiplications(r.m.main());
  all[5].first->setAttr(rangesAttr, all[4].first->getAttr(rangesAttr));
  REQUIRE(r.raise(0.01, {"int8", "int8-token", "float"}));
  CHECK(r.others().empty());
  REQUIRE(r.decision.steps.size() == 1);
  CHECK(r.decision.steps[0].find("outputs lose 0.") == 0);
}

TEST_CASE("what a table gave stays, and is counted", "[raise]") {
  Raised r;
  r.decision.rows[5].reason = "given by the table";
  REQUIRE(r.raise(0.01, {"int8", "int8-token", "float"}));
  CHECK(r.others().find("l5") == std::string::npos);
  REQUIRE(r.diagnostics.all().size() == 1);
  CHECK(r.diagnostics.text().find("quantization: the outputs lose ") != std::string::npos);
}

TEST_CASE("a target with nothing better is told so", "[raise]") {
  Raised r;
  REQUIRE(r.raise(0.01, {"int8"}));
  CHECK(r.others().empty());
  CHECK(r.diagnostics.text().find("1 % are wanted, and the target has no better formats") !=
        std::string::npos);
}

TEST_CASE("each group of 4-bit weights has its budget", "[raise]") {
  CHECK(mostLossOf(*formatFromText("int8")) == 0.01);
  CHECK(mostLossOf(*formatFromText("int8-token")) == 0.01);
  CHECK(mostLossOf(*formatFromText("int4-32")) == 0.04);
  CHECK(mostLossOf(*formatFromText("int4-128a-float")) == 0.08);
}
