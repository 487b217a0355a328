#include "compiler/interpret/kernels/Index.h"

#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Types.h"

#include <cstring>

namespace npuc::interpret {
namespace {

/// The index tensor's elements as int64_t.
class Indices {
public:
  explicit Indices(const HostTensor &tensor)
      : wide_(tensor.type() == ElementType::I64), data_(tensor.raw()) {}
  int64_t operator[](int64_t i) const {
    return wide_ ? reinterpret_cast<const int64_t *>(data_)[i] : reinterpret_cast<const int32_t *>(data_)[i];
  }
  /// Counted from the front of a dimension of `size`.
  int64_t at(int64_t i, int64_t size) const {
    int64_t index = (*this)[i];
    return index < 0 ? index + size : index;
  }

private:
  bool wide_;
  const std::byte *data_;
};

int64_t product(const Shape &shape, size_t begin, size_t end) {
  int64_t out = 1;
  for (size_t d = begin; d < end; ++d)
    out *= shape[d];
  return out;
}

/// Where the tuple at `first` of `indices` leads: its elements index `length` dimensions of `shape` from
/// `skip` on, the last of which has stride `inner`.
int64_t tupleOffset(const Indices &indices, int64_t first, const Shape &shape, size_t skip, size_t length,
                    int64_t inner) {
  int64_t offset = 0;
  for (size_t t = 0; t < length; ++t)
    offset = offset * shape[skip + t] + indices.at(first + static_cast<int64_t>(t), shape[skip + t]);
  return offset * inner;
}

template <typename T>
void meet(ScatterReduction reduction, T &element, T update) {
  switch (reduction) {
  case ScatterReduction::None:
    element = update;
    return;
  case ScatterReduction::Add:
    element = static_cast<T>(static_cast<Wrapping<T>>(element) + static_cast<Wrapping<T>>(update));
    return;
  case ScatterReduction::Mul:
    element = static_cast<T>(static_cast<Wrapping<T>>(element) * static_cast<Wrapping<T>>(update));
    return;
  case ScatterReduction::Max:
    element = element != element || element > update ? element : update;
    return;
  case ScatterReduction::Min:
    element = element != element || element < update ? element : update;
    return;
  }
}

HostTensor copied(const HostTensor &tensor) {
  HostTensor result(tensor.type(), tensor.shape());
  std::copy_n(tensor.raw(), tensor.bytes(), result.mutableData<std::byte>());
  return result;
}

/// Calls f(TypeTag<T>): with None elements are only moved, so every type will do.
template <typename F>
void dispatchScatter(ScatterReduction reduction, ElementType type, F &&f) {
  if (reduction == ScatterReduction::None)
    dispatchItem(type, f);
  else
    dispatchNumber(type, f);
}

} // namespace

std::optional<BadIndex> findBadIndex(const HostTensor &tensor, std::span<const int64_t> limits) {
  Indices indices(tensor);
  auto period = static_cast<int64_t>(limits.size());
  if (period == 0)
    return std::nullopt;
  for (int64_t i = 0, count = tensor.count(); i < count; ++i) {
    int64_t limit = limits[static_cast<size_t>(i % period)];
    if (indices[i] < -limit || indices[i] >= limit)
      return BadIndex{i, indices[i], limit};
  }
  return std::nullopt;
}

HostTensor gather(ThreadPool &pool, const HostTensor &table, const HostTensor &indices, int64_t axis) {
  auto a = static_cast<size_t>(axis);
  const Shape &from = table.shape();
  Shape shape(from.begin(), from.begin() + axis);
  shape.insert(shape.end(), indices.shape().begin(), indices.shape().end());
  shape.insert(shape.end(), from.begin() + axis + 1, from.end());
  HostTensor result(table.type(), shape);
  if (result.count() == 0)
    return result;
  int64_t outer = product(from, 0, a), picked = indices.count();
  size_t run = static_cast<size_t>(product(from, a + 1, from.size())) * itemSize(table.type());
  Indices index(indices);
  auto *out = result.mutableData<std::byte>();
  parallelRange(
      pool, outer * picked, parallelGrain / static_cast<int64_t>(run), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          int64_t row = i / picked * from[a] + index.at(i % picked, from[a]);
          std::memcpy(out + static_cast<size_t>(i) * run, table.raw() + static_cast<size_t>(row) * run, run);
        }
      });
  return result;
}

HostTensor gatherElements(ThreadPool &pool, const HostTensor &input, const HostTensor &indices,
                          int64_t axis) {
  auto a = static_cast<size_t>(axis);
  HostTensor result(input.type(), indices.shape());
  Shape steps = rowMajorStrides(input.shape());
  int64_t along = steps[a];
  steps[a] = 0;
  Nest<2> nest = {indices.shape(), {rowMajorStrides(indices.shape()), steps}};
  nest.merge();
  Indices index(indices);
  dispatchItem(input.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const T *in = input.data<T>();
    int64_t size = input.shape()[a];
    nest.run(pool, [=](const auto &at, int64_t length, const auto &step) {
      for (int64_t i = 0; i < length; ++i)
        out[at[0] + i] = in[at[1] + i * step[1] + index.at(at[0] + i, size) * along];
    });
  });
  return result;
}

HostTensor gatherNd(ThreadPool &pool, const HostTensor &input, const HostTensor &indices, int64_t batchDims) {
  auto batch = static_cast<size_t>(batchDims);
  auto tuple = static_cast<size_t>(indices.shape().back());
  const Shape &from = input.shape();
  Shape shape(indices.shape().begin(), indices.shape().end() - 1);
  int64_t tuples = countOf(shape);
  shape.insert(shape.end(), from.begin() + static_cast<std::ptrdiff_t>(batch + tuple), from.end());
  HostTensor result(input.type(), shape);
  if (result.count() == 0)
    return result;
  int64_t batches = product(from, 0, batch);
  int64_t inner = product(from, batch + tuple, from.size());
  int64_t each = product(from, batch, from.size());
  size_t run = static_cast<size_t>(inner) * itemSize(input.type());
  Indices index(indices);
  auto *out = result.mutableData<std::byte>();
  parallelRange(pool, tuples, parallelGrain / inner, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      int64_t offset = t / (tuples / batches) * each +
                       tupleOffset(index, t * static_cast<int64_t>(tuple), from, batch, tuple, inner);
      std::memcpy(out + static_cast<size_t>(t) * run,
                  input.raw() + static_cast<size_t>(offset) * itemSize(input.type()), run);
    }
  });
  return result;
}

HostTensor scatterElements(ScatterReduction reduction, const HostTensor &input, const HostTensor &indices,
                           const HostTensor &updates, int64_t axis) {
  HostTensor result = copied(input);
  auto a = static_cast<size_t>(axis);
  Shape steps = rowMajorStrides(input.shape());
  Indices index(indices);
  dispatchScatter(reduction, input.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const T *in = updates.data<T>();
    Shape at(indices.shape().size(), 0);
    for (int64_t i = 0, count = indices.count(); i < count; ++i) {
      int64_t offset = 0;
      for (size_t d = 0; d < at.size(); ++d)
        offset += (d == a ? index.at(i, input.shape()[a]) : at[d]) * steps[d];
      meet(reduction, out[offset], in[i]);
      for (size_t d = at.size(); d-- > 0 && ++at[d] == indices.shape()[d];)
        at[d] = 0;
    }
  });
  return result;
}

HostTensor scatterNd(ScatterReduction reduction, const HostTensor &input, const HostTensor &indices,
                     const HostTensor &updates) {
  HostTensor result = copied(input);
  auto tuple = static_cast<size_t>(indices.shape().back());
  int64_t tuples = product(indices.shape(), 0, indices.shape().size() - 1);
  int64_t inner = product(input.shape(), tuple, input.shape().size());
  Indices index(indices);
  dispatchScatter(reduction, input.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const T *in = updates.data<T>();
    for (int64_t t = 0; t < tuples; ++t) {
      int64_t offset = tupleOffset(index, t * static_cast<int64_t>(tuple), input.shape(), 0, tuple, inner);
      for (int64_t i = 0; i < inner; ++i)
        meet(reduction, out[offset + i], in[t * inner + i]);
    }
  });
  return result;
}

} // namespace npuc::interpret
