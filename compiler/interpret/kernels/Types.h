// From an ElementType at run time to the C++ type that a kernel's loop is compiled for.
#pragma once

#include "compiler/interpret/HostTensor.h"

#include <cstdlib>
#include <type_traits>

namespace npuc::interpret {

template <typename T>
struct TypeTag {
  using type = T;
};

/// Calls f(TypeTag<T>) with the type that computes elements of `type`: 4-bit integers and bools as bytes.
/// Floats of fewer than 32 bits must have been widened (see `widened` in Cast.h).
template <typename F>
decltype(auto) dispatchNumber(ElementType type, F &&f) {
  switch (type) {
  case ElementType::I4:
  case ElementType::I8:
    return f(TypeTag<int8_t>());
  case ElementType::Bool:
  case ElementType::U4:
  case ElementType::U8:
    return f(TypeTag<uint8_t>());
  case ElementType::I16:
    return f(TypeTag<int16_t>());
  case ElementType::U16:
    return f(TypeTag<uint16_t>());
  case ElementType::I32:
    return f(TypeTag<int32_t>());
  case ElementType::U32:
    return f(TypeTag<uint32_t>());
  case ElementType::I64:
    return f(TypeTag<int64_t>());
  case ElementType::U64:
    return f(TypeTag<uint64_t>());
  case ElementType::F32:
    return f(TypeTag<float>());
  case ElementType::F64:
    return f(TypeTag<double>());
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
  case ElementType::F16:
  case ElementType::BF16:
    break;
  }
  std::abort(); // a caller forgot to widen
}

/// The same for F32 and F64 only.
template <typename F>
decltype(auto) dispatchFloat(ElementType type, F &&f) {
  if (type == ElementType::F64)
    return f(TypeTag<double>());
  if (type != ElementType::F32)
    std::abort(); // a caller forgot to widen
  return f(TypeTag<float>());
}

/// Calls f(TypeTag<T>) with an unsigned type as large as the elements: for kernels that only move them.
template <typename F>
decltype(auto) dispatchItem(ElementType type, F &&f) {
  switch (itemSize(type)) {
  case 1:
    return f(TypeTag<uint8_t>());
  case 2:
    return f(TypeTag<uint16_t>());
  case 4:
    return f(TypeTag<uint32_t>());
  default:
    return f(TypeTag<uint64_t>());
  }
}

/// Unsigned, for arithmetic on integers that must wrap; wide enough that C++ does not promote it to a signed
/// type. Floats as they are.
template <typename T, bool = std::is_integral_v<T>>
struct WrappingOf {
  using type = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;
};
template <typename T>
struct WrappingOf<T, false> {
  using type = T;
};
template <typename T>
using Wrapping = typename WrappingOf<T>::type;

} // namespace npuc::interpret
