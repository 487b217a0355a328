// Kernels that compilers made: test/ptx's, of nvcc and of Triton. Expected values come from the formulas, in
// fp64.
#include "test/unit/ptx_sim/Harness.h"

#include "support/ElementType.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

namespace npuc::ptx::test {
namespace {

std::string text(const std::string &file) {
  std::ifstream in(std::string(NPUC_SOURCE_DIR) + "/test/ptx/" + file);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Compiled : Run {
  Compiled(const std::string &file, const std::string &name, Dim3 grid, unsigned threads, uint32_t shared = 0)
      : Run(text(file), grid, {threads, 1, 1}) {
    launch.kernel = name;
    launch.sharedBytes = shared;
    report.sharedBytes = 0; // Lines count from the file's first.
  }
  template <typename T>
  Compiled &value(T v) {
    launch.parameters.resize((launch.parameters.size() + sizeof v - 1) / sizeof v * sizeof v);
    const auto *raw = reinterpret_cast<const std::byte *>(&v);
    launch.parameters.insert(launch.parameters.end(), raw, raw + sizeof v);
    return *this;
  }
  /// Triton's two last parameters, memory that these kernels do not use.
  Compiled &triton() { return value(uint64_t{0}).value(uint64_t{0}); }
  void finish() {
    go();
    CHECK(findings() == std::vector<std::string>{});
  }
};

std::vector<float> numbers(unsigned seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float &v : values)
    v = static_cast<float>(static_cast<int>(random() % 65)) / 16 - 2; // multiples of 1/16 in [-2, 2]
  return values;
}
std::vector<uint16_t> halves(const std::vector<float> &values) {
  std::vector<uint16_t> out;
  for (float v : values)
    out.push_back(toF16(v));
  return out;
}

/// The largest difference.
template <typename T>
double error(const std::vector<T> &got, const std::vector<double> &expected) {
  REQUIRE(got.size() == expected.size());
  double most = 0;
  for (size_t k = 0; k < got.size(); ++k)
    most = std::max(most,
                    std::isfinite(got[k]) ? std::abs(static_cast<double>(got[k]) - expected[k]) : INFINITY);
  return most;
}

constexpr unsigned rows = 5, columns = 300;
std::vector<double> softmaxOf(const std::vector<float> &x) {
  std::vector<double> y(x.size());
  for (unsigned r = 0; r < rows; ++r) {
    const auto row = x.begin() + r * columns;
    const double most = *std::max_element(row, row + columns);
    double sum = 0;
    for (unsigned k = 0; k < columns; ++k)
      sum += std::exp(row[k] - most);
    for (unsigned k = 0; k < columns; ++k)
      y[r * columns + k] = std::exp(row[k] - most) / sum;
  }
  return y;
}
std::vector<double> layerNormOf(const std::vector<float> &x, const std::vector<float> &scale,
                                const std::vector<float> &shift) {
  std::vector<double> y(x.size());
  for (unsigned r = 0; r < rows; ++r) {
    const auto row = x.begin() + r * columns;
    double mean = 0, variance = 0;
    for (unsigned k = 0; k < columns; ++k)
      mean += row[k] / double{columns};
    for (unsigned k = 0; k < columns; ++k)
      variance += (row[k] - mean) * (row[k] - mean) / columns;
    for (unsigned k = 0; k < columns; ++k)
      y[r * columns + k] = (row[k] - mean) / std::sqrt(variance + 1e-5) * scale[k] + shift[k];
  }
  return y;
}

} // namespace

TEST_CASE("vector addition, of nvcc and of Triton") {
  const auto a = numbers(1, 1000), b = numbers(2, 1000);
  std::vector<double> expected;
  for (unsigned k = 0; k < 1000; ++k)
    expected.push_back(double{a[k]} + b[k]);
  Compiled nvcc("nvcc_kernels.ptx", "vector_add", {4, 1, 1}, 256);
  nvcc.array(a).array(b).fresh(4000);
  nvcc.value(1000).finish();
  CHECK(error(nvcc.get<float>(2), expected) == 0);
  Compiled triton("triton_vector_add.ptx", "vector_add", {4, 1, 1}, 64);
  triton.array(a).array(b).fresh(4000);
  triton.value(1000).triton().finish();
  CHECK(error(triton.get<float>(2), expected) == 0);
}

TEST_CASE("softmax, of nvcc and of Triton") {
  const auto x = numbers(1, rows * columns);
  // Results are at most 0.05, of which an ulp is 4e-9; e^x and the sum are off by a few of them.
  Compiled nvcc("nvcc_kernels.ptx", "softmax", {rows, 1, 1}, 64);
  nvcc.array(x).fresh(x.size() * 4);
  nvcc.value(columns).finish();
  CHECK(error(nvcc.get<float>(1), softmaxOf(x)) < 2e-8);
  Compiled triton("triton_softmax.ptx", "softmax", {rows, 1, 1}, 128, 16);
  triton.array(x).fresh(x.size() * 4);
  triton.value(columns).triton().finish();
  CHECK(error(triton.get<float>(1), softmaxOf(x)) < 2e-8);
}

TEST_CASE("layer norm, of nvcc and of Triton") {
  const auto x = numbers(1, rows * columns), scale = numbers(2, columns), shift = numbers(3, columns);
  // Results are up to 6, of which half an ulp is 2.4e-7; nvcc's takes the variance as a difference of sums.
  Compiled nvcc("nvcc_kernels.ptx", "layer_norm", {rows, 1, 1}, 32);
  nvcc.array(x).array(scale).array(shift).fresh(x.size() * 4);
  nvcc.value(columns).value(1e-5f).finish();
  CHECK(error(nvcc.get<float>(3), layerNormOf(x, scale, shift)) < 4e-6);
  Compiled triton("triton_layer_norm.ptx", "layer_norm", {rows, 1, 1}, 128, 2048);
  triton.array(x).array(scale).array(shift).fresh(x.size() * 4);
  triton.value(columns).value(1e-5f).triton().finish();
  CHECK(error(triton.get<float>(3), layerNormOf(x, scale, shift)) < 2e-6);
}

TEST_CASE("matrix products with tensor cores, of nvcc and of Triton") {
  constexpr unsigned m = 128, n = 192, k = 96;
  const auto a = numbers(1, m * k), b = numbers(2, n * k); // b is n x k
  std::vector<double> expected(m * n);
  for (unsigned i = 0; i < m; ++i)
    for (unsigned j = 0; j < n; ++j)
      for (unsigned l = 0; l < k; ++l)
        expected[i * n + j] += double{a[i * k + l]} * b[j * k + l];
  // Products are multiples of 1/256, so fp32 sums them exactly.
  Compiled nvcc("nvcc_kernels.ptx", "matmul", {n / 64, m / 64, 1}, 128);
  nvcc.array(halves(a)).array(halves(b)).fresh(m * n * 4);
  nvcc.value(m).value(n).value(k).finish();
  CHECK(error(nvcc.get<float>(2), expected) == 0);
  const Totals totals = nvcc.report.totals(*nvcc.program->find("matmul"));
  CHECK(totals.tensorMultiplyAdds == m * n * k);
  CHECK(totals.tensorShare() == 1);

  std::vector<float> transposed(b.size());
  for (unsigned j = 0; j < n; ++j)
    for (unsigned l = 0; l < k; ++l)
      transposed[l * n + j] = b[j * k + l];
  Compiled triton("triton_matmul.ptx", "matmul", {m / 64, n / 64, 1}, 128, 16384);
  triton.array(halves(a)).array(halves(transposed)).fresh(m * n * 2);
  triton.value(m).value(n).value(k).triton().finish();
  std::vector<float> got;
  for (uint16_t h : triton.get<uint16_t>(2))
    got.push_back(fromF16(h));
  CHECK(error(got, expected) <= 0.03125); // stored as fp16: below 128 half an ulp is 1/32
}

TEST_CASE("a histogram with atomics in shared memory and in global memory") {
  std::mt19937 random(1);
  std::vector<uint8_t> x(5000);
  std::vector<uint32_t> expected(256);
  for (uint8_t &v : x)
    ++expected[v = static_cast<uint8_t>(random())];
  Compiled nvcc("nvcc_kernels.ptx", "histogram", {3, 1, 1}, 128);
  nvcc.array(x).array(std::vector<uint32_t>(256));
  nvcc.value(5000).finish();
  CHECK(nvcc.get<uint32_t>(1) == expected);
}

TEST_CASE("a loop that every thread leaves at another time, and a switch") {
  std::vector<uint32_t> x(256), steps;
  std::vector<double> results;
  for (uint32_t k = 0; k < 256; ++k) {
    const uint32_t v = x[k] = k + 1;
    uint32_t count = 0;
    for (uint64_t n = v; n != 1; ++count)
      n = n & 1 ? 3 * n + 1 : n / 2;
    steps.push_back(count);
    const double values[] = {std::sqrt(double(v)),
                             1.0 / v,
                             double(v % 1000),
                             -double(v),
                             double(static_cast<float>(v) * 0.1f),
                             double(v >> 3),
                             double(std::popcount(v))};
    results.push_back(values[count % 7]);
  }
  Compiled nvcc("nvcc_kernels.ptx", "collatz", {2, 1, 1}, 128);
  nvcc.array(x).fresh(1024).fresh(2048).go();
  CHECK(nvcc.findings().empty());
  CHECK(nvcc.get<uint32_t>(1) == steps);
  CHECK(error(nvcc.get<double>(2), results) == 0);
}

TEST_CASE("functions of CUDA's library and of the module are called") {
  std::vector<double> x, expected;
  for (int k = 0; k < 64; ++k) {
    x.push_back((k - 32) * std::pow(10.0, k % 20)); // up to 3e20, where angles are reduced by a table
    expected.push_back(std::sin(x.back()));
  }
  Compiled sine("nvcc_calls.ptx", "sine", {1, 1, 1}, 64);
  sine.array(x).fresh(512);
  sine.value(64).finish();
  CHECK(error(sine.get<double>(1), expected) < 3e-16); // 2 ulp below 1, as CUDA promises

  // The integral of x^2 from 0 to 3 by n midpoints, h = 3 / n apart, is 9 - 6 h^2 / 24.
  Compiled integrals("nvcc_calls.ptx", "integrals", {1, 1, 1}, 32);
  integrals.value(0.0f).value(3.0f).value(4);
  integrals.launch.parameters.resize(16); // where the array's address is
  integrals.fresh(128);
  integrals.finish();
  const auto got = integrals.get<float>(0);
  for (int k = 0; k < 32; ++k) {
    const double n = 4 << k % 3;
    CHECK(got[static_cast<size_t>(k)] == Approx(k % 3 ? 9 * (1 - 1 / (4 * n * n)) : 0).epsilon(1e-6));
  }
}

TEST_CASE("a matrix product in good time", "[speed]") {
  constexpr unsigned m = 512, n = 512, k = 384;
  Compiled nvcc("nvcc_kernels.ptx", "matmul", {n / 64, m / 64, 1}, 128);
  nvcc.array(std::vector<uint16_t>(m * k)).array(std::vector<uint16_t>(n * k)).fresh(m * n * 4);
  nvcc.value(m).value(n).value(k).go();
  const Totals totals = nvcc.report.totals(*nvcc.program->find("matmul"));
  // A tenth of what one core with AVX-512 does.
  const double rate = static_cast<double>(totals.tensorMultiplyAdds) / nvcc.report.seconds;
  INFO(rate / 1e6 << " million multiply-adds a second, "
                  << static_cast<double>(totals.all.warps) / nvcc.report.seconds / 1e6
                  << " million instructions of warps");
  CHECK(rate > 30e6);
}

} // namespace npuc::ptx::test
