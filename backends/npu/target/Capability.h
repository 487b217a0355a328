// What a target can do, as constraints: one sentence each, which is the check, the error and the
// documentation.
#pragma once

#include "backends/npu/target/Target.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace npuc::target {

enum class CapabilityId : uint8_t {
  MatrixType,          ///< Facts: type.
  AccumulatorWidth,    ///< Facts: type, count (products in a sum) or bound.
  AccumulatorElements, ///< Facts: count, of one slice.
  VectorType,          ///< Facts: type.
  VectorFunction,      ///< Facts: function.
  VectorOperands,      ///< Facts: count.
  VectorRegisters,     ///< Facts: count.
  ProgramLength,       ///< Facts: count.
  TableEntries,        ///< Facts: count.
  Requantization,      ///< Facts: function.
  ViewRank,            ///< Facts: count.
  ScalarRegisters,     ///< Facts: count.
  Semaphores,          ///< Facts: count.
  TransferRoute,       ///< Facts: source, destination.
  Multicast,           ///< Facts: source, destination.
  GatherScatter,       ///< Facts: source, destination.
  ScratchpadBytes,     ///< Facts: count, of one core.
  SharedBytes,         ///< Facts: count.
  DramBytes,           ///< Facts: count.
  PtxVersion,          ///< Facts: count, times ten.
  BlockThreads,        ///< Facts: count.
  BlockSharedBytes,    ///< Facts: count.
  ThreadRegisters,     ///< Facts: count.
};

/// What is known about an operation; each capability says which of these it looks at.
struct Facts {
  ElementType type = ElementType::I8;
  isa::VectorOp function = isa::VectorOp::Load;
  Space source = SPACE_UNSPECIFIED, destination = SPACE_UNSPECIFIED;
  uint64_t count = 0;
  /// The greatest absolute value that a sum can reach, where it is known from the values; 0: not known.
  uint64_t bound = 0;
};

struct Capability {
  /// Machines that it says something about; it holds of all others.
  enum class Machines : uint8_t { All, Npus, Gpus };
  Machines machines;
  CapabilityId id;
  std::string_view name; ///< As in reports and references: "matrix-type".
  /// What holds of the target; "{}" stands for the target's own figure or list, `limit`.
  std::string_view sentence;
  std::string (*limit)(const TargetDescription &);
  bool (*holds)(const TargetDescription &, const Facts &);
  std::string (*found)(const Facts &); ///< The fact of the operation that is held against the sentence.
  std::string_view hint;               ///< What to do where it does not hold; may be empty.
};

/// All, in the order of CapabilityId.
std::span<const Capability> capabilities();
const Capability &capability(CapabilityId id);

/// The sentence with the figure of a target that it applies to: "the matrix engine multiplies i8 and f16".
std::string sentence(const Capability &capability, const TargetDescription &description);

bool applies(const Capability &capability, const TargetDescription &description);

bool holds(CapabilityId id, const TargetDescription &description, const Facts &facts);

/// The same, and reports "WHERE: TARGET: SENTENCE: FOUND" with the hint if it does not hold.
bool check(CapabilityId id, const TargetDescription &description, const Facts &facts,
           const std::string &where, Diagnostics &diagnostics);

} // namespace npuc::target
