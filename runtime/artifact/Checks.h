// What an artifact's manifest must say of itself and of the file around it.
#pragma once

#include "runtime/artifact/artifact.pb.h"
#include "support/Diagnostic.h"

#include <span>
#include <string>

namespace npuc::artifact {

/// Sections lie one after another in `file` (the bytes before the manifest), aligned, with zeros between
/// them.
bool checkSections(const Manifest &manifest, std::span<const std::byte> file, const std::string &name,
                   Diagnostics &diagnostics);

/// Every index and name is one that exists, and only once where it must be; types, roles, sizes and ranges
/// are possible; entry points have streams, or with a GPU for a target PTX and launches. What streams say of
/// buffers and registers is isa::verifyProgram's to check, what launches say checkLaunches'.
bool checkManifest(const Manifest &manifest, const std::string &name, Diagnostics &diagnostics);

/// Launches of an entry point of a target with a GPU, whose description is valid: sizes are within CUDA's
/// limits and the target's, arguments lie in the entry point's buffers. `ptx` is its section, a text.
bool checkLaunches(const Manifest &manifest, const EntryPoint &entry, std::span<const std::byte> ptx,
                   const std::string &name, Diagnostics &diagnostics);

} // namespace npuc::artifact
