#include "support/ElementType.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

using namespace npuc;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float quietNan = std::numeric_limits<float>::quiet_NaN();

uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

/// The value of a code by the definition of such formats: (-1)^s * 2^(e - bias) * (1 + m / 2^M), or
/// (-1)^s * 2^(1 - bias) * m / 2^M where e is 0.
double valueOf(unsigned code, int exponentBits, int mantissaBits) {
  int bias = (1 << (exponentBits - 1)) - 1;
  int e = static_cast<int>(code >> mantissaBits) & ((1 << exponentBits) - 1);
  double m = code & ((1u << mantissaBits) - 1);
  double magnitude = e == 0 ? std::ldexp(m, 1 - bias - mantissaBits)
                            : std::ldexp(m + (1 << mantissaBits), e - bias - mantissaBits);
  return code >> (exponentBits + mantissaBits) ? -magnitude : magnitude;
}

/// Checks all codes of a format: decoding against the definition, encoding against decoding, and the rounding
/// of what lies halfway between neighbours and just to either side of it.
template <typename Decode, typename Encode>
void checkFormat(int exponentBits, int mantissaBits, unsigned maxFinite, Decode decode, Encode encode) {
  unsigned sign = 1u << (exponentBits + mantissaBits);
  size_t wrong = 0;
  for (unsigned code = 0; code < 2 * sign; ++code) {
    float value = decode(code);
    if ((code & (sign - 1)) <= maxFinite)
      wrong += value != valueOf(code, exponentBits, mantissaBits) || std::signbit(value) != (code >= sign);
    wrong += encode(value) != code;
  }
  CHECK(wrong == 0);
  for (unsigned code = 0; code < maxFinite; ++code) {
    // Both neighbours and their middle have few enough bits to be exact in float, for all of these formats.
    double low = valueOf(code, exponentBits, mantissaBits);
    double high = valueOf(code + 1, exponentBits, mantissaBits);
    float middle = static_cast<float>((low + high) / 2);
    unsigned even = code + (code & 1);
    wrong += encode(middle) != even || encode(-middle) != (even | sign);
    wrong += encode(std::nextafter(middle, 0.0f)) != code;
    wrong += encode(std::nextafter(middle, infinity)) != code + 1;
  }
  CHECK(wrong == 0);
}

} // namespace

TEST_CASE("f16: every code and every tie") {
  checkFormat(5, 10, 0x7bff, fromF16, toF16);
  CHECK(toF16(65519.996f) == 0x7bff); // below 65520, halfway from 65504 to 65536
  CHECK(toF16(65520.0f) == 0x7c00);
  CHECK(toF16(-infinity) == 0xfc00);
  CHECK(toF16(std::ldexp(1.0f, -25)) == 0); // half of the least subnormal: to even
  CHECK(toF16(std::ldexp(1.5f, -25)) == 1); // above half
  CHECK(toF16(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(toF16(quietNan) == 0x7e00);
  CHECK(std::isnan(fromF16(0x7c01)));
}

TEST_CASE("bf16: every code and every tie") {
  checkFormat(8, 7, 0x7f7f, fromBF16, toBF16);
  CHECK(toBF16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(toBF16(infinity) == 0x7f80);
  CHECK(toBF16(quietNan) == 0x7fc0);
  float signalling;
  uint32_t bits = 0x7f800001; // a payload that bf16 has no room for stays a NaN
  std::memcpy(&signalling, &bits, 4);
  CHECK(std::isnan(fromBF16(toBF16(signalling))));
}

TEST_CASE("f8e4m3: every code, every tie, and what is too large") {
  checkFormat(
      4, 3, 0x7e, [](unsigned c) { return fromF8E4M3(static_cast<uint8_t>(c)); },
      [](float v) { return toF8E4M3(v, false); });
  CHECK(fromF8E4M3(0x7e) == 448.0f);
  CHECK(std::isnan(fromF8E4M3(0xff)));
  CHECK(toF8E4M3(464.0f, false) == 0x7e); // halfway to 480, which would be the NaN's code: even is 448
  CHECK(toF8E4M3(464.1f, false) == 0x7f);
  CHECK(toF8E4M3(-infinity, false) == 0xff);
  CHECK(toF8E4M3(1e9f, true) == 0x7e);
  CHECK(toF8E4M3(-infinity, true) == 0xfe);
  CHECK(toF8E4M3(quietNan, true) == 0x7f);
}

TEST_CASE("f8e5m2: every code, every tie, and what is too large") {
  checkFormat(
      5, 2, 0x7b, [](unsigned c) { return fromF8E5M2(static_cast<uint8_t>(c)); },
      [](float v) { return toF8E5M2(v, false); });
  CHECK(fromF8E5M2(0x7b) == 57344.0f);
  CHECK(toF8E5M2(61440.0f, false) == 0x7c); // halfway from 57344 to 65536, whose code is even
  CHECK(toF8E5M2(61439.0f, false) == 0x7b);
  CHECK(toF8E5M2(1e9f, true) == 0x7b);
  CHECK(toF8E5M2(-infinity, true) == 0xfb);
  CHECK(toF8E5M2(-infinity, false) == 0xfc);
  CHECK(std::isnan(fromF8E5M2(toF8E5M2(quietNan, true))));
}

TEST_CASE("the sign of zero survives") {
  CHECK(bitsOf(fromF16(toF16(-0.0f))) == 0x80000000);
  CHECK(bitsOf(fromBF16(toBF16(-0.0f))) == 0x80000000);
  CHECK(bitsOf(fromF8E4M3(toF8E4M3(-0.0f, true))) == 0x80000000);
}

TEST_CASE("names and sizes of element types") {
  for (unsigned i = 0; i < elementTypeCount; ++i) {
    auto type = static_cast<ElementType>(i);
    CHECK(elementTypeFromName(name(type)) == type);
    CHECK((!isFloat(type) || isSigned(type)));
  }
  CHECK_FALSE(elementTypeFromName("float32"));
  CHECK(name(ElementType::F8E4M3) == "f8e4m3");
  CHECK(bitWidth(ElementType::I4) == 4);
  CHECK(bitWidth(ElementType::U64) == 64);
  CHECK(byteSize(ElementType::I4, 3) == 2);
  CHECK(byteSize(ElementType::BF16, 3) == 6);
  CHECK_FALSE(isSigned(ElementType::U8));
  CHECK_FALSE(isSigned(ElementType::Bool));
}
