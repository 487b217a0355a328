// What quantization folds into computes the same bits on the simulator as in the interpreter, and exact
// integers.
#include "test/unit/pipeline/Simulated.h"

using namespace npuc;
using namespace npuc::simulated;

namespace {

/// Folds the function, whose result has f32 or i32; interpreter and simulator give the same bits of it.
/// Returns what the function meant before.
HostTensor checkFolded(const std::string &text, llvm::ArrayRef<HostTensor> inputs, const std::string &target,
                       const quantize::Multiplied &multiplied = {}) {
  CAPTURE(target);
  Module module(text);
  HostTensor meant = module.interpret(inputs);
  REQUIRE(succeeded(quantize::foldQuantization(module.main(), quantize::Requantization::FloatScale,
                                               module.constants, multiplied)));
  REQUIRE(quantize::inFloat(module.main()).empty());
  HostTensor wanted = module.interpret(inputs);
  auto found = module.simulate(inputs, target);
  INFO(module.diagnostics.text());
  REQUIRE(found);
  CHECK(std::equal(wanted.raw(), wanted.raw() + wanted.bytes(), found->begin()));
  // Floats are of exact sums times scales: a few roundings apart.
  REQUIRE(wanted.count() == meant.count());
  for (int64_t i = 0; i < wanted.count(); ++i)
    if (wanted.type() == ElementType::F32)
      CHECK(wanted.data<float>()[i] == Approx(meant.data<float>()[i]).epsilon(1e-5).margin(1e-3));
    else
      CHECK(wanted.data<int32_t>()[i] == meant.data<int32_t>()[i]);
  return meant;
}

HostTensor scales(interpret::Shape shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> number(0.01f, 0.1f);
  std::vector<float> values(static_cast<size_t>(interpret::countOf(shape)));
  for (float &value : values)
    value = number(random);
  return HostTensor::of<float>(ElementType::F32, std::move(shape), values);
}

const char *const targets[] = {"atom", "rngd", "warboy", "sapeon-x220"};

} // namespace

/// A dense attribute of [rows, columns] random integers, each with `behind` after it.
std::string dense(int64_t rows, int64_t columns, int64_t least, int64_t greatest, uint32_t seed,
                  const char *behind = "") {
  HostTensor numbers = randomTensor<int32_t>(ElementType::I32, {rows, columns}, least, greatest, seed);
  std::string text = "dense<[";
  for (int64_t row = 0; row < rows; ++row) {
    text += row ? ", [" : "[";
    for (int64_t column = 0; column < columns; ++column)
      text += (column ? ", " : "") + std::to_string(numbers.data<int32_t>()[row * columns + column]) + behind;
    text += "]";
  }
  return text + "]>";
}

TEST_CASE("a scale for each row", "[pipeline]") {
  const char *text =
      R"(func.func @main(%q: tensor<2x5x24xi8>, %s: tensor<2x5x1xf32>, %v: tensor<24x7xi8>) -> tensor<2x5x7xf32> {
    %t = nn.constant dense<[0.5, 0.25, 0.125, 1.0, 2.0, 0.75, 3.0]> : tensor<7xf32>
    %b = nn.constant dense<[1.0, -1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<7xf32>
    %x = nn.dequantize %q, %s {axis = 2 : i64, block_size = 24 : i64} : (tensor<2x5x24xi8>, tensor<2x5x1xf32>) -> tensor<2x5x24xf32>
    %w = nn.dequantize %v, %t {axis = 1 : i64} : (tensor<24x7xi8>, tensor<7xf32>) -> tensor<24x7xf32>
    %y = nn.linear %x, %w, %b : (tensor<2x5x24xf32>, tensor<24x7xf32>, tensor<7xf32>) -> tensor<2x5x7xf32>
    return %y : tensor<2x5x7xf32>
  })";
  for (const char *target : targets)
    checkFolded(text,
                {randomTensor<int8_t>(ElementType::I8, {2, 5, 24}, -127, 127, 1), scales({2, 5, 1}, 2),
                 randomTensor<int8_t>(ElementType::I8, {24, 7}, -127, 127, 3)},
                target);
}

TEST_CASE("computed scales and zero points, signed by unsigned", "[pipeline]") {
  const char *text =
      R"(func.func @main(%q: tensor<6x24xui8>, %s: tensor<f32>, %z: tensor<ui8>, %v: tensor<24x7xi8>, %t: tensor<7xf32>, %u: tensor<7xi8>) -> tensor<6x7xf32> {
    %x = nn.dequantize %q, %s, %z : (tensor<6x24xui8>, tensor<f32>, tensor<ui8>) -> tensor<6x24xf32>
    %w = nn.dequantize %v, %t, %u {axis = 1 : i64} : (tensor<24x7xi8>, tensor<7xf32>, tensor<7xi8>) -> tensor<24x7xf32>
    %y = nn.matmul %x, %w : (tensor<6x24xf32>, tensor<24x7xf32>) -> tensor<6x7xf32>
    return %y : tensor<6x7xf32>
  })";
  for (const char *target : targets)
    checkFolded(text,
                {randomTensor<uint8_t>(ElementType::U8, {6, 24}, 0, 255, 4), scales({}, 5),
                 randomTensor<uint8_t>(ElementType::U8, {}, 0, 255, 6),
                 randomTensor<int8_t>(ElementType::I8, {24, 7}, -128, 127, 7), scales({7}, 8),
                 randomTensor<int8_t>(ElementType::I8, {7}, -128, 127, 9)},
                target);
}

TEST_CASE("a convolution of integers less their zero points", "[pipeline]") {
  // Two groups, of which each window's sum is its own; elements outside of the input count as 0 after the
  // zero point, and weights have one for each output.
  const char *text =
      R"(func.func @main(%q: tensor<1x4x6x6xui8>, %z: tensor<ui8>, %v: tensor<6x2x3x3xi8>, %u: tensor<6x1x1x1xi32>) -> tensor<1x6x4x4xi32> {
    %0 = nn.cast %q : (tensor<1x4x6x6xui8>) -> tensor<1x4x6x6xi32>
    %1 = nn.cast %z : (tensor<ui8>) -> tensor<i32>
    %x = nn.sub %0, %1 : (tensor<1x4x6x6xi32>, tensor<i32>) -> tensor<1x4x6x6xi32>
    %2 = nn.cast %v : (tensor<6x2x3x3xi8>) -> tensor<6x2x3x3xi32>
    %w = nn.sub %2, %u : (tensor<6x2x3x3xi32>, tensor<6x1x1x1xi32>) -> tensor<6x2x3x3xi32>
    %y = nn.conv %x, %w {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 2, 2, 1, 1>, groups = 2 : i64} : (tensor<1x4x6x6xi32>, tensor<6x2x3x3xi32>) -> tensor<1x6x4x4xi32>
    return %y : tensor<1x6x4x4xi32>
  })";
  for (const char *target : targets)
    checkFolded(text,
                {randomTensor<uint8_t>(ElementType::U8, {1, 4, 6, 6}, 0, 255, 10),
                 randomTensor<uint8_t>(ElementType::U8, {}, 100, 200, 11),
                 randomTensor<int8_t>(ElementType::I8, {6, 2, 3, 3}, -128, 127, 12),
                 randomTensor<int32_t>(ElementType::I32, {6, 1, 1, 1}, -100, 100, 13)},
                target);
}

TEST_CASE("weights of 4 bits with scales for groups", "[pipeline]") {
  // Three groups of 32, the input with one scale and a zero point; weights of either kind, as [k, n].
  HostTensor x = randomTensor<int8_t>(ElementType::I8, {5, 96}, -128, 127, 14);
  for (bool asymmetric : {false, true}) {
    CAPTURE(asymmetric);
    std::string type = asymmetric ? "ui4" : "i4";
    std::string text =
        "func.func @main(%q: tensor<5x96xi8>) -> tensor<5x6xf32> {\n  %v = nn.constant " +
        dense(96, 6, asymmetric ? 0 : -8, asymmetric ? 15 : 7, 15) + " : tensor<96x6x" + type + ">\n" +
        "  %t = nn.constant " + dense(3, 6, 1, 99, 16, ".0e-3") + " : tensor<3x6xf32>\n" +
        (asymmetric ? "  %u = nn.constant " + dense(3, 6, 0, 15, 17) + " : tensor<3x6xui4>\n" : "") + R"(
  %s = nn.constant dense<0.05> : tensor<f32>
  %z = nn.constant dense<-9> : tensor<i8>
  %b = nn.constant dense<[1.0, -1.0, 2.0, 3.0, 4.0, 5.0]> : tensor<6xf32>
  %x = nn.dequantize %q, %s, %z : (tensor<5x96xi8>, tensor<f32>, tensor<i8>) -> tensor<5x96xf32>
  %w = nn.dequantize %v, %t)" +
        (asymmetric ? ", %u" : "") + " {axis = 0 : i64, block_size = 32 : i64} : (tensor<96x6x" + type +
        ">, tensor<3x6xf32>" + (asymmetric ? ", tensor<3x6xui4>" : "") + R"() -> tensor<96x6xf32>
  %y = nn.linear %x, %w, %b : (tensor<5x96xf32>, tensor<96x6xf32>, tensor<6xf32>) -> tensor<5x6xf32>
  return %y : tensor<5x6xf32>
})";
    for (auto [target, fourBits] :
         {std::pair("atom", true), {"rngd", true}, {"warboy", false}, {"sapeon-x220", false}})
      checkFolded(text, {x}, target, {.fourBits = fourBits});
  }
}

TEST_CASE("weights of 4 bits with a last group that is filled up, and a scale for each row", "[pipeline]") {
  std::string text =
      "func.func @main(%q: tensor<1x40xi8>, %s: tensor<1x1xf32>) -> tensor<1x7xf32> {\n  %v = nn.constant " +
      dense(7, 40, -7, 7, 18) + " : tensor<7x40xi4>\n  %t = nn.constant " + dense(7, 2, 1, 99, 19, ".0e-3") +
      R"( : tensor<7x2xf32>
  %x = nn.dequantize %q, %s {axis = 1 : i64, block_size = 40 : i64} : (tensor<1x40xi8>, tensor<1x1xf32>) -> tensor<1x40xf32>
  %w = nn.dequantize %v, %t {axis = 1 : i64, block_size = 32 : i64} : (tensor<7x40xi4>, tensor<7x2xf32>) -> tensor<7x40xf32>
  %y = nn.linear %x, %w {transposed} : (tensor<1x40xf32>, tensor<7x40xf32>) -> tensor<1x7xf32>
  return %y : tensor<1x7xf32>
})";
  for (auto [target, fourBits] : {std::pair("atom", true), {"warboy", false}})
    checkFolded(text, {randomTensor<int8_t>(ElementType::I8, {1, 40}, -127, 127, 20), scales({1, 1}, 21)},
                target, {.fourBits = fourBits});
}

TEST_CASE("weights of 4 bits that are dequantized", "[pipeline]") {
  // What stays in floats is unpacked by the vector engine: to the bit, as numbers of 4 bits times powers of
  // two are.
  std::string text = "func.func @main() -> tensor<6x64xf32> {\n  %v = nn.constant " +
                     dense(6, 64, 0, 15, 22) + " : tensor<6x64xui4>\n  %u = nn.constant " +
                     dense(6, 2, 0, 15, 23) + R"( : tensor<6x2xui4>
  %t = nn.constant dense<0.25> : tensor<6x2xf32>
  %w = nn.dequantize %v, %t, %u {axis = 1 : i64, block_size = 32 : i64} : (tensor<6x64xui4>, tensor<6x2xf32>, tensor<6x2xui4>) -> tensor<6x64xf32>
  return %w : tensor<6x64xf32>
})";
  for (const char *target : targets)
    checkSame(text, {}, target);
}

TEST_CASE("floats of 8 bits", "[pipeline]") {
  const char *text =
      R"(func.func @main(%q: tensor<5x24xf8E4M3FN>, %v: tensor<24x7xf8E4M3FN>, %t: tensor<7xf32>) -> tensor<5x7xf32> {
    %s = nn.constant dense<0.5> : tensor<f32>
    %x = nn.dequantize %q, %s : (tensor<5x24xf8E4M3FN>, tensor<f32>) -> tensor<5x24xf32>
    %w = nn.dequantize %v, %t {axis = 1 : i64} : (tensor<24x7xf8E4M3FN>, tensor<7xf32>) -> tensor<24x7xf32>
    %y = nn.linear %x, %w : (tensor<5x24xf32>, tensor<24x7xf32>) -> tensor<5x7xf32>
    return %y : tensor<5x7xf32>
  })";
  // Bytes 0x20 to 0x40 are numbers from 1/8 to 2 with 3 bits after the first: their products, and sums of 24,
  // are exact in f32 in any order.
  auto numbers = [](interpret::Shape shape, uint32_t seed) {
    return randomTensor<uint8_t>(ElementType::F8E4M3, std::move(shape), 0x20, 0x40, seed);
  };
  for (const char *target : {"rngd", "sapeon-x330"})
    checkFolded(text, {numbers({5, 24}, 24), numbers({24, 7}, 25), scales({7}, 26)}, target);
}

TEST_CASE("attention with scales and zero points for heads", "[pipeline]") {
  // Four query heads of two key heads. Values have a zero point for each head, keys too, which softmax takes
  // away.
  const char *text =
      R"(func.func @main(%q: tensor<1x4x6x16xi8>, %k: tensor<1x2x9x16xui8>, %v: tensor<1x2x9x8xi8>) -> tensor<1x4x6x8xf32> {
    %sq = nn.constant dense<[0.01, 0.02, 0.015, 0.005]> : tensor<4xf32>
    %sk = nn.constant dense<[0.02, 0.03]> : tensor<2xf32>
    %zk = nn.constant dense<[120, 140]> : tensor<2xui8>
    %sv = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
    %zv = nn.constant dense<[-7, 30]> : tensor<2xi8>
    %dq = nn.dequantize %q, %sq {axis = 1 : i64} : (tensor<1x4x6x16xi8>, tensor<4xf32>) -> tensor<1x4x6x16xf32>
    %dk = nn.dequantize %k, %sk, %zk {axis = 1 : i64} : (tensor<1x2x9x16xui8>, tensor<2xf32>, tensor<2xui8>) -> tensor<1x2x9x16xf32>
    %dv = nn.dequantize %v, %sv, %zv {axis = 1 : i64} : (tensor<1x2x9x8xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<1x2x9x8xf32>
    %y = nn.attention %dq, %dk, %dv {scale = 0.25 : f32, causal_offset = 3 : i64} : (tensor<1x4x6x16xf32>, tensor<1x2x9x16xf32>, tensor<1x2x9x8xf32>) -> tensor<1x4x6x8xf32>
    return %y : tensor<1x4x6x8xf32>
  })";
  HostTensor q = randomTensor<int8_t>(ElementType::I8, {1, 4, 6, 16}, -127, 127, 27),
             k = randomTensor<uint8_t>(ElementType::U8, {1, 2, 9, 16}, 0, 255, 28),
             v = randomTensor<int8_t>(ElementType::I8, {1, 2, 9, 8}, -128, 127, 29);
  for (const char *target : targets) {
    CAPTURE(target);
    Module module(text);
    HostTensor meant = module.interpret({q, k, v});
    REQUIRE(succeeded(
        quantize::foldQuantization(module.main(), quantize::Requantization::FloatScale, module.constants)));
    REQUIRE(quantize::inFloat(module.main()).empty());
    HostTensor wanted = module.interpret({q, k, v});
    auto found = module.simulate({q, k, v}, target);
    INFO(module.diagnostics.text());
    REQUIRE(found);
    // Up to nine powers of a row, whose sum is at least 1, are rounded to the nearest of 127 steps, of values
    // that are at most 255 steps of 0.5 apart. On a device a power's last bits may round it to another step.
    for (int64_t i = 0; i < wanted.count(); ++i) {
      float simulated = 0;
      std::memcpy(&simulated, found->data() + static_cast<size_t>(i) * sizeof simulated, sizeof simulated);
      CHECK(simulated == Approx(wanted.data<float>()[i]).margin(255 * 0.5 / 127));
      CHECK(wanted.data<float>()[i] == Approx(meant.data<float>()[i]).margin(9 * 0.5 / 127 * 255 * 0.5));
    }
  }
}
