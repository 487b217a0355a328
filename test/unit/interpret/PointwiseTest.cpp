#include "compiler/interpret/kernels/Pointwise.h"
#include "compiler/interpret/kernels/Cast.h"
#include "test/unit/interpret/Reference.h"

#include <limits>

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);
constexpr float infinity = std::numeric_limits<float>::infinity();
const float quietNan = std::nanf("");

Shape randomShape(int64_t rank) {
  Shape shape;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(pick(1, 6));
  return shape;
}

/// `shape` with some dimensions set to 1 and some leading ones dropped.
Shape broadcastable(Shape shape) {
  shape.erase(shape.begin(), shape.begin() + pick(0, static_cast<int64_t>(shape.size())));
  for (int64_t &size : shape)
    size = pick(0, 2) ? size : 1;
  return shape;
}

template <typename T>
std::vector<T> list(const HostTensor &tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.count()};
}
HostTensor i32(std::vector<int32_t> v) {
  return HostTensor::of<int32_t>(ElementType::I32, {static_cast<int64_t>(v.size())}, v);
}
HostTensor i8(std::vector<int8_t> v) {
  return HostTensor::of<int8_t>(ElementType::I8, {static_cast<int64_t>(v.size())}, v);
}
HostTensor floats(std::vector<float> v) {
  return HostTensor::of<float>(ElementType::F32, {static_cast<int64_t>(v.size())}, v);
}

} // namespace

TEST_CASE("float functions against libm in double, in fp32 and fp64") {
  struct Case {
    Unary kind;
    double (*f)(double);
    double low, high;
  };
  const Case cases[] = {
      {Unary::Neg, [](double x) { return -x; }, -9, 9},
      {Unary::Abs, [](double x) { return std::abs(x); }, -9, 9},
      {Unary::Sign, [](double x) { return double((x > 0) - (x < 0)); }, -9, 9},
      {Unary::Relu, [](double x) { return x > 0 ? x : 0; }, -9, 9},
      {Unary::Exp, [](double x) { return std::exp(x); }, -20, 20},
      {Unary::Log, [](double x) { return std::log(x); }, 0, 100},
      {Unary::Sqrt, [](double x) { return std::sqrt(x); }, 0, 100},
      {Unary::Rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.01, 100},
      {Unary::Reciprocal, [](double x) { return 1 / x; }, 0.01, 100},
      {Unary::Sin, [](double x) { return std::sin(x); }, -100, 100},
      {Unary::Cos, [](double x) { return std::cos(x); }, -100, 100},
      {Unary::Tanh, [](double x) { return std::tanh(x); }, -9, 9},
      {Unary::Erf, [](double x) { return std::erf(x); }, -5, 5},
      {Unary::Sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -20, 20},
      {Unary::Silu, [](double x) { return x / (1 + std::exp(-x)); }, -20, 20},
      {Unary::Softplus, [](double x) { return std::log1p(std::exp(x)); }, -20, 20},
      {Unary::Floor, [](double x) { return std::floor(x); }, -9, 9},
      {Unary::Ceil, [](double x) { return std::ceil(x); }, -9, 9},
      {Unary::Round, [](double x) { return std::nearbyint(x); }, -9, 9},
      {Unary::Gelu, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }, -9, 9},
      {Unary::GeluTanh,
       [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }, -9,
       9},
      {Unary::Elu, [](double x) { return x >= 0 ? x : 0.5 * std::expm1(x); }, -9, 9},
  };
  for (const Case &c : cases) {
    Values x = randomReals({3, 1, 20000}, c.low, c.high), expected = x;
    for (double &v : expected.data)
      v = c.f(v);
    INFO(static_cast<int>(c.kind));
    CHECK(relativeError<float>(unary(pool, c.kind, f32(x), 0.5f), expected) < 1e-6);
    CHECK(relativeError<double>(unary(pool, c.kind, f64(x), 0.5f), expected) < 1e-14);
  }
}

TEST_CASE("float functions at their edges") {
  CHECK(list<float>(unary(pool, Unary::Round, floats({0.5f, 1.5f, -2.5f, 1e30f}))) ==
        std::vector<float>{0, 2, -2, 1e30f});
  CHECK(std::isnan(*unary(pool, Unary::Relu, floats({quietNan})).data<float>()));
  CHECK(std::isnan(*unary(pool, Unary::Sign, floats({quietNan})).data<float>()));
  CHECK(*unary(pool, Unary::Softplus, floats({1000})).data<float>() == 1000);
  CHECK(*unary(pool, Unary::Log, floats({0})).data<float>() == -infinity);
  CHECK(list<uint8_t>(isNan(pool, floats({1, quietNan, infinity}))) == std::vector<uint8_t>{0, 1, 0});
  CHECK(list<uint8_t>(isInf(pool, floats({1, infinity, -infinity, quietNan}), true, false)) ==
        std::vector<uint8_t>{0, 1, 0, 0});
  CHECK(list<uint8_t>(isInf(pool, floats({infinity, -infinity}), false, true)) == std::vector<uint8_t>{0, 1});
}

TEST_CASE("arithmetic broadcasts over random shapes") {
  for (int round = 0; round < 100; ++round) {
    Shape shape = randomShape(pick(0, 5));
    Shape left = pick(0, 1) ? shape : broadcastable(shape),
          right = left == shape ? broadcastable(shape) : shape;
    Values a = randomReals(left), b = randomReals(right), sum(shape), difference(shape), less(shape),
           most(shape);
    eachIndex(shape, [&](const Shape &i) {
      sum.at(i) = a.at(i) + b.at(i);
      difference.at(i) = a.at(i) - b.at(i);
      less.at(i) = a.at(i) < b.at(i);
      most.at(i) = std::max(a.at(i), b.at(i));
    });
    CHECK(relativeError<float>(binary(pool, Binary::Add, f32(a), f32(b)), sum) < 1e-6);
    CHECK(relativeError<double>(binary(pool, Binary::Sub, f64(a), f64(b)), difference) < 1e-15);
    checkEqual<uint8_t>(compare(pool, Relation::Lt, f32(a), f32(b)), less);
    checkEqual<float>(binary(pool, Binary::Max, f32(a), f32(b)), most);
  }
}

TEST_CASE("arithmetic on large tensors is cut among threads without loss") {
  Values a = randomReals({3, 50000}), b = randomReals({3, 1}), product({3, 50000});
  eachIndex(product.shape, [&](const Shape &i) { product.at(i) = a.at(i) * b.at(i); });
  CHECK(relativeError<float>(binary(pool, Binary::Mul, f32(a), f32(b)), product) < 1e-6);
}

TEST_CASE("integers wrap, divide toward zero, and never trap") {
  int32_t least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max();
  CHECK(list<int32_t>(binary(pool, Binary::Add, i32({most, 1}), i32({1, 1}))) ==
        std::vector<int32_t>{least, 2});
  CHECK(list<int8_t>(binary(pool, Binary::Mul, i8({100, -3}), i8({3, 5}))) ==
        std::vector<int8_t>{44, -15}); // 300 - 256
  CHECK(list<int32_t>(binary(pool, Binary::Div, i32({-7, 7, least, 5}), i32({2, -2, -1, 0}))) ==
        std::vector<int32_t>{-3, -3, least, 0});
  CHECK(list<int32_t>(binary(pool, Binary::Mod, i32({-7, 7, -6, least, 5}), i32({3, -3, 3, -1, 0}))) ==
        std::vector<int32_t>{2, -2, 0, 0, 0});
  CHECK(list<int32_t>(binary(pool, Binary::Fmod, i32({-7, 7, 5}), i32({3, -3, 0}))) ==
        std::vector<int32_t>{-1, 1, 0});
  CHECK(list<int32_t>(binary(pool, Binary::Pow, i32({3, -2, 2, -1, 2}), i32({4, 3, -1, -3, 0}))) ==
        std::vector<int32_t>{81, -8, 0, -1, 1});
  CHECK(list<int32_t>(unary(pool, Unary::Abs, i32({least, -5}))) == std::vector<int32_t>{least, 5});
  CHECK(list<int8_t>(unary(pool, Unary::Neg, i8({-128, 5}))) == std::vector<int8_t>{-128, -5});
  CHECK(list<int32_t>(unary(pool, Unary::Not, i32({0, 5}))) == std::vector<int32_t>{-1, -6});
  auto u8 = HostTensor::of<uint8_t>(ElementType::U8, {4}, {200, 1, 16, 255});
  auto by = HostTensor::of<uint8_t>(ElementType::U8, {4}, {1, 8, 3, 200});
  CHECK(list<uint8_t>(binary(pool, Binary::ShiftLeft, u8, by)) ==
        std::vector<uint8_t>{144, 0, 128, 0}); // 400 - 256
  CHECK(list<uint8_t>(binary(pool, Binary::ShiftRight, u8, by)) == std::vector<uint8_t>{100, 0, 2, 0});
  auto bools = HostTensor::of<uint8_t>(ElementType::Bool, {2}, {0, 1});
  CHECK(list<uint8_t>(unary(pool, Unary::Not, bools)) == std::vector<uint8_t>{1, 0});
  auto i4 = HostTensor::of<int8_t>(ElementType::I4, {2}, {7, -8});
  CHECK(list<int8_t>(binary(pool, Binary::Add, i4, i4)) == std::vector<int8_t>{-2, 0}); // 14 - 16; -16 + 16
}

TEST_CASE("float remainders and NaN in comparisons") {
  CHECK(list<float>(binary(pool, Binary::Mod, floats({-5.5f, 5.5f}), floats({2, -2}))) ==
        std::vector<float>{0.5f, -0.5f});
  CHECK(list<float>(binary(pool, Binary::Fmod, floats({-5.5f, 5.5f}), floats({2, -2}))) ==
        std::vector<float>{-1.5f, 1.5f});
  CHECK(list<uint8_t>(compare(pool, Relation::Ne, floats({quietNan, 1}), floats({quietNan, 1}))) ==
        std::vector<uint8_t>{1, 0});
  CHECK(list<uint8_t>(compare(pool, Relation::Ge, floats({quietNan, 1}), floats({1, 1}))) ==
        std::vector<uint8_t>{0, 1});
  for (Binary kind : {Binary::Max, Binary::Min}) {
    std::vector<float> extreme =
        list<float>(binary(pool, kind, floats({quietNan, 1}), floats({1, quietNan})));
    CHECK(std::isnan(extreme[0]));
    CHECK(std::isnan(extreme[1]));
  }
}

TEST_CASE("select broadcasts all three operands, of any type") {
  for (int round = 0; round < 30; ++round) {
    Shape shape = randomShape(3);
    Values c = randomIntegers(broadcastable(shape), 0, 1), a = randomIntegers(broadcastable(shape), -9, 9),
           b = randomIntegers(shape, -9, 9);
    Values expected(shape);
    eachIndex(shape, [&](const Shape &i) { expected.at(i) = c.at(i) != 0 ? a.at(i) : b.at(i); });
    HostTensor condition = tensor<uint8_t>(ElementType::Bool, c);
    checkEqual<int64_t>(
        select(pool, condition, tensor<int64_t>(ElementType::I64, a), tensor<int64_t>(ElementType::I64, b)),
        expected);
    checkEqual<int16_t>(
        select(pool, condition, tensor<int16_t>(ElementType::I16, a), tensor<int16_t>(ElementType::I16, b)),
        expected);
  }
}

TEST_CASE("casts round, clamp and wrap as nn.cast says") {
  auto to = [](const HostTensor &x, ElementType type, bool saturate = true) {
    return cast(pool, x, type, saturate);
  };
  HostTensor x = floats({2.9f, -2.9f, 300, -300, quietNan, infinity, -infinity});
  CHECK(list<int8_t>(to(x, ElementType::I8)) == std::vector<int8_t>{2, -2, 127, -128, 0, 127, -128});
  CHECK(list<uint8_t>(to(x, ElementType::U8)) == std::vector<uint8_t>{2, 0, 255, 0, 0, 255, 0});
  CHECK(list<int8_t>(to(x, ElementType::I4)) == std::vector<int8_t>{2, -2, 7, -8, 0, 7, -8});
  CHECK(list<int64_t>(to(floats({1e30f, -1e30f}), ElementType::I64)) ==
        std::vector<int64_t>{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()});
  CHECK(list<uint8_t>(to(floats({0, -0.0f, 0.1f, quietNan}), ElementType::Bool)) ==
        std::vector<uint8_t>{0, 0, 1, 1});
  CHECK(list<int8_t>(to(i32({300, -129}), ElementType::I8)) == std::vector<int8_t>{44, 127});
  CHECK(list<int8_t>(to(i32({9, -9}), ElementType::I4)) == std::vector<int8_t>{-7, 7});
  CHECK(list<uint16_t>(to(floats({1, 65520, -1e-8f}), ElementType::F16)) ==
        std::vector<uint16_t>{0x3c00, 0x7c00, 0x8000});
  CHECK(list<uint8_t>(to(floats({1000}), ElementType::F8E4M3)) == std::vector<uint8_t>{0x7e});
  CHECK(list<uint8_t>(to(floats({1000}), ElementType::F8E4M3, false)) == std::vector<uint8_t>{0x7f});
  auto u64 = HostTensor::of<uint64_t>(ElementType::U64, {1}, {std::numeric_limits<uint64_t>::max()});
  CHECK(*to(u64, ElementType::F32).data<float>() == 0x1p64f);
  CHECK(*to(u64, ElementType::I64).data<int64_t>() == -1);
}

TEST_CASE("double to f16 rounds once") {
  // 1 + 2^-11 is halfway between two f16; a little above it must go up, though as a float it would be the tie
  // itself.
  auto x = HostTensor::of<double>(ElementType::F64, {3},
                                  {1 + 0x1p-11, 1 + 0x1p-11 + 0x1p-40, -(1 + 0x1p-11 + 0x1p-40)});
  CHECK(list<uint16_t>(cast(pool, x, ElementType::F16)) == std::vector<uint16_t>{0x3c00, 0x3c01, 0xbc01});
  // 2^24 + 2^16 + 1 lies above the tie between the bf16 2^24 and 2^24 + 2^17; as a float it would be the tie.
  auto i = HostTensor::of<int64_t>(ElementType::I64, {2}, {(1 << 24) + (1 << 16), (1 << 24) + (1 << 16) + 1});
  CHECK(list<uint16_t>(cast(pool, i, ElementType::BF16)) ==
        std::vector<uint16_t>{toBF16(0x1p24f), toBF16(0x1p24f + 0x1p17f)});
}

TEST_CASE("every f16 and fp8 code widens and comes back") {
  std::vector<uint16_t> codes(65536);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<uint16_t>(i);
  for (ElementType type : {ElementType::F16, ElementType::BF16}) {
    HostTensor wide = widened(pool, HostTensor::of<uint16_t>(type, {65536}, codes));
    CHECK(wide.type() == ElementType::F32);
    CHECK(list<uint16_t>(cast(pool, wide, type)) == codes);
  }
}

TEST_CASE("quantize rounds ties to even, saturates, and takes scales per tensor, axis or block") {
  HostTensor x = HostTensor::of<float>(ElementType::F32, {2, 4}, {1, 3, 5, -1000, 1, 3, 5, 1000});
  auto two = HostTensor::of<float>(ElementType::F32, {}, {2});
  auto zero = HostTensor::of<uint8_t>(ElementType::U8, {}, {10});
  // 0.5, 1.5, 2.5 round to 0, 2, 2.
  CHECK(list<uint8_t>(quantize(pool, x, two, zero, {}, ElementType::U8, true)) ==
        std::vector<uint8_t>{10, 12, 12, 0, 10, 12, 12, 255});
  auto perRow = HostTensor::of<float>(ElementType::F32, {2}, {1, 0.5f});
  auto zeros = HostTensor::of<int8_t>(ElementType::I8, {2}, {0, -1});
  CHECK(list<int8_t>(quantize(pool, x, perRow, zeros, {0, 0}, ElementType::I8, true)) ==
        std::vector<int8_t>{1, 3, 5, -128, 1, 5, 9, 127});
  auto perBlock = HostTensor::of<float>(ElementType::F32, {2, 2}, {1, 2, 0.5f, 4});
  HostTensor q = quantize(pool, x, perBlock, {}, {1, 2}, ElementType::I8, true);
  CHECK(list<int8_t>(q) == std::vector<int8_t>{1, 3, 2, -128, 2, 6, 1, 127}); // 5/2 → 2, 5/4 → 1
  CHECK(list<float>(dequantize(pool, q, perBlock, {}, {1, 2})) ==
        std::vector<float>{1, 3, 4, -256, 1, 3, 4, 508});
  CHECK(list<float>(dequantize(pool, i8({-1, 1}), two, HostTensor::of<int8_t>(ElementType::I8, {}, {1}),
                               {})) == std::vector<float>{-4, 0});
  // One scale, and zero points of columns: (-1 - 1) * 2, (1 - 3) * 2.
  auto ofColumns = HostTensor::of<int8_t>(ElementType::I8, {2}, {1, 3});
  CHECK(list<float>(dequantize(pool, i8({-1, 1}), two, ofColumns, {0, 0})) == std::vector<float>{-4, -4});
  CHECK(list<int8_t>(quantize(pool, HostTensor::of<float>(ElementType::F32, {2}, {-4, -4}), two, ofColumns,
                              {0, 0}, ElementType::I8, true)) == std::vector<int8_t>{-1, 1});
}

TEST_CASE("requantize by float scale and by multiplier and shift, with every rounding") {
  using Rounding = Requantization::Rounding;
  HostTensor x = i32({1, 3, 5, -1, -3, 7, 1000, -1000});
  // Halves: 0.5, 1.5, 2.5, -0.5, -1.5, 3.5.
  struct Case {
    Rounding rounding;
    std::vector<int8_t> expected;
  };
  for (const Case &c : {Case{Rounding::HalfEven, {0, 2, 2, 0, -2, 4, 127, -128}},
                        Case{Rounding::HalfAway, {1, 2, 3, -1, -2, 4, 127, -128}},
                        Case{Rounding::HalfUp, {1, 2, 3, 0, -1, 4, 127, -128}},
                        Case{Rounding::Down, {0, 1, 2, -1, -2, 3, 127, -128}}}) {
    Requantization how;
    how.rounding = c.rounding;
    how.scales = {0.5f};
    CHECK(list<int8_t>(requantize(pool, x, how, ElementType::I8)) == c.expected);
    how.fixedPoint = true;
    how.multipliers = {1 << 30}; // 2^30 · 2^-31 = 1/2
    how.shifts = {0};
    CHECK(list<int8_t>(requantize(pool, x, how, ElementType::I8)) == c.expected);
  }
  Requantization perChannel;
  perChannel.scales = {1, 10};
  perChannel.axis = 1;
  perChannel.zeroPoint = 3;
  HostTensor y = HostTensor::of<int32_t>(ElementType::I32, {2, 2}, {1, 2, -4, 100});
  CHECK(list<uint8_t>(requantize(pool, y, perChannel, ElementType::U8)) ==
        std::vector<uint8_t>{4, 23, 0, 255});
}

TEST_CASE("range counts by step, in integers and floats") {
  CHECK(list<float>(range(floats({1}).reshaped({}), floats({0.5f}).reshaped({}), 3)) ==
        std::vector<float>{1, 1.5f, 2});
  CHECK(list<int32_t>(range(i32({5}).reshaped({}), i32({-2}).reshaped({}), 4)) ==
        std::vector<int32_t>{5, 3, 1, -1});
}
