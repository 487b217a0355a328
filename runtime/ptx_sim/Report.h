// What a run tells: counters and what the checks found.
#pragma once

#include "runtime/ptx_sim/Program.h"

#include <array>
#include <map>
#include <string>
#include <vector>

namespace npuc::ptx {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
  auto operator<=>(const Dim3 &) const = default;
};

/// The index-th of `size`, x fastest.
Dim3 coordinates(uint64_t index, Dim3 size);

/// Of one instruction.
struct InstructionCounters {
  uint64_t warps = 0, threads = 0;    ///< Executions by warps, and by threads in them.
  uint64_t requests = 0, sectors = 0; ///< Of warps to global memory; 32-byte sectors that they touch,
  uint64_t leastSectors = 0;          ///< and would if the bytes that they want were dense.
  uint64_t sharedRequests = 0, wavefronts = 0; ///< To shared memory; passes that banks need,
  uint64_t leastWavefronts = 0;                ///< and would without two words of one bank.
  uint64_t divergences = 0;                    ///< Branches at which a warp parted.

  InstructionCounters &operator+=(const InstructionCounters &other);
};

enum class Check : uint8_t {
  SharedRace,
  UninitializedMemory,
  UninitializedRegister,
  Misaligned,
  OutOfBounds,
  BarrierDivergence,
  UnfinishedCopy,
  Trap,
  Endless,
};
std::string_view name(Check check);

/// The first of equal findings: of one check at one instruction.
struct Finding {
  Check check = Check::SharedRace;
  std::string kernel;
  uint32_t line = 0;
  Dim3 block{0, 0, 0}, thread{0, 0, 0};
  std::string message; ///< In one sentence without a full stop.
  uint64_t count = 0;  ///< How often, over threads.
};

struct Totals {
  std::array<uint64_t, classCount> warps{}, threads{};
  InstructionCounters all;
  uint64_t tensorMultiplyAdds = 0, otherMultiplyAdds = 0;
  /// Of all multiply-adds; 0 if there are none.
  double tensorShare() const;
};

struct Report {
  std::string kernel;
  Dim3 grid, block;
  uint64_t blocks = 0, warps = 0;
  uint32_t sharedBytes = 0;
  std::vector<InstructionCounters> counters; ///< By instruction of the kernel.
  std::vector<Finding> findings;             ///< By line.
  double seconds = 0;                        ///< On the host.

  Totals totals(const Kernel &kernel) const;
  std::string text(const Kernel &kernel, const std::string &file) const;
  /// With "schema_version".
  std::string json(const Kernel &kernel) const;
};

} // namespace npuc::ptx
