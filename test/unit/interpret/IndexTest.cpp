#include "compiler/interpret/kernels/Index.h"
#include "test/unit/interpret/Reference.h"

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);

Shape randomShape(int64_t rank) {
  Shape shape;
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(pick(1, 5));
  return shape;
}

HostTensor i64(const Values &values) {
  return tensor<int64_t>(ElementType::I64, values);
}
HostTensor i32(const Values &values) {
  return tensor<int32_t>(ElementType::I32, values);
}

int64_t fromFront(double index, int64_t size) {
  return static_cast<int64_t>(index) + (index < 0 ? size : 0);
}

void meet(ScatterReduction reduction, double &element, double update) {
  switch (reduction) {
  case ScatterReduction::None:
    element = update;
    break;
  case ScatterReduction::Add:
    element += update;
    break;
  case ScatterReduction::Mul:
    element *= update;
    break;
  case ScatterReduction::Max:
    element = std::max(element, update);
    break;
  case ScatterReduction::Min:
    element = std::min(element, update);
    break;
  }
}

constexpr ScatterReduction reductions[] = {ScatterReduction::None, ScatterReduction::Add,
                                           ScatterReduction::Mul, ScatterReduction::Max,
                                           ScatterReduction::Min};

} // namespace

TEST_CASE("gather and gather_elements over random shapes") {
  for (int round = 0; round < 60; ++round) {
    Values x = randomIntegers(randomShape(pick(1, 4)), -99, 99);
    auto rank = static_cast<int64_t>(x.shape.size());
    int64_t axis = pick(0, rank - 1), size = x.shape[static_cast<size_t>(axis)];
    Values indices = randomIntegers(randomShape(pick(0, 2)), -size, size - 1);
    Shape to(x.shape.begin(), x.shape.begin() + axis);
    to.insert(to.end(), indices.shape.begin(), indices.shape.end());
    to.insert(to.end(), x.shape.begin() + axis + 1, x.shape.end());
    Values expected(to);
    auto picked = static_cast<int64_t>(indices.shape.size());
    eachIndex(to, [&](const Shape &i) {
      Shape j(i.begin() + axis, i.begin() + axis + picked), from(i.begin(), i.begin() + axis);
      from.push_back(fromFront(indices.at(j), size));
      from.insert(from.end(), i.begin() + axis + picked, i.end());
      expected.at(i) = x.at(from);
    });
    checkEqual<int64_t>(gather(pool, i64(x), i32(indices), axis), expected);

    Shape along = x.shape;
    for (int64_t d = 0; d < rank; ++d)
      along[static_cast<size_t>(d)] = d == axis ? pick(1, 6) : pick(1, along[static_cast<size_t>(d)]);
    Values each = randomIntegers(along, -size, size - 1), elements(along);
    eachIndex(along, [&](const Shape &i) {
      Shape from = i;
      from[static_cast<size_t>(axis)] = fromFront(each.at(i), size);
      elements.at(i) = x.at(from);
    });
    checkEqual<int32_t>(gatherElements(pool, i32(x), i64(each), axis), elements);
  }
}

TEST_CASE("gather_nd over random shapes and batches") {
  for (int round = 0; round < 60; ++round) {
    int64_t rank = pick(1, 4), batch = pick(0, rank - 1), tuple = pick(1, rank - batch);
    Values x = randomIntegers(randomShape(rank), -99, 99);
    Shape shape(x.shape.begin(), x.shape.begin() + batch);
    for (int64_t d = pick(0, 2); d-- > 0;)
      shape.push_back(pick(1, 4));
    Shape to = shape;
    to.insert(to.end(), x.shape.begin() + batch + tuple, x.shape.end());
    shape.push_back(tuple);
    Values indices(shape), expected(to);
    std::vector<int64_t> limits(x.shape.begin() + batch, x.shape.begin() + batch + tuple);
    eachIndex(shape, [&](const Shape &i) {
      int64_t limit = limits[static_cast<size_t>(i.back())];
      indices.at(i) = static_cast<double>(pick(-limit, limit - 1));
    });
    CHECK_FALSE(findBadIndex(i64(indices), limits));
    auto tuples = static_cast<std::ptrdiff_t>(shape.size() - 1);
    eachIndex(to, [&](const Shape &i) {
      Shape from(i.begin(), i.begin() + batch), at(i.begin(), i.begin() + tuples);
      at.push_back(0);
      for (int64_t t = 0; t < tuple; ++t) {
        at.back() = t;
        from.push_back(fromFront(indices.at(at), limits[static_cast<size_t>(t)]));
      }
      from.insert(from.end(), i.begin() + tuples, i.end());
      expected.at(i) = x.at(from);
    });
    checkEqual<int64_t>(gatherNd(pool, i64(x), i64(indices), batch), expected);
  }
}

TEST_CASE("scatter_elements and scatter_nd with every reduction") {
  for (int round = 0; round < 60; ++round)
    for (ScatterReduction reduction : reductions) {
      int64_t rank = pick(1, 3);
      Values x = randomIntegers(randomShape(rank), -9, 9);
      int64_t axis = pick(0, rank - 1), size = x.shape[static_cast<size_t>(axis)];
      Shape shape;
      for (int64_t d = 0; d < rank; ++d)
        shape.push_back(pick(1, x.shape[static_cast<size_t>(d)]));
      Values indices = randomIntegers(shape, -size, size - 1), updates = randomIntegers(shape, -9, 9),
             expected = x;
      eachIndex(shape, [&](const Shape &i) { // in row-major order: of repeated ones the last wins
        Shape to = i;
        to[static_cast<size_t>(axis)] = fromFront(indices.at(i), size);
        meet(reduction, expected.at(to), updates.at(i));
      });
      checkEqual<int64_t>(scatterElements(reduction, i64(x), i64(indices), i64(updates), axis), expected);

      int64_t tuple = pick(1, rank), count = pick(1, 4);
      Values tuples({count, tuple});
      eachIndex(tuples.shape, [&](const Shape &i) {
        int64_t limit = x.shape[static_cast<size_t>(i[1])];
        tuples.at(i) = static_cast<double>(pick(-limit, limit - 1));
      });
      Shape rest(x.shape.begin() + tuple, x.shape.end()), parts = {count};
      parts.insert(parts.end(), rest.begin(), rest.end());
      Values slices = randomIntegers(parts, -9, 9), result = x;
      eachIndex(parts, [&](const Shape &i) {
        Shape to;
        for (int64_t t = 0; t < tuple; ++t)
          to.push_back(fromFront(tuples.at({i[0], t}), x.shape[static_cast<size_t>(t)]));
        to.insert(to.end(), i.begin() + 1, i.end());
        meet(reduction, result.at(to), slices.at(i));
      });
      checkEqual<int64_t>(scatterNd(reduction, i64(x), i64(tuples), i64(slices)), result);
    }
}

TEST_CASE("the first index out of range is found with its limit") {
  auto indices = HostTensor::of<int64_t>(ElementType::I64, {2, 2}, {0, 3, -4, 2});
  std::vector<int64_t> four = {4}, pair = {4, 3};
  CHECK_FALSE(findBadIndex(indices, four));
  auto bad = findBadIndex(indices, pair); // the second of each tuple must lie below 3
  REQUIRE(bad);
  CHECK(bad->position == 1);
  CHECK(bad->value == 3);
  CHECK(bad->limit == 3);
  auto low = HostTensor::of<int32_t>(ElementType::I32, {1}, {-5});
  CHECK(findBadIndex(low, four)->value == -5);
}
