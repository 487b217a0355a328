// The least time that any program could need for a model's work on a target, whatever the compiler does.
#pragma once

#include "backends/npu/target/target.pb.h"
#include "backends/npu/timing/Cost.h"
#include "support/Diagnostic.h"

#include <array>
#include <optional>

namespace npuc::timing {

/// What a model has to do, counted on its operations with shapes bound and precision chosen, never on a
/// lowering of them.
struct WorkFacts {
  std::array<double, elementTypeCount> multiplyAdds{}; ///< By operand type, without padding.
  /// Vector operations by the table of operations per element: those in floats, and those in 32-bit integers.
  double floatOperations = 0, integerOperations = 0;
  /// Compulsory: each constant once (of a gathered table only the rows read), inputs, outputs and states
  /// once.
  double dramBytes = 0;
};

/// Cycles of the core's clock, without launch.
struct LowerBound {
  double multiplyAddCycles = 0; ///< Σ over types of multiply-adds / peak rate of the whole machine.
  double vectorCycles = 0; ///< Floats at the fastest float type, integers at 32 bits, one after the other.
  double dramCycles = 0;   ///< At peak bandwidth.
  double cycles() const;   ///< The greatest of them: they run side by side.
  Bound bound() const;     ///< Compute (either engine) or Dram.
};

/// Nothing, with an error for each, if the target lacks a type that the work needs.
std::optional<LowerBound> lowerBound(const WorkFacts &work, const target::TargetDescription &target,
                                     Diagnostics &diagnostics);

} // namespace npuc::timing
