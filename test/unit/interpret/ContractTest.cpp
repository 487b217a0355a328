#include "compiler/interpret/kernels/Contract.h"
#include "test/unit/interpret/Reference.h"

#include <cstring>

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);

Values matmulOf(Values a, Values b) {
  size_t rank = std::max(a.shape.size(), b.shape.size());
  Shape shape(rank, 1);
  for (const Shape *s : {&a.shape, &b.shape})
    for (size_t d = 0; d + 2 < s->size(); ++d)
      shape[rank - s->size() + d] = std::max(shape[rank - s->size() + d], (*s)[d]);
  int64_t k = a.shape.back();
  shape[rank - 2] = a.shape[a.shape.size() - 2];
  shape[rank - 1] = b.shape.back();
  Values out(shape);
  eachIndex(shape, [&](const Shape &i) {
    double sum = 0;
    for (int64_t c = 0; c < k; ++c) {
      Shape left = i, right = i;
      left[rank - 1] = c;
      right[rank - 2] = c;
      sum += a.at(left) * b.at(right);
    }
    out.at(i) = sum;
  });
  return out;
}

struct ConvCase {
  Values input, weight, bias;
  Window window;
  int64_t groups;
};

Values convOf(ConvCase c) {
  size_t rank = c.input.shape.size() - 2;
  Shape shape = {c.input.shape[0], c.weight.shape[0]};
  for (size_t d = 0; d < rank; ++d)
    shape.push_back((c.input.shape[2 + d] + c.window.pads[d] + c.window.pads[rank + d] -
                     (c.weight.shape[2 + d] - 1) * c.window.dilations[d] - 1) /
                        c.window.strides[d] +
                    1);
  Values out(shape);
  eachIndex(shape, [&](const Shape &y) {
    double sum = c.bias.data[static_cast<size_t>(y[1])];
    Shape taps(c.weight.shape.begin() + 1, c.weight.shape.end());
    int64_t group = y[1] / (c.weight.shape[0] / c.groups);
    eachIndex(taps, [&](const Shape &t) {
      Shape from = {y[0], group * c.weight.shape[1] + t[0]}, w = {y[1], t[0]};
      for (size_t d = 0; d < rank; ++d) {
        int64_t x = y[2 + d] * c.window.strides[d] + t[1 + d] * c.window.dilations[d] - c.window.pads[d];
        if (x < 0 || x >= c.input.shape[2 + d])
          return;
        from.push_back(x);
        w.push_back(t[1 + d]);
      }
      sum += c.input.at(from) * c.weight.at(w);
    });
    out.at(y) = sum;
  });
  return out;
}

/// A random window of `rank` spatial dimensions whose dilated kernel fits into the padded input.
ConvCase randomConv(size_t rank, const std::function<Values(Shape)> &fill) {
  int64_t groups = pick(1, 3);
  Shape input = {pick(1, 2), groups * pick(1, 3)}, weight = {groups * pick(1, 3), input[1] / groups};
  Window w;
  w.pads.resize(2 * rank);
  for (size_t d = 0; d < rank; ++d) {
    weight.push_back(pick(1, 3));
    w.strides.push_back(pick(1, 3));
    w.dilations.push_back(pick(1, 2));
    w.pads[d] = pick(0, 3);
    w.pads[rank + d] = pick(0, 3);
    input.push_back((weight.back() - 1) * w.dilations.back() + pick(1, 6));
  }
  Values bias = fill({weight[0]});
  return {fill(input), fill(weight), bias, w, groups};
}

} // namespace

TEST_CASE("matmul of floats over random broadcast batches") {
  for (int round = 0; round < 60; ++round) {
    int64_t m = pick(1, 70), k = pick(0, 90), n = pick(1, 150);
    Shape left, right;
    for (int64_t d = pick(0, 2); d-- > 0;) {
      int64_t size = pick(1, 3);
      left.push_back(pick(0, 2) ? size : 1);
      right.push_back(pick(0, 2) ? size : 1);
    }
    if (pick(0, 3) == 0)
      right.clear();
    left.insert(left.end(), {m, k});
    right.insert(right.end(), {k, n});
    Values a = randomReals(left), b = randomReals(right);
    CHECK(relativeError<float>(matmul(pool, f32(a), f32(b)), matmulOf(a, b)) < 1e-5);
    CHECK(relativeError<double>(matmul(pool, f64(a), f64(b)), matmulOf(a, b)) < 1e-13);
  }
}

TEST_CASE("matmul of large floats gives the same bits with any number of threads") {
  HostTensor a = f32(randomReals({2, 200, 300})), b = f32(randomReals({2, 300, 700}));
  ThreadPool one(1), three(3);
  HostTensor x = matmul(one, a, b), y = matmul(three, a, b);
  CHECK(std::memcmp(x.raw(), y.raw(), x.bytes()) == 0);
}

TEST_CASE("matmul of integers is exact") {
  for (int round = 0; round < 20; ++round) {
    // 2000 products of extreme bytes need 27 bits: more than a float has.
    int64_t m = pick(1, 4), k = pick(1000, 2000), n = pick(1, 20);
    Values s = randomIntegers({m, k}, -128, 127), u = randomIntegers({k, n}, 0, 255);
    if (round == 0) {
      std::fill(s.data.begin(), s.data.end(), -128);
      std::fill(u.data.begin(), u.data.end(), 255);
    }
    auto i8 = tensor<int8_t>(ElementType::I8, s);
    checkEqual<int32_t>(matmul(pool, i8, tensor<uint8_t>(ElementType::U8, u)), matmulOf(s, u));
    checkEqual<int32_t>(matmul(pool, i8, tensor<int32_t>(ElementType::I32, u)), matmulOf(s, u));
  }
  // 3 · 2^30 wraps to -2^30.
  auto big = HostTensor::of<int32_t>(ElementType::I32, {1, 3}, {1 << 30, 1 << 30, 1 << 30});
  auto ones = HostTensor::of<int32_t>(ElementType::I32, {3, 1}, {1, 1, 1});
  CHECK(*matmul(pool, big, ones).data<int32_t>() == -(1 << 30));
}

TEST_CASE("linear with and without bias, in both layouts of the weight") {
  for (int round = 0; round < 20; ++round) {
    int64_t k = pick(1, 60), n = pick(1, 200);
    Values x = randomReals({pick(1, 3), pick(1, 40), k}), w = randomReals({k, n}), bias = randomReals({n});
    Values expected = matmulOf(x, w), transposedWeight({n, k});
    eachIndex({k, n}, [&](const Shape &i) { transposedWeight.at({i[1], i[0]}) = w.at(i); });
    CHECK(relativeError<float>(linear(pool, f32(x), f32(w), {}, false), expected) < 1e-5);
    eachIndex(expected.shape, [&](const Shape &i) { expected.at(i) += bias.at(i); });
    CHECK(relativeError<float>(linear(pool, f32(x), f32(w), f32(bias), false), expected) < 1e-5);
    CHECK(relativeError<float>(linear(pool, f32(x), f32(transposedWeight), f32(bias), true), expected) <
          1e-5);
    CHECK(relativeError<double>(linear(pool, f64(x), f64(transposedWeight), f64(bias), true), expected) <
          1e-13);
  }
  Values x = randomIntegers({5, 600}, -128, 127), w = randomIntegers({600, 7}, -128, 127),
         bias = randomIntegers({7}, -1000000, 1000000);
  Values expected = matmulOf(x, w);
  eachIndex(expected.shape, [&](const Shape &i) { expected.at(i) += bias.at(i); });
  checkEqual<int32_t>(linear(pool, tensor<int8_t>(ElementType::I8, x), tensor<int8_t>(ElementType::I8, w),
                             tensor<int32_t>(ElementType::I32, bias), false),
                      expected);
}

TEST_CASE("convolution over random windows, groups and 1 to 3 dimensions") {
  for (int round = 0; round < 60; ++round) {
    ConvCase c =
        randomConv(static_cast<size_t>(pick(1, 3)), [](Shape s) { return randomReals(std::move(s)); });
    CHECK(relativeError<float>(conv(pool, f32(c.input), f32(c.weight), f32(c.bias), c.window, c.groups),
                               convOf(c)) < 1e-5);
    ConvCase i = randomConv(2, [](Shape s) { return randomIntegers(std::move(s), -128, 127); });
    checkEqual<int32_t>(conv(pool, tensor<int8_t>(ElementType::I8, i.input),
                             tensor<int8_t>(ElementType::I8, i.weight),
                             tensor<int32_t>(ElementType::I32, i.bias), i.window, i.groups),
                        convOf(i));
  }
}

TEST_CASE("transposed convolution scatters what convolution gathers") {
  for (int round = 0; round < 40; ++round) {
    size_t rank = static_cast<size_t>(pick(1, 3));
    int64_t groups = pick(1, 2);
    Shape input = {pick(1, 2), groups * pick(1, 3)}, weight = {input[1], pick(1, 3)};
    Shape result = {input[0], groups * weight[1]};
    Window w;
    w.pads.resize(2 * rank);
    std::vector<int64_t> more;
    for (size_t d = 0; d < rank; ++d) {
      input.push_back(pick(1, 5));
      weight.push_back(pick(1, 3));
      w.strides.push_back(pick(1, 3));
      w.dilations.push_back(pick(1, 2));
      more.push_back(pick(0, 1));
      int64_t size = (input.back() - 1) * w.strides[d] + (weight.back() - 1) * w.dilations[d] + 1 + more[d];
      w.pads[d] = std::min<int64_t>(pick(0, 2), size - 1);
      w.pads[rank + d] = std::min<int64_t>(pick(0, 2), size - 1 - w.pads[d]);
      result.push_back(size - w.pads[d] - w.pads[rank + d]);
    }
    Values x = randomReals(input), k = randomReals(weight), bias = randomReals({result[1]}), expected(result);
    eachIndex(result, [&](const Shape &i) { expected.at(i) = bias.data[static_cast<size_t>(i[1])]; });
    eachIndex(input, [&](const Shape &i) {
      Shape taps(weight.begin() + 1, weight.end());
      eachIndex(taps, [&](const Shape &t) {
        Shape to = {i[0], i[1] / (input[1] / groups) * weight[1] + t[0]}, from = {i[1]};
        from.insert(from.end(), t.begin(), t.end());
        for (size_t d = 0; d < rank; ++d) {
          int64_t y = i[2 + d] * w.strides[d] + t[1 + d] * w.dilations[d] - w.pads[d];
          if (y < 0 || y >= result[2 + d])
            return;
          to.push_back(y);
        }
        expected.at(to) += x.at(i) * k.at(from);
      });
    });
    CHECK(relativeError<float>(convTranspose(pool, f32(x), f32(k), f32(bias), w, more, groups), expected) <
          1e-5);
    CHECK(relativeError<double>(convTranspose(pool, f64(x), f64(k), f64(bias), w, more, groups), expected) <
          1e-13);
  }
}

TEST_CASE("pooling over random windows") {
  for (int round = 0; round < 60; ++round) {
    ConvCase c =
        randomConv(static_cast<size_t>(pick(1, 3)), [](Shape s) { return randomReals(std::move(s)); });
    size_t rank = c.window.strides.size();
    Shape kernel(c.weight.shape.begin() + 2, c.weight.shape.end());
    for (size_t d = 0; d < 2 * rank; ++d) // a window with no element of the input has no maximum
      c.window.pads[d] =
          std::min(c.window.pads[d], (kernel[d % rank] - 1) * c.window.dilations[d % rank] / 2);
    bool padding = pick(0, 1), mean = pick(0, 1);
    Shape shape = convOf(c).shape;
    shape[1] = c.input.shape[1];
    Values expected(shape);
    eachIndex(shape, [&](const Shape &y) {
      double sum = 0, most = -INFINITY, inside = 0, padded = 0;
      eachIndex(kernel, [&](const Shape &k) {
        Shape from = {y[0], y[1]};
        bool in = true, reach = true;
        for (size_t d = 0; d < rank; ++d) {
          int64_t x = y[2 + d] * c.window.strides[d] + k[d] * c.window.dilations[d] - c.window.pads[d];
          in = in && x >= 0 && x < c.input.shape[2 + d];
          reach = reach && x >= -c.window.pads[d] && x < c.input.shape[2 + d] + c.window.pads[rank + d];
          from.push_back(x);
        }
        padded += reach;
        inside += in;
        if (in)
          sum += c.input.at(from), most = std::max(most, c.input.at(from));
      });
      expected.at(y) = mean ? (inside ? sum / (padding ? padded : inside) : 0) : most;
    });
    HostTensor result =
        poolWindows(pool, mean ? PoolKind::Average : PoolKind::Max, f32(c.input), kernel, c.window, padding);
    CHECK(relativeError<float>(result, expected) < 1e-6);
  }
}

TEST_CASE("scales of groups, by hand") {
  // Of the first group 1 · (1 - 1) + 2 · (-2 - 1) + 10 = 4, of the second 3 · (3 + 1) + 4 · (-4 + 1) - 20 =
  // -20: 4 · 0.5 - 20 · 0.25 = -3.
  GroupedWeights weights{HostTensor::of<int8_t>(ElementType::I4, {1, 4}, {1, -2, 3, -4}),
                         HostTensor::of<float>(ElementType::F32, {1, 2}, {0.5f, 0.25f}),
                         HostTensor::of<int8_t>(ElementType::I8, {1, 2}, {1, -1}),
                         HostTensor::of<int32_t>(ElementType::I32, {1, 2}, {10, -20})};
  HostTensor y = groupedLinear(pool, HostTensor::of<int8_t>(ElementType::I8, {1, 4}, {1, 2, 3, 4}), weights);
  REQUIRE(y.shape() == Shape{1, 1});
  CHECK(y.data<float>()[0] == -3);
}
