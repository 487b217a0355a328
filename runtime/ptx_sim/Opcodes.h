// The instructions that the simulator knows, as data: a row for each form of an opcode.
#pragma once

#include "runtime/ptx_sim/Program.h"

#include <array>

namespace npuc::ptx {

/// How an instruction's operands are read and what runs it; Decode.cpp has a function for each.
enum class Family : uint8_t {
  Lanes,   ///< A function on lanes named as the opcode; operands as the row's letters say.
  Bits,    ///< The same, named with the type's bits alone: mov.f32 is mov.b32.
  Move,    ///< mov, of vectors, variables and special registers too.
  Carry,   ///< As Lanes, with the condition code.
  Compare, ///< setp
  Set,
  ComparePair, ///< setp and set of two halves
  Test,        ///< testp
  Convert,     ///< cvt by way of 64 bits
  Load,
  Store,
  Atomic,
  Reduce,
  AddressOf, ///< cvta
  IsSpace,
  Branch,
  BranchIndexed,
  Exit,
  Call,
  Trap,
  Barrier,
  WarpBarrier,
  Nothing, ///< No effect here: fences, hints, sleeping.
  Policy,
  Shuffle,
  Vote,
  Match,
  ReduceWarp,
  ActiveMask,
  LoadMatrix,
  MoveMatrix,
  Mma,
  CopyAsync,
  CommitGroup,
  WaitGroup,
};

/// In a pattern, "[.a|.b]" may be there, of "(.a|.b)" one must be, ".T" is one of the row's types and ".S"
/// one of its second types. Letters of operands, the result first: t the type T, w an integer of twice its
/// width, h, i and l 16, 32 and 64 bits, s the type S, p a predicate.
struct Row {
  const char *pattern;
  const char *types;
  const char *operands;
  Family family;
  Class kind;
  const char *secondTypes = "";
};

/// A row with what stood for its choices.
struct Match {
  const Row *row = nullptr;
  std::optional<Type> type, second;
  uint32_t flags = 0;                   ///< LaneFlag of the modifiers.
  std::vector<std::string_view> tokens; ///< All modifiers, with their dots.
  std::string key;                      ///< The opcode without modifiers that are flags.

  bool has(std::string_view token) const;
};

/// A line for each form that is known: its pattern, and the types that ".T" and ".S" stand for.
std::string listInstructions();

/// The row that takes `opcode`, or nothing.
std::optional<Match> match(std::string_view opcode);

} // namespace npuc::ptx
