#include "compiler/interpret/HostTensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace npuc::interpret {
namespace {

bool isPacked(ElementType type) {
  return bitWidth(type) < 8;
}

std::byte unpacked(std::byte pair, bool high, bool isSigned) {
  auto value = static_cast<uint8_t>(high ? static_cast<uint8_t>(pair) >> 4 : static_cast<uint8_t>(pair) & 15);
  return static_cast<std::byte>(isSigned && value > 7 ? value - 16 : value);
}

} // namespace

int64_t countOf(const Shape &shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

HostTensor::HostTensor(ElementType type, Shape shape) : type_(type), shape_(std::move(shape)) {
  constexpr size_t alignment = 64;
  size_t size = (std::max<size_t>(bytes(), 1) + alignment - 1) / alignment * alignment;
  void *memory = std::aligned_alloc(alignment, size);
  if (!memory)
    throw std::bad_alloc();
  owner_ = std::shared_ptr<const void>(memory, [](const void *p) { std::free(const_cast<void *>(p)); });
  data_ = static_cast<const std::byte *>(memory);
}

HostTensor::HostTensor(ElementType type, Shape shape, std::shared_ptr<const void> owner,
                       const std::byte *data)
    : type_(type), shape_(std::move(shape)), owner_(std::move(owner)), data_(data) {}

HostTensor HostTensor::reshaped(Shape shape) const {
  return HostTensor(type_, std::move(shape), owner_, data_);
}
HostTensor HostTensor::retyped(ElementType type) const {
  return HostTensor(type, shape_, owner_, data_);
}

HostTensor fromPacked(ElementType type, Shape shape, const std::byte *data) {
  HostTensor tensor(type, std::move(shape));
  auto *out = tensor.mutableData<std::byte>();
  size_t count = static_cast<size_t>(tensor.count());
  if (!isPacked(type))
    std::copy_n(data, tensor.bytes(), out);
  else
    for (size_t i = 0; i < count; ++i)
      out[i] = unpacked(data[i / 2], i % 2, isSigned(type));
  return tensor;
}

HostTensor fromArray(const Array &array) {
  return fromPacked(array.type, array.shape, array.data.data());
}

Array toArray(const HostTensor &tensor) {
  size_t count = static_cast<size_t>(tensor.count());
  Array array{tensor.type(), tensor.shape(), std::vector<std::byte>(byteSize(tensor.type(), count))};
  if (!isPacked(tensor.type()))
    std::copy_n(tensor.raw(), tensor.bytes(), array.data.begin());
  else
    for (size_t i = 0; i < count; ++i)
      array.data[i / 2] |= (tensor.raw()[i] & std::byte{15}) << (i % 2 ? 4 : 0);
  return array;
}

} // namespace npuc::interpret
