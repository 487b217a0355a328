// Integer operations of nn are the same, to the last bit, in the interpreter and in the program that a
// simulator runs.
#include "test/unit/pipeline/Simulated.h"

using namespace npuc;
using namespace npuc::simulated;

namespace {

constexpr const char *linear = R"(
  %w = nn.constant dense<[[-128, 127, 3], [5, -7, 127], [90, -1, 0], [-128, 127, 64]]> : tensor<4x3xi8>
  %b = nn.constant dense<[100000, -5, 0]> : tensor<3xi32>
  %0 = nn.linear %x, %w, %b : (tensor<16x4xi8>, tensor<4x3xi8>, tensor<3xi32>) -> tensor<16x3xi32>)";

} // namespace

TEST_CASE("sums are requantized alike", "[pipeline]") {
  HostTensor x = randomTensor<int8_t>(ElementType::I8, {16, 4}, -128, 127, 1);
  // Factors that leave results inside of the range, saturate some, and give ties: 2^-8 is exact.
  const char *kinds[][2] = {
      {"toy",
       "float %0 {scales = array<f32: 0.001, 0.00390625, 0.03>, axis = 1 : i64, zero_point = -5 : i64}"},
      {"atom", "float %0 {scales = array<f32: 0.00390625>}"},
      {"warboy", "fixedpoint %0 {multipliers = array<i32: 1073741824, 1431655765, 2147483647>, shifts = "
                 "array<i32: 7, 9, 5>, "
                 "axis = 1 : i64, zero_point = 11 : i64, rounding = #nn<rounding halfup>}"},
      {"warboy", "fixedpoint %0 {multipliers = array<i32: 1073741824>, shifts = array<i32: 7>, "
                 "rounding = #nn<rounding halfup>}"},
      {"sapeon-x220",
       "fixedpoint %0 {multipliers = array<i32: 1073741824, 1431655765, 2147483647>, "
       "shifts = array<i32: 7, 9, 5>, axis = 1 : i64, zero_point = 11 : i64, rounding = #nn<rounding down>}"},
  };
  for (auto [target, kind] : kinds) {
    std::string text = std::string("func.func @main(%x: tensor<16x4xi8>) -> tensor<16x3xi8> {") + linear +
                       "\n  %y = nn.requantize " + kind +
                       " : (tensor<16x3xi32>) -> tensor<16x3xi8>\n  return %y : tensor<16x3xi8>\n}";
    CAPTURE(kind);
    checkSame(text, {x}, target);
  }
}

TEST_CASE("products of two computed operands with zero points are alike", "[pipeline]") {
  HostTensor p = randomTensor<int8_t>(ElementType::I8, {8, 12}, -128, 127, 2),
             q = randomTensor<int8_t>(ElementType::I8, {12, 8}, -128, 127, 3);
  checkSame(R"(func.func @main(%p: tensor<8x12xi8>, %q: tensor<12x8xi8>) -> tensor<8x8xi32> {
    %c = nn.constant dense<5> : tensor<1xi32>
    %0 = nn.matmul %p, %q : (tensor<8x12xi8>, tensor<12x8xi8>) -> tensor<8x8xi32>
    %1 = nn.cast %p : (tensor<8x12xi8>) -> tensor<8x12xi32>
    %2 = nn.reduce sum %1 {axes = array<i64: 1>, keep} : (tensor<8x12xi32>) -> tensor<8x1xi32>
    %3 = nn.mul %2, %c : (tensor<8x1xi32>, tensor<1xi32>) -> tensor<8x1xi32>
    %4 = nn.sub %0, %3 : (tensor<8x8xi32>, tensor<8x1xi32>) -> tensor<8x8xi32>
    return %4 : tensor<8x8xi32>
  })",
            {p, q}, "toy");
}

TEST_CASE("a sum that leaves 24 bits is found, and cut into parts that do not", "[pipeline]") {
  // 1024 · 127 · 127 = 16516096, just under 2^24 and beyond 2^23 - 1 = 8388607; each half fits.
  HostTensor x = randomTensor<int8_t>(ElementType::I8, {4, 1024}, 127, 127, 0);
  const std::string text = R"(func.func @main(%x: tensor<4x1024xi8>) -> tensor<4x8xi32> {
    %w = nn.constant dense<127> : tensor<1024x8xi8>
    %y = nn.linear %x, %w : (tensor<4x1024xi8>, tensor<1024x8xi8>) -> tensor<4x8xi32>
    return %y : tensor<4x8xi32>
  })";
  Module whole(text);
  CHECK_FALSE(whole.simulate({x}, "sapeon-x220"));
  CHECK(whole.diagnostics.text().find("24") != std::string::npos);

  Module parts(text);
  REQUIRE(succeeded(quantize::boundSums(parts.main(), 24, parts.constants)));
  auto found = parts.simulate({x}, "sapeon-x220");
  INFO(parts.diagnostics.text());
  REQUIRE(found);
  for (size_t i = 0; i < 4 * 8; ++i) {
    int32_t sum = 0;
    std::memcpy(&sum, found->data() + i * sizeof sum, sizeof sum);
    CHECK(sum == 1024 * 127 * 127);
  }
}
