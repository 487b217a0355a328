#include "compiler/quantize/Quantize.h"
#include "test/unit/quantize/Model.h"

using namespace npuc;
using namespace npuc::quantize;
using interpret::HostTensor;

TEST_CASE("the input's zero point goes into the bias with the weights' sums of columns", "[quantize]") {
  // x = 0.5 (q - 3), w = 0.25 v, v = [[1, -2], [3, 4]], bias [1, -0.5]. Products count 0.125: the bias is [8,
  // -4]; less 3 · [1 + 3, -2 + 4] it is [-4, -10].
  Model m(R"(func.func @main(%q: tensor<1x2xi8>) -> tensor<1x2xf32> {
    %v = nn.constant dense<[[1, -2], [3, 4]]> : tensor<2x2xi8>
    %sx = nn.constant dense<0.5> : tensor<f32>
    %zx = nn.constant dense<3> : tensor<i8>
    %sw = nn.constant dense<0.25> : tensor<f32>
    %b = nn.constant dense<[1.0, -0.5]> : tensor<2xf32>
    %x = nn.dequantize %q, %sx, %zx : (tensor<1x2xi8>, tensor<f32>, tensor<i8>) -> tensor<1x2xf32>
    %w = nn.dequantize %v, %sw : (tensor<2x2xi8>, tensor<f32>) -> tensor<2x2xf32>
    %y = nn.linear %x, %w, %b : (tensor<1x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<1x2xf32>
    return %y : tensor<1x2xf32>
  })");
  HostTensor q = HostTensor::of<int8_t>(ElementType::I8, {1, 2}, {10, -6});
  std::vector<float> before = m.run<float>({q});
  REQUIRE(succeeded(foldQuantization(m.main(), Requantization::FloatScale, m.constants)));
  auto linear = m.only<nn::LinearOp>();
  REQUIRE(linear.getInput().getType().getElementType().isInteger(8));
  auto bias =
      mlir::cast<mlir::DenseElementsAttr>(linear.getBias().getDefiningOp<nn::ConstantOp>().getValue());
  CHECK(llvm::to_vector(bias.getValues<int32_t>()) == llvm::SmallVector<int32_t>{-4, -10});
  // (10 - 18 - 4, -20 - 24 - 10) · 0.125.
  CHECK(before == std::vector<float>{-1.5, -6.75});
  CHECK(m.run<float>({q}) == before);
}

TEST_CASE("zero points of two computed operands become sums of rows and columns", "[quantize]") {
  Model m(R"(func.func @main(%p: tensor<2x3xi8>, %q: tensor<3x2xi8>) -> tensor<2x2xf32> {
    %s = nn.constant dense<0.5> : tensor<f32>
    %zp = nn.constant dense<-7> : tensor<i8>
    %zq = nn.constant dense<5> : tensor<i8>
    %a = nn.dequantize %p, %s, %zp : (tensor<2x3xi8>, tensor<f32>, tensor<i8>) -> tensor<2x3xf32>
    %b = nn.dequantize %q, %s, %zq : (tensor<3x2xi8>, tensor<f32>, tensor<i8>) -> tensor<3x2xf32>
    %y = nn.matmul %a, %b : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
    return %y : tensor<2x2xf32>
  })");
  HostTensor p = HostTensor::of<int8_t>(ElementType::I8, {2, 3}, {-128, 127, 3, 0, -7, 100}),
             q = HostTensor::of<int8_t>(ElementType::I8, {3, 2}, {5, -128, 127, 0, -1, 64});
  std::vector<float> before = m.run<float>({p, q});
  REQUIRE(succeeded(foldQuantization(m.main(), Requantization::FloatScale, m.constants)));
  CHECK(m.only<nn::MatmulOp>().getType().getElementType().isInteger(32));
  CHECK(m.run<float>({p, q}) == before); // All numbers are small multiples of 1/4.
}

TEST_CASE("unsigned integers become signed ones of the same values", "[quantize]") {
  Model m(R"(func.func @main(%x: tensor<1x2xf32>) -> tensor<1x1xf32> {
    %s = nn.constant dense<0.5> : tensor<f32>
    %z = nn.constant dense<130> : tensor<ui8>
    %v = nn.constant dense<[[3], [-5]]> : tensor<2x1xi8>
    %q = nn.quantize %x, %s, %z : (tensor<1x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<1x2xui8>
    %d = nn.dequantize %q, %s, %z : (tensor<1x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<1x2xf32>
    %w = nn.dequantize %v, %s : (tensor<2x1xi8>, tensor<f32>) -> tensor<2x1xf32>
    %y = nn.linear %d, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32>
    return %y : tensor<1x1xf32>
  })");
  HostTensor x = HostTensor::of<float>(ElementType::F32, {1, 2}, {-200, 7.3f}); // -200 saturates
  std::vector<float> before = m.run<float>({x});
  REQUIRE(succeeded(foldQuantization(m.main(), Requantization::FloatScale, m.constants)));
  CHECK(m.only<nn::QuantizeOp>().getType().getElementType().isSignlessInteger(8));
  CHECK(m.only<nn::LinearOp>().getType().getElementType().isInteger(32));
  CHECK(m.run<float>({x}) == before);
}

TEST_CASE("sums are proven from the weights or cut into parts", "[quantize]") {
  // Σ|w| of the columns: 400 and 4. 400 · 128 = 51200 > 2^15 - 1; each half has 200 · 128 = 25600.
  Model m(R"(func.func @main(%x: tensor<1x4xi8>) -> tensor<1x2xi32> {
    %w = nn.constant dense<[[100, 1], [-100, 1], [100, -1], [100, 1]]> : tensor<4x2xi8>
    %y = nn.linear %x, %w : (tensor<1x4xi8>, tensor<4x2xi8>) -> tensor<1x2xi32>
    return %y : tensor<1x2xi32>
  })");
  auto linear = m.only<nn::LinearOp>();
  REQUIRE(succeeded(boundSums(m.main(), 17, m.constants))); // 51200 <= 2^16 - 1
  CHECK_FALSE(linear->hasAttr(partsAttr));
  REQUIRE(succeeded(boundSums(m.main(), 16, m.constants)));
  CHECK(linear->getAttrOfType<mlir::IntegerAttr>(partsAttr).getInt() == 2);
}
