#include "compiler/quantize/Calibrate.h"
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
  Diagnostics diagnostics;
  // Three samples stacked along the input's own first dimension; the mask's lowest number is none of them.
  auto samples = samplesOf(m.main(), {array("x", {3, 2}, {1, -4, 2, -3.4e38f, -1, 5})}, diagnostics);
  REQUIRE(samples.size() == 3);
  auto statistics = observe(m.main(), SamplesInMemory(samples), {.threads = 1}, diagnostics);
  REQUIRE(statistics);
  setRanges(m.main(), *statistics);
  auto linear = m.only<nn::LinearOp>();
  CHECK(range(linear, 0, 0) == std::vector<float>{-1, -4});
  CHECK(range(linear, 0, 1) == std::vector<float>{2, 5});
}

TEST_CASE("a softmax's range is [0, 1] whatever it gives", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> tensor<2x2xf32> {
    %p = nn.softmax %x {axis = 1 : i64} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %t = nn.transpose %p {permutation = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
    %y = nn.matmul %t, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    return %y : tensor<2x2xf32>
  })");
  Diagnostics diagnostics;
  auto samples = samplesOf(m.main(), {array("x", {2, 2}, {1, 1, 1, 1})}, diagnostics);
  auto statistics = observe(m.main(), SamplesInMemory(samples), {.threads = 1}, diagnostics);
  REQUIRE(statistics);
  setRanges(m.main(), *statistics);
  auto matmul = m.only<nn::MatmulOp>();
  CHECK(range(matmul, 0, 0) == std::vector<float>{0});
  CHECK(range(matmul, 0, 1) == std::vector<float>{1});
  CHECK(range(matmul, 1, 1) == std::vector<float>{1});
}

TEST_CASE("samples that do not fit, and numbers that are none, are named", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x2xf32> {
    %w = nn.constant dense<1.0> : tensor<2x2xf32>
    %y = nn.linear %x, %w : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
    return %y : tensor<1x2xf32>
  })");
  Diagnostics shapes;
  CHECK(samplesOf(m.main(), {array("x", {3, 3}, std::vector<float>(9))}, shapes).empty());
  CHECK(shapes.text().find("it has the shape [3, 3], the input [1, 2]") != std::string::npos);

  Diagnostics numbers;
  auto samples = samplesOf(m.main(), {array("x", {2, 1, 2}, {1, 2, 3, NAN})}, numbers);
  REQUIRE(samples.size() == 2);
  CHECK_FALSE(observe(m.main(), SamplesInMemory(samples), {.threads = 1}, numbers));
  CHECK(numbers.text().find("calibration sample 1 gives NaN or infinity in its operand 0") !=
        std::string::npos);
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
