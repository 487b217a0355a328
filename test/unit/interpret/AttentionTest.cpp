#include "compiler/interpret/kernels/Reduce.h"
#include "test/unit/interpret/Reference.h"

#include <cstring>

using namespace npuc;
using namespace npuc::interpret;
using namespace npuc::interpret::reference;

namespace {

ThreadPool pool(2);

/// By the definition in nn.attention, one score at a time. `mask` is added; a false bool is -infinity there.
Values attentionOf(Values q, Values k, Values v, Values *mask, const Attention &how) {
  int64_t heads = q.shape[1], groups = k.shape[1], keys = k.shape[2];
  Values out({q.shape[0], heads, q.shape[2], v.shape[3]});
  eachIndex({q.shape[0], heads, q.shape[2]}, [&](const Shape &i) {
    int64_t g = i[1] / (heads / groups);
    std::vector<double> scores;
    double most = -INFINITY;
    for (int64_t j = 0; j < keys; ++j) {
      double score = 0;
      for (int64_t d = 0; d < q.shape[3]; ++d)
        score += q.at({i[0], i[1], i[2], d}) * k.at({i[0], g, j, d});
      score *= how.scale;
      if (how.softcap > 0)
        score = how.softcap * std::tanh(score / how.softcap);
      if (mask)
        score += mask->at({i[0], i[1], i[2], j});
      if (how.causalOffset && j > i[2] + *how.causalOffset)
        score = -INFINITY;
      scores.push_back(score);
      most = std::max(most, score);
    }
    double sum = 0;
    for (double &s : scores)
      sum += s = std::exp(s - most);
    for (int64_t e = 0; e < v.shape[3]; ++e) {
      double value = 0;
      for (int64_t j = 0; j < keys; ++j)
        value += scores[static_cast<size_t>(j)] / sum * v.at({i[0], g, j, e});
      out.at({i[0], i[1], i[2], e}) = most == -INFINITY && how.zeroMasked ? 0 : value;
    }
  });
  return out;
}

struct Case {
  Values q, k, v;
  Attention how;
};

Case randomCase() {
  int64_t batch = pick(1, 2), groups = pick(1, 2), heads = groups * pick(1, 3), keys = pick(1, 40),
          depth = pick(1, 20);
  Case c = {randomReals({batch, heads, pick(1, 150), depth}),
            randomReals({batch, groups, keys, depth}),
            randomReals({batch, groups, keys, pick(1, 20)}),
            {}};
  c.how.scale = 0.3f;
  return c;
}

/// A shape that broadcasts to [B, H, S, T].
Shape maskShape(const Case &c) {
  Shape shape = {c.q.shape[0], c.q.shape[1], c.q.shape[2], c.k.shape[2]};
  for (int64_t &size : shape)
    size = pick(0, 2) ? size : 1;
  shape.erase(shape.begin(), shape.begin() + pick(0, 2));
  return shape;
}

void check(const Case &c, const HostTensor &mask32, const HostTensor &mask64, Values *mask) {
  Values expected = attentionOf(c.q, c.k, c.v, mask, c.how);
  CHECK(relativeError<float>(attention(pool, f32(c.q), f32(c.k), f32(c.v), mask32, c.how), expected) < 1e-5);
  CHECK(relativeError<double>(attention(pool, f64(c.q), f64(c.k), f64(c.v), mask64, c.how), expected) <
        1e-12);
}

} // namespace

TEST_CASE("attention without a mask, with grouped heads and a soft cap") {
  for (int round = 0; round < 20; ++round) {
    Case c = randomCase();
    c.how.softcap = round % 2 ? 1.5f : 0;
    check(c, {}, {}, nullptr);
  }
}

TEST_CASE("attention with an added mask that broadcasts") {
  for (int round = 0; round < 20; ++round) {
    Case c = randomCase();
    Values mask = randomReals(maskShape(c), -5, 0);
    for (double &m : mask.data)
      m = pick(0, 3) ? m : -3.4028234663852886e38; // the fill of eager exports
    check(c, f32(mask), f64(mask), &mask);
  }
}

TEST_CASE("attention with a bool mask, rows of it wholly false") {
  for (int round = 0; round < 20; ++round) {
    Case c = randomCase();
    Values keep = randomIntegers(maskShape(c), 0, 1), mask = keep;
    if (round % 2)
      std::fill(keep.data.begin(), keep.data.begin() + keep.shape.back(), 0.0); // the first row
    for (size_t i = 0; i < mask.data.size(); ++i)
      mask.data[i] = keep.data[i] != 0 ? 0 : -INFINITY;
    HostTensor bools = tensor<uint8_t>(ElementType::Bool, keep);
    c.how.zeroMasked = round % 4 < 2; // else such rows are NaN, in reference and kernel alike
    check(c, bools, bools, &mask);
  }
}

TEST_CASE("causal attention at every offset, with rows that see nothing") {
  for (int round = 0; round < 30; ++round) {
    Case c = randomCase();
    c.how.causalOffset = pick(-3, c.k.shape[2]);
    c.how.zeroMasked = round % 2;
    if (round % 3 == 0)
      c.how.causalOffset = c.k.shape[2] - c.q.shape[2];
    check(c, {}, {}, nullptr);
    Values mask = randomReals(maskShape(c), -5, 0);
    check(c, f32(mask), f64(mask), &mask);
  }
}

TEST_CASE("attention of integers rounds probabilities to steps of 1/127 of the greatest") {
  // Scores (2·3 - 1)·ln2/10 = ½ ln 2 and (2·13 - 1)·ln2/10 = 2.5 ln 2: e^(s - m) is ¼ and 1, which are 31.75
  // → 32 and 127 steps. The values' sums are 32·10 + 127·(-20) and 32·1 + 127·2, over 159, times the value's
  // scale.
  auto tensor = [](Shape shape, const std::vector<float> &x) {
    return HostTensor::of<float>(ElementType::F32, std::move(shape), x);
  };
  HostTensor query = tensor({1, 1, 1, 2}, {2, -1}), key = tensor({1, 1, 2, 2}, {3, 1, 13, 1}),
             value = tensor({1, 1, 2, 2}, {10, 1, -20, 2});
  Attention how;
  how.scale = std::log(2.0f) / 10;
  how.integer = true;
  how.valueScale = 0.5f;
  HostTensor result = attention(pool, query, key, value, {}, how);
  CHECK(result.data<float>()[0] == Approx(0.5 * (320.0 - 2540) / 159));
  CHECK(result.data<float>()[1] == Approx(0.5 * (32.0 + 254) / 159));

  // A row that sees nothing is NaN, or 0.
  HostTensor mask(ElementType::Bool, {1, 1, 1, 2});
  std::fill_n(mask.mutableData<uint8_t>(), 2, 0);
  CHECK(std::isnan(attention(pool, query, key, value, mask, how).data<float>()[0]));
  how.zeroMasked = true;
  CHECK(attention(pool, query, key, value, mask, how).data<float>()[0] == 0);
}

TEST_CASE("attention gives the same bits with any number of threads") {
  HostTensor q = f32(randomReals({1, 4, 300, 64})), k = f32(randomReals({1, 4, 500, 64})),
             v = f32(randomReals({1, 4, 500, 64}));
  ThreadPool one(1), three(3);
  HostTensor a = attention(one, q, k, v, {}, {}), b = attention(three, q, k, v, {}, {});
  CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

TEST_CASE("attention over no keys is zero") {
  HostTensor q = f32(randomReals({1, 2, 3, 4})), none(ElementType::F32, {1, 2, 0, 4});
  HostTensor out = attention(pool, q, none, none, {}, {});
  CHECK(values<float>(out) == std::vector<double>(24, 0.0));
}

TEST_CASE("rope rotates halves or neighbours and passes the rest") {
  for (int round = 0; round < 30; ++round) {
    bool interleaved = pick(0, 1);
    int64_t pairs = pick(1, 5);
    Values x = randomReals({pick(1, 2), pick(1, 3), pick(1, 5), 2 * pairs + pick(0, 3)}), expected = x;
    Shape angles = {pick(0, 1) ? x.shape[0] : 1, pick(0, 1) ? x.shape[1] : 1, pick(0, 1) ? x.shape[2] : 1,
                    pairs};
    Values cosine = randomReals(angles, -1, 1), sine = randomReals(angles, -1, 1);
    eachIndex({x.shape[0], x.shape[1], x.shape[2], pairs}, [&](const Shape &i) {
      Shape first = i, second = i;
      first[3] = interleaved ? 2 * i[3] : i[3];
      second[3] = interleaved ? 2 * i[3] + 1 : i[3] + pairs;
      expected.at(first) = x.at(first) * cosine.at(i) - x.at(second) * sine.at(i);
      expected.at(second) = x.at(second) * cosine.at(i) + x.at(first) * sine.at(i);
    });
    CHECK(relativeError<float>(rope(pool, f32(x), f32(cosine), f32(sine), interleaved), expected) < 1e-6);
    CHECK(relativeError<double>(rope(pool, f64(x), f64(cosine), f64(sine), interleaved), expected) < 1e-14);
  }
}
