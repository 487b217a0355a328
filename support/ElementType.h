// Element types of tensors and operands, and exact conversions between floats of fewer bits and float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace npuc {

enum class ElementType : uint8_t {
  Bool, ///< One byte, 0 or 1.
  I4,   ///< Two to a byte, the element of even index in the low half.
  U4,   ///< Packed as I4.
  I8,
  U8,
  I16,
  U16,
  I32,
  U32,
  I64,
  U64,
  F8E4M3, ///< OCP FP8 E4M3 (finite; ONNX FLOAT8E4M3FN).
  F8E5M2, ///< OCP FP8 E5M2.
  F16,
  BF16,
  F32,
  F64,
};
inline constexpr unsigned elementTypeCount = 17;

/// "i8", "f16", "f8e4m3", …: the spelling of text forms and reports.
std::string_view name(ElementType type);
std::optional<ElementType> elementTypeFromName(std::string_view name);

unsigned bitWidth(ElementType type);
bool isFloat(ElementType type);
bool isSigned(ElementType type); ///< Integers: two's complement; floats: true.

/// Bytes that `count` densely packed elements take.
inline size_t byteSize(ElementType type, size_t count) {
  return (count * bitWidth(type) + 7) / 8;
}

/// Conversions of one element; `to` rounds to nearest even, overflow becomes infinity (F8E4M3: the largest
/// finite value is kept for values that round to it, NaN beyond, as ONNX's Cast with saturate=0; see
/// `saturate`).
float fromF16(uint16_t bits);
uint16_t toF16(float value);
float fromBF16(uint16_t bits);
uint16_t toBF16(float value);
float fromF8E4M3(uint8_t bits);
uint8_t toF8E4M3(float value, bool saturate);
float fromF8E5M2(uint8_t bits);
uint8_t toF8E5M2(float value, bool saturate);

} // namespace npuc
