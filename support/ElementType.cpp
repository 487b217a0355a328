#include "support/ElementType.h"

#include "support/FloatFormat.h"

#include <array>

namespace npuc {
namespace {

struct TypeInfo {
  std::string_view name;
  uint8_t bits;
  bool isFloat;
  bool isSigned;
};

/// Indexed by ElementType.
constexpr std::array<TypeInfo, elementTypeCount> types = {{
    {"bool", 8, false, false},
    {"i4", 4, false, true},
    {"u4", 4, false, false},
    {"i8", 8, false, true},
    {"u8", 8, false, false},
    {"i16", 16, false, true},
    {"u16", 16, false, false},
    {"i32", 32, false, true},
    {"u32", 32, false, false},
    {"i64", 64, false, true},
    {"u64", 64, false, false},
    {"f8e4m3", 8, true, true},
    {"f8e5m2", 8, true, true},
    {"f16", 16, true, true},
    {"bf16", 16, true, true},
    {"f32", 32, true, true},
    {"f64", 64, true, true},
}};

const TypeInfo &info(ElementType type) {
  return types[static_cast<size_t>(type)];
}

} // namespace

std::string_view name(ElementType type) {
  return info(type).name;
}

std::optional<ElementType> elementTypeFromName(std::string_view name) {
  for (size_t i = 0; i < types.size(); ++i)
    if (types[i].name == name)
      return static_cast<ElementType>(i);
  return std::nullopt;
}

unsigned bitWidth(ElementType type) {
  return info(type).bits;
}
bool isFloat(ElementType type) {
  return info(type).isFloat;
}
bool isSigned(ElementType type) {
  return info(type).isSigned;
}

float fromF16(uint16_t bits) {
  return floats::decode<floats::f16>(bits);
}
uint16_t toF16(float value) {
  return static_cast<uint16_t>(floats::encode<floats::f16>(value, false));
}
float fromBF16(uint16_t bits) {
  return floats::decode<floats::bf16>(bits);
}
uint16_t toBF16(float value) {
  return static_cast<uint16_t>(floats::encode<floats::bf16>(value, false));
}
float fromF8E4M3(uint8_t bits) {
  return floats::decode<floats::f8e4m3>(bits);
}
uint8_t toF8E4M3(float value, bool saturate) {
  return static_cast<uint8_t>(floats::encode<floats::f8e4m3>(value, saturate));
}
float fromF8E5M2(uint8_t bits) {
  return floats::decode<floats::f8e5m2>(bits);
}
uint8_t toF8E5M2(float value, bool saturate) {
  return static_cast<uint8_t>(floats::encode<floats::f8e5m2>(value, saturate));
}

} // namespace npuc
