// Random views and data; the same on every machine.
#pragma once

#include "test/unit/npu_sim/Machine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace npuc::npu_sim::test {

struct Random {
  std::mt19937 engine;

  explicit Random(uint32_t seed) : engine(seed) {}
  int below(int n) { return static_cast<int>(engine() % static_cast<uint32_t>(n)); }
  int between(int least, int greatest) { return least + below(greatest - least + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  const T &of(const std::vector<T> &choices) {
    return choices[static_cast<size_t>(below(static_cast<int>(choices.size())))];
  }
};

/// A memory's worth of bytes: any at all, or elements of `type` of moderate size.
inline std::vector<uint8_t> randomMemory(Random &random, ElementType type) {
  std::vector<uint8_t> bytes(memoryBytes);
  for (uint8_t &b : bytes)
    b = static_cast<uint8_t>(random.engine());
  if (!isFloat(type) || random.chance(25))
    return bytes;
  for (size_t i = 0; i < memoryBytes; i += bitWidth(type) / 8) {
    float x = static_cast<float>(random.between(-1000, 1000)) / 256;
    uint32_t bits = type == ElementType::F32      ? std::bit_cast<uint32_t>(x)
                    : type == ElementType::F16    ? toF16(x)
                    : type == ElementType::BF16   ? toBF16(x)
                    : type == ElementType::F8E4M3 ? toF8E4M3(x, true)
                                                  : toF8E5M2(x, true);
    std::memcpy(bytes.data() + i, &bits, bitWidth(type) / 8);
  }
  return bytes;
}

/// Strides for the sizes in a random order of dimensions, with gaps. `source`: it is only read, so dimensions
/// may broadcast or overlap.
inline std::vector<isa::Dim> randomDims(Random &random, ElementType type, const std::vector<int32_t> &sizes,
                                        bool source) {
  std::vector<size_t> order(sizes.size());
  for (size_t d = 0; d < order.size(); ++d)
    order[d] = sizes.size() - 1 - d;
  const bool fourBit = bitWidth(type) == 4;
  if (random.chance(50)) // Four-bit elements keep their innermost dimension.
    std::shuffle(order.begin() + (fourBit && !order.empty() ? 1 : 0), order.end(), random.engine);
  std::vector<isa::Dim> dims(sizes.size());
  int64_t next = 1; // The least stride at which nothing overlaps.
  for (size_t d : order) {
    int64_t stride = next + (random.chance(30) ? random.below(4) : 0);
    if (fourBit && d + 1 != sizes.size())
      stride += stride % 2;
    else if (fourBit)
      stride = 1;
    if (source && random.chance(15))
      stride = 0;
    else if (source && random.chance(15) && stride > 2)
      stride = fourBit ? stride / 4 * 2 : stride / 2;
    dims[d] = {sizes[d], stride};
    next = std::max(next, stride * sizes[d]);
  }
  return dims;
}

inline std::vector<int32_t> randomSizes(Random &random, int rank, int greatest) {
  std::vector<int32_t> sizes;
  for (int d = 0; d < rank; ++d)
    sizes.push_back(random.between(1, greatest));
  return sizes;
}

inline std::vector<int32_t> join(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> out;
  for (const auto &part : parts)
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

/// All levels of vector instructions that this machine has.
inline std::vector<SimdLevel> simdLevels() {
  std::vector<SimdLevel> out;
  for (SimdLevel level : {SimdLevel::Base, SimdLevel::V3, SimdLevel::V4})
    if (level <= simdLevel())
      out.push_back(level);
  return out;
}

/// Runs at every level with one and two threads; all must give the reference's bytes.
inline void compare(const isa::Program &program, const std::vector<uint8_t> &input,
                    const std::vector<int64_t> &registers) {
  const std::vector<uint8_t> wanted = expected(program, input, registers);
  for (SimdLevel level : simdLevels())
    for (unsigned threads : {1u, 2u}) {
      if (threads == 2 && level != simdLevel())
        continue;
      FunctionalOptions options;
      options.simd = level, options.threads = threads;
      RunResult got = simulate(program, input, registers, options);
      INFO("level " << int(level) << ", " << threads << " threads");
      REQUIRE(got.errors == "");
      REQUIRE(got.ok);
      auto [x, y] = std::mismatch(got.output.begin(), got.output.end(), wanted.begin());
      INFO("first difference at byte " << x - got.output.begin());
      REQUIRE(x == got.output.end());
    }
}

} // namespace npuc::npu_sim::test
