// A module decoded once into what the simulator runs: flat instructions whose operands are places in a warp's
// registers.
#pragma once

#include "runtime/ptx_sim/Lanes.h"
#include "runtime/ptx_sim/Module.h"

#include <memory>
#include <string>
#include <vector>

namespace npuc::ptx {

class Warp;
struct Instruction;
struct MmaFunction;

/// What instructions are counted as.
enum class Class : uint8_t {
  Move,
  Integer,
  Float, ///< fp32 and fp64.
  Half,  ///< fp16 and bf16 outside of tensor cores.
  Special,
  Convert,
  Compare,
  Control,
  Barrier,
  Load,
  Store,
  Atomic,
  AsyncCopy,
  Shuffle, ///< And votes.
  MatrixLoad,
  Tensor,
};
inline constexpr unsigned classCount = 16;
std::string_view name(Class c);

/// A place of an operand: a byte in a warp's registers or, negative, the complement of a byte in the kernel's
/// constants.
using Slot = int32_t;
inline constexpr Slot noSlot = INT32_MAX;

/// What the warp's loop does itself; all else its handler does.
enum class Flow : uint8_t { Next, Branch, Indexed, Exit, Barrier };

struct Instruction {
  using Handler = void (*)(Warp &, const Instruction &, uint32_t mask);
  Handler run = nullptr;
  LaneFunction lanes = nullptr, lanes2 = nullptr;
  const MmaFunction *mma = nullptr;
  uint32_t line = 0;
  uint32_t flags = 0; ///< LaneFlag, or the handler's own.
  Class kind = Class::Move;
  Flow flow = Flow::Next;
  bool leads = false; ///< First of a basic block.
  bool guardNegated = false;
  uint8_t width = 0;     ///< Bytes of an element in memory; of a copy.
  uint8_t vector = 1;    ///< Elements of a load or store.
  uint8_t operation = 0; ///< The handler's own: which of several.
  Space space = Space::Generic;
  Type type = Type::B32;
  uint16_t multiplyAdds = 0; ///< Of each lane.
  Slot guard = noSlot;
  int32_t guardRegister = -1; ///< Among those whose use is checked.
  Slot d = noSlot, d2 = noSlot;
  Slot a = noSlot, b = noSlot, c = noSlot, e = noSlot;
  int64_t offset = 0;  ///< Of an address.
  uint32_t rank = 0;   ///< Of several parts of a warp that of least rank goes on; see Flow.cpp.
  uint32_t target = 0; ///< Of a branch: an instruction; `list` for an indexed one.
  uint32_t uses = 0,
           defines = 0; ///< Registers read and written: in Kernel::lists, as many as the next two say.
  uint8_t useCount = 0, defineCount = 0;
  uint32_t list = 0; ///< Operands that are vectors: in Kernel::lists.
  uint8_t listCount = 0;
};

/// Special registers; what depends on the lane or warp is written when a warp starts.
enum class Special : uint8_t {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NWarpId,
  SmId,
  NSmId,
  GridId,
  LaneMaskEq,
  LaneMaskLe,
  LaneMaskLt,
  LaneMaskGe,
  LaneMaskGt,
  DynamicSharedSize,
  TotalSharedSize,
  Clock,
  Clock64,
  GlobalTimer,
};

struct Parameter {
  std::string name;
  uint32_t offset = 0, bytes = 0;
  Type type = Type::B8; ///< B8 and more than a byte: an aggregate.
};

/// Storage of numbers for vector instructions.
struct alignas(64) Line {
  std::byte bytes[64];
};

struct Kernel {
  std::string name;
  uint32_t line = 0;
  std::vector<Instruction> code; ///< Ends with an exit.
  std::vector<int32_t> lists;
  std::vector<Parameter> parameters;
  uint32_t parameterBytes = 0;
  uint32_t registerBytes = 0;             ///< Of one warp, for special registers and the sink too.
  std::vector<std::string> registerNames; ///< Of those whose use is checked.
  std::vector<Line> constants;
  struct SpecialRegister {
    Special special;
    Slot slot;
  };
  std::vector<SpecialRegister> specials;
  uint32_t sharedBytes = 0;      ///< Static; dynamic memory follows.
  uint32_t localBytes = 0;       ///< Of one thread.
  uint32_t leastSharedWidth = 4; ///< Of accesses that may be to shared memory: 1, 2 or 4.
  std::vector<uint64_t> reqntid, maxntid;
};

/// A variable of the module in global memory, with its first contents; addresses are given when decoding.
struct GlobalVariable {
  std::string name;
  uint64_t address = 0;
  uint64_t size = 0;
  std::vector<std::byte> bytes; ///< The first of them; the others are 0.
  bool constant = false;
};

/// Where generic addresses of the other spaces lie; those of global memory are addresses as they are.
inline constexpr uint64_t windowBytes = uint64_t{1} << 32;
inline constexpr uint64_t sharedWindow = uint64_t{1} << 46, localWindow = uint64_t{2} << 46,
                          parameterWindow = uint64_t{3} << 46;
inline constexpr uint64_t variablesBase = uint64_t{1} << 40, allocationsBase = uint64_t{1} << 41;

struct Program {
  std::string file;
  std::vector<Kernel> kernels; ///< The entries.
  std::vector<GlobalVariable> variables;

  const Kernel *find(std::string_view kernel) const;

  /// Parses and decodes. Errors besides those of the parser: instructions and modifiers that are not known,
  /// each with all its lines; registers, labels and variables that are not declared; operands of the wrong
  /// number or width. `level`: which vector instructions of this machine to use.
  static std::shared_ptr<const Program> load(std::string text, const std::string &file,
                                             Diagnostics &diagnostics, SimdLevel level = simdLevel());
};

} // namespace npuc::ptx
