#include "compiler/interpret/kernels/Contract.h"
#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Reduce.h"
#include "compiler/interpret/kernels/Rows.h"
#include "compiler/interpret/kernels/Types.h"

#include <limits>

namespace npuc::interpret {
namespace {

/// C = A · B (B transposed if bColumn is its length): fp32 by oneDNN, fp64 by plain loops.
void product(const Gemm &g, const float *a, const float *b, float *c) {
  gemm(g, a, b, c);
}
void product(const Gemm &g, const double *a, const double *b, double *c) {
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j)
      c[i * g.cRow + j] = laneSum<double>(
          g.k, [=](int64_t k) { return a[i * g.aRow + k * g.aColumn] * b[k * g.bRow + j * g.bColumn]; });
}

/// One row of the mask: element j is at data[j · step].
template <typename T>
void applyMask(const HostTensor &mask, int64_t offset, int64_t step, T *scores, int64_t count) {
  if (mask.type() == ElementType::Bool) {
    const auto *keep = mask.data<uint8_t>() + offset;
    for (int64_t j = 0; j < count; ++j)
      scores[j] = keep[j * step] ? scores[j] : -std::numeric_limits<T>::infinity();
    return;
  }
  const T *add = mask.data<T>() + offset;
  for (int64_t j = 0; j < count; ++j)
    scores[j] += add[j * step];
}

/// e^(x - m) of each element in steps of 1/127, m the greatest, as integers; returns their sum, or 1 for a
/// row of only -infinity that is to be 0.
template <typename T>
T powersRow(T *x, int64_t count, bool zeroMasked) {
  T most = greatestOf(x, count);
  if (zeroMasked && most == -std::numeric_limits<T>::infinity()) {
    std::fill_n(x, count, T(0));
    return 1;
  }
  for (int64_t i = 0; i < count; ++i)
    x[i] -= most;
  expArray(x, count);
  for (int64_t i = 0; i < count; ++i)
    x[i] = std::nearbyint(127 * x[i]);
  return laneSum<T>(count, [=](int64_t i) { return x[i]; });
}

void tanhArray(float *x, int64_t count) {
  transcendental::tanh({x, static_cast<size_t>(count)}, x);
}
void tanhArray(double *x, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    x[i] = std::tanh(x[i]);
}

} // namespace

HostTensor attention(ThreadPool &pool, const HostTensor &query, const HostTensor &key,
                     const HostTensor &value, const HostTensor &mask, const Attention &how) {
  // Rows of queries that one thread takes at a time; their scores stay in its cache.
  constexpr int64_t block = 128;
  int64_t batch = query.dim(0), heads = query.dim(1), rows = query.dim(2), depth = query.dim(3);
  int64_t groups = key.dim(1), keys = key.dim(2), width = value.dim(3);
  HostTensor result(query.type(), {batch, heads, rows, width});
  if (result.count() == 0)
    return result;
  Shape maskSteps = mask ? broadcastStrides(mask.shape(), {batch, heads, rows, keys}) : Shape();
  int64_t blocks = (rows + block - 1) / block;
  dispatchFloat(query.type(), [&]<typename T>(TypeTag<T>) {
    pool.run(batch * heads * blocks, [&](int64_t task) {
      int64_t b = task / (heads * blocks), h = task / blocks % heads, first = task % blocks * block;
      int64_t count = std::min(block, rows - first);
      int64_t group = b * groups + h / (heads / groups);
      const T *q = query.data<T>() + ((b * heads + h) * rows + first) * depth;
      thread_local std::vector<T> scores, factors;
      scores.resize(static_cast<size_t>(count * keys));
      factors.resize(static_cast<size_t>(count));
      product({count, keys, depth, depth, 1, 1, depth, keys}, q, key.data<T>() + group * keys * depth,
              scores.data());
      for (int64_t i = 0; i < count; ++i) {
        T *row = scores.data() + i * keys;
        for (int64_t j = 0; j < keys; ++j)
          row[j] *= static_cast<T>(how.scale);
        if (how.softcap > 0) {
          auto cap = static_cast<T>(how.softcap);
          for (int64_t j = 0; j < keys; ++j)
            row[j] /= cap;
          tanhArray(row, keys);
          for (int64_t j = 0; j < keys; ++j)
            row[j] *= cap;
        }
        if (mask)
          applyMask(mask, b * maskSteps[0] + h * maskSteps[1] + (first + i) * maskSteps[2], maskSteps[3], row,
                    keys);
        if (how.causalOffset)
          for (int64_t j = std::max<int64_t>(first + i + *how.causalOffset + 1, 0); j < keys; ++j)
            row[j] = -std::numeric_limits<T>::infinity();
        if (how.integer)
          factors[static_cast<size_t>(i)] =
              static_cast<T>(how.valueScale) / powersRow(row, keys, how.zeroMasked);
        else
          softmaxRow(row, row, keys, how.zeroMasked);
      }
      T *sums = result.mutableData<T>() + ((b * heads + h) * rows + first) * width;
      product({count, width, keys, keys, 1, width, 1, width}, scores.data(),
              value.data<T>() + group * keys * width, sums);
      for (int64_t i = 0; how.integer && i < count * width; ++i)
        sums[i] *= factors[static_cast<size_t>(i / width)];
    });
  });
  return result;
}

HostTensor rope(ThreadPool &pool, const HostTensor &input, const HostTensor &cos, const HostTensor &sin,
                bool interleaved) {
  HostTensor result(input.type(), input.shape());
  int64_t heads = input.dim(1), positions = input.dim(2), depth = input.dim(3);
  int64_t pairs = cos.dim(3);
  Shape shape = {input.dim(0), heads, positions, pairs};
  Shape cosSteps = broadcastStrides(cos.shape(), shape), sinSteps = broadcastStrides(sin.shape(), shape);
  // Pair p is elements p · step and p · step + distance.
  int64_t step = interleaved ? 2 : 1, distance = interleaved ? 1 : pairs;
  if (result.count() == 0)
    return result;
  dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
    parallelRange(pool, input.count() / depth, parallelGrain / depth, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t b = row / (heads * positions), h = row / positions % heads, s = row % positions;
        const T *x = input.data<T>() + row * depth;
        T *y = result.mutableData<T>() + row * depth;
        const T *c = cos.data<T>() + b * cosSteps[0] + h * cosSteps[1] + s * cosSteps[2];
        const T *n = sin.data<T>() + b * sinSteps[0] + h * sinSteps[1] + s * sinSteps[2];
        for (int64_t p = 0; p < pairs; ++p) {
          T first = x[p * step], second = x[p * step + distance];
          T cosine = c[p * cosSteps[3]], sine = n[p * sinSteps[3]];
          y[p * step] = first * cosine - second * sine;
          y[p * step + distance] = second * cosine + first * sine;
        }
        std::copy(x + 2 * pairs, x + depth, y + 2 * pairs);
      }
    });
  });
  return result;
}

} // namespace npuc::interpret
