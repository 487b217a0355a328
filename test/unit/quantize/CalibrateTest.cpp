#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/ChooseRanges.h"
#include "compiler/quantize/Precision.h"
#include "compiler/quantize/Quantize.h"
#include "test/unit/quantize/Model.h"

#include <cmath>
#include <numeric>
#include <random>

using namespace npuc;
using namespace npuc::quantize;

namespace {

std::vector<float> range(mlir::Operation *op, unsigned operand, unsigned which) {
  auto entry = mlir::cast<mlir::ArrayAttr>(op->getAttrOfType<mlir::ArrayAttr>(rangesAttr)[operand]);
  return mlir::cast<mlir::DenseF32ArrayAttr>(entry[which]).asArrayRef().vec();
}

Statistics statisticsOf(Model &model, std::vector<std::vector<NamedArray>> samples,
                        CalibrationOptions options = {.threads = 2}) {
  Diagnostics diagnostics;
  auto statistics = observe(model.main(), SamplesInMemory(std::move(samples)), options, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(statistics);
  return std::move(*statistics);
}

const char *const oneLinear = R"(func.func @main(%x: tensor<8x4xf32> {nn.name = "x"}) -> tensor<8x1xf32> {
  %w = nn.constant dense<1.0> : tensor<4x1xf32>
  %y = nn.linear %x, %w : (tensor<8x4xf32>, tensor<4x1xf32>) -> tensor<8x1xf32>
  return %y : tensor<8x1xf32>
})";

/// Samples of `oneLinear` from a normal distribution, some of them much larger than others.
std::vector<std::vector<NamedArray>> normalSamples(size_t count) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<std::vector<NamedArray>> samples;
  for (size_t s = 0; s < count; ++s) {
    std::vector<float> values(32);
    for (float &value : values)
      value = normal(random) * static_cast<float>(1 + s % 7 * (s % 3));
    samples.push_back({array("x", {8, 4}, values)});
  }
  return samples;
}

std::vector<float> valuesOf(const NamedArray &array) {
  const auto *x = reinterpret_cast<const float *>(array.array.data.data());
  return {x, x + array.array.count()};
}

} // namespace

TEST_CASE("calibration takes the least and greatest of all samples, by channel", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
    %w = nn.constant dense<1.0> : tensor<2x1xf32>
    %y = nn.linear %x, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32>
    return %y : tensor<1x1xf32>
  })");
  // The mask's lowest number is no measurement.
  Statistics statistics = statisticsOf(
      m, {{array("x", {1, 2}, {1, -4})}, {array("x", {1, 2}, {2, -3.4e38f})}, {array("x", {1, 2}, {-1, 5})}});
  CHECK(statistics.tensors()[0].least == std::vector<float>{-1, -4});
  CHECK(statistics.tensors()[0].greatest == std::vector<float>{2, 5});
}

TEST_CASE("samples that cannot be used are named, all of them", "[quantize]") {
  Model m(oneLinear);
  auto filled = [](float value) {
    std::vector<float> values(32, 1);
    values[5] = value;
    return std::vector<NamedArray>{array("x", {8, 4}, values)};
  };
  Diagnostics few, many;
  CHECK_FALSE(observe(m.main(), SamplesInMemory({filled(1), filled(NAN), filled(1), filled(INFINITY)}),
                      {.threads = 1}, few));
  INFO(few.text());
  REQUIRE(few.errorCount() == 2);
  CHECK(few.all()[0].where == "calibration sample 1: input 'x'");
  CHECK(few.all()[0].what == "element 5 is NaN");
  CHECK(few.all()[1].where == "calibration sample 3: nn.linear");
  CHECK(few.all()[1].what == "its operand 0 has NaN or infinity");
  CHECK_FALSE(observe(m.main(), SamplesInMemory(std::vector(12, filled(NAN))), {.threads = 1}, many));
  REQUIRE(many.errorCount() == 9);
  CHECK(many.all()[8].what == "4 more of 12 samples cannot be used either");
}

TEST_CASE("samples are seen before they run", "[quantize]") {
  Model m(oneLinear);
  std::vector<size_t> seen;
  statisticsOf(m, normalSamples(3),
               {.threads = 1, .onSample = [&](size_t sample, std::span<const NamedArray> inputs) {
                  seen.push_back(sample);
                  CHECK(inputs[0].name == "x");
                }});
  CHECK(seen == std::vector<size_t>{0, 1, 2});
}

TEST_CASE("a softmax's range is [0, 1] whatever it gives", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> tensor<2x2xf32> {
    %p = nn.softmax %x {axis = 1 : i64} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %t = nn.transpose %p {permutation = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %y = nn.matmul %t, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    return %y : tensor<2x2xf32>
  })");
  Statistics statistics = statisticsOf(m, {{array("x", {2, 2}, {1, 1, 1, 1})}});
  REQUIRE(chooseRanges(m.main(), statistics, {}, m.constants, {.method = RangeMethod::MinMax}));
  auto matmul = m.only<nn::MatmulOp>();
  CHECK(range(matmul, 0, 0) == std::vector<float>{0});
  CHECK(range(matmul, 0, 1) == std::vector<float>{1});
  CHECK(range(matmul, 1, 1) == std::vector<float>{1});
}

TEST_CASE("ranges are of values over the factors of integers, and of the values in other formats",
          "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
    %v = nn.constant dense<1.0> : tensor<2x2xf32>
    %w = nn.constant dense<2.0> : tensor<2x2xf32>
    %a = nn.linear %x, %v {nn.format = "int8", nn.factors = array<f32: 0.5, 4.0>} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("a")
    %b = nn.linear %x, %w {nn.format = "fp8"} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    return %a, %b : tensor<2x2xf32>, tensor<2x2xf32>
  })");
  Statistics statistics = statisticsOf(m, {{array("x", {2, 2}, {1, -12, 3, 8})}});
  auto linears = llvm::to_vector(m.main().getOps<nn::LinearOp>());
  auto chosen = chooseRanges(m.main(), statistics, {}, m.constants, {.method = RangeMethod::MinMax});
  REQUIRE(chosen);
  // 3 / 0.5 and -12 / 4.
  CHECK(range(linears[0], 0, 0) == std::vector<float>{-3});
  CHECK(range(linears[0], 0, 1) == std::vector<float>{6});
  CHECK(range(linears[1], 0, 0) == std::vector<float>{-12});
  CHECK(range(linears[1], 0, 1) == std::vector<float>{8});
  REQUIRE(chosen->table.entries.size() == 1);
  const CalibrationEntry &entry = chosen->table.entries[0];
  CHECK(entry.name == "a:0");
  CHECK(entry.method == "min-max");
  CHECK(entry.range.greatest == 6);
  CHECK(entry.seen.least == -12);
  CHECK(entry.values == 4);
  CHECK(entry.factors == std::vector<float>{0.5f, 4});
  CHECK(chosen->zeros[0] == Zero::Free);

  // A table's line takes its place, with its factors.
  CalibrationTable table;
  table.entries.push_back({.name = "a:0", .range = {-1, 2}, .method = "given", .factors = {2, 3}});
  REQUIRE(chooseRanges(m.main(), statistics, table, m.constants, {}));
  CHECK(range(linears[0], 0, 0) == std::vector<float>{-1});
  CHECK(linears[0]->getAttrOfType<mlir::DenseF32ArrayAttr>(factorsAttr).asArrayRef().vec() ==
        std::vector<float>{2, 3});
  CHECK_FALSE(linears[1]->hasAttr(factorsAttr));
  CHECK(range(linears[1], 0, 1) == std::vector<float>{8});
  // Without samples what is not divided lies within the range times the greatest factor.
  REQUIRE(chooseRanges(m.main(), Statistics(m.main()), table, m.constants, {}));
  CHECK(range(linears[1], 0, 1) == std::vector<float>{6});
  // And without factors there are none.
  table.entries[0].factors.clear();
  REQUIRE(chooseRanges(m.main(), statistics, table, m.constants, {}));
  CHECK_FALSE(linears[0]->hasAttr(factorsAttr));
  CHECK(range(linears[1], 0, 1) == std::vector<float>{2});
}

TEST_CASE("a table that is another model's is told so line by line", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
    %v = nn.constant dense<1.0> : tensor<2x2xf32>
    %a = nn.linear %x, %v : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("first")
    %b = nn.matmul %a, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("second")
    return %a, %b : tensor<2x2xf32>, tensor<2x2xf32>
  })");
  Diagnostics parsing, without, with;
  auto table = CalibrationTable::parse("npuc-calibration 1\n"
                                       "first:0 -1 1\n"
                                       "secnod:0 -1 1\n"
                                       "second:1 -1 1\n"
                                       "factors first:0 1 2 3\n"
                                       "factors second:1 1\n",
                                       "t", parsing);
  REQUIRE(table);
  CHECK_FALSE(checkTable(*table, "t", Statistics(m.main()), false, without));
  INFO(without.text());
  CHECK(without.errorCount() == 4);
  for (const char *error : {"t:5: 'first:0' has 3 factors: it has 2 channels",
                            "t:3: the model multiplies no tensor 'secnod:0'", "did you mean 'second:0'?",
                            "t:6: 'second:1' has factors: only what is multiplied by weights of a linear",
                            "t: lacks 1 of 3 tensors: 'second:0'"})
    CHECK(without.text().find(error) != std::string::npos);
  CHECK_FALSE(checkTable(*table, "t", Statistics(m.main()), true, with));
  CHECK(with.errorCount() == 3);
}

TEST_CASE("statistics are those of all values, whatever the number of threads", "[quantize]") {
  auto samples = normalSamples(40);
  std::vector<float> least(4, 1e9f), greatest(4, -1e9f);
  std::vector<double> magnitudes(4), squares(4), averageGreatest(4);
  std::vector<float> all;
  for (size_t s = 0; s < samples.size(); ++s) {
    std::vector<float> x = valuesOf(samples[s][0]), most(4, -1e9f);
    for (size_t i = 0; i < x.size(); ++i) {
      size_t c = i % 4;
      least[c] = std::min(least[c], x[i]);
      greatest[c] = std::max(greatest[c], x[i]);
      most[c] = std::max(most[c], x[i]);
      magnitudes[c] += std::abs(static_cast<double>(x[i]));
      squares[c] += static_cast<double>(x[i]) * x[i];
      all.push_back(x[i]);
    }
    for (size_t c = 0; c < 4; ++c) // Below 100 samples the moving average is the mean.
      averageGreatest[c] += most[c] / static_cast<double>(samples.size());
  }
  Model m(oneLinear);
  Statistics one = statisticsOf(m, samples, {.threads = 1}), three = statisticsOf(m, samples, {.threads = 3});
  for (const Statistics *statistics : {&one, &three}) {
    const TensorStatistics &t = statistics->of(m.only<nn::LinearOp>(), 0);
    CHECK(t.name == "nn.linear:0");
    CHECK(t.least == least);
    CHECK(t.greatest == greatest);
    CHECK(t.values == all.size());
    CHECK(t.rows == 320);
    CHECK(t.samples == 40);
    for (size_t c = 0; c < 4; ++c) {
      CHECK(t.magnitudes[c] == Approx(magnitudes[c]));
      CHECK(t.squares[c] == Approx(squares[c]));
      CHECK(t.averageGreatest[c] == Approx(averageGreatest[c]).epsilon(1e-5));
    }
    CHECK(t.histogram.total() == all.size());
    CHECK(std::accumulate(t.peaks.begin(), t.peaks.end(), uint64_t{0}) == 320);
  }
  const TensorStatistics &a = one.tensors()[0], &b = three.tensors()[0];
  CHECK(a.magnitudes == b.magnitudes);
  CHECK(a.histogram.counts() == b.histogram.counts());
  CHECK(a.reservoir == b.reservoir);
  CHECK(a.reservoir.size() == 320 * 4);
}

TEST_CASE("a reservoir keeps its size, and each row as probably as another", "[quantize]") {
  // Rows are numbered by their values. 16 of 320 rows stay; over 200 seeds the first half of the rows is in
  // half of the places: 1600 of 3200, with a standard deviation of 28.
  std::vector<std::vector<NamedArray>> samples;
  for (int s = 0; s < 40; ++s) {
    std::vector<float> values;
    for (int r = 0; r < 8; ++r)
      values.insert(values.end(), 4, static_cast<float>(s * 8 + r));
    samples.push_back({array("x", {8, 4}, values)});
  }
  Model m(oneLinear);
  int fromFirstHalf = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Statistics statistics =
        statisticsOf(m, samples, {.threads = 1, .observers = {.reservoirRows = 16, .seed = seed}});
    const std::vector<float> &rows = statistics.tensors()[0].reservoir;
    REQUIRE(rows.size() == 16 * 4);
    for (size_t r = 0; r < 16; ++r) {
      CHECK(rows[4 * r] == rows[4 * r + 3]); // Whole rows.
      fromFirstHalf += rows[4 * r] < 160;
    }
    // The outermost rows are kept beside them: 304 to 319.
    std::vector<float> outermost = statistics.tensors()[0].outermost;
    REQUIRE(outermost.size() == outermostRows * 4);
    std::ranges::sort(outermost);
    for (size_t i = 0; i < outermost.size(); ++i)
      CHECK(outermost[i] == 304 + static_cast<float>(i / 4));
  }
  CHECK(std::abs(fromFirstHalf - 1600) < 5 * 28);
}

TEST_CASE("readers of one tensor share its statistics; names are unique", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
    %v = nn.constant dense<1.0> : tensor<2x2xf32>
    %w = nn.constant dense<2.0> : tensor<2x2xf32>
    %a = nn.linear %x, %v : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    %b = nn.linear %x, %w : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    %c = nn.linear %b, %w : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    return %a, %c : tensor<2x2xf32>, tensor<2x2xf32>
  })");
  Statistics statistics = statisticsOf(m, {{array("x", {2, 2}, {1, 2, 3, 4})}});
  auto linears = llvm::to_vector(m.main().getOps<nn::LinearOp>());
  REQUIRE(statistics.tensors().size() == 2);
  CHECK(statistics.index(linears[0], 0) == statistics.index(linears[1], 0));
  CHECK(statistics.index(linears[2], 0) == 1);
  CHECK(statistics.tensors()[0].values == 4);
  CHECK(statistics.tensors()[0].name == "nn.linear:0");
  CHECK(statistics.tensors()[1].name == "nn.linear:0#2");
}
