// A program of an NPU: the cores' command streams for one entry point, as flat arrays.
//
// The same Command describes a tile operation (backends/npu/schedule/TileGraph.h), where operands name
// virtual buffers, and an instruction of the machine, where they are placed. What a command computes is
// stated here, once; the functional simulator, the timing model and the reference in the tests all follow
// this text.
#pragma once

#include "support/ElementType.h"

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::isa {

enum class Space : uint8_t {
  Dram,        ///< Device memory; a view names a DRAM buffer of the program.
  Shared,      ///< SRAM that all cores reach.
  Scratchpad,  ///< A core's private SRAM; only DMA may name another core's.
  Accumulator, ///< The matrix engine's sums, in elements of 32 (or 64) bits; only its own core reaches them.
};

enum class Engine : uint8_t {
  Matrix,
  Vector,
  Dma, ///< Of a class and a queue: see Command::queue.
};

inline constexpr uint8_t maxRank = 8;
inline constexpr int16_t noRegister = -1;
inline constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

/// One dimension of a view. Sizes and strides count elements; a stride may be 0 (broadcast) or overlap others
/// (convolution). I4: the innermost stride (or that of B's last k) is 1 or 0, other strides and the base are
/// even.
struct Dim {
  int32_t size = 0;
  int64_t stride = 0;
  friend bool operator==(const Dim &, const Dim &) = default;
};

/// An affine view of memory: element (i0, i1, …) is at base + Σ i_d · stride_d elements.
///
/// A bounded dimension (boundRegister) is shorter where the register says so. Dimensions of a command's
/// operands that are one dimension of what it computes (Copy: all; Contract: b, m, n or k; Vector: a loop)
/// have equal sizes and are bounded alike, by the same register and offset; only a size of 1 that broadcasts
/// is not bounded. So the operands agree whatever the registers hold.
struct View {
  Space space = Space::Dram;
  ElementType type = ElementType::I8;
  uint8_t rank = 0;
  /// Dram: index in Program::buffers. Scratchpad, Accumulator: the core that owns it. Shared: 0.
  /// In a tile graph, for every space: index in TileGraph::buffers.
  uint32_t buffer = 0;
  /// Bytes from the start of the DRAM buffer or of the memory.
  int64_t base = 0;
  /// If set, register value × registerScale bytes are added to base.
  int16_t baseRegister = noRegister;
  /// If set, the extent of dimension `boundDim` is clamp(register − boundOffset, 0, size).
  int16_t boundRegister = noRegister;
  uint8_t boundDim = 0;
  int64_t registerScale = 0;
  int64_t boundOffset = 0;
  std::array<Dim, maxRank> dims{};

  std::span<const Dim> shape() const { return {dims.data(), rank}; }
  /// Product of the sizes, registers at their greatest; 1 for rank 0; INT64_MAX if it is more than that.
  int64_t elements() const;
  /// Strides are those of a dense row-major array of the view's sizes.
  bool isDense() const;
  friend bool operator==(const View &, const View &) = default;
};

enum class Opcode : uint8_t { Copy, Fill, Gather, Scatter, Contract, Vector, Barrier };

/// Instructions of a vector program. Each computes in its `type`, F32, F16, BF16 or I32, rounding once, to
/// nearest even; the transcendental ones are the polynomials of support/Transcendental.h, rounded to the
/// type. I32 wraps, and has no Divide, Reciprocal, Floor, Ceil, RoundEven or transcendental function. What an
/// instruction reads from registers has its type, except where it says otherwise; Convert and Store take any.
/// A comparison's type is that of what it compares, its result Bool. Type Bool: Load, Constant, Move, And,
/// Or, Xor, Not, Select, Store.
enum class VectorOp : uint8_t {
  Load,     ///< dst = operand `a` at this point of the loop nest, in the operand's type, converted to `type`.
  Index,    ///< dst = index of loop `a` + immediate (I32).
  Constant, ///< dst = immediate, converted as Convert does.
  Move,
  Add,
  Subtract,
  Multiply,
  Divide,
  Minimum,
  Maximum, ///< Minimum and Maximum: NaN if either is; −0 is less than +0.
  Negate,
  Absolute,
  Floor,
  Ceil,
  RoundEven,
  Sign,
  Reciprocal,
  Exp,
  Log,
  Sqrt,
  Rsqrt,
  Tanh,
  Erf,
  Sin,
  Cos,
  Sigmoid,
  Equal,
  Less,
  LessEqual,
  And,
  Or,
  Xor,
  Not,    ///< Of Bool; of I32, bit by bit.
  Select, ///< dst = a ? b : c; a is Bool.
  ShiftLeft,
  ShiftRight, ///< I32, arithmetic, by b modulo 32; ShiftRight rounds down.
  Convert,    ///< dst = a in `type`; float to I32 rounds to nearest even and saturates, NaN gives 0.
  /// FLOAT_SCALE: I32 a, F32 b (scale): round_half_even(float(a) × b), I32. In double, so that a up to 2^31
  /// is exact.
  Requantize,
  /// FIXED_POINT: (a × b + 2^(c−1)) >> c in 64 bits, a, b, c I32, c in 1…62: rounds half up. All three
  /// requantizations saturate to I32.
  RequantizeFixedPoint,
  /// SHIFT_MULTIPLY_SHIFT: ((a >> (c & 255)) × b) >> (c >> 8) in 64 bits, both shifts in 0…62; the rounding
  /// is in the bias.
  RequantizeShift,
  /// dst = entry (a − immediate) of the look-up table that operand `b` holds, a view of rank 1 that is no
  /// part of the loop nest, in `type`; a is I32, and the entry's number is clamped to the table.
  Table,
  /// Operand `dst` = a, converted: integers saturate, F16, BF16 and F32 overflow to infinity, F8 saturates;
  /// an I32 goes to floats through F32; every NaN is stored as the positive quiet one.
  Store,
  /// Operand `dst` = reduction of a over the loops in which the operand's stride is 0 (or its size 1),
  /// starting from the identity, or from the operand's old value if `immediate` is 1. Sums are in `type`, in
  /// loop order (innermost fastest).
  StoreSum,
  StoreMax,
  StoreMin,
};

/// A NaN is the same as itself.
inline bool sameImmediate(double x, double y) {
  return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y);
}

struct VectorInstruction {
  VectorOp op = VectorOp::Load;
  ElementType type = ElementType::F32;
  /// Registers of the engine, or operand or loop indices where the operation says so.
  uint8_t dst = 0, a = 0, b = 0, c = 0;
  double immediate = 0;
  friend bool operator==(const VectorInstruction &x, const VectorInstruction &y) {
    return x.op == y.op && x.type == y.type && x.dst == y.dst && x.a == y.a && x.b == y.b && x.c == y.c &&
           sameImmediate(x.immediate, y.immediate);
  }
};

/// A wait: the command does not start before the semaphore has reached `value`.
struct Wait {
  uint32_t semaphore = 0;
  uint32_t value = 0;
  friend bool operator==(const Wait &, const Wait &) = default;
};

/// One entry of a core's stream, executed by one engine. Operands, instructions, waits and multicast cores
/// stand in the program's pools, from `first…` on.
///
/// Engines: Dma runs Copy, Fill, Gather, Scatter between Dram, Shared and Scratchpads (another core's: a
/// route to or from REMOTE_SCRATCHPAD; Fill needs any route that ends there). Matrix runs Contract, A and B
/// in its core's Scratchpad, C in its Accumulator or Scratchpad, and Copy from its Accumulator to its
/// Scratchpad. Vector runs Vector on its core's Scratchpad, and on its Accumulator if the target chains them.
/// Barrier waits in the queue of any engine.
///
/// Copy: operands {source, destination}, equal shapes and types. If `multicastCount` > 0 the destination is
/// written in the scratchpad of each listed core, at the same address, instead of in View::buffer's; a class
/// that multicasts reaches any core over its route to SCRATCHPAD.
///
/// Fill: operands {destination}: each element = `immediate` converted to its type.
///
/// Gather: operands {table, index, destination}: destination[i…, j…] = table[index[i…], j…]. The table's
/// dimension 0 is the gathered one; indices are I32, and one outside 0…size−1 is an error of the launch that
/// names it.
///
/// Scatter: operands {source, index, destination}: destination[index[i…], j…] = source[i…, j…]; in order.
///
/// Contract: operands {A, B, C}: C[b…,m…,n…] (+)= Σ_k A[b…,m…,k…] · B[b…,k…,n…], with batch, m, n and k
/// dimension counts in `rank…`. C is I32 or I64, with integers of up to eight bits, or F32, with floats of up
/// to 32. Integers are exact. Floats: each sum starts from C's old value if `accumulate`, else from +0, and
/// takes k in ascending order, the last k dimension fastest, one fused multiply-add in fp32 at a time; so K
/// may be split over commands without changing a bit.
///
/// Vector: operands as its instructions name them. The loop nest has, in each dimension, the greatest size of
/// any operand but tables; every such operand has the nest's rank and in each dimension its size or 1, which
/// broadcasts (in StoreSum, StoreMax, StoreMin: reduces), as a stride of 0 does. The instructions run for
/// each point of the nest, the innermost dimension fastest.
///
/// Barrier: no operands; starts when its waits hold and those before it in its queue are done.
struct Command {
  Opcode opcode = Opcode::Barrier;
  Engine engine = Engine::Dma;
  uint8_t dmaClass = 0; ///< Dma: index in the target's classes.
  uint8_t queue = 0;    ///< Dma: queue of the class in this core.
  bool accumulate = false;
  uint8_t rankBatch = 0, rankM = 0, rankN = 0, rankK = 0;
  uint8_t operandCount = 0;
  uint16_t instructionCount = 0;
  uint16_t waitCount = 0;
  uint16_t multicastCount = 0;
  int16_t predicateRegister =
      noRegister; ///< If set, the command does nothing unless register > predicateBound.
  uint32_t firstOperand = 0;
  uint32_t firstInstruction = 0;
  uint32_t firstWait = 0;
  uint32_t firstMulticast = 0;
  uint32_t signal =
      none; ///< Semaphore that rises by 1 when the command is done (also if its predicate was false).
  uint32_t source = 0; ///< Index in Program::sources: what this is part of.
  int64_t predicateBound = 0;
  double immediate = 0;
  friend bool operator==(const Command &, const Command &) = default;
};

/// What a DRAM buffer is for. Constants come from the artifact, inputs and outputs are the caller's, a state
/// lives in a session from launch to launch, workspace is the program's own.
enum class Role : uint8_t { Constant, Input, Output, State, Workspace };

/// A buffer in device memory.
struct Buffer {
  std::string name;
  Role role = Role::Workspace;
  ElementType type = ElementType::I8;
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  uint32_t alignment = 64;
  friend bool operator==(const Buffer &, const Buffer &) = default;
};

/// A value set at launch, with its declared bounds; verifier and dependence analysis use the whole range.
struct Register {
  std::string name;
  int64_t least = 0, greatest = 0;
  friend bool operator==(const Register &, const Register &) = default;
};

/// Pools that commands point into; a tile graph has the same.
struct Pools {
  std::vector<View> operands;
  std::vector<VectorInstruction> instructions;
  std::vector<Wait> waits;
  std::vector<uint16_t> multicast;
  std::vector<std::string> sources; ///< Names of source nodes, for reports; sources[0] is "".

  std::span<const View> operandsOf(const Command &c) const {
    return {operands.data() + c.firstOperand, c.operandCount};
  }
  std::span<const VectorInstruction> instructionsOf(const Command &c) const {
    return {instructions.data() + c.firstInstruction, c.instructionCount};
  }
  std::span<const Wait> waitsOf(const Command &c) const { return {waits.data() + c.firstWait, c.waitCount}; }
  std::span<const uint16_t> multicastOf(const Command &c) const {
    return {multicast.data() + c.firstMulticast, c.multicastCount};
  }

  /// Puts what `command` points to at the pools' ends and returns it with first… and …Count set.
  Command add(Command command, std::span<const View> operands,
              std::span<const VectorInstruction> instructions = {}, std::span<const Wait> waits = {},
              std::span<const uint16_t> multicast = {});
  /// Index of `source` in `sources`, which grows if it is new; looks at the last entry only, so equal names
  /// that do not follow each other get entries of their own.
  uint32_t addSource(std::string_view source);
};

struct Program : Pools {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<Register> registers;
  uint32_t semaphores = 0;
  /// streams[core]: its commands in dispatch order. An engine's queue runs its commands in this order, one at
  /// a time.
  std::vector<std::vector<Command>> streams;

  size_t commandCount() const;
};

/// The two are one program: equal but for how their pools are laid out.
bool equivalent(const Program &a, const Program &b);

/// Spellings of the text form, of reports and of target descriptions ("scratchpad", "less_equal", …).
std::string_view name(Space space);
std::string_view name(Engine engine);
std::string_view name(Opcode opcode);
std::string_view name(VectorOp op);
std::string_view name(Role role);
std::optional<Space> spaceFromName(std::string_view name);
std::optional<Engine> engineFromName(std::string_view name);
std::optional<Opcode> opcodeFromName(std::string_view name);
std::optional<VectorOp> vectorOpFromName(std::string_view name);
std::optional<Role> roleFromName(std::string_view name);

/// What each field of a vector instruction holds.
enum class Field : uint8_t { Unused, Register, Operand, Loop };
struct VectorOpInfo {
  std::string_view name;
  Field dst, a, b, c;
  bool immediate;
};
const VectorOpInfo &info(VectorOp op);
inline constexpr unsigned vectorOpCount = static_cast<unsigned>(VectorOp::StoreMin) + 1;

/// Whether a command reads and writes its operand number `operand` (a Contract that accumulates does both).
struct Access {
  bool reads = false, writes = false;
};
Access access(const Pools &pools, const Command &command, unsigned operand);

/// A range of bytes, `end` excluded.
struct ByteRange {
  int64_t begin = 0, end = 0;
  friend bool operator==(const ByteRange &, const ByteRange &) = default;
};

/// All bytes between the first and the last that the view can touch, relative to its buffer or memory, for
/// every value in its registers' ranges; empty if it has no element. Nothing if a register does not exist or
/// 64 bits do not hold it.
std::optional<ByteRange> reach(const View &view, std::span<const Register> registers);

/// Extents of a vector command's loops, registers at their greatest.
struct LoopNest {
  uint8_t rank = 0;
  std::array<int32_t, maxRank> sizes{};
};
LoopNest loopNest(const Pools &pools, const Command &command);

} // namespace npuc::isa
