// What the kernels are tested against: random tensors, and plain loops over every index that share no code
// with them.
#pragma once

#include "compiler/interpret/HostTensor.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace npuc::interpret::reference {

inline std::mt19937 &generator() {
  static std::mt19937 random(20240229);
  return random;
}

inline int64_t pick(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator());
}

/// Values in double, with a shape.
struct Values {
  Shape shape;
  std::vector<double> data;

  explicit Values(Shape s) : shape(std::move(s)), data(static_cast<size_t>(countOf(shape)), 0) {}

  /// The element at `index`, whose leading part broadcasts: missing dimensions are dropped, dimensions of 1
  /// repeat.
  double &at(const Shape &index) {
    size_t offset = 0, skip = index.size() - shape.size();
    for (size_t d = 0; d < shape.size(); ++d)
      offset =
          offset * static_cast<size_t>(shape[d]) + static_cast<size_t>(shape[d] == 1 ? 0 : index[skip + d]);
    return data[offset];
  }
};

inline Values randomReals(Shape shape, double low = -2, double high = 2) {
  Values out(std::move(shape));
  std::uniform_real_distribution<float> uniform(static_cast<float>(low), static_cast<float>(high));
  for (double &v : out.data)
    v = uniform(generator());
  return out;
}

inline Values randomIntegers(Shape shape, int64_t low, int64_t high) {
  Values out(std::move(shape));
  for (double &v : out.data)
    v = static_cast<double>(pick(low, high));
  return out;
}

template <typename T>
HostTensor tensor(ElementType type, const Values &values) {
  return HostTensor::of<T>(type, values.shape, std::vector<T>(values.data.begin(), values.data.end()));
}
inline HostTensor f32(const Values &values) {
  return tensor<float>(ElementType::F32, values);
}
inline HostTensor f64(const Values &values) {
  return tensor<double>(ElementType::F64, values);
}

template <typename T>
std::vector<double> values(const HostTensor &tensor) {
  return std::vector<double>(tensor.data<T>(), tensor.data<T>() + tensor.count());
}

/// Calls f(index) for every index of `shape`, in row-major order.
inline void eachIndex(const Shape &shape, const std::function<void(const Shape &)> &f) {
  Shape index(shape.size(), 0);
  for (int64_t i = 0, count = countOf(shape); i < count; ++i) {
    f(index);
    for (size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];)
      index[d] = 0;
  }
}

/// max |y - r| / max |r|; NaN must meet NaN, infinity the same infinity.
template <typename T>
double relativeError(const HostTensor &y, const Values &r) {
  if (y.shape() != r.shape)
    return INFINITY;
  double worst = 0, greatest = 1e-30;
  for (size_t i = 0; i < r.data.size(); ++i) {
    double v = static_cast<double>(y.data<T>()[i]), e = r.data[i];
    if (std::isnan(e) || std::isinf(e)) {
      if (!(std::isnan(e) ? std::isnan(v) : v == e))
        return INFINITY;
      continue;
    }
    worst = std::max(worst, std::isnan(v) ? INFINITY : std::abs(v - e));
    greatest = std::max(greatest, std::abs(e));
  }
  return worst / greatest;
}

template <typename T>
void checkEqual(const HostTensor &y, const Values &r) {
  REQUIRE(y.shape() == r.shape);
  CHECK(values<T>(y) == r.data);
}

} // namespace npuc::interpret::reference
