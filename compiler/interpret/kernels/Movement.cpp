#include "compiler/interpret/kernels/Movement.h"

#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Types.h"

#include <cstring>

namespace npuc::interpret {
namespace {

/// A new tensor of `shape` whose element i… is the input's at start + Σ i · strides.
HostTensor strided(ThreadPool &pool, const HostTensor &input, Shape shape, Shape strides, int64_t start) {
  HostTensor result(input.type(), shape);
  Nest<2> nest = {shape, {rowMajorStrides(shape), std::move(strides)}};
  nest.merge();
  dispatchItem(input.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const T *in = input.data<T>() + start;
    nest.run(pool, [=](const auto &at, int64_t length, const auto &step) {
      T *o = out + at[0];
      const T *x = in + at[1];
      int64_t by = step[1];
      if (by == 1)
        std::memcpy(o, x, static_cast<size_t>(length) * sizeof(T));
      else if (by == 0)
        std::fill_n(o, length, *x);
      else
        for (int64_t i = 0; i < length; ++i)
          o[i] = x[i * by];
    });
  });
  return result;
}

/// Where index `i` of a padded dimension comes from in the input's `size`, or -1 for the padding value.
int64_t padSource(PadMode mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size)
    return i;
  switch (mode) {
  case PadMode::Constant:
    return -1;
  case PadMode::Edge:
    return i < 0 ? 0 : size - 1;
  case PadMode::Wrap:
    return ((i % size) + size) % size;
  case PadMode::Reflect:
    break;
  }
  if (size == 1)
    return 0;
  int64_t period = 2 * (size - 1);
  int64_t phase = ((i % period) + period) % period;
  return phase < size ? phase : period - phase;
}

/// `input` with dimension `d` padded.
HostTensor padDimension(ThreadPool &pool, PadMode mode, const HostTensor &input, const HostTensor &value,
                        size_t d, int64_t low, int64_t high) {
  Shape shape = input.shape();
  int64_t size = shape[d];
  int64_t padded = shape[d] = size + low + high;
  HostTensor result(input.type(), shape);
  int64_t inner = 1, outer = 1;
  for (size_t e = 0; e < shape.size(); ++e)
    (e < d ? outer : inner) *= e == d ? 1 : shape[e];
  dispatchItem(input.type(), [&]<typename T>(TypeTag<T>) {
    T fill = value ? *value.data<T>() : T(0);
    const T *in = input.data<T>();
    T *out = result.mutableData<T>();
    parallelRange(pool, outer, parallelGrain / std::max<int64_t>(padded * inner, 1),
                  [=](int64_t begin, int64_t end) {
                    for (int64_t o = begin; o < end; ++o)
                      for (int64_t i = 0; i < padded; ++i) {
                        T *to = out + (o * padded + i) * inner;
                        // Every mode but Constant needs an element to repeat.
                        int64_t from = size == 0 ? -1 : padSource(mode, i - low, size);
                        if (from < 0)
                          std::fill_n(to, inner, fill);
                        else
                          std::copy_n(in + (o * size + from) * inner, inner, to);
                      }
                  });
  });
  return result;
}

} // namespace

HostTensor transpose(ThreadPool &pool, const HostTensor &input, std::span<const int64_t> permutation) {
  Shape own = rowMajorStrides(input.shape());
  Shape shape, strides;
  for (int64_t from : permutation) {
    shape.push_back(input.dim(from));
    strides.push_back(own[static_cast<size_t>(from)]);
  }
  return strided(pool, input, std::move(shape), std::move(strides), 0);
}

HostTensor broadcast(ThreadPool &pool, const HostTensor &input, const Shape &shape) {
  return strided(pool, input, shape, broadcastStrides(input.shape(), shape), 0);
}

HostTensor slice(ThreadPool &pool, const HostTensor &input, std::span<const int64_t> starts,
                 std::span<const int64_t> sizes, std::span<const int64_t> steps) {
  Shape strides = rowMajorStrides(input.shape());
  int64_t start = 0;
  for (size_t d = 0; d < strides.size(); ++d) {
    start += starts[d] * strides[d];
    strides[d] *= steps[d];
  }
  return strided(pool, input, Shape(sizes.begin(), sizes.end()), std::move(strides), start);
}

HostTensor concat(ThreadPool &pool, std::span<const HostTensor> inputs, int64_t axis) {
  auto a = static_cast<size_t>(axis);
  Shape shape = inputs.front().shape();
  shape[a] = 0;
  for (const HostTensor &input : inputs)
    shape[a] += input.shape()[a];
  HostTensor result(inputs.front().type(), shape);
  int64_t outer = 1;
  for (size_t d = 0; d < a; ++d)
    outer *= shape[d];
  if (result.count() == 0)
    return result;
  size_t row = result.bytes() / static_cast<size_t>(outer);
  auto *out = result.mutableData<std::byte>();
  parallelRange(pool, outer, parallelGrain * 4 / static_cast<int64_t>(row), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      std::byte *to = out + static_cast<size_t>(o) * row;
      for (const HostTensor &input : inputs) {
        size_t part = input.bytes() / static_cast<size_t>(outer);
        std::copy_n(input.raw() + static_cast<size_t>(o) * part, part, to);
        to += part;
      }
    }
  });
  return result;
}

HostTensor pad(ThreadPool &pool, PadMode mode, const HostTensor &input, const HostTensor &value,
               std::span<const int64_t> low, std::span<const int64_t> high) {
  // What is removed goes first: the other modes repeat only what is left.
  Shape starts, sizes, steps(low.size(), 1);
  for (size_t d = 0; d < low.size(); ++d) {
    starts.push_back(std::max<int64_t>(0, -low[d]));
    sizes.push_back(input.shape()[d] + std::min<int64_t>(0, low[d]) + std::min<int64_t>(0, high[d]));
  }
  HostTensor result = sizes == input.shape() ? input : slice(pool, input, starts, sizes, steps);
  for (size_t d = low.size(); d-- > 0;)
    if (low[d] > 0 || high[d] > 0)
      result = padDimension(pool, mode, result, value, d, std::max<int64_t>(0, low[d]),
                            std::max<int64_t>(0, high[d]));
  return result;
}

HostTensor trilu(ThreadPool &pool, const HostTensor &input, bool upper, int64_t diagonal) {
  HostTensor result(input.type(), input.shape());
  int64_t rows = input.dim(input.rank() - 2), columns = input.dim(input.rank() - 1);
  if (input.count() == 0)
    return result;
  dispatchItem(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *in = input.data<T>();
    T *out = result.mutableData<T>();
    parallelRange(pool, input.count() / columns, parallelGrain / columns, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        // Columns before `border` are kept of the lower triangle, from it on of the upper one.
        int64_t i = r % rows;
        int64_t first = i > columns - diagonal ? columns : std::max<int64_t>(i + diagonal, 0);
        int64_t border =
            upper ? std::min(first, columns) : std::min(i + diagonal < 0 ? 0 : first + 1, columns);
        for (int64_t j = 0; j < columns; ++j)
          out[r * columns + j] = (j < border) != upper ? in[r * columns + j] : T(0);
      }
    });
  });
  return result;
}

} // namespace npuc::interpret
