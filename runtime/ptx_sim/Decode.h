// From a parsed function to a kernel.
#pragma once

#include "runtime/ptx_sim/Opcodes.h"

#include <map>
#include <set>

namespace npuc::ptx {

/// Where a variable lies in its space.
struct Placed {
  Space space = Space::Global;
  uint64_t address = 0;
  uint64_t parameterBytes = 0; ///< Of a call's parameter: local memory that is written .param.
};
using Symbols = std::map<std::string_view, Placed>;

/// Opcodes that no row takes, with the lines where they stand.
using UnknownOpcodes = std::map<std::string_view, std::vector<uint32_t>>;

/// The functions on lanes of a level, by name.
class LaneFunctions {
public:
  explicit LaneFunctions(SimdLevel level);
  LaneFunction find(std::string_view name) const; ///< Or null.
  const MmaFunction *findMma(std::string_view name) const;

private:
  std::map<std::string_view, LaneFunction> lanes_;
  std::map<std::string_view, const MmaFunction *> mma_;
};

/// How many instructions calls may add to a module.
inline constexpr size_t mostInlined = 1 << 18;

/// Decodes an entry. `symbols`: the module's variables in global memory; those in shared memory are placed
/// here. `inlinedLeft`: of mostInlined, for all entries together.
Kernel decode(const Module &module, const Function &function, const Symbols &symbols,
              const LaneFunctions &functions, UnknownOpcodes &unknown, size_t &inlinedLeft,
              Diagnostics &diagnostics);

} // namespace npuc::ptx
