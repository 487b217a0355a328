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
/// are possible. What the programs say of buffers and registers is isa::verifyProgram's to check.
bool checkManifest(const Manifest &manifest, const std::string &name, Diagnostics &diagnostics);

} // namespace npuc::artifact
