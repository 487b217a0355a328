// Attention as a tile program, with every kind of mask, against the formula in double precision.
#include "test/unit/npu_sim/Random.h"

#include <cmath>

namespace npuc::npu_sim::test {
namespace {

using isa::Space;
using isa::VectorInstruction;
using isa::VectorOp;
using E = ElementType;

constexpr int32_t heads = 2, queries = 13, keys = 21, width = 16;
constexpr int64_t atQ = 0, atK = 4096, atV = 8192, atAdditive = 16384, atAllowed = 20480, atP = 24576,
                  atMax = 32768, atSum = 34816, atOut = 36864;

enum class Mask { None, Additive, Causal, Allowed };

/// Scores: acc[h, q, t] = Q · Kᵀ; K is read transposed.
void scores(ProgramBuilder &b) {
  b.contract(0, dense(Space::Scratchpad, 0, E::F16, atQ, {heads, queries, width}),
             view(Space::Scratchpad, 0, E::F16, atK, {{heads, keys * width}, {width, 1}, {keys, width}}),
             dense(Space::Accumulator, 0, E::F32, 0, {heads, queries, keys}), 1, 1, 1, 1);
}

/// Scales and masks the scores in place and keeps the greatest of each row.
void maskScores(ProgramBuilder &b, Mask mask) {
  const std::vector<isa::View> operands = {
      dense(Space::Accumulator, 0, E::F32, 0, {heads, queries, keys}),
      view(Space::Scratchpad, 0, E::F32, atMax, {{heads, queries}, {queries, 1}, {keys, 0}}),
      view(Space::Scratchpad, 0, E::F32, atAdditive, {{heads, 0}, {queries, keys}, {keys, 1}}),
      view(Space::Scratchpad, 0, E::Bool, atAllowed, {{heads, 0}, {queries, keys}, {keys, 1}})};
  std::vector<VectorInstruction> p = {instruction(VectorOp::Load, E::F32, 0, 0),
                                      instruction(VectorOp::Constant, E::F32, 1, 0, 0, 0, 0.25), // 1/√16
                                      instruction(VectorOp::Multiply, E::F32, 0, 0, 1),
                                      instruction(VectorOp::Constant, E::F32, 2, 0, 0, 0, -INFINITY)};
  if (mask == Mask::Additive) {
    p.push_back(instruction(VectorOp::Load, E::F32, 3, 2));
    p.push_back(instruction(VectorOp::Add, E::F32, 0, 0, 3));
  } else if (mask == Mask::Causal) { // The last query sees all keys: key ≤ query + keys − queries.
    p.push_back(instruction(VectorOp::Index, E::I32, 3, 2));
    p.push_back(instruction(VectorOp::Index, E::I32, 4, 1, 0, 0, keys - queries));
    p.push_back(instruction(VectorOp::LessEqual, E::I32, 5, 3, 4));
    p.push_back(instruction(VectorOp::Select, E::F32, 0, 5, 0, 2));
  } else if (mask == Mask::Allowed) {
    p.push_back(instruction(VectorOp::Load, E::Bool, 5, 3));
    p.push_back(instruction(VectorOp::Select, E::F32, 0, 5, 0, 2));
  }
  p.push_back(instruction(VectorOp::Store, E::F32, 0, 0));
  p.push_back(instruction(VectorOp::StoreMax, E::F32, 1, 0));
  b.vector(0, operands, p);
}

/// P = exp(S − max), in fp16, and its row sums. A row without any key has max −∞, taken as the least float.
void exponentials(ProgramBuilder &b) {
  const std::vector<isa::View> operands = {
      dense(Space::Accumulator, 0, E::F32, 0, {heads, queries, keys}),
      view(Space::Scratchpad, 0, E::F32, atMax, {{heads, queries}, {queries, 1}, {1, 0}}),
      dense(Space::Scratchpad, 0, E::F16, atP, {heads, queries, keys}),
      view(Space::Scratchpad, 0, E::F32, atSum, {{heads, queries}, {queries, 1}, {1, 0}})};
  const VectorInstruction p[] = {instruction(VectorOp::Load, E::F32, 0, 0),
                                 instruction(VectorOp::Load, E::F32, 1, 1),
                                 instruction(VectorOp::Constant, E::F32, 2, 0, 0, 0, -3.4e38),
                                 instruction(VectorOp::Maximum, E::F32, 1, 1, 2),
                                 instruction(VectorOp::Subtract, E::F32, 0, 0, 1),
                                 instruction(VectorOp::Exp, E::F32, 0, 0),
                                 instruction(VectorOp::Store, E::F32, 2, 0),
                                 instruction(VectorOp::StoreSum, E::F32, 3, 0)};
  b.vector(0, operands, p);
}

/// P · V divided by the sums; 0 where the sum is.
void output(ProgramBuilder &b) {
  const isa::View sums = dense(Space::Accumulator, 0, E::F32, 32768, {heads, queries, width});
  b.contract(0, dense(Space::Scratchpad, 0, E::F16, atP, {heads, queries, keys}),
             dense(Space::Scratchpad, 0, E::F16, atV, {heads, keys, width}), sums, 1, 1, 1, 1);
  const std::vector<isa::View> operands = {
      sums, view(Space::Scratchpad, 0, E::F32, atSum, {{heads, queries}, {queries, 1}, {1, 0}}),
      dense(Space::Scratchpad, 0, E::F16, atOut, {heads, queries, width})};
  const VectorInstruction p[] = {
      instruction(VectorOp::Load, E::F32, 0, 0),      instruction(VectorOp::Load, E::F32, 1, 1),
      instruction(VectorOp::Constant, E::F32, 2),     instruction(VectorOp::Equal, E::F32, 3, 1, 2),
      instruction(VectorOp::Divide, E::F32, 0, 0, 1), instruction(VectorOp::Select, E::F32, 0, 3, 2, 0),
      instruction(VectorOp::Store, E::F32, 2, 0)};
  b.vector(0, operands, p);
}

template <class T>
T at(const std::vector<uint8_t> &bytes, int64_t base, int64_t index) {
  T v;
  std::memcpy(&v, bytes.data() + base + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}
double half(const std::vector<uint8_t> &bytes, int64_t base, int64_t index) {
  return fromF16(at<uint16_t>(bytes, base, index));
}

double bias(const std::vector<uint8_t> &in, Mask mask, int q, int t) {
  switch (mask) {
  case Mask::Additive:
    return at<float>(in, atAdditive, q * keys + t);
  case Mask::Causal:
    return t <= q + keys - queries ? 0 : -INFINITY;
  case Mask::Allowed:
    return at<uint8_t>(in, atAllowed, q * keys + t) ? 0 : -INFINITY;
  case Mask::None:
    return 0;
  }
  return 0;
}

/// softmax(Q Kᵀ / 4 + bias) V of one row, 0 if every key is masked.
std::vector<double> wanted(const std::vector<uint8_t> &in, Mask mask, int h, int q) {
  std::vector<double> p(keys), out(width, 0.0);
  double sum = 0;
  for (int t = 0; t < keys; ++t) {
    double s = 0;
    for (int d = 0; d < width; ++d)
      s += half(in, atQ, (h * queries + q) * width + d) * half(in, atK, (h * keys + t) * width + d);
    sum += p[static_cast<size_t>(t)] = std::exp(s / 4 + bias(in, mask, q, t));
  }
  for (int t = 0; t < keys && sum > 0; ++t)
    for (int d = 0; d < width; ++d)
      out[static_cast<size_t>(d)] +=
          p[static_cast<size_t>(t)] / sum * half(in, atV, (h * keys + t) * width + d);
  return out;
}

std::vector<uint8_t> inputs() {
  Random random(11);
  std::vector<uint8_t> in(memoryBytes, 0);
  for (int64_t base : {atQ, atK, atV})
    for (int i = 0; i < heads * keys * width; ++i) {
      uint16_t bits = toF16(static_cast<float>(random.between(-1000, 1000)) / 1000);
      std::memcpy(in.data() + base + 2 * i, &bits, 2);
    }
  for (int q = 0; q < queries; ++q)
    for (int t = 0; t < keys; ++t) {
      const bool masked = q == 3 || q == 12 || random.chance(30); // Two rows see no key at all.
      float additive = masked ? -INFINITY : static_cast<float>(random.between(-20, 20)) / 10;
      std::memcpy(in.data() + atAdditive + 4 * (q * keys + t), &additive, 4);
      in[static_cast<size_t>(atAllowed + q * keys + t)] = !masked;
    }
  return in;
}

} // namespace

TEST_CASE("attention with every kind of mask") {
  const std::vector<uint8_t> in = inputs();
  for (Mask mask : {Mask::None, Mask::Additive, Mask::Causal, Mask::Allowed}) {
    INFO("mask " << int(mask));
    ProgramBuilder b;
    b.loadAll();
    scores(b);
    maskScores(b, mask);
    exponentials(b);
    output(b);
    b.storeAll();
    compare(b.program, in, {});
    RunResult got = simulate(b.program, in);
    // Each p is rounded to fp16 once (relative 2^-12 of half an ulp each way), and so is the result; |v| ≤ 1,
    // so their sum is below 2^-11 + 2^-12; fp32's share is a thousandth of that.
    for (int h = 0; h < heads; ++h)
      for (int q = 0; q < queries; ++q) {
        std::vector<double> row = wanted(in, mask, h, q);
        for (int d = 0; d < width; ++d) {
          INFO("head " << h << ", query " << q << ", " << d);
          double y = half(got.output, atOut, (h * queries + q) * width + d);
          REQUIRE(std::fabs(y - row[static_cast<size_t>(d)]) <= 0x1.9p-11);
        }
      }
    if (mask == Mask::Additive || mask == Mask::Allowed)
      CHECK(at<uint16_t>(got.output, atOut, 3 * width) == 0);
  }
}

} // namespace npuc::npu_sim::test
