// A target's numbers in the form in which the timing formulas use them.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace npuc::timing {

/// A description with its lists turned into tables. Keeps a copy of the description.
struct Machine {
  explicit Machine(const target::TargetDescription &description);

  target::TargetDescription target;
  uint32_t cores = 0;
  uint32_t slices = 0; ///< Of one core.
  /// DRAM clock cycles in one core cycle.
  double dramCyclesPerCycle = 0;
  /// What one step of the matrix engine takes of k, and its cycles; 0: the engine lacks the type.
  std::array<uint32_t, elementTypeCount> matrixLanesK{};
  std::array<double, elementTypeCount> matrixStepCycles{};
  /// Factor on the vector engine's lanes; 0: the engine lacks the type.
  std::array<double, elementTypeCount> vectorRate{};
  /// Picojoules of one multiply-add; 0 if the description has none.
  std::array<double, elementTypeCount> multiplyAddPicojoules{};
  /// Operations for each lane and cycle; 0: the engine lacks the function.
  std::array<double, isa::vectorOpCount> functionRate{};

  /// The type whose rate a contraction of `a` with `b` runs at: int4 if one is, else the wider of the two; an
  /// unsigned type that the engine does not list counts as the signed one. matrixStepCycles of the result is
  /// 0 if the engine lacks it.
  ElementType contractionType(ElementType a, ElementType b) const;
  /// The type whose lanes a vector instruction of `type` uses: Bool and narrow integers compute in 32 bits.
  ElementType laneType(ElementType type) const;
  double milliseconds(double cycles) const { return cycles / (target.clock_ghz() * 1e6); }
};

/// Values of a program's registers at launch: `values`, or the greatest that each may have where `values` is
/// shorter.
std::vector<int64_t> registerValues(const isa::Program &program, std::span<const int64_t> values = {});

/// `view` with base and extents as the registers' values make them.
isa::View resolve(const isa::View &view, std::span<const int64_t> registers);

/// Whether the command does anything under these values: its predicate, if it has one.
bool isActive(const isa::Command &command, std::span<const int64_t> registers);

} // namespace npuc::timing
