// What each command computes, on operands with their registers applied. Backends/npu/isa/Program.h states the
// meaning. All of these throw Failure.
#pragma once

#include "runtime/npu_sim/Kernels.h"
#include "runtime/npu_sim/Memory.h"

#include <span>
#include <vector>

namespace npuc::npu_sim {

/// Memory that the commands of one thread use one after another; it only grows.
struct Scratch {
  std::vector<int64_t> offsets[6];
  std::vector<std::byte> packedA, packedB, sums, gathered;
  std::vector<Lane> lanes, table;
};

/// equal shapes and types
void copy(const Operand &source, const Operand &destination);
void fill(const Operand &destination, double value, const Kernels &kernels);
/// Indices are checked against the table's dimension 0.
void gather(const Operand &table, const Operand &index, const Operand &destination);
void scatter(const Operand &source, const Operand &index, const Operand &destination);

struct Contraction {
  uint8_t rankBatch, rankM, rankN, rankK;
  bool accumulate;
  unsigned accumulatorBits; ///< Integers: sums outside this width are a failure; 0: they wrap.
};
void contract(const Contraction &shape, const Operand &a, const Operand &b, const Operand &c,
              const Kernels &kernels, Scratch &scratch);

/// Operands in the order of the command's; `sizes` are those of the views, before bounds.
void runVector(std::span<const isa::VectorInstruction> program, std::span<const Operand> operands,
               std::span<const isa::View> views, const Kernels &kernels, Scratch &scratch);

} // namespace npuc::npu_sim
