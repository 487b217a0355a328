// What the simulator's tests share: a small machine, programs built command by command, and views.
#pragma once

#include "runtime/npu_sim/Functional.h"
#include "test/unit/npu_sim/Reference.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

namespace npuc::npu_sim::test {

inline constexpr size_t memoryBytes =
    1 << 18; ///< Of each scratchpad, shared memory, accumulator, and DRAM buffer.

/// Two cores; sums of int8 in 24 bits; the vector engine reads accumulators.
target::TargetDescription machine();

isa::View view(isa::Space space, uint32_t buffer, ElementType type, int64_t base, std::vector<isa::Dim> dims);
/// Dense, last dimension fastest.
isa::View dense(isa::Space space, uint32_t buffer, ElementType type, int64_t base,
                std::vector<int32_t> sizes);

inline isa::VectorInstruction instruction(isa::VectorOp op, ElementType type, unsigned dst, unsigned a = 0,
                                          unsigned b = 0, unsigned c = 0, double immediate = 0) {
  return {op,
          type,
          static_cast<uint8_t>(dst),
          static_cast<uint8_t>(a),
          static_cast<uint8_t>(b),
          static_cast<uint8_t>(c),
          immediate};
}

/// A program whose commands run one after another in the order in which they are added: buffer 0 is an input,
/// 1 an output, 2 workspace.
struct ProgramBuilder {
  isa::Program program;

  ProgramBuilder();
  isa::Command &add(uint32_t core, isa::Command command, std::span<const isa::View> operands,
                    std::span<const isa::VectorInstruction> instructions = {},
                    std::span<const uint16_t> multicast = {});
  void copy(uint32_t core, const isa::View &from, const isa::View &to,
            std::span<const uint16_t> multicast = {});
  void vector(uint32_t core, std::span<const isa::View> operands,
              std::span<const isa::VectorInstruction> instructions);
  void contract(uint32_t core, const isa::View &a, const isa::View &b, const isa::View &c, unsigned batch,
                unsigned m, unsigned n, unsigned k, bool accumulate = false);
  /// All of core 0's scratchpad from the input, or to the output.
  void loadAll();
  void storeAll();
};

struct RunResult {
  bool ok = false;
  std::vector<uint8_t> output;
  std::string errors;
};
/// One launch; `input` fills buffer 0.
RunResult simulate(const isa::Program &program, std::span<const uint8_t> input,
                   std::span<const int64_t> registers = {}, FunctionalOptions options = {});
/// The reference's output of the same.
std::vector<uint8_t> expected(const isa::Program &program, std::span<const uint8_t> input,
                              std::vector<int64_t> registers = {});

} // namespace npuc::npu_sim::test
