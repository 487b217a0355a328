#include "compiler/interpret/kernels/Movement.h"
#include "test/unit/interpret/Reference.h"

#include <algorithm>
#include <numeric>

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);

/// Elements 0, 1, 2, …: every element differs, so that a wrong place shows.
Values counting(Shape shape) {
  Values out(std::move(shape));
  std::iota(out.data.begin(), out.data.end(), 0.0);
  return out;
}

Shape randomShape(int64_t rank, int64_t most = 7) {
  Shape shape;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(pick(1, most));
  return shape;
}

HostTensor i64(const Values &values) {
  return tensor<int64_t>(ElementType::I64, values);
}

} // namespace

TEST_CASE("transpose over random shapes and permutations") {
  for (int round = 0; round < 60; ++round) {
    Shape shape = randomShape(pick(1, 5));
    std::vector<int64_t> permutation(shape.size());
    std::iota(permutation.begin(), permutation.end(), int64_t{0});
    std::shuffle(permutation.begin(), permutation.end(), generator());
    Shape to;
    for (int64_t p : permutation)
      to.push_back(shape[static_cast<size_t>(p)]);
    Values x = counting(shape), expected(to);
    eachIndex(shape, [&](const Shape &i) {
      Shape j;
      for (int64_t p : permutation)
        j.push_back(i[static_cast<size_t>(p)]);
      expected.at(j) = x.at(i);
    });
    checkEqual<int64_t>(transpose(pool, i64(x), permutation), expected);
    checkEqual<int16_t>(transpose(pool, tensor<int16_t>(ElementType::I16, x), permutation), expected);
  }
}

TEST_CASE("broadcast, slice and concat over random shapes") {
  for (int round = 0; round < 60; ++round) {
    Shape shape = randomShape(pick(1, 4));
    Shape narrow(shape.begin() + pick(0, static_cast<int64_t>(shape.size())), shape.end());
    for (int64_t &size : narrow)
      size = pick(0, 1) ? size : 1;
    Values x = counting(narrow), wide(shape);
    eachIndex(shape, [&](const Shape &i) { wide.at(i) = x.at(i); });
    checkEqual<int64_t>(broadcast(pool, i64(x), shape), wide);

    Values source = counting(shape);
    Shape starts, sizes, steps;
    for (int64_t size : shape) {
      steps.push_back(pick(0, 1) ? pick(1, 3) : -pick(1, 3));
      starts.push_back(pick(0, size - 1));
      int64_t room = steps.back() > 0 ? size - starts.back() : starts.back() + 1;
      sizes.push_back(pick(0, (room - 1) / std::abs(steps.back()) + 1));
    }
    Values part(sizes);
    eachIndex(sizes, [&](const Shape &i) {
      Shape j;
      for (size_t d = 0; d < i.size(); ++d)
        j.push_back(starts[d] + i[d] * steps[d]);
      part.at(i) = source.at(j);
    });
    checkEqual<int64_t>(slice(pool, i64(source), starts, sizes, steps), part);

    auto axis = static_cast<size_t>(pick(0, static_cast<int64_t>(shape.size()) - 1));
    std::vector<HostTensor> parts;
    Values joined(shape);
    joined.shape[axis] = 0;
    std::vector<Values> pieces;
    for (int64_t n = pick(1, 3); n-- > 0;) {
      Shape s = shape;
      s[axis] = pick(0, 4);
      joined.shape[axis] += s[axis];
      pieces.push_back(randomIntegers(s, 0, 1000));
      parts.push_back(i64(pieces.back()));
    }
    joined = Values(joined.shape);
    eachIndex(joined.shape, [&](const Shape &i) {
      Shape j = i;
      size_t p = 0;
      for (; j[axis] >= pieces[p].shape[axis]; ++p)
        j[axis] -= pieces[p].shape[axis];
      joined.at(i) = pieces[p].at(j);
    });
    checkEqual<int64_t>(concat(pool, parts, static_cast<int64_t>(axis)), joined);
  }
}

TEST_CASE("pad in each mode, from NumPy's documentation of numpy.pad") {
  auto x = HostTensor::of<int32_t>(ElementType::I32, {5}, {1, 2, 3, 4, 5});
  auto nine = HostTensor::of<int32_t>(ElementType::I32, {}, {9});
  std::vector<int64_t> low = {2}, high = {3};
  auto padded = [&](PadMode mode, const HostTensor &value = {}) {
    HostTensor y = pad(pool, mode, x, value, low, high);
    return std::vector<int32_t>(y.data<int32_t>(), y.data<int32_t>() + y.count());
  };
  CHECK(padded(PadMode::Constant) == std::vector<int32_t>{0, 0, 1, 2, 3, 4, 5, 0, 0, 0});
  CHECK(padded(PadMode::Constant, nine) == std::vector<int32_t>{9, 9, 1, 2, 3, 4, 5, 9, 9, 9});
  CHECK(padded(PadMode::Edge) == std::vector<int32_t>{1, 1, 1, 2, 3, 4, 5, 5, 5, 5});
  CHECK(padded(PadMode::Reflect) == std::vector<int32_t>{3, 2, 1, 2, 3, 4, 5, 4, 3, 2});
  CHECK(padded(PadMode::Wrap) == std::vector<int32_t>{4, 5, 1, 2, 3, 4, 5, 1, 2, 3});
  low = {-1}, high = {1};
  CHECK(padded(PadMode::Edge) == std::vector<int32_t>{2, 3, 4, 5, 5});
  low = {-2}, high = {-2};
  CHECK(padded(PadMode::Constant) == std::vector<int32_t>{3});
  low = {6}, high = {0}; // further than the input is long
  CHECK(padded(PadMode::Reflect) == std::vector<int32_t>{3, 4, 5, 4, 3, 2, 1, 2, 3, 4, 5});
}

TEST_CASE("pad of several dimensions") {
  for (int round = 0; round < 30; ++round) {
    Shape shape = randomShape(3, 4), low, high, to;
    for (int64_t size : shape) {
      low.push_back(pick(-1, 2));
      high.push_back(pick(0, 2));
      if (size + low.back() + high.back() < 1)
        low.back() = 0;
      to.push_back(size + low.back() + high.back());
    }
    Values x = counting(shape), expected(to);
    eachIndex(to, [&](const Shape &i) {
      Shape from;
      for (size_t d = 0; d < i.size(); ++d)
        from.push_back(i[d] - low[d]);
      bool inside = true;
      for (size_t d = 0; d < i.size(); ++d)
        inside = inside && from[d] >= 0 && from[d] < shape[d];
      expected.at(i) = inside ? x.at(from) : 0;
    });
    checkEqual<int64_t>(pad(pool, PadMode::Constant, i64(x), {}, low, high), expected);
  }
}

TEST_CASE("trilu keeps either triangle at any diagonal") {
  for (int64_t diagonal = -7; diagonal <= 7; ++diagonal)
    for (bool upper : {false, true}) {
      Values x = randomIntegers({2, 4, 5}, 1, 99), expected = x;
      eachIndex(x.shape, [&](const Shape &i) {
        bool keep = upper ? i[2] >= i[1] + diagonal : i[2] <= i[1] + diagonal;
        if (!keep)
          expected.at(i) = 0;
      });
      checkEqual<int64_t>(trilu(pool, i64(x), upper, diagonal), expected);
    }
}

TEST_CASE("tensors without elements pass through") {
  Values none({2, 0, 3});
  CHECK(transpose(pool, i64(none), std::vector<int64_t>{1, 0, 2}).shape() == Shape{0, 2, 3});
  CHECK(broadcast(pool, i64(Values({1, 0})), {4, 0}).shape() == Shape{4, 0});
  std::vector<HostTensor> parts = {i64(none), i64(counting({2, 1, 3}))};
  CHECK(concat(pool, parts, 1).shape() == Shape{2, 1, 3});
  CHECK(pad(pool, PadMode::Constant, i64(none), {}, std::vector<int64_t>{0, 2, 0},
            std::vector<int64_t>{0, 0, 0})
            .shape() == Shape{2, 2, 3});
  CHECK(trilu(pool, i64(none), true, 0).shape() == none.shape);
}

TEST_CASE("4-bit integers are unpacked and packed again") {
  Array packed{ElementType::I4, {3}, {std::byte{0xf7}, std::byte{0x08}}}; // 7, -1, -8
  HostTensor t = fromArray(packed);
  CHECK(std::vector<int8_t>(t.data<int8_t>(), t.data<int8_t>() + 3) == std::vector<int8_t>{7, -1, -8});
  CHECK(toArray(t).data == packed.data);
  packed.type = ElementType::U4;
  t = fromArray(packed);
  CHECK(std::vector<uint8_t>(t.data<uint8_t>(), t.data<uint8_t>() + 3) == std::vector<uint8_t>{7, 15, 8});
  CHECK(toArray(t).data == packed.data);
}
