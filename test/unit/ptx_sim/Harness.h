// Small kernels and what comes out of them.
#pragma once

#include "runtime/ptx_sim/Simulator.h"

#include <catch2/catch.hpp>
#include <cstring>

namespace npuc::ptx::test {

/// A module of sm_90 with one kernel "k". Its parameters are addresses p0, p1, …, of which %a0, %a1, … hold
/// the values. Besides: %i is the linear index of the thread in its block; registers %p, %h, %r, %d of
/// predicates, 16, 32 and 64 bits, %f and %g of fp32 and fp64, 60 of each.
std::string kernel(unsigned parameters, const std::string &body, const std::string &variables = "");

struct Run {
  Run(const std::string &text, Dim3 grid = {}, Dim3 block = {32, 1, 1});

  /// An array as the next parameter. Its bytes count as written.
  template <typename T>
  Run &array(const std::vector<T> &values) {
    return add(std::as_bytes(std::span(values)), true);
  }
  /// One that nothing has written.
  Run &fresh(uint64_t bytes) { return add(std::vector<std::byte>(bytes), false); }
  Run &go();

  /// The array of a parameter after the run.
  template <typename T>
  std::vector<T> get(unsigned parameter) {
    const std::span<std::byte> bytes = memory->bytes(addresses[parameter]);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  /// What the checks found, a line each: "check at LINE: thread (x, y, z) of block (x, y, z): message, N
  /// times"; lines count from the body's first.
  std::vector<std::string> findings() const;

  std::shared_ptr<const Program> program;
  std::unique_ptr<Memory> memory;
  Launch launch;
  std::vector<uint64_t> addresses;
  Report report;

private:
  Run &add(std::span<const std::byte> bytes, bool written);
};

/// The text of the errors of loading.
std::string errorsOf(const std::string &text);

/// {0, 1, …, count - 1}
std::vector<uint32_t> counting(unsigned count);

} // namespace npuc::ptx::test
