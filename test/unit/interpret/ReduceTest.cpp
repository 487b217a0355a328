#include "compiler/interpret/kernels/Reduce.h"
#include "test/unit/interpret/Reference.h"

#include <algorithm>
#include <cstring>
#include <limits>

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);

Shape randomShape(int64_t rank) {
  Shape shape;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(pick(1, 9));
  return shape;
}

/// The elements of `x` that reduce to each element of the result with size-1 axes.
std::vector<std::vector<double>> groupsOf(Values &x, const std::vector<int64_t> &axes, Shape &kept) {
  kept = x.shape;
  for (int64_t a : axes)
    kept[static_cast<size_t>(a)] = 1;
  std::vector<std::vector<double>> groups(static_cast<size_t>(countOf(kept)));
  eachIndex(x.shape, [&](const Shape &i) {
    size_t offset = 0;
    for (size_t d = 0; d < i.size(); ++d)
      offset = offset * static_cast<size_t>(kept[d]) + static_cast<size_t>(kept[d] == 1 ? 0 : i[d]);
    groups[offset].push_back(x.at(i));
  });
  return groups;
}

double reduced(Reduce kind, const std::vector<double> &v) {
  double sum = 0, product = 1, exponentials = 0;
  for (double x : v)
    sum += x, product *= x, exponentials += std::exp(x);
  switch (kind) {
  case Reduce::Sum:
    return sum;
  case Reduce::Mean:
    return sum / static_cast<double>(v.size());
  case Reduce::Max:
    return *std::max_element(v.begin(), v.end());
  case Reduce::Min:
    return *std::min_element(v.begin(), v.end());
  case Reduce::Prod:
    return product;
  case Reduce::LogSumExp:
    return std::log(exponentials);
  }
  return 0;
}

constexpr Reduce kinds[] = {Reduce::Sum, Reduce::Mean, Reduce::Max,
                            Reduce::Min, Reduce::Prod, Reduce::LogSumExp};
constexpr float infinity = std::numeric_limits<float>::infinity();

} // namespace

TEST_CASE("reductions over random shapes and axes") {
  for (int round = 0; round < 60; ++round)
    for (Reduce kind : kinds) {
      Values x = randomReals(randomShape(pick(1, 4)), 0.5, 1.5);
      std::vector<int64_t> axes;
      for (size_t d = 0; d < x.shape.size(); ++d)
        if (pick(0, 1))
          axes.push_back(static_cast<int64_t>(d));
      Shape kept;
      auto groups = groupsOf(x, axes, kept);
      Values expected(kept);
      for (size_t i = 0; i < groups.size(); ++i)
        expected.data[i] = reduced(kind, groups[i]);
      CHECK(relativeError<float>(reduce(pool, kind, f32(x), axes, true), expected) < 1e-4);
      HostTensor dropped = reduce(pool, kind, f64(x), axes, false);
      CHECK(relativeError<double>(dropped.reshaped(kept), expected) < 1e-12);
      CHECK(dropped.rank() == static_cast<int64_t>(x.shape.size() - axes.size()));
    }
}

TEST_CASE("reductions of integers, of bools, and over nothing") {
  auto x = HostTensor::of<int8_t>(ElementType::I8, {2, 3}, {100, 100, 100, -7, 2, 1});
  std::vector<int64_t> last = {1}, first = {0};
  auto bytes = [](const HostTensor &t) {
    return std::vector<int8_t>(t.data<int8_t>(), t.data<int8_t>() + t.count());
  };
  CHECK(bytes(reduce(pool, Reduce::Sum, x, last, false)) == std::vector<int8_t>{44, -4}); // 300 - 256
  CHECK(bytes(reduce(pool, Reduce::Mean, x, last, false)) ==
        std::vector<int8_t>{100, -1}); // -4/3 toward zero
  CHECK(bytes(reduce(pool, Reduce::Max, x, first, false)) == std::vector<int8_t>{100, 100, 100});
  auto bools = HostTensor::of<uint8_t>(ElementType::Bool, {2, 2}, {0, 1, 0, 0});
  CHECK(bytes(reduce(pool, Reduce::Max, bools, last, false)) == std::vector<int8_t>{1, 0});
  CHECK(bytes(reduce(pool, Reduce::Min, bools, last, false)) == std::vector<int8_t>{0, 0});
  HostTensor none(ElementType::F32, {2, 0}), nothing(ElementType::I32, {0}), never(ElementType::Bool, {0});
  CHECK(*reduce(pool, Reduce::Sum, none, last, false).data<float>() == 0);
  CHECK(*reduce(pool, Reduce::Prod, none, last, false).data<float>() == 1);
  CHECK(*reduce(pool, Reduce::Max, none, last, false).data<float>() == -infinity);
  CHECK(std::isnan(*reduce(pool, Reduce::Mean, none, last, false).data<float>()));
  CHECK(*reduce(pool, Reduce::LogSumExp, none, last, false).data<float>() == -infinity);
  CHECK(*reduce(pool, Reduce::Min, nothing, first, false).data<int32_t>() ==
        std::numeric_limits<int32_t>::max());
  CHECK(*reduce(pool, Reduce::Min, never, first, false).data<uint8_t>() == 1);
  CHECK(*reduce(pool, Reduce::Max, never, first, false).data<uint8_t>() == 0);
}

TEST_CASE("log-sum-exp does not overflow, nor turn infinities into NaN") {
  std::vector<int64_t> axes = {0};
  auto of = [&](std::vector<float> v) {
    auto size = static_cast<int64_t>(v.size());
    return *reduce(pool, Reduce::LogSumExp, HostTensor::of<float>(ElementType::F32, {size}, v), axes, false)
                .data<float>();
  };
  CHECK(of({1000, 1000}) == Approx(1000 + std::log(2.0)));
  CHECK(of({-infinity, 0}) == 0);
  CHECK(of({-infinity, -infinity}) == -infinity);
  CHECK(of({infinity, 0}) == infinity);
}

TEST_CASE("arg_reduce and top_k order equal elements by index") {
  auto x = HostTensor::of<float>(ElementType::F32, {2, 4}, {1, 3, 3, 0, 5, 5, 2, 2});
  auto longs = [](const HostTensor &t) {
    return std::vector<int64_t>(t.data<int64_t>(), t.data<int64_t>() + t.count());
  };
  auto floats = [](const HostTensor &t) {
    return std::vector<float>(t.data<float>(), t.data<float>() + t.count());
  };
  CHECK(longs(argReduce(pool, true, x, 1, false, false)) == std::vector<int64_t>{1, 0});
  CHECK(longs(argReduce(pool, true, x, 1, false, true)) == std::vector<int64_t>{2, 1});
  CHECK(longs(argReduce(pool, false, x, 1, true, true)) == std::vector<int64_t>{3, 3});
  CHECK(longs(argReduce(pool, false, x, 0, false, false)) == std::vector<int64_t>{0, 0, 1, 0});
  CHECK(argReduce(pool, false, x, 0, true, false).shape() == Shape{1, 4});
  TopK top = topK(pool, x, 3, 1, false);
  CHECK(floats(top.values) == std::vector<float>{3, 3, 1, 5, 5, 2});
  CHECK(longs(top.indices) == std::vector<int64_t>{1, 2, 0, 0, 1, 2});
  TopK least = topK(pool, x, 1, 0, true);
  CHECK(floats(least.values) == std::vector<float>{1, 3, 2, 0});
  CHECK(longs(least.indices) == std::vector<int64_t>{0, 0, 1, 0});
  float nan = std::nanf("");
  auto odd = HostTensor::of<float>(ElementType::F32, {4}, {1, nan, infinity, nan});
  CHECK(longs(argReduce(pool, true, odd, 0, false, false)) == std::vector<int64_t>{1});
  CHECK(longs(argReduce(pool, false, odd, 0, false, true)) == std::vector<int64_t>{3});
  CHECK(longs(topK(pool, odd, 4, 0, false).indices) == std::vector<int64_t>{1, 3, 2, 0});
}

TEST_CASE("cumulative sums in both directions, with and without the element") {
  auto x = HostTensor::of<int32_t>(ElementType::I32, {2, 3}, {1, 2, 3, 4, 5, 6});
  auto sums = [&](int64_t axis, bool exclusive, bool reverse) {
    HostTensor t = cumSum(pool, x, axis, exclusive, reverse);
    return std::vector<int32_t>(t.data<int32_t>(), t.data<int32_t>() + t.count());
  };
  CHECK(sums(1, false, false) == std::vector<int32_t>{1, 3, 6, 4, 9, 15});
  CHECK(sums(1, true, false) == std::vector<int32_t>{0, 1, 3, 0, 4, 9});
  CHECK(sums(1, false, true) == std::vector<int32_t>{6, 5, 3, 15, 11, 6});
  CHECK(sums(0, true, true) == std::vector<int32_t>{4, 5, 6, 0, 0, 0});
}

TEST_CASE("softmax and log-softmax along every axis") {
  for (int round = 0; round < 40; ++round) {
    Values x = randomReals(randomShape(pick(1, 4)), -30, 30);
    int64_t axis = pick(0, static_cast<int64_t>(x.shape.size()) - 1);
    Values sums(x.shape), expected(x.shape), logs(x.shape);
    sums.shape[static_cast<size_t>(axis)] = 1;
    sums = Values(sums.shape);
    eachIndex(x.shape, [&](const Shape &i) { sums.at(i) += std::exp(x.at(i)); });
    eachIndex(x.shape, [&](const Shape &i) {
      expected.at(i) = std::exp(x.at(i)) / sums.at(i);
      logs.at(i) = x.at(i) - std::log(sums.at(i));
    });
    CHECK(relativeError<float>(softmax(pool, f32(x), axis, false), expected) < 2e-6);
    CHECK(relativeError<double>(softmax(pool, f64(x), axis, false), expected) < 1e-13);
    if (sums.data.size() < x.data.size()) // else all are 0, but for the reference's rounding
      CHECK(relativeError<float>(logSoftmax(pool, f32(x), axis), logs) < 2e-6);
  }
  auto x = HostTensor::of<float>(ElementType::F32, {2, 2}, {-infinity, -infinity, -infinity, 1});
  HostTensor plain = softmax(pool, x, 1, false), zeroed = softmax(pool, x, 1, true);
  CHECK(std::isnan(plain.data<float>()[0]));
  CHECK(std::vector<float>(zeroed.data<float>(), zeroed.data<float>() + 4) == std::vector<float>{0, 0, 0, 1});
}

TEST_CASE("layer norm, rms norm and group norm") {
  for (int round = 0; round < 40; ++round) {
    Values x = randomReals(randomShape(pick(2, 4)), -1, 3);
    int64_t axis = pick(0, static_cast<int64_t>(x.shape.size()) - 1);
    double epsilon = 1e-3f;
    std::vector<int64_t> axes;
    for (int64_t d = axis; d < static_cast<int64_t>(x.shape.size()); ++d)
      axes.push_back(d);
    Shape kept, own(x.shape.begin() + axis, x.shape.end());
    // Sometimes a scale with one element for each row: it broadcasts along the normalized dimensions.
    bool byRow = pick(0, 3) == 0;
    if (byRow) {
      own = x.shape;
      for (int64_t d = axis; d < static_cast<int64_t>(own.size()); ++d)
        own[static_cast<size_t>(d)] = 1;
    }
    Values scale = randomReals(own), bias = randomReals(own);
    auto groups = groupsOf(x, axes, kept);
    Values mean(kept), variance(kept), square(kept), layer(x.shape), rms(x.shape);
    for (size_t g = 0; g < groups.size(); ++g) {
      auto n = static_cast<double>(groups[g].size());
      mean.data[g] = reduced(Reduce::Mean, groups[g]);
      for (double v : groups[g]) {
        variance.data[g] += (v - mean.data[g]) * (v - mean.data[g]) / n;
        square.data[g] += v * v / n;
      }
    }
    eachIndex(x.shape, [&](const Shape &i) {
      layer.at(i) = (x.at(i) - mean.at(i)) / std::sqrt(variance.at(i) + epsilon) * scale.at(i) + bias.at(i);
      rms.at(i) = x.at(i) / std::sqrt(square.at(i) + epsilon) * scale.at(i);
    });
    CHECK(relativeError<float>(layerNorm(pool, f32(x), f32(scale), f32(bias), axis, 1e-3f), layer) < 2e-5);
    CHECK(relativeError<double>(layerNorm(pool, f64(x), f64(scale), f64(bias), axis, 1e-3f), layer) < 1e-12);
    CHECK(relativeError<float>(rmsNorm(pool, f32(x), f32(scale), axis, 1e-3f), rms) < 1e-5);
  }
  for (int round = 0; round < 20; ++round) {
    int64_t groupCount = pick(1, 3), each = pick(1, 3);
    Values x = randomReals({pick(1, 2), groupCount * each, pick(1, 5), pick(2, 5)}),
           scale = randomReals({groupCount * each}), bias = randomReals({groupCount * each}),
           expected(x.shape);
    eachIndex(x.shape, [&](const Shape &i) {
      double sum = 0, squares = 0, n = static_cast<double>(each * x.shape[2] * x.shape[3]);
      eachIndex({each, x.shape[2], x.shape[3]}, [&](const Shape &j) {
        double v = x.at({i[0], i[1] / each * each + j[0], j[1], j[2]});
        sum += v;
        squares += v * v;
      });
      double mean = sum / n, variance = squares / n - mean * mean;
      auto c = static_cast<size_t>(i[1]);
      expected.at(i) = (x.at(i) - mean) / std::sqrt(variance + 1e-5f) * scale.data[c] + bias.data[c];
    });
    CHECK(relativeError<float>(groupNorm(pool, f32(x), f32(scale), f32(bias), groupCount, 1e-5f), expected) <
          1e-4);
  }
}

TEST_CASE("reductions give the same bits with any number of threads") {
  HostTensor x = f32(randomReals({64, 1000}));
  std::vector<int64_t> axes = {1};
  ThreadPool one(1), three(3);
  HostTensor a = reduce(one, Reduce::Sum, x, axes, false), b = reduce(three, Reduce::Sum, x, axes, false);
  CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}
