// Tensors in host memory: what the interpreter's kernels read and write.
#pragma once

#include "support/ElementType.h"
#include "support/Npz.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace npuc::interpret {

using Shape = std::vector<int64_t>;

/// Elements of a tensor of this shape; 1 for a scalar.
int64_t countOf(const Shape &shape);

/// Bytes of one element in a HostTensor: as in ElementType, but 4-bit integers take a byte each.
inline size_t itemSize(ElementType type) {
  return (bitWidth(type) + 7) / 8;
}

/// A dense row-major tensor. Copies share the elements, which nobody changes once the kernel that made the
/// tensor has returned. A 4-bit integer takes a byte of its own (sign-extended), unlike in files.
class HostTensor {
public:
  /// No tensor.
  HostTensor() = default;
  /// Elements undefined; 64-byte aligned.
  HostTensor(ElementType type, Shape shape);
  /// Elements that `owner` keeps alive.
  HostTensor(ElementType type, Shape shape, std::shared_ptr<const void> owner, const std::byte *data);

  template <typename T>
  static HostTensor of(ElementType type, Shape shape, const std::vector<T> &values) {
    HostTensor tensor(type, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.mutableData<T>());
    return tensor;
  }

  explicit operator bool() const { return owner_ != nullptr; }
  ElementType type() const { return type_; }
  const Shape &shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t i) const { return shape_[static_cast<size_t>(i)]; }
  int64_t count() const { return countOf(shape_); }
  size_t bytes() const { return static_cast<size_t>(count()) * itemSize(type_); }

  const std::byte *raw() const { return data_; }
  template <typename T>
  const T *data() const {
    return reinterpret_cast<const T *>(data_);
  }
  /// Only for the kernel that makes the tensor.
  template <typename T>
  T *mutableData() {
    return reinterpret_cast<T *>(const_cast<std::byte *>(data_));
  }

  /// The same elements in another shape of as many elements.
  HostTensor reshaped(Shape shape) const;
  /// The same bytes as another type of the same item size.
  HostTensor retyped(ElementType type) const;

private:
  ElementType type_ = ElementType::F32;
  Shape shape_;
  std::shared_ptr<const void> owner_;
  const std::byte *data_ = nullptr;
};

/// From and to the packed form of files.
HostTensor fromArray(const Array &array);
Array toArray(const HostTensor &tensor);
/// Elements given as in files, packed: `data` has byteSize(type, countOf(shape)) bytes.
HostTensor fromPacked(ElementType type, Shape shape, const std::byte *data);

} // namespace npuc::interpret
