#include "compiler/quantize/Report.h"

#include "compiler/quantize/Calibrate.h"
#include "test/unit/quantize/Model.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Steps of 1 for x, then of 4; weights are whole steps.
constexpr const char *chain = R"(
  func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> (tensor<1x1xf32> {nn.name = "y"}) {
    %w = nn.constant dense<[[127.0], [0.0]]> : tensor<2x1xf32>
    %v = nn.constant dense<[[1.0]]> : tensor<1x1xf32>
    %0 = nn.linear %x, %w {nn.ranges = [[array<f32: -128.0>, array<f32: 127.0>]]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("first")
    %1 = nn.linear %0, %v {nn.ranges = [[array<f32: -512.0>, array<f32: 508.0>]]} : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32> loc("second")
    return %1 : tensor<1x1xf32>
  })";

/// 10 log10(x² / d²)
double decibels(double x, double d) {
  return 20 * std::log10(x / d);
}

Report reportOf(const char *text, std::vector<NamedArray> inputs, const std::vector<PrecisionRow> &rows) {
  Model m(text);
  Statistics statistics(m.main());
  CalibrationTable ranges{{{"first:0", {-128, 127}, "percentile", 0.25, {-200, 127}, 4, 1, {}}}};
  FloatReference floats(m.main());
  REQUIRE(succeeded(insertQuantization(m.main(), m.constants)));
  Diagnostics diagnostics;
  SamplesInMemory samples({std::move(inputs)});
  std::optional<Report> report =
      floats.measure(m.main(), samples, 4, statistics, ranges, rows, m.constants, 1, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(report);
  return *report;
}

} // namespace

TEST_CASE("each operator is measured on floats, and with what came before it", "[report]") {
  Report report = reportOf(chain, {array("x", {1, 2}, {2.4f, -1})}, {{"second", "int8", "asked for", 0}});
  REQUIRE(report.operators.size() == 2);
  // 2.4 · 127 = 304.8; of integers 2 · 127 = 254.
  const Damage &first = report.operators[0].damage, &second = report.operators[1].damage;
  CHECK(first.isolated.decibels == Approx(decibels(304.8, 50.8)).epsilon(1e-5));
  CHECK(first.accumulated.decibels == Approx(decibels(304.8, 50.8)).epsilon(1e-5));
  // In steps of 4 alone 304.8 is 304; what comes from the first, 254, is 63.5 steps: 64, which are 256.
  CHECK(second.isolated.decibels == Approx(decibels(304.8, 0.8)).epsilon(1e-3));
  CHECK(second.accumulated.decibels == Approx(decibels(304.8, 48.8)).epsilon(1e-5));
  CHECK(report.operators[1].format == "int8");
  CHECK(report.operators[1].reason == "asked for");
  REQUIRE(report.outputs.size() == 1);
  CHECK(report.outputs[0].name == "y");
  CHECK(report.outputs[0].accumulated.decibels == second.accumulated.decibels);
  CHECK(report.samples == 1);
  CHECK(report.byDamage() == std::vector<size_t>{0, 1});
}

TEST_CASE("each tensor has its range, what is clipped, and its distance", "[report]") {
  Report report = reportOf(chain, {array("x", {1, 2}, {2.4f, -1})}, {});
  REQUIRE(report.tensors.size() == 4);
  const TensorReport &x = report.tensors[0], &w = report.tensors[1], &between = report.tensors[2];
  CHECK(x.name == "first:0");
  CHECK(x.format == "i8");
  CHECK(x.range.least == -128);
  CHECK(x.seen.least == -200);
  CHECK(x.method == "percentile");
  CHECK(x.clippedShare == 0.25);
  // [2.4, -1] are [2, -1].
  CHECK(x.damage.isolated.decibels == Approx(10 * std::log10((2.4 * 2.4 + 1) / 0.16)).epsilon(1e-5));
  CHECK(x.damage.isolated.cosine == Approx(5.8 / std::sqrt(6.76 * 5)).epsilon(1e-6));
  CHECK(w.name == "first:1");
  CHECK(w.isWeight);
  CHECK(w.clippedShare == 0); // Its scale is that of its greatest magnitude.
  CHECK(w.range.greatest == 127);
  CHECK(std::isinf(w.damage.isolated.decibels));
  CHECK(w.damage.isolated.cosine == 1);
  CHECK(between.name == "second:0");
  CHECK(between.damage.isolated.decibels == Approx(decibels(304.8, 0.8)).epsilon(1e-3));
  CHECK(between.damage.accumulated.decibels == Approx(decibels(304.8, 48.8)).epsilon(1e-5));
}

TEST_CASE("factors divide the input and multiply the weights: they do no harm to what they balance",
          "[report]") {
  // x / [1, 100] is [2, 3], whole steps; the weights times [1, 100] are [127, 127].
  Report report = reportOf(R"(
    func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> (tensor<1x1xf32> {nn.name = "y"}) {
      %w = nn.constant dense<[[127.0], [1.27]]> : tensor<2x1xf32>
      %0 = nn.linear %x, %w {nn.factors = array<f32: 1.0, 100.0>, nn.ranges = [[array<f32: -128.0, -12800.0>, array<f32: 127.0, 12700.0>]]} : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("first")
      return %0 : tensor<1x1xf32>
    })",
                           {array("x", {1, 2}, {2, 300})}, {});
  REQUIRE(report.tensors.size() == 2);
  for (const TensorReport &tensor : report.tensors) {
    CHECK(tensor.damage.isolated.decibels > 100);
    CHECK(tensor.damage.accumulated.cosine == Approx(1));
  }
}

TEST_CASE("a report is text, JSON and a page", "[report]") {
  Report report = reportOf(chain, {array("x", {1, 2}, {2.4f, -1})}, {});
  report.model = "</script>.onnx";
  report.saved = {1, 2, 4, 4};
  report.inFloat = {{"other", "nn.conv", "because"}};
  std::string text = report.text();
  CHECK(text.find("time: 1.0000 ms, in floats 4.0000 ms: 75.0 % saved") != std::string::npos);
  CHECK(text.find("energy: 2.000000 J, in floats 4.000000 J: 50.0 % saved") != std::string::npos);
  CHECK(text.find("in floats: other (nn.conv): because") != std::string::npos);
  auto json = nlohmann::json::parse(report.json());
  CHECK(json["schema_version"] == 1);
  CHECK(json["by_damage"] == nlohmann::json({"first", "second"}));
  CHECK(json["tensors"][1]["damage"]["isolated"]["sqnr_db"].is_null());
  CHECK(json["tensors"][0]["clipped_share"] == 0.25);
  // A name cannot end the page's data.
  std::string page = report.html();
  CHECK(page.find("</script>.onnx") == std::string::npos);
  CHECK(page.find("<\\/script>.onnx") != std::string::npos);
  // Side by side.
  CHECK(compareReports("int8", report, "mine", report).find("mine") != std::string::npos);
  auto both = nlohmann::json::parse(compareReportsJson("int8", report, "mine", report));
  CHECK(both["layers"].size() == 2);
  CHECK(both["layers"][1]["settings"][0]["damage"] == json["operators"][1]["damage"]);
}
