// The descriptions of this folder and of backends/cuda/target as part of the library, so that tools need no
// data folder. The definition is generated.
#pragma once

#include <span>
#include <string_view>

namespace npuc::target {

struct Builtin {
  std::string_view name;
  std::string_view json;
};
/// In alphabetical order of names, numbers in theirs.
std::span<const Builtin> builtins();

} // namespace npuc::target
