#include "compiler/interpret/kernels/Contract.h"

#include "compiler/interpret/kernels/Cast.h"
#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Types.h"

#include <limits>
#include <numeric>

namespace npuc::interpret {
namespace {

bool isByteInteger(ElementType type) {
  return !isFloat(type) && bitWidth(type) <= 8;
}

ElementType resultType(const HostTensor &operand) {
  return isFloat(operand.type()) ? operand.type() : ElementType::I32;
}

/// A batch of products of any type; offsets as in GemmBatch.
struct Product {
  Gemm sizes;
  GemmBatch batch;
};

/// In plain loops: fp64 and I32, rare in models.
template <typename T>
void plainProduct(ThreadPool &pool, const Product &product, const T *a, const T *b, T *c) {
  const Gemm &g = product.sizes;
  pool.run(static_cast<int64_t>(product.batch.cOffsets.size()) * g.m, [&](int64_t row) {
    auto p = static_cast<size_t>(row / g.m);
    const T *x = a + product.batch.aOffsets[p] + row % g.m * g.aRow;
    const T *y = b + product.batch.bOffsets[p];
    T *z = c + product.batch.cOffsets[p] + row % g.m * g.cRow;
    std::fill_n(z, g.n, T(0));
    for (int64_t k = 0; k < g.k; ++k)
      for (int64_t j = 0; j < g.n; ++j)
        z[j] += x[k * g.aColumn] * y[k * g.bRow + j * g.bColumn];
  });
}

/// Integers of at most 8 bits, exactly on any CPU: floats hold every partial sum of up to 2^24 / 2^16
/// products, whatever the order of summation, so K is cut into such pieces and these are added as integers.
void byteProduct(ThreadPool &pool, const Product &product, const HostTensor &a, const HostTensor &b,
                 HostTensor &c) {
  constexpr int64_t piece = 256;
  HostTensor x = cast(pool, a, ElementType::F32), y = cast(pool, b, ElementType::F32);
  const Gemm &g = product.sizes;
  int32_t *out = c.mutableData<int32_t>();
  std::fill_n(out, c.count(), 0);
  HostTensor part(ElementType::F32, c.shape());
  const float *sums = part.data<float>();
  for (int64_t k = 0; k < g.k; k += piece) {
    Gemm sizes = g;
    sizes.k = std::min(piece, g.k - k);
    gemm(pool, sizes, product.batch, x.data<float>() + k * g.aColumn, y.data<float>() + k * g.bRow,
         part.mutableData<float>());
    parallelRange(pool, c.count(), parallelGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        out[i] = static_cast<int32_t>(static_cast<uint32_t>(out[i]) +
                                      static_cast<uint32_t>(static_cast<int32_t>(sums[i])));
    });
  }
}

/// `c` is dense and wholly written by the product. `bias` only with F32.
void multiply(ThreadPool &pool, const Product &product, const HostTensor &a, const HostTensor &b,
              HostTensor &c, const float *bias = nullptr) {
  if (a.type() == ElementType::F32)
    return gemm(pool, product.sizes, product.batch, a.data<float>(), b.data<float>(), c.mutableData<float>(),
                bias);
  if (a.type() == ElementType::F64)
    return plainProduct(pool, product, a.data<double>(), b.data<double>(), c.mutableData<double>());
  if (isByteInteger(a.type()) && isByteInteger(b.type()))
    return byteProduct(pool, product, a, b, c);
  HostTensor x = cast(pool, a, ElementType::I32), y = cast(pool, b, ElementType::I32);
  plainProduct(pool, product, x.data<uint32_t>(), y.data<uint32_t>(), c.mutableData<uint32_t>());
}

/// result[row, i] += bias[(row / inner) % size] over rows of `inner`: bias along a dimension in the middle.
void addBias(ThreadPool &pool, HostTensor &result, const HostTensor &bias, int64_t inner) {
  if (result.count() == 0)
    return;
  dispatchNumber(result.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const T *add = bias.data<T>();
    int64_t size = bias.count();
    parallelRange(pool, result.count() / inner, parallelGrain / inner, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < inner; ++i)
          out[row * inner + i] = static_cast<T>(static_cast<Wrapping<T>>(out[row * inner + i]) +
                                                static_cast<Wrapping<T>>(add[row % size]));
    });
  });
}

/// Walks over positions of a window's result in row-major order.
struct Spatial {
  Shape input, kernel, result;

  static bool next(Shape &at, const Shape &shape) {
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d])
        return true;
      at[d] = 0;
    }
    return false;
  }
};

/// Calls body(column, source, count, step) for each run of one result row: columns [column, column + count)
/// of the unfolded matrix's row for kernel position `k` read input elements source, source + step, …; columns
/// outside of any run read padding.
template <typename F>
void eachRun(const Spatial &s, const Window &w, const Shape &k, F &&body) {
  size_t rank = s.input.size();
  Shape at(rank, 0);
  int64_t width = s.result.back();
  int64_t shift = k.back() * w.dilations.back() - w.pads[rank - 1], stride = w.strides.back();
  // Result columns x with 0 ≤ x · stride + shift < the input's size.
  int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  int64_t last =
      std::min(width, s.input.back() - shift <= 0 ? 0 : (s.input.back() - shift + stride - 1) / stride);
  if (first >= last)
    return;
  Shape rows(s.result.begin(), s.result.end() - 1);
  at.resize(rank - 1);
  int64_t column = 0;
  do {
    int64_t source = 0;
    bool inside = true;
    for (size_t d = 0; d + 1 < rank && inside; ++d) {
      int64_t y = at[d] * w.strides[d] + k[d] * w.dilations[d] - w.pads[d];
      inside = y >= 0 && y < s.input[d];
      source = source * s.input[d] + y;
    }
    if (inside)
      body(column + first, source * s.input.back() + first * stride + shift, last - first, stride);
    column += width;
  } while (Spatial::next(at, rows));
}

/// [C, kernel…, result…] of one image's [C, input…]: the matrix whose product with the weights is the
/// convolution.
template <typename T>
void unfold(ThreadPool &pool, const Spatial &s, const Window &w, const T *image, int64_t channels, T *out) {
  int64_t taps = countOf(s.kernel), columns = countOf(s.result), size = countOf(s.input);
  pool.run(channels, [&](int64_t c) {
    Shape k(s.kernel.size(), 0);
    for (int64_t tap = 0; tap < taps; ++tap, Spatial::next(k, s.kernel)) {
      T *row = out + (c * taps + tap) * columns;
      std::fill_n(row, columns, T(0));
      eachRun(s, w, k, [&](int64_t column, int64_t source, int64_t count, int64_t step) {
        const T *x = image + c * size + source;
        for (int64_t i = 0; i < count; ++i)
          row[column + i] = x[i * step];
      });
    }
  });
}

/// The transpose of unfold: adds the matrix's elements to where they came from.
template <typename T>
void fold(ThreadPool &pool, const Spatial &s, const Window &w, const T *matrix, int64_t channels, T *image) {
  int64_t taps = countOf(s.kernel), columns = countOf(s.result), size = countOf(s.input);
  pool.run(channels, [&](int64_t c) {
    std::fill_n(image + c * size, size, T(0));
    Shape k(s.kernel.size(), 0);
    for (int64_t tap = 0; tap < taps; ++tap, Spatial::next(k, s.kernel)) {
      const T *row = matrix + (c * taps + tap) * columns;
      eachRun(s, w, k, [&](int64_t column, int64_t source, int64_t count, int64_t step) {
        T *x = image + c * size + source;
        for (int64_t i = 0; i < count; ++i)
          x[i * step] += row[column + i];
      });
    }
  });
}

Shape spatialOf(const HostTensor &tensor) {
  return Shape(tensor.shape().begin() + 2, tensor.shape().end());
}

/// Result size of a window over `input`.
Shape windowResult(const Shape &input, std::span<const int64_t> kernel, const Window &w) {
  Shape result;
  for (size_t d = 0; d < input.size(); ++d)
    result.push_back(
        (input[d] + w.pads[d] + w.pads[input.size() + d] - (kernel[d] - 1) * w.dilations[d] - 1) /
            w.strides[d] +
        1);
  return result;
}

} // namespace

HostTensor matmul(ThreadPool &pool, const HostTensor &lhs, const HostTensor &rhs) {
  int64_t m = lhs.dim(lhs.rank() - 2), k = lhs.dim(lhs.rank() - 1), n = rhs.dim(rhs.rank() - 1);
  Shape leftBatch(lhs.shape().begin(), lhs.shape().end() - 2),
      rightBatch(rhs.shape().begin(), rhs.shape().end() - 2);
  Shape shape = broadcastShape(leftBatch, rightBatch);
  Product product;
  product.sizes = {m, n, k, k, 1, n, 1, n};
  Shape left = broadcastStrides(leftBatch, shape), right = broadcastStrides(rightBatch, shape);
  Shape at(shape.size(), 0);
  int64_t count = countOf(shape);
  if (count > 0 && std::all_of(right.begin(), right.end(), [](int64_t s) { return s == 0; }) &&
      leftBatch == shape) {
    // One right-hand matrix for all: one tall product.
    product.sizes.m = count * m;
    product.batch = {{0}, {0}, {0}};
  } else {
    for (int64_t i = 0; i < count; ++i, Spatial::next(at, shape)) {
      product.batch.aOffsets.push_back(std::inner_product(at.begin(), at.end(), left.begin(), int64_t{0}) *
                                       m * k);
      product.batch.bOffsets.push_back(std::inner_product(at.begin(), at.end(), right.begin(), int64_t{0}) *
                                       k * n);
      product.batch.cOffsets.push_back(i * m * n);
    }
  }
  shape.insert(shape.end(), {m, n});
  HostTensor result(resultType(lhs), shape);
  multiply(pool, product, lhs, rhs, result);
  return result;
}

HostTensor linear(ThreadPool &pool, const HostTensor &input, const HostTensor &weight, const HostTensor &bias,
                  bool transposed) {
  int64_t k = input.shape().back(), n = weight.dim(transposed ? 0 : 1);
  Shape shape = input.shape();
  shape.back() = n;
  Product product;
  int64_t m = countOf(Shape(shape.begin(), shape.end() - 1));
  product.sizes = {m, n, k, k, 1, transposed ? 1 : n, transposed ? k : 1, n};
  product.batch = {{0}, {0}, {0}};
  HostTensor result(resultType(input), shape);
  bool fused = bias && input.type() == ElementType::F32;
  multiply(pool, product, input, weight, result, fused ? bias.data<float>() : nullptr);
  if (bias && !fused)
    addBias(pool, result, bias, 1);
  return result;
}

HostTensor groupedLinear(ThreadPool &pool, const HostTensor &input, const GroupedWeights &weights) {
  int64_t k = input.shape().back(), n = weights.weight.dim(0), groups = weights.scale.dim(1),
          each = k / groups, rows = k ? input.count() / k : 0;
  Shape shape = input.shape();
  shape.back() = n;
  HostTensor result(ElementType::F32, shape), sums(ElementType::I32, {rows, n});
  auto *out = result.mutableData<float>();
  std::fill_n(out, result.count(), 0.0f);
  HostTensor x = cast(pool, input, ElementType::I32), w = cast(pool, weights.weight, ElementType::I32);
  HostTensor zeros = weights.zeroPoint ? cast(pool, weights.zeroPoint, ElementType::I32) : HostTensor();
  Product product;
  product.sizes = {rows, n, each, k, 1, 1, k, n};
  product.batch = {{0}, {0}, {0}};
  for (int64_t g = 0; g < groups; ++g) {
    // The kernels of integers take whole tensors of bytes; groups are small.
    plainProduct(pool, product, x.data<uint32_t>() + g * each, w.data<uint32_t>() + g * each,
                 sums.mutableData<uint32_t>());
    parallelRange(pool, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int32_t *run = x.data<int32_t>() + row * k + g * each;
        int32_t total = std::accumulate(run, run + each, 0);
        for (int64_t j = 0; j < n; ++j) {
          int32_t sum = sums.data<int32_t>()[row * n + j];
          if (zeros)
            sum -= total * zeros.data<int32_t>()[j * groups + g];
          if (weights.offset)
            sum += weights.offset.data<int32_t>()[j * groups + g];
          float scaled = static_cast<float>(sum) * weights.scale.data<float>()[j * groups + g];
          out[row * n + j] += scaled;
        }
      }
    });
  }
  return result;
}

HostTensor conv(ThreadPool &pool, const HostTensor &input, const HostTensor &weight, const HostTensor &bias,
                const Window &window, int64_t groups) {
  Spatial s{spatialOf(input), spatialOf(weight), {}};
  s.result = windowResult(s.input, s.kernel, window);
  int64_t images = input.dim(0), channels = input.dim(1), outputs = weight.dim(0);
  int64_t k = countOf(weight.shape()) / std::max<int64_t>(outputs, 1), columns = countOf(s.result);
  Shape shape = {images, outputs};
  shape.insert(shape.end(), s.result.begin(), s.result.end());
  HostTensor result(resultType(input), shape);
  if (result.count() == 0)
    return result;
  Product product;
  product.sizes = {outputs / groups, columns, k, k, 1, columns, 1, columns};
  for (int64_t g = 0; g < groups; ++g) {
    product.batch.aOffsets.push_back(g * (outputs / groups) * k);
    product.batch.bOffsets.push_back(g * k * columns);
    product.batch.cOffsets.push_back(g * (outputs / groups) * columns);
  }
  HostTensor matrix(input.type(), {channels * countOf(s.kernel), columns});
  for (int64_t n = 0; n < images; ++n) {
    dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
      unfold(pool, s, window, input.data<T>() + n * channels * countOf(s.input), channels,
             matrix.mutableData<T>());
    });
    // The image's part of the result, which `result` keeps alive.
    size_t bytes = result.bytes() / static_cast<size_t>(images);
    HostTensor part(result.type(), {outputs, columns},
                    std::shared_ptr<const void>(&result, [](const void *) {}),
                    result.raw() + static_cast<size_t>(n) * bytes);
    multiply(pool, product, weight, matrix, part);
  }
  if (bias)
    addBias(pool, result, bias, columns);
  return result;
}

HostTensor convTranspose(ThreadPool &pool, const HostTensor &input, const HostTensor &weight,
                         const HostTensor &bias, const Window &window, std::span<const int64_t> outputPadding,
                         int64_t groups) {
  // The roles of input and result are those of the convolution whose gradient this is.
  Spatial s{{}, spatialOf(weight), spatialOf(input)};
  for (size_t d = 0; d < s.kernel.size(); ++d)
    s.input.push_back((s.result[d] - 1) * window.strides[d] + (s.kernel[d] - 1) * window.dilations[d] + 1 +
                      outputPadding[d] - window.pads[d] - window.pads[s.kernel.size() + d]);
  int64_t images = input.dim(0), channels = input.dim(1), outputs = weight.dim(1) * groups;
  int64_t columns = countOf(s.result), rows = weight.dim(1) * countOf(s.kernel);
  Shape shape = {images, outputs};
  shape.insert(shape.end(), s.input.begin(), s.input.end());
  HostTensor result(input.type(), shape);
  if (result.count() == 0)
    return result;
  // matrix[o, kernel…, x…] = Σ_c weight[c, o, kernel…] · input[c, x…], by group.
  Product product;
  product.sizes = {rows, columns, channels / groups, 1, rows, columns, 1, columns};
  for (int64_t g = 0; g < groups; ++g) {
    product.batch.aOffsets.push_back(g * (channels / groups) * rows);
    product.batch.bOffsets.push_back(g * (channels / groups) * columns);
    product.batch.cOffsets.push_back(g * rows * columns);
  }
  HostTensor matrix(input.type(), {groups * rows, columns});
  size_t imageBytes = input.bytes() / static_cast<size_t>(images);
  for (int64_t n = 0; n < images; ++n) {
    HostTensor image(input.type(), {channels, columns},
                     std::shared_ptr<const void>(&input, [](const void *) {}),
                     input.raw() + static_cast<size_t>(n) * imageBytes);
    multiply(pool, product, weight, image, matrix);
    dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
      fold(pool, s, window, matrix.data<T>(), outputs,
           result.mutableData<T>() + n * outputs * countOf(s.input));
    });
  }
  if (bias)
    addBias(pool, result, bias, countOf(s.input));
  return result;
}

HostTensor poolWindows(ThreadPool &threads, PoolKind kind, const HostTensor &input,
                       std::span<const int64_t> kernel, const Window &window, bool countPadding) {
  Spatial s{spatialOf(input), Shape(kernel.begin(), kernel.end()), {}};
  s.result = windowResult(s.input, kernel, window);
  Shape shape = {input.dim(0), input.dim(1)};
  shape.insert(shape.end(), s.result.begin(), s.result.end());
  HostTensor result(input.type(), shape);
  int64_t columns = countOf(s.result), size = countOf(s.input);
  size_t rank = s.input.size();
  // How many elements of each window count for its mean.
  std::vector<int64_t> counts(kind == PoolKind::Average ? static_cast<size_t>(columns) : 0, 0);
  if (kind == PoolKind::Average) {
    Shape at(rank, 0);
    for (int64_t &count : counts) {
      count = 1;
      for (size_t d = 0; d < rank; ++d) {
        int64_t low = countPadding ? -window.pads[d] : 0;
        int64_t high = s.input[d] + (countPadding ? window.pads[rank + d] : 0);
        int64_t inside = 0;
        for (int64_t k = 0; k < kernel[d]; ++k) {
          int64_t y = at[d] * window.strides[d] + k * window.dilations[d] - window.pads[d];
          inside += y >= low && y < high;
        }
        count *= inside;
      }
      Spatial::next(at, s.result);
    }
  }
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    using Limits = std::numeric_limits<T>;
    T start = kind == PoolKind::Average ? T(0)
              : Limits::has_infinity    ? -Limits::infinity()
                                        : Limits::lowest();
    threads.run(shape[0] * shape[1], [&](int64_t plane) {
      const T *x = input.data<T>() + plane * size;
      T *y = result.mutableData<T>() + plane * columns;
      std::fill_n(y, columns, start);
      Shape k(rank, 0);
      do {
        eachRun(s, window, k, [&](int64_t column, int64_t source, int64_t count, int64_t step) {
          for (int64_t i = 0; i < count; ++i) {
            T v = x[source + i * step];
            T &to = y[column + i];
            to = kind == PoolKind::Average ? static_cast<T>(to + v) : v != v || v > to ? v : to;
          }
        });
      } while (Spatial::next(k, s.kernel));
      if (kind == PoolKind::Average)
        for (int64_t i = 0; i < columns; ++i)
          y[i] = static_cast<T>(y[i] / static_cast<T>(std::max<int64_t>(counts[static_cast<size_t>(i)], 1)));
    });
  });
  return result;
}

} // namespace npuc::interpret
