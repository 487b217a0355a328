// What a function declares, and the operands of its instructions: registers, numbers, addresses, vectors.
#pragma once

#include "runtime/ptx_sim/Decode.h"

namespace npuc::ptx {

/// The special register of a name such as "%tid.x".
std::optional<Special> specialFromName(std::string_view name);
/// 4 or 8 bytes.
unsigned byteWidth(Special special);

struct Register {
  Slot slot = noSlot;
  Type type = Type::B32;
  int32_t number = -1; ///< Among those whose use is checked.
};

/// A function's body where it is run: the kernel's own, or what a call runs.
struct Instance {
  const Function *function = nullptr;
  uint32_t number = 0;
  std::map<std::pair<uint32_t, std::string_view>, Placed>
      placed;                   ///< Parameters and variables by scope and name.
  std::vector<uint32_t> codeAt; ///< Where each statement's code begins.
  std::vector<uint32_t> jumps;  ///< Instructions whose targets are statements until the body is decoded.
};

/// Functions that return bool have told an error if they return false.
class OperandDecoder {
protected:
  OperandDecoder(const Module &module, const Symbols &symbols, Diagnostics &diagnostics)
      : module_(module), symbols_(symbols), diagnostics_(diagnostics) {}

  // ---- What is declared.

  std::string where() const;
  bool fail(std::string what, std::string why = {}, std::string hint = {});

  const Function &function() const { return *at_->function; }
  const Function *findFunction(std::string_view name) const;

  void placeParameters();

  /// Those that the kernel uses in shared memory, it and what it calls.
  void placeShared();

  /// The variables of the instance.
  void placeVariables();

  /// Null if it is not declared.
  const Placed *findPlaced(std::string_view name) const;

  Slot newSlot(unsigned width);

  /// Null if it is not declared. Gets its place when it is first asked for.
  const Register *findRegister(std::string_view name);

  // ---- Operands.

  /// A place that holds the number in every lane.
  Slot constant(uint64_t bits, unsigned width, bool predicate = false);

  /// A special register's place.
  std::optional<Slot> special(std::string_view name, unsigned width);

  void uses(int32_t number) { uses_.push_back(number); }
  void defines(int32_t number) { defines_.push_back(number); }

  /// Whether a register has the type's width.
  bool fits(const Operand &operand, const Register &r, Type type, bool wider);

  /// A register or immediate that is read. `wider`: the register may have more bits.
  bool source(const Operand &operand, Type type, Slot &slot, bool wider = false, bool checked = true,
              Register *out = nullptr);

  /// A register that is written; "_" for none.
  bool destination(const Operand &operand, Type type, Slot &slot, bool wider = false,
                   Register *out = nullptr);

  /// Whether the instruction has so many operands.
  bool count(size_t least, size_t most);
  const Operand &operand(size_t k) const { return statement_->operands[k]; }

  /// [register + offset], [variable + offset] or [number]. Parameters of calls lie in local memory.
  bool address(const Operand &operand, Space &space, Slot &slot, int64_t &offset, bool &wide);

  /// A vector's or one register's elements as pairs of slot and width.
  bool elements(const Operand &operand, size_t wanted, Type type, bool written, Instruction &i);

  /// Registers of an operand of mma or ldmatrix, appended to the list that the instruction began.
  bool fragment(const Operand &operand, size_t wanted, Type type, bool written);

  const Module &module_;
  const Symbols &symbols_;
  Diagnostics &diagnostics_;
  Kernel kernel_;
  Symbols shared_;                                     ///< Of the module.
  std::map<const Variable *, uint64_t> sharedOffsets_; ///< Of functions.
  Instance *at_ = nullptr;
  std::map<std::tuple<uint32_t, uint32_t, std::string_view>, Register> registers_;
  std::map<std::pair<uint64_t, unsigned>, uint32_t> constants_;
  std::map<Special, Slot> specials_;
  const Statement *statement_ = nullptr;
  const Match *match_ = nullptr;
  std::vector<int32_t> uses_, defines_;
};

} // namespace npuc::ptx
