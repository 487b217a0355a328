// A compilation's artifact in memory, ready to run.
#pragma once

#include "compiler/pipeline/Compile.h"
#include "npurt.hpp"

#include <memory>

namespace npuc::tool {

class CompiledModel {
public:
  /// Of a compilation at its programLevel(). Makes all devices known to npurt.
  static std::optional<CompiledModel> make(const pipeline::Compilation &compilation, bool withConstants,
                                           Diagnostics &diagnostics);
  const npurt::Artifact &artifact() const { return *artifact_; }

private:
  struct Free {
    void operator()(std::byte *memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte[], Free> bytes_; ///< What the artifact is a view of.
  std::unique_ptr<npurt::Artifact> artifact_;
};

} // namespace npuc::tool
