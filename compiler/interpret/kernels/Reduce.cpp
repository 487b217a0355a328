#include "compiler/interpret/kernels/Reduce.h"

#include "compiler/interpret/kernels/Cast.h"
#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Movement.h"
#include "compiler/interpret/kernels/Rows.h"
#include "compiler/interpret/kernels/Types.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

namespace npuc::interpret {
namespace {

/// Calls body(row) for each of `rows` rows of `length` elements, several to a thread's turn.
template <typename F>
void eachRow(ThreadPool &pool, int64_t rows, int64_t length, F &&body) {
  parallelRange(pool, rows, parallelGrain / std::max<int64_t>(length, 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      body(row);
  });
}

template <typename T>
bool isGreater(T a, T b) {
  return a != a ? b == b : a > b;
}
template <typename T>
bool isLess(T a, T b) {
  return a != a ? b == b : a < b;
}

template <typename T>
T least() {
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                              : std::numeric_limits<T>::lowest();
}
template <typename T>
T greatest() {
  return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity()
                                              : std::numeric_limits<T>::max();
}

template <typename T>
T meanOf(Wrapping<T> sum, const T *x, int64_t count) {
  if constexpr (std::is_floating_point_v<T>)
    return sum / static_cast<T>(count);
  else if (count == 0)
    return 0;
  // The sum of integers may not fit their own type; their mean does.
  __int128 wide = std::accumulate(x, x + (std::is_floating_point_v<T> ? 0 : count), __int128{0});
  return static_cast<T>(wide / count);
}

template <typename T>
T reduceRow(Reduce kind, const T *x, int64_t count) {
  using W = Wrapping<T>;
  switch (kind) {
  case Reduce::Sum:
    return static_cast<T>(laneSum<W>(count, [=](int64_t i) { return static_cast<W>(x[i]); }));
  case Reduce::Mean:
    return meanOf<T>(laneSum<W>(count, [=](int64_t i) { return static_cast<W>(x[i]); }), x, count);
  case Reduce::Prod: {
    W product = 1;
    for (int64_t i = 0; i < count; ++i)
      product *= static_cast<W>(x[i]);
    return static_cast<T>(product);
  }
  case Reduce::Max: {
    T most = least<T>();
    for (int64_t i = 0; i < count; ++i)
      most = isGreater(x[i], most) ? x[i] : most;
    return most;
  }
  case Reduce::Min: {
    T most = greatest<T>();
    for (int64_t i = 0; i < count; ++i)
      most = isLess(x[i], most) ? x[i] : most;
    return most;
  }
  case Reduce::LogSumExp:
    break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    T most = count ? *std::max_element(x, x + count) : least<T>();
    T shift = std::isfinite(most) ? most : 0; // infinity - infinity would be NaN
    return std::log(laneSum<T>(count, [=](int64_t i) { return std::exp(x[i] - shift); })) + shift;
  }
  std::abort(); // the verifier lets no integer through
}

/// The input with `axes` last, as [kept, reduced].
struct Rows {
  HostTensor input;
  Shape shape; ///< Of the result.
  int64_t rows = 1, length = 1;
};

Rows rowsOf(ThreadPool &pool, const HostTensor &input, std::span<const int64_t> axes, bool keep) {
  Rows out{input, {}, 1, 1};
  std::vector<int64_t> order, last;
  for (int64_t d = 0; d < input.rank(); ++d) {
    bool reduced = std::find(axes.begin(), axes.end(), d) != axes.end();
    (reduced ? last : order).push_back(d);
    (reduced ? out.length : out.rows) *= input.dim(d);
    if (!reduced || keep)
      out.shape.push_back(reduced ? 1 : input.dim(d));
  }
  order.insert(order.end(), last.begin(), last.end());
  if (!std::is_sorted(order.begin(), order.end()))
    out.input = transpose(pool, input, order);
  return out;
}

/// A tensor seen as [outer, size, inner] around an axis.
struct Around {
  int64_t outer = 1, size = 1, inner = 1;
  Around(const Shape &shape, int64_t axis) {
    for (size_t d = 0; d < shape.size(); ++d)
      (d < static_cast<size_t>(axis) ? outer : d == static_cast<size_t>(axis) ? size : inner) *= shape[d];
  }
};

/// Applies f(x, y, size) to the rows along `axis`, which need not lie together.
template <typename F>
HostTensor alongAxis(ThreadPool &pool, const HostTensor &input, int64_t axis, F f) {
  HostTensor result(input.type(), input.shape());
  if (result.count() == 0)
    return result;
  Around a(input.shape(), axis);
  dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *in = input.data<T>();
    T *out = result.mutableData<T>();
    eachRow(pool, a.outer * a.inner, a.size, [=](int64_t row) {
      if (a.inner == 1)
        return f(in + row * a.size, out + row * a.size, a.size);
      int64_t start = row / a.inner * a.size * a.inner + row % a.inner;
      std::vector<T> buffer(static_cast<size_t>(a.size));
      for (int64_t i = 0; i < a.size; ++i)
        buffer[static_cast<size_t>(i)] = in[start + i * a.inner];
      f(buffer.data(), buffer.data(), a.size);
      for (int64_t i = 0; i < a.size; ++i)
        out[start + i * a.inner] = buffer[static_cast<size_t>(i)];
    });
  });
  return result;
}

/// A scale or bias broadcast to the input: `period` consecutive elements repeat, where it is so simple;
/// expanded otherwise.
struct Repeating {
  HostTensor tensor;
  int64_t period = 0; ///< Rows of the norm start at element (row · length) % period.
};

Repeating repeating(ThreadPool &pool, const HostTensor &tensor, const Shape &input, int64_t length) {
  // The tensor's own dimensions, without leading ones, are the input's last: it repeats as a whole.
  Shape own = tensor.shape();
  while (!own.empty() && own.front() == 1)
    own.erase(own.begin());
  bool suffix = own.size() <= input.size() &&
                std::equal(own.begin(), own.end(), input.end() - static_cast<std::ptrdiff_t>(own.size()));
  int64_t count = tensor.count();
  if (suffix && count % std::max<int64_t>(length, 1) == 0)
    return {tensor, std::max<int64_t>(count, 1)};
  HostTensor whole = broadcast(pool, tensor, input);
  return {whole, std::max<int64_t>(whole.count(), 1)};
}

/// y = (x - mean) / √(mean of squares of that + epsilon) · scale + bias, the mean only if `centered`.
HostTensor norm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale, const HostTensor &bias,
                int64_t axis, float epsilon, bool centered) {
  HostTensor result(input.type(), input.shape());
  int64_t length = 1;
  for (int64_t d = axis; d < input.rank(); ++d)
    length *= input.dim(d);
  if (result.count() == 0)
    return result;
  Repeating scales = repeating(pool, scale, input.shape(), length);
  Repeating biases = bias ? repeating(pool, bias, input.shape(), length) : Repeating();
  dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
    eachRow(pool, input.count() / length, length, [&](int64_t row) {
      const T *x = input.data<T>() + row * length;
      T *y = result.mutableData<T>() + row * length;
      auto n = static_cast<T>(length);
      T mean = centered ? laneSum<T>(length, [=](int64_t i) { return x[i]; }) / n : T(0);
      T variance = laneSum<T>(length, [=](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / n;
      T inverse = 1 / std::sqrt(variance + static_cast<T>(epsilon));
      const T *s = scales.tensor.data<T>() + row * length % scales.period;
      if (!bias) {
        for (int64_t i = 0; i < length; ++i)
          y[i] = (x[i] - mean) * inverse * s[i];
        return;
      }
      const T *b = biases.tensor.data<T>() + row * length % biases.period;
      for (int64_t i = 0; i < length; ++i)
        y[i] = (x[i] - mean) * inverse * s[i] + b[i];
    });
  });
  return result;
}

} // namespace

HostTensor reduce(ThreadPool &pool, Reduce kind, const HostTensor &input, std::span<const int64_t> axes,
                  bool keep) {
  Rows rows = rowsOf(pool, input, axes, keep);
  HostTensor result(input.type(), rows.shape);
  // On bools, max is "any" and min "all"; as bytes of 0 and 1 they only differ over no elements.
  if (input.type() == ElementType::Bool && rows.length == 0) {
    std::memset(result.mutableData<uint8_t>(), kind == Reduce::Min, result.bytes());
    return result;
  }
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *in = rows.input.data<T>();
    T *out = result.mutableData<T>();
    eachRow(pool, rows.rows, rows.length,
            [=, &rows](int64_t row) { out[row] = reduceRow(kind, in + row * rows.length, rows.length); });
  });
  return result;
}

HostTensor argReduce(ThreadPool &pool, bool greatest, const HostTensor &input, int64_t axis, bool keep,
                     bool last) {
  Rows rows = rowsOf(pool, input, {&axis, 1}, keep);
  HostTensor result(ElementType::I64, rows.shape);
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *in = rows.input.data<T>();
    auto *out = result.mutableData<int64_t>();
    eachRow(pool, rows.rows, rows.length, [=, &rows](int64_t row) {
      const T *x = in + row * rows.length;
      int64_t best = 0;
      for (int64_t i = 1; i < rows.length; ++i) {
        bool better = greatest ? isGreater(x[i], x[best]) : isLess(x[i], x[best]);
        bool worse = greatest ? isGreater(x[best], x[i]) : isLess(x[best], x[i]);
        if (better || (last && !worse))
          best = i;
      }
      out[row] = best;
    });
  });
  return result;
}

TopK topK(ThreadPool &pool, const HostTensor &input, int64_t k, int64_t axis, bool smallest) {
  Shape shape = input.shape();
  shape[static_cast<size_t>(axis)] = k;
  TopK result = {HostTensor(input.type(), shape), HostTensor(ElementType::I64, shape)};
  Around a(input.shape(), axis);
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    eachRow(pool, a.outer * a.inner, a.size, [&](int64_t row) {
      const T *x = input.data<T>() + row / a.inner * a.size * a.inner + row % a.inner;
      std::vector<int64_t> order(static_cast<size_t>(a.size));
      std::iota(order.begin(), order.end(), int64_t{0});
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t i, int64_t j) {
        T p = x[i * a.inner], q = x[j * a.inner];
        bool before = smallest ? isGreater(q, p) : isGreater(p, q);
        bool after = smallest ? isGreater(p, q) : isGreater(q, p);
        return before || (!after && i < j);
      });
      for (int64_t i = 0; i < k; ++i) {
        int64_t to = (row / a.inner * k + i) * a.inner + row % a.inner;
        result.values.mutableData<T>()[to] = x[order[static_cast<size_t>(i)] * a.inner];
        result.indices.mutableData<int64_t>()[to] = order[static_cast<size_t>(i)];
      }
    });
  });
  return result;
}

HostTensor cumSum(ThreadPool &pool, const HostTensor &input, int64_t axis, bool exclusive, bool reverse) {
  HostTensor result(input.type(), input.shape());
  Around a(input.shape(), axis);
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    using W = Wrapping<T>;
    eachRow(pool, a.outer * a.inner, a.size, [&](int64_t row) {
      int64_t start = row / a.inner * a.size * a.inner + row % a.inner;
      W sum = 0;
      for (int64_t i = 0; i < a.size; ++i) {
        int64_t at = start + (reverse ? a.size - 1 - i : i) * a.inner;
        W with = sum + static_cast<W>(input.data<T>()[at]);
        result.mutableData<T>()[at] = static_cast<T>(exclusive ? sum : with);
        sum = with;
      }
    });
  });
  return result;
}

HostTensor softmax(ThreadPool &pool, const HostTensor &input, int64_t axis, bool zeroMasked) {
  return alongAxis(pool, input, axis,
                   [=](const auto *x, auto *y, int64_t count) { softmaxRow(x, y, count, zeroMasked); });
}

HostTensor logSoftmax(ThreadPool &pool, const HostTensor &input, int64_t axis) {
  return alongAxis(pool, input, axis, []<typename T>(const T *x, T *y, int64_t count) {
    T most = greatestOf(x, count);
    T shift = most + std::log(laneSum<T>(count, [=](int64_t i) { return std::exp(x[i] - most); }));
    for (int64_t i = 0; i < count; ++i)
      y[i] = x[i] - shift;
  });
}

HostTensor layerNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                     const HostTensor &bias, int64_t axis, float epsilon) {
  return norm(pool, input, scale, bias, axis, epsilon, true);
}

HostTensor rmsNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale, int64_t axis,
                   float epsilon) {
  return norm(pool, input, scale, HostTensor(), axis, epsilon, false);
}

HostTensor groupNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                     const HostTensor &bias, int64_t groups, float epsilon) {
  // As a norm over [N, groups, C/groups, …] with scale and bias [groups, C/groups, 1…].
  Shape shape = {input.dim(0), groups, input.dim(1) / groups};
  Shape channels = {groups, input.dim(1) / groups};
  for (int64_t d = 2; d < input.rank(); ++d) {
    shape.push_back(input.dim(d));
    channels.push_back(1);
  }
  return norm(pool, input.reshaped(shape), scale.reshaped(channels), bias.reshaped(channels), 2, epsilon,
              true)
      .reshaped(input.shape());
}

} // namespace npuc::interpret
