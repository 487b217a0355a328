// A PTX module as it is written: what the parser makes and the decoder reads.
#pragma once

#include "support/Diagnostic.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::ptx {

/// Fundamental types (PTX ISA, "Fundamental Types") and those of two or four numbers in a register.
enum class Type : uint8_t {
  B8,
  B16,
  B32,
  B64,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  BF16,
  F32,
  F64,
  F16x2,
  BF16x2,
  Pred
};

/// "u32" and so on, without a dot.
std::optional<Type> typeFromName(std::string_view name);
std::string_view name(Type type);
/// 1, 2, 4 or 8; 4 for predicates, which are the mask of a warp's lanes.
unsigned byteWidth(Type type);
bool isFloat(Type type);
bool isSigned(Type type); ///< Of integers.

struct Operand {
  enum class Kind : uint8_t {
    Name,    ///< A register, variable, parameter, label or special register.
    Integer, ///< `value`.
    Float32, ///< `value` is the bits.
    Float64,
    Address, ///< [base + offset]: one part, the base, and `value` the offset.
    Vector,  ///< {a, b, …}.
    Pair,    ///< a|b.
    List,    ///< (a, b, …).
  };
  Kind kind = Kind::Name;
  bool negated = false; ///< A predicate's "!".
  uint64_t value = 0;
  std::string_view name;
  std::vector<Operand> parts;
};

struct Statement {
  uint32_t line = 0;
  uint32_t scope = 0;
  std::string_view guard; ///< The register of "@p"; empty if there is none.
  bool guardNegated = false;
  std::string_view opcode; ///< With all modifiers.
  std::vector<Operand> operands;
};

enum class Space : uint8_t { Generic, Global, Shared, Local, Const, Param };
std::string_view name(Space space);

struct Initializer {
  std::string_view symbol; ///< Its address plus `value`; empty: `value` itself.
  uint64_t value = 0;
};

struct Variable {
  std::string_view name;
  Space space = Space::Global;
  Type type = Type::B8;
  uint64_t count = 1; ///< Elements.
  uint64_t align = 1;
  bool external = false; ///< "name[]": dynamic shared memory, or a declaration.
  bool array = false;    ///< Written with brackets.
  std::vector<Initializer> values;
  uint32_t line = 0;

  uint64_t bytes() const { return count * byteWidth(type); }
};

/// "%r<100>" stands for the names %r0 to %r99; a single register has no count.
struct RegisterRange {
  std::string_view prefix;
  std::optional<uint64_t> count;
  Type type = Type::B32;
};

struct Scope {
  uint32_t parent = 0; ///< The outermost is its own.
  std::vector<RegisterRange> registers;
  std::map<std::string_view, size_t>
      labels; ///< To the index of a statement, which may be that behind the last.
  std::map<std::string_view, std::vector<std::string_view>> branchTargets;
  std::vector<Variable> variables; ///< Local and shared.
};

struct Function {
  std::string_view name;
  uint32_t line = 0;
  bool entry = false;
  std::vector<Variable> results, parameters; ///< Entries have no results.
  std::vector<Scope> scopes;
  std::vector<Statement> statements;
  std::vector<uint64_t> reqntid, maxntid; ///< Empty if not given.
};

/// Views lie in the text that was parsed, which the module holds.
struct Module {
  std::string file;
  std::shared_ptr<const std::string> text;
  std::string_view version, target;
  std::vector<Variable> variables;
  std::vector<Function> functions;
};

/// Parses the text of a module. `file` is what errors call it. Errors are of syntax, each with its line; what
/// instructions mean the decoder looks at. Parsing goes on behind an error at the next statement.
std::optional<Module> parse(std::string text, const std::string &file, Diagnostics &diagnostics);

} // namespace npuc::ptx
