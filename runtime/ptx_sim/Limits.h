// What CUDA allows a launch to be (CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability", 8.x and later).
#pragma once

#include <cstdint>

namespace npuc::ptx {

inline constexpr uint32_t mostGrid[] = {2147483647, 65535, 65535}; ///< Blocks: x, y, z.
inline constexpr uint32_t mostBlock[] = {1024, 1024, 64};          ///< Threads: x, y, z.
inline constexpr uint64_t mostThreads = 1024;                      ///< Of a block.

} // namespace npuc::ptx
