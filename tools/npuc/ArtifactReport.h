// What there is to say of an artifact without running it: what it holds, and the time that it would take.
#pragma once

#include "support/Diagnostic.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace npuc::tool {

struct ArtifactReport {
  /// schema_version, file, bytes, compiler, model, target, has_constants, entry_points, buffers, registers;
  /// for a GPU launches, kernel_count, assembler (the version of ptxas, or null) and kernels (what it says),
  /// ptx_bytes, lower_bound_cycles, predicted_cycles and predicted_ms, and operators (what is launched for
  /// the same nodes); else commands, memories, and the keys of npurun --json.
  nlohmann::ordered_json json;
  std::string text;
};

/// Of the entry point of that name, or of the only one if it is empty. Registers are taken at their greatest.
std::optional<ArtifactReport> reportArtifact(const std::string &path, const std::string &entryPoint,
                                             Diagnostics &diagnostics);

} // namespace npuc::tool
