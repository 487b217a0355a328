#include "compiler/quantize/Calibrate.h"
#include "test/unit/quantize/Model.h"

using namespace npuc;
using namespace npuc::quantize;

namespace {

NamedArray integers(std::string name, std::vector<int64_t> shape, const std::vector<int32_t> &values) {
  auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), {ElementType::I32, std::move(shape), {bytes.begin(), bytes.end()}}};
}

/// An encoder's layer with two sentences of three tokens, two heads of two: projections of merged rows, an
/// additive mask of numbers, a residual sum and a norm, and a head that reads the first token.
const char *const encoder =
    R"(func.func @main(%x: tensor<2x3x4xf32> {nn.name = "x"}, %m: tensor<2x3xi32> {nn.name = "m"}) -> tensor<2x1x4xf32> {
  %w = nn.constant dense<0.5> : tensor<4x4xf32>
  %one = nn.constant dense<1.0> : tensor<4xf32>
  %keep = nn.constant dense<0.0> : tensor<f32>
  %drop = nn.constant dense<-10000.0> : tensor<f32>
  %c = nn.cast %m : (tensor<2x3xi32>) -> tensor<2x3xi1>
  %r = nn.reshape %c : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
  %mask = nn.select %r, %keep, %drop : (tensor<2x1x1x3xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %rows = nn.reshape %x : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %q = nn.linear %rows, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
  %q1 = nn.reshape %q : (tensor<6x4xf32>) -> tensor<2x3x2x2xf32>
  %q2 = nn.transpose %q1 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x2xf32>) -> tensor<2x2x3x2xf32>
  %a = nn.attention %q2, %q2, %q2, %mask {scale = 1.0 : f32} : (tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>, tensor<2x1x1x3xf32>) -> tensor<2x2x3x2xf32>
  %a1 = nn.transpose %a {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x2x3x2xf32>) -> tensor<2x3x2x2xf32>
  %a2 = nn.reshape %a1 : (tensor<2x3x2x2xf32>) -> tensor<2x3x4xf32>
  %o = nn.linear %a2, %w : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %s = nn.add %o, %x : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %n = nn.layer_norm %s, %one {axis = 2 : i64, epsilon = 1.0e-5 : f32} : (tensor<2x3x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
  %f = nn.linear %n, %w : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  %cls = nn.slice %f {sizes = array<i64: 2, 1, 4>, starts = array<i64: 0, 0, 0>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x4xf32>) -> tensor<2x1x4xf32>
  %h = nn.linear %cls, %w : (tensor<2x1x4xf32>, tensor<4x4xf32>) -> tensor<2x1x4xf32>
  return %h : tensor<2x1x4xf32>
})";

/// Two sentences of three tokens with the masks given.
std::vector<NamedArray> sample(const std::vector<int32_t> &mask) {
  std::vector<float> x(24);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(i + 1);
  return {array("x", {2, 3, 4}, x), integers("m", {2, 3}, mask)};
}

} // namespace

TEST_CASE("positions that no query reads are found in every tensor that holds them", "[quantize]") {
  Model m(encoder);
  Padding padding(m.main());
  Diagnostics diagnostics;
  REQUIRE(padding.read(sample({1, 1, 0, 1, 0, 0}), diagnostics));
  REQUIRE(padding.inputs().size() == 1);
  CHECK(padding.inputs()[0].getArgNumber() == 1);
  CHECK(padding.unused().empty());
  std::vector<bool> byToken = {true, true, false, true, false, false},
                    byHead = {true, true, false, true, true, false, true, false, false, true, false, false};
  auto linears = llvm::to_vector(m.main().getOps<nn::LinearOp>());
  for (size_t i : {0, 1, 2}) { // The projection, the one after the attention and the one after the norm.
    INFO(i);
    CHECK(padding.rowsThatCount(linears[i].getInput()) == byToken);
  }
  auto attention = m.only<nn::AttentionOp>();
  CHECK(padding.rowsThatCount(attention.getQuery()) == byHead);
  CHECK(padding.rowsThatCount(attention.getResult()) == byHead);
  // Both first tokens count.
  CHECK(padding.rowsThatCount(linears[3].getInput()).empty());
  REQUIRE(padding.read(sample({1, 1, 1, 0, 1, 1}), diagnostics));
  CHECK(padding.rowsThatCount(linears[3].getInput()) == std::vector<bool>{true, false});
}

TEST_CASE("so they are where attention is single operations", "[quantize]") {
  const std::string attention =
      "%a = nn.attention %q2, %q2, %q2, %mask {scale = 1.0 : f32} : (tensor<2x2x3x2xf32>, "
      "tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>, tensor<2x1x1x3xf32>) -> tensor<2x2x3x2xf32>";
  const std::string product = R"(
    %t = nn.transpose %q2 {permutation = array<i64: 0, 1, 3, 2>} : (tensor<2x2x3x2xf32>) -> tensor<2x2x2x3xf32>
    %raw = nn.matmul %q2, %t : (tensor<2x2x3x2xf32>, tensor<2x2x2x3xf32>) -> tensor<2x2x3x3xf32>
    %half = nn.mul %raw, %half0 : (tensor<2x2x3x3xf32>, tensor<f32>) -> tensor<2x2x3x3xf32>)";
  const std::string added =
      "%masked = nn.add %half, %mask : (tensor<2x2x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x2x3x3xf32>";
  const std::string selected = "%masked = nn.select %r, %half, %drop : (tensor<2x1x1x3xi1>, "
                               "tensor<2x2x3x3xf32>, tensor<f32>) -> tensor<2x2x3x3xf32>";
  const std::string filled = R"(
    %not = nn.not %r : (tensor<2x1x1x3xi1>) -> tensor<2x1x1x3xi1>
    %masked = nn.select %not, %drop, %half : (tensor<2x1x1x3xi1>, tensor<f32>, tensor<2x2x3x3xf32>) -> tensor<2x2x3x3xf32>)";
  const std::string rest = R"(
    %p = nn.softmax %masked {axis = 3 : i64} : (tensor<2x2x3x3xf32>) -> tensor<2x2x3x3xf32>
    %a = nn.matmul %p, %q2 : (tensor<2x2x3x3xf32>, tensor<2x2x3x2xf32>) -> tensor<2x2x3x2xf32>)";
  for (const std::string &masking : {added, selected, filled}) {
    std::string text = encoder;
    size_t at = text.find(attention);
    REQUIRE(at != std::string::npos);
    text.replace(at, attention.size(),
                 "%half0 = nn.constant dense<0.5> : tensor<f32>" + product + "\n" + masking + rest);
    Model m(text);
    Padding padding(m.main());
    Diagnostics diagnostics;
    INFO(masking);
    REQUIRE(padding.read(sample({1, 1, 0, 1, 0, 0}), diagnostics));
    std::vector<bool> byToken = {true, true, false, true, false, false},
                      byHead = {true, true, false, true, true, false, true, false, false, true, false, false};
    for (nn::LinearOp linear : m.main().getOps<nn::LinearOp>())
      if (mlir::cast<mlir::RankedTensorType>(linear.getType()).getDimSize(1) != 1) // All but the head.
        CHECK(padding.rowsThatCount(linear.getInput()) == byToken);
    auto products = llvm::to_vector(m.main().getOps<nn::MatmulOp>());
    CHECK(padding.rowsThatCount(products[0].getLhs()) == byHead); // Queries.
    CHECK(padding.rowsThatCount(products[1].getRhs()) == byHead); // Values.
    // Keys are columns, not rows.
    CHECK(padding.rowsThatCount(products[0].getRhs()).empty());
  }
}

TEST_CASE("padding enters no statistics", "[quantize]") {
  Model m(encoder);
  Diagnostics diagnostics;
  auto statistics =
      observe(m.main(), SamplesInMemory({sample({1, 1, 0, 1, 0, 0})}), {.threads = 2}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(statistics);
  // Rows 0, 1 and 3 of four: their first channel is 1, 5 and 13, the last 4, 8 and 16.
  const TensorStatistics &x = statistics->tensors()[0];
  CHECK(x.least == std::vector<float>{1, 2, 3, 4});
  CHECK(x.greatest == std::vector<float>{13, 14, 15, 16});
  CHECK(x.values == 12);
  CHECK(x.rows == 3);
  CHECK(x.paddedRows == 3);
  CHECK(x.reservoir == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16});
}

TEST_CASE("new keys are behind those of the past", "[quantize]") {
  // Two keys of the past and two new ones; the mask leaves out the first and the last.
  Model m(
      R"(func.func @main(%x: tensor<1x2x2xf32> {nn.name = "x"}, %past: tensor<1x1x2x2xf32> {nn.name = "past"}, %m: tensor<1x1x1x4xi1> {nn.name = "m"}) -> tensor<1x1x2x2xf32> {
    %w = nn.constant dense<1.0> : tensor<2x2xf32>
    %k = nn.linear %x, %w : (tensor<1x2x2xf32>, tensor<2x2xf32>) -> tensor<1x2x2xf32>
    %k1 = nn.reshape %k : (tensor<1x2x2xf32>) -> tensor<1x1x2x2xf32>
    %all = nn.kv_update %past, %k1 {axis = 2 : i64} : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x4x2xf32>
    %a = nn.attention %k1, %all, %all, %m {scale = 1.0 : f32} : (tensor<1x1x2x2xf32>, tensor<1x1x4x2xf32>, tensor<1x1x4x2xf32>, tensor<1x1x1x4xi1>) -> tensor<1x1x2x2xf32>
    return %a : tensor<1x1x2x2xf32>
  })");
  Padding padding(m.main());
  NamedArray mask{"m", {ElementType::Bool, {1, 1, 1, 4}, {}}};
  for (int bit : {0, 1, 1, 0})
    mask.array.data.push_back(static_cast<std::byte>(bit));
  Diagnostics diagnostics;
  REQUIRE(padding.read(std::vector<NamedArray>{array("x", {1, 2, 2}, {1, 2, 3, 4}),
                                               array("past", {1, 1, 2, 2}, {1, 2, 3, 4}), mask},
                       diagnostics));
  auto attention = m.only<nn::AttentionOp>();
  CHECK(padding.rowsThatCount(attention.getKey()) == std::vector<bool>{false, true, true, false});
  CHECK(padding.rowsThatCount(m.only<nn::LinearOp>().getInput()) == std::vector<bool>{true, false});
  CHECK(padding.rowsThatCount(m.main().getArgument(1)) == std::vector<bool>{false, true});
}

TEST_CASE("a mask that does not depend on inputs, or on products, hides nothing", "[quantize]") {
  Model m(
      R"(func.func @main(%x: tensor<1x1x2x2xf32> {nn.name = "x"}) -> (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) {
    %fixed = nn.constant dense<[[[[0.0, -3.4e38]]]]> : tensor<1x1x1x2xf32>
    %made = nn.matmul %x, %x : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
    %a = nn.attention %x, %x, %x, %fixed {scale = 1.0 : f32} : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x2x2xf32>
    %b = nn.attention %x, %x, %x, %made {scale = 1.0 : f32} : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
    return %a, %b : tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>
  })");
  Padding padding(m.main());
  Diagnostics diagnostics;
  REQUIRE(padding.read(std::vector<NamedArray>{array("x", {1, 1, 2, 2}, {1, 2, 3, 4})}, diagnostics));
  CHECK(padding.inputs().empty());
  REQUIRE(padding.unused().size() == 1);
  CHECK(padding.unused()[0].why == "its mask is computed with multiplications of matrices");
  CHECK(padding.rowsThatCount(m.main().getArgument(0)).empty());
}
