#pragma once

#include <cstdlib>

namespace npuc::fuzz {

/// A property that does not hold is what a fuzzer looks for.
inline void require(bool holds) {
  if (!holds)
    std::abort();
}

} // namespace npuc::fuzz
