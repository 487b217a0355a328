#include "backends/npu/timing/LowerBound.h"

#include "backends/npu/target/Target.h"

#include <fmt/format.h>

#include <algorithm>

namespace npuc::timing {

double LowerBound::cycles() const {
  return std::max({multiplyAddCycles, vectorCycles, dramCycles});
}

Bound LowerBound::bound() const {
  if (cycles() == 0)
    return Bound::Nothing;
  return dramCycles == cycles() ? Bound::Dram : Bound::Compute;
}

std::optional<LowerBound> lowerBound(const WorkFacts &work, const target::TargetDescription &target,
                                     Diagnostics &diagnostics) {
  LowerBound result;
  bool complete = true;
  auto add = [&](double &cycles, double operations, double rate, std::string_view what) {
    if (operations <= 0)
      return;
    if (rate > 0) {
      cycles += operations / rate;
      return;
    }
    diagnostics.error(target.name(), fmt::format("has no bound for {}", what),
                      "the target does not compute in them");
    complete = false;
  };
  for (size_t i = 0; i < elementTypeCount; ++i) {
    const auto type = static_cast<ElementType>(i);
    add(result.multiplyAddCycles, work.multiplyAdds[i], target::peakMacsPerCycle(target, type),
        fmt::format("multiply-adds of {}", name(type)));
  }
  // An engine whose stages are chained does one operation in each of them.
  auto vectorRate = [&](ElementType element) {
    return target::peakVectorOpsPerCycle(target, element) * target.vector().chained_stages();
  };
  double fastestFloat = 0;
  for (const target::VectorType &type : target.vector().types())
    if (const ElementType element = target::elementType(type.type()); isFloat(element))
      fastestFloat = std::max(fastestFloat, vectorRate(element));
  add(result.vectorCycles, work.floatOperations, fastestFloat, "vector operations in floats");
  add(result.vectorCycles, work.integerOperations, vectorRate(ElementType::I32),
      "vector operations in 32-bit integers");
  result.dramCycles = work.dramBytes / target::dramBytesPerCycle(target);
  return complete ? std::optional(result) : std::nullopt;
}

} // namespace npuc::timing
