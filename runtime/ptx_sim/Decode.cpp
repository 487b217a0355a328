#include "runtime/ptx_sim/Decode.h"

#include "runtime/ptx_sim/Execute.h"
#include "runtime/ptx_sim/Flow.h"
#include "runtime/ptx_sim/Mma.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <limits>

namespace npuc::ptx {
namespace {

using Kind = Operand::Kind;

constexpr std::pair<std::string_view, Special> specials[] = {
    {"%tid.x", Special::TidX},
    {"%tid.y", Special::TidY},
    {"%tid.z", Special::TidZ},
    {"%ntid.x", Special::NtidX},
    {"%ntid.y", Special::NtidY},
    {"%ntid.z", Special::NtidZ},
    {"%ctaid.x", Special::CtaidX},
    {"%ctaid.y", Special::CtaidY},
    {"%ctaid.z", Special::CtaidZ},
    {"%nctaid.x", Special::NctaidX},
    {"%nctaid.y", Special::NctaidY},
    {"%nctaid.z", Special::NctaidZ},
    {"%laneid", Special::LaneId},
    {"%warpid", Special::WarpId},
    {"%nwarpid", Special::NWarpId},
    {"%smid", Special::SmId},
    {"%nsmid", Special::NSmId},
    {"%gridid", Special::GridId},
    {"%lanemask_eq", Special::LaneMaskEq},
    {"%lanemask_le", Special::LaneMaskLe},
    {"%lanemask_lt", Special::LaneMaskLt},
    {"%lanemask_ge", Special::LaneMaskGe},
    {"%lanemask_gt", Special::LaneMaskGt},
    {"%dynamic_smem_size", Special::DynamicSharedSize},
    {"%total_smem_size", Special::TotalSharedSize},
    {"%clock", Special::Clock},
    {"%clock64", Special::Clock64},
    {"%globaltimer", Special::GlobalTimer},
};
unsigned widthOf(Special special) {
  return special == Special::GridId || special == Special::Clock64 || special == Special::GlobalTimer ? 8 : 4;
}

constexpr uint64_t aligned(uint64_t offset, uint64_t align) {
  return (offset + align - 1) / align * align;
}
constexpr unsigned lineBytes = sizeof(Line);

/// The number an immediate stands for in a type.
std::optional<uint64_t> bitsOf(const Operand &operand, Type type) {
  switch (operand.kind) {
  case Kind::Integer:
    if (type == Type::F32 || type == Type::F64)
      return std::nullopt;
    return operand.value;
  case Kind::Float32:
    if (type == Type::F64)
      return std::bit_cast<uint64_t>(
          static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(operand.value))));
    return byteWidth(type) == 4 ? std::optional(operand.value) : std::nullopt;
  case Kind::Float64:
    if (type == Type::F32)
      return std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(operand.value)));
    return byteWidth(type) == 8 ? std::optional(operand.value) : std::nullopt;
  default:
    return std::nullopt;
  }
}

struct Register {
  Slot slot = noSlot;
  Type type = Type::B32;
  int32_t number = -1; ///< Among those whose use is checked.
};

class Decoder {
public:
  Decoder(const Module &module, const Function &function, const Symbols &symbols,
          const LaneFunctions &functions, UnknownOpcodes &unknown, Diagnostics &diagnostics)
      : module_(module), function_(function), symbols_(symbols), functions_(functions), unknown_(unknown),
        diagnostics_(diagnostics) {}

  Kernel run() {
    kernel_.name = function_.name;
    kernel_.line = function_.line;
    kernel_.reqntid = function_.reqntid;
    kernel_.maxntid = function_.maxntid;
    kernel_.registerBytes = 4 * lineBytes; // The first is where results go that nobody wants.
    kernel_.constants.resize(1);
    placeParameters();
    placeVariables();
    for (const Statement &statement : function_.statements)
      instruction(statement);
    Instruction end;
    end.flow = Flow::Exit;
    end.kind = Class::Control;
    end.line = function_.statements.empty() ? function_.line : function_.statements.back().line;
    kernel_.code.push_back(end);
    rankInstructions(kernel_);
    return std::move(kernel_);
  }

private:
  // ---- What is declared.

  std::string where() const {
    return fmt::format("{}:{}", module_.file, statement_ ? statement_->line : function_.line);
  }
  bool fail(std::string what, std::string why = {}, std::string hint = {}) {
    diagnostics_.error(where(), std::move(what), std::move(why), std::move(hint));
    return false;
  }

  void placeParameters() {
    for (const Variable &p : function_.parameters) {
      const uint64_t offset = aligned(kernel_.parameterBytes, p.align);
      if (offset + p.bytes() > 32764) { // PTX ISA, "Kernel Function Parameters".
        fail("the parameters take more than 32764 bytes", fmt::format("of '{}'", function_.name));
        return;
      }
      kernel_.parameters.push_back(
          {std::string(p.name), static_cast<uint32_t>(offset), static_cast<uint32_t>(p.bytes()), p.type});
      kernel_.parameterBytes = static_cast<uint32_t>(offset + p.bytes());
      placed_[p.name] = {Space::Param, offset};
    }
  }

  void placeVariables() {
    uint64_t shared = 0, local = 0, dynamicAlign = 16;
    std::vector<std::string_view> dynamic;
    auto place = [&](const Variable &v) {
      if (v.space == Space::Shared && v.external) {
        dynamic.push_back(v.name);
        dynamicAlign = std::max(dynamicAlign, v.align);
      } else if (v.space == Space::Shared || v.space == Space::Local) {
        uint64_t &offset = v.space == Space::Shared ? shared : local;
        offset = aligned(offset, v.align);
        placed_[v.name] = {v.space, offset};
        offset += v.bytes();
        if (!v.values.empty())
          fail(fmt::format("'{}' cannot have an initializer", v.name),
               fmt::format("it lies in {} memory", name(v.space)));
      }
    };
    std::set<std::string_view> used;
    auto use = [&](auto &&self, const Operand &operand) -> void {
      if (!operand.name.empty())
        used.insert(operand.name);
      for (const Operand &part : operand.parts)
        self(self, part);
    };
    for (const Statement &statement : function_.statements)
      for (const Operand &operand : statement.operands)
        use(use, operand);
    for (const Variable &v : module_.variables)
      if (used.contains(v.name))
        place(v);
    for (const Scope &scope : function_.scopes)
      for (const Variable &v : scope.variables) {
        if (v.space != Space::Shared && v.space != Space::Local)
          fail(fmt::format("'{}' cannot be declared in a function", v.name),
               fmt::format("it lies in {} memory", name(v.space)),
               "calls are not supported: let the compiler inline them");
        else
          place(v);
      }
    if (!dynamic.empty()) {
      shared = aligned(shared, dynamicAlign);
      kernel_.hasDynamicShared = true;
    }
    for (std::string_view name : dynamic)
      placed_[name] = {Space::Shared, shared};
    if (shared > mostSharedBytes)
      fail("static shared memory is too large",
           fmt::format("'{}' has {} bytes, a block has up to {}", function_.name, shared, mostSharedBytes));
    if (local > mostLocalBytes)
      fail("local memory is too large",
           fmt::format("'{}' has {} bytes, a thread has up to {}", function_.name, local, mostLocalBytes));
    kernel_.sharedBytes = static_cast<uint32_t>(shared);
    kernel_.localBytes = static_cast<uint32_t>(local);
  }
  static constexpr uint64_t mostSharedBytes = 227 << 10,
                            mostLocalBytes = 512 << 10; // Of compute capability 8 and 9.

  const Placed *findPlaced(std::string_view name) const {
    if (auto at = placed_.find(name); at != placed_.end())
      return &at->second;
    auto at = symbols_.find(name);
    return at == symbols_.end() ? nullptr : &at->second;
  }

  Slot newSlot(unsigned width) {
    const uint32_t slot = kernel_.registerBytes;
    kernel_.registerBytes += static_cast<uint32_t>(aligned(uint64_t{width} * warpSize, lineBytes));
    return static_cast<Slot>(slot);
  }

  const Register *findRegister(std::string_view name) {
    for (uint32_t scope = statement_->scope;; scope = function_.scopes[scope].parent) {
      if (auto known = registers_.find({scope, name}); known != registers_.end())
        return &known->second;
      for (const RegisterRange &range : function_.scopes[scope].registers) {
        bool is = range.prefix == name;
        if (range.count) {
          uint64_t number = 0;
          is = name.size() > range.prefix.size() && name.starts_with(range.prefix);
          if (is) {
            const char *begin = name.data() + range.prefix.size(), *end = name.data() + name.size();
            const auto parsed = std::from_chars(begin, end, number);
            is = parsed.ptr == end && parsed.ec == std::errc() && number < *range.count &&
                 (*begin != '0' || end == begin + 1);
          }
        }
        if (!is)
          continue;
        Register r{newSlot(range.type == Type::Pred ? 2 : byteWidth(range.type)), range.type,
                   static_cast<int32_t>(kernel_.registerNames.size())};
        kernel_.registerNames.emplace_back(name);
        return &registers_.emplace(std::pair(scope, name), r).first->second;
      }
      if (scope == 0)
        return nullptr;
    }
  }

  // ---- Operands.

  Slot constant(uint64_t bits, unsigned width, bool predicate = false) {
    width = std::max(width, 2u); // As registers, also for numbers of 8 bits.
    if (predicate)
      bits = bits ? ~0u : 0;
    else if (width < 8)
      bits &= (uint64_t{1} << (8 * width)) - 1;
    auto [at, fresh] = constants_.try_emplace({bits, width}, 0);
    if (fresh) {
      at->second = static_cast<uint32_t>(kernel_.constants.size() * lineBytes);
      kernel_.constants.resize(kernel_.constants.size() + width * warpSize / lineBytes);
      for (unsigned lane = 0; lane < warpSize; ++lane)
        std::memcpy(reinterpret_cast<std::byte *>(kernel_.constants.data()) + at->second + lane * width,
                    &bits, width);
    }
    return ~static_cast<Slot>(at->second);
  }

  std::optional<Slot> special(std::string_view name, unsigned width) {
    for (auto [text, special] : specials)
      if (text == name) {
        if (widthOf(special) != width) {
          fail(fmt::format("'{}' has {} bits", name, 8 * widthOf(special)),
               fmt::format("the instruction wants {}", 8 * width));
          return std::nullopt;
        }
        if (special >= Special::Clock) {
          fail(fmt::format("'{}' is read by mov alone", name));
          return std::nullopt;
        }
        auto [at, fresh] = specials_.try_emplace(special, noSlot);
        if (fresh) {
          at->second = newSlot(width);
          kernel_.specials.push_back({special, at->second});
        }
        return at->second;
      }
    fail(fmt::format("'{}' is not declared", name));
    return std::nullopt;
  }

  void uses(int32_t number) { uses_.push_back(number); }
  void defines(int32_t number) { defines_.push_back(number); }

  bool fits(const Operand &operand, const Register &r, Type type, bool wider) {
    const bool predicate = type == Type::Pred;
    if (predicate == (r.type == Type::Pred) &&
        (byteWidth(r.type) == byteWidth(type) || (wider && byteWidth(r.type) > byteWidth(type))))
      return true;
    return fail(fmt::format("register '{}' is of the wrong type", operand.name),
                fmt::format("it is .{}, the instruction wants .{}", name(r.type), name(type)));
  }

  /// A register or immediate that is read. `wider`: the register may have more bits.
  bool source(const Operand &operand, Type type, Slot &slot, bool wider = false, bool checked = true,
              Register *out = nullptr) {
    if (operand.negated)
      return fail("'!' is not possible here");
    if (operand.kind != Kind::Name) {
      const std::optional<uint64_t> bits =
          operand.kind == Kind::Integer || operand.kind == Kind::Float32 || operand.kind == Kind::Float64
              ? bitsOf(operand, type)
              : std::nullopt;
      if (!bits)
        return fail("an operand is of the wrong kind",
                    fmt::format("the instruction wants a register or number of type .{}", name(type)));
      slot = constant(*bits, byteWidth(type), type == Type::Pred);
      return true;
    }
    if (operand.name == "WARP_SZ") {
      slot = constant(warpSize, byteWidth(type));
      return true;
    }
    if (const Register *r = findRegister(operand.name)) {
      if (!fits(operand, *r, type, wider))
        return false;
      if (checked)
        uses(r->number);
      if (out)
        *out = *r;
      slot = r->slot;
      return true;
    }
    std::optional<Slot> found = special(operand.name, byteWidth(type));
    slot = found.value_or(noSlot);
    return found.has_value();
  }

  bool destination(const Operand &operand, Type type, Slot &slot, bool wider = false,
                   Register *out = nullptr) {
    if (operand.kind != Kind::Name || operand.negated)
      return fail("the result must be a register");
    if (operand.name == "_") {
      slot = 0;
      if (out)
        *out = {0, type, -1};
      return true;
    }
    const Register *r = findRegister(operand.name);
    if (!r)
      return fail(fmt::format("register '{}' is not declared", operand.name));
    if (!fits(operand, *r, type, wider))
      return false;
    defines(r->number);
    slot = r->slot;
    if (out)
      *out = *r;
    return true;
  }

  bool count(size_t least, size_t most) {
    const size_t given = statement_->operands.size();
    if (given >= least && given <= most)
      return true;
    return fail(fmt::format("'{}' has {} operands", statement_->opcode, given),
                least == most ? fmt::format("it takes {}", least)
                              : fmt::format("it takes {} to {}", least, most));
  }
  const Operand &operand(size_t k) const { return statement_->operands[k]; }

  /// [register + offset], [variable + offset] or [number].
  bool address(const Operand &operand, Space space, Slot &slot, int64_t &offset, bool &wide) {
    if (operand.kind != Kind::Address || operand.parts.size() != 1)
      return fail("an address in brackets is missing");
    const Operand &base = operand.parts[0];
    offset = static_cast<int64_t>(operand.value);
    wide = true;
    if (base.kind == Kind::Integer) {
      slot = constant(base.value, 8);
      return true;
    }
    if (base.kind != Kind::Name || base.negated)
      return fail("an address is a register, a variable or a number");
    if (const Register *r = findRegister(base.name)) {
      wide = byteWidth(r->type) == 8;
      if (r->type == Type::Pred || byteWidth(r->type) < 4)
        return fail(fmt::format("'{}' is no address", base.name), fmt::format("it is .{}", name(r->type)));
      uses(r->number);
      slot = r->slot;
      return true;
    }
    const Placed *placed = findPlaced(base.name);
    if (!placed)
      return fail(fmt::format("'{}' is not declared", base.name));
    const bool same = placed->space == space || (placed->space == Space::Const && space == Space::Global);
    if (!same && space != Space::Generic)
      return fail(fmt::format("'{}' lies in {} memory", base.name, name(placed->space)),
                  fmt::format("the instruction is for {}", name(space)));
    const uint64_t window = space != Space::Generic          ? 0
                            : placed->space == Space::Shared ? sharedWindow
                            : placed->space == Space::Local  ? localWindow
                            : placed->space == Space::Param  ? parameterWindow
                                                             : 0;
    slot = constant(placed->address + window, 8);
    return true;
  }

  /// A vector's or one register's elements as pairs of slot and width.
  bool elements(const Operand &operand, size_t wanted, Type type, bool written, Instruction &i) {
    const std::vector<Operand> one =
        operand.kind == Kind::Vector ? std::vector<Operand>() : std::vector{operand};
    const std::vector<Operand> &parts = operand.kind == Kind::Vector ? operand.parts : one;
    if (parts.size() != wanted)
      return fail(fmt::format("the vector has {} elements", parts.size()),
                  fmt::format("the instruction wants {}", wanted));
    i.list = static_cast<uint32_t>(kernel_.lists.size());
    i.listCount = static_cast<uint8_t>(2 * wanted);
    for (const Operand &part : parts) {
      Slot slot = noSlot;
      Register r{noSlot, type, -1};
      const bool good =
          written ? destination(part, type, slot, true, &r) : source(part, type, slot, true, true, &r);
      if (!good)
        return false;
      kernel_.lists.push_back(slot);
      kernel_.lists.push_back(
          static_cast<int32_t>(std::max(2u, byteWidth(r.slot == noSlot ? type : r.type))));
    }
    return true;
  }

  /// Registers of an operand of mma or ldmatrix, appended to the list that the instruction began.
  bool fragment(const Operand &operand, size_t wanted, Type type, bool written) {
    const std::vector<Operand> one =
        operand.kind == Kind::Vector ? std::vector<Operand>() : std::vector{operand};
    const std::vector<Operand> &parts = operand.kind == Kind::Vector ? operand.parts : one;
    if (parts.size() != wanted)
      return fail(fmt::format("a matrix has {} registers", parts.size()),
                  fmt::format("the instruction wants {}", wanted));
    for (const Operand &part : parts) {
      Slot slot = noSlot;
      if (!(written ? destination(part, type, slot) : source(part, type, slot)))
        return false;
      kernel_.lists.push_back(slot);
    }
    return true;
  }

  // ---- Instructions.

  void instruction(const Statement &statement) {
    statement_ = &statement;
    uses_.clear();
    defines_.clear();
    Instruction i;
    i.line = statement.line;
    const std::optional<Match> found = match(statement.opcode);
    if (!found) {
      unknown_[statement.opcode].push_back(statement.line);
      kernel_.code.push_back(i);
      return;
    }
    match_ = &*found;
    i.kind = found->row->kind;
    i.flags = found->flags;
    if (found->type)
      i.type = *found->type;
    if (!statement.guard.empty()) {
      const Register *r = findRegister(statement.guard);
      if (!r || r->type != Type::Pred) {
        fail(fmt::format("'{}' is no predicate", statement.guard));
      } else {
        i.guard = r->slot;
        i.guardNegated = statement.guardNegated;
        i.guardRegister = r->number;
      }
    }
    decodeFamily(i);
    i.uses = static_cast<uint32_t>(kernel_.lists.size());
    i.useCount = static_cast<uint8_t>(uses_.size());
    kernel_.lists.insert(kernel_.lists.end(), uses_.begin(), uses_.end());
    i.defines = static_cast<uint32_t>(kernel_.lists.size());
    i.defineCount = static_cast<uint8_t>(defines_.size());
    kernel_.lists.insert(kernel_.lists.end(), defines_.begin(), defines_.end());
    kernel_.code.push_back(i);
  }

  bool lanes(Instruction &i, std::string_view key) {
    i.lanes = functions_.find(key);
    if (!i.lanes)
      unknown_[statement_->opcode].push_back(statement_->line);
    return i.lanes != nullptr;
  }

  Type typeOf(char letter) const {
    switch (letter) {
    case 't':
      return *match_->type;
    case 's':
      return *match_->second;
    case 'w':
      return byteWidth(*match_->type) == 2 ? Type::B32 : Type::B64;
    case 'h':
      return Type::B16;
    case 'l':
      return Type::B64;
    case '4':
      return Type::F32;
    case 'p':
      return Type::Pred;
    default:
      return Type::B32;
    }
  }

  bool lettered(Instruction &i) {
    const std::string_view letters = match_->row->operands;
    if (!count(letters.size(), letters.size()))
      return false;
    Slot *slots[] = {&i.a, &i.b, &i.c, &i.e};
    for (size_t k = 1; k < letters.size(); ++k)
      if (!source(operand(k), typeOf(letters[k]), *slots[k - 1]))
        return false;
    return destination(operand(0), typeOf(letters[0]), i.d);
  }

  bool decodeFamily(Instruction &i) {
    const Match &m = *match_;
    switch (m.row->family) {
    case Family::Lanes:
      i.run = execute::lanes;
      i.multiplyAdds = multiplyAdds();
      return lettered(i) && lanes(i, m.key);
    case Family::Bits:
      return statement_->opcode.starts_with("selp")
                 ? decodeSelect(i)
                 : (i.run = execute::lanes, lettered(i) && lanes(i, m.key));
    case Family::Carry:
      i.run = execute::carry;
      return lettered(i) && lanes(i, m.key);
    case Family::Move:
      return decodeMove(i);
    case Family::Compare:
      return decodeCompare(i);
    case Family::Set:
      return decodeSet(i);
    case Family::Test:
      i.run = execute::lanes;
      return count(2, 2) && source(operand(1), i.type, i.a) && destination(operand(0), Type::Pred, i.d) &&
             lanes(i, m.key);
    case Family::Convert:
      return decodeConvert(i);
    case Family::Load:
    case Family::Store:
      return decodeAccess(i, m.row->family == Family::Load);
    case Family::Atomic:
    case Family::Reduce:
      return decodeAtomic(i, m.row->family == Family::Atomic);
    case Family::AddressOf:
      return decodeAddressOf(i);
    case Family::IsSpace:
      i.run = execute::isSpace;
      i.space = spaceOf();
      if (i.space == Space::Const)
        i.space = Space::Global;
      return count(2, 2) && source(operand(1), Type::B64, i.a) && destination(operand(0), Type::Pred, i.d);
    case Family::Branch:
      i.flow = Flow::Branch;
      return count(1, 1) && label(operand(0), i.target);
    case Family::BranchIndexed:
      return decodeBranchIndexed(i);
    case Family::Exit:
      i.flow = Flow::Exit;
      return count(0, 0);
    case Family::Trap:
      i.flow = Flow::Exit;
      i.run = execute::trap;
      return count(0, 0);
    case Family::Barrier:
      return decodeBarrier(i);
    case Family::WarpBarrier:
      i.run = execute::warpBarrier;
      return count(1, 1) && source(operand(0), Type::B32, i.a);
    case Family::Nothing: {
      i.run = execute::nothing;
      const size_t wanted = std::strlen(m.row->operands);
      return count(wanted, wanted);
    }
    case Family::Policy:
      i.run = execute::lanes;
      i.a = constant(0, 8);
      return count(1, 2) && destination(operand(0), Type::B64, i.d) && lanes(i, "mov.b64");
    case Family::Shuffle:
      return decodeShuffle(i);
    case Family::Vote:
      return decodeVote(i);
    case Family::Match:
      i.run = execute::match;
      i.width = static_cast<uint8_t>(byteWidth(i.type));
      i.operation = m.has(".all");
      return count(3, 3) && source(operand(1), i.type, i.a) && source(operand(2), Type::B32, i.b) &&
             pair(operand(0), Type::B32, i.d, i.d2);
    case Family::ReduceWarp:
      i.run = execute::reduceWarp;
      i.operation = static_cast<uint8_t>(atomicOperation());
      return count(3, 3) && source(operand(1), i.type, i.a) && source(operand(2), Type::B32, i.b) &&
             destination(operand(0), i.type, i.d);
    case Family::ActiveMask:
      i.run = execute::activeMask;
      return count(1, 1) && destination(operand(0), Type::B32, i.d);
    case Family::LoadMatrix:
      return decodeLoadMatrix(i);
    case Family::MoveMatrix:
      i.run = execute::moveMatrix;
      return count(2, 2) && source(operand(1), Type::B32, i.a) && destination(operand(0), Type::B32, i.d);
    case Family::Mma:
      return decodeMma(i);
    case Family::CopyAsync:
      return decodeCopyAsync(i);
    case Family::CommitGroup:
      i.run = execute::commitGroup;
      return count(0, 0);
    case Family::WaitGroup:
      i.run = execute::waitGroup;
      i.operation = m.has(".wait_all");
      if (i.operation)
        return count(0, 0);
      i.offset = statement_->operands.empty() ? 0 : static_cast<int64_t>(operand(0).value);
      return count(1, 1) &&
             (operand(0).kind == Kind::Integer || fail("the number of groups must be a constant"));
    }
    return false;
  }

  /// A lane's multiply-adds of an instruction on registers; those of integers compute addresses, but for dot
  /// products.
  uint16_t multiplyAdds() const {
    const std::string_view op = statement_->opcode;
    if (op.starts_with("dp4a") || op.starts_with("dp2a"))
      return op.starts_with("dp4a") ? 4 : 2;
    if (!(op.starts_with("fma") || op.starts_with("mad")) || !isFloat(*match_->type))
      return 0;
    return match_->type == Type::F16x2 || match_->type == Type::BF16x2 ? 2 : 1;
  }

  bool label(const Operand &operand, uint32_t &target) {
    for (uint32_t scope = statement_->scope;; scope = function_.scopes[scope].parent) {
      auto at = function_.scopes[scope].labels.find(operand.name);
      if (operand.kind == Kind::Name && at != function_.scopes[scope].labels.end()) {
        target = static_cast<uint32_t>(at->second);
        return true;
      }
      if (scope == 0)
        return fail(fmt::format("label '{}' does not exist", operand.name));
    }
  }

  bool decodeBranchIndexed(Instruction &i) {
    i.flow = Flow::Indexed;
    if (!count(2, 2) || !source(operand(0), Type::B32, i.a))
      return false;
    for (uint32_t scope = statement_->scope;; scope = function_.scopes[scope].parent) {
      auto at = function_.scopes[scope].branchTargets.find(operand(1).name);
      if (at != function_.scopes[scope].branchTargets.end()) {
        if (at->second.size() > UINT8_MAX)
          return fail("a table of branch targets has up to 255 labels",
                      fmt::format("this one has {}", at->second.size()));
        std::vector<int32_t> targets;
        for (std::string_view name : at->second) {
          Operand to;
          to.name = name;
          uint32_t target;
          if (!label(to, target))
            return false;
          targets.push_back(static_cast<int32_t>(target));
        }
        i.list = static_cast<uint32_t>(kernel_.lists.size());
        i.listCount = static_cast<uint8_t>(targets.size());
        kernel_.lists.insert(kernel_.lists.end(), targets.begin(), targets.end());
        return true;
      }
      if (scope == 0)
        return fail(fmt::format("table '{}' does not exist", operand(1).name), "",
                    "it is declared with .branchtargets before it is used");
    }
  }

  bool pair(const Operand &operand, Type first, Slot &d, Slot &d2) {
    if (operand.kind != Kind::Pair)
      return destination(operand, first, d);
    return destination(operand.parts[0], first, d) && destination(operand.parts[1], Type::Pred, d2);
  }

  bool negatable(const Operand &operand, Slot &slot, uint32_t &flags) {
    Operand plain = operand;
    plain.negated = false;
    if (operand.negated)
      flags |= NegateC;
    return source(plain, Type::Pred, slot);
  }

  bool decodeSelect(Instruction &i) {
    i.run = execute::select;
    Register a, b, d;
    if (!count(4, 4) || !source(operand(1), i.type, i.a, false, false, &a) ||
        !source(operand(2), i.type, i.b, false, false, &b) || !source(operand(3), Type::Pred, i.c) ||
        !destination(operand(0), i.type, i.d, false, &d))
      return false;
    defines_.clear();
    i.list = static_cast<uint32_t>(kernel_.lists.size());
    i.listCount = 3;
    kernel_.lists.insert(kernel_.lists.end(), {a.number, b.number, d.number});
    return lanes(i, match_->key);
  }

  bool decodeMove(Instruction &i) {
    if (!count(2, 2))
      return false;
    const Operand &to = operand(0), &from = operand(1);
    if (to.kind == Kind::Vector || from.kind == Kind::Vector) {
      const Operand &vector = to.kind == Kind::Vector ? to : from;
      const size_t elements = vector.parts.size();
      const unsigned bytes = byteWidth(i.type);
      if ((elements != 2 && elements != 4) || bytes / elements < 2)
        return fail("the vector cannot be moved as one",
                    fmt::format("it has {} elements, the type is .{}", elements, name(i.type)));
      i.width = static_cast<uint8_t>(bytes / elements);
      i.vector = static_cast<uint8_t>(elements);
      i.list = static_cast<uint32_t>(kernel_.lists.size());
      const Type part = i.width == 2 ? Type::B16 : Type::B32;
      const bool unpacks = to.kind == Kind::Vector;
      i.run = unpacks ? execute::unpack : execute::pack;
      return unpacks ? fragment(to, elements, part, true) && source(from, i.type, i.a)
                     : fragment(from, elements, part, false) && destination(to, i.type, i.d);
    }
    i.run = execute::move;
    Register d, a;
    if (!destination(to, i.type, i.d, false, &d))
      return false;
    const std::string key = i.type == Type::Pred ? "mov.pred" : fmt::format("mov.b{}", 8 * byteWidth(i.type));
    if (from.kind == Kind::Name && !from.negated && !findRegister(from.name)) {
      if (const Placed *placed = findPlaced(from.name)) {
        if (byteWidth(i.type) < 4)
          return fail(fmt::format("the address of '{}' has 64 bits", from.name),
                      fmt::format("the type is .{}", name(i.type)));
        i.a = constant(placed->address, byteWidth(i.type));
        return lanes(i, key);
      }
      for (auto [text, special] : specials)
        if (text == from.name &&
            (special == Special::Clock || special == Special::Clock64 || special == Special::GlobalTimer)) {
          i.run = execute::clock;
          i.operation = static_cast<uint8_t>(special);
          i.width = static_cast<uint8_t>(byteWidth(i.type));
          return i.width == widthOf(special) ||
                 fail(fmt::format("'{}' has {} bits", from.name, 8 * widthOf(special)));
        }
    }
    if (!source(from, i.type, i.a, false, false, &a))
      return false;
    if (a.number >= 0 && d.number >= 0) {
      defines_.clear();
      i.list = static_cast<uint32_t>(kernel_.lists.size());
      i.listCount = 2;
      kernel_.lists.insert(kernel_.lists.end(), {a.number, d.number});
    }
    return lanes(i, key);
  }

  /// The function that compares as setp and set do.
  std::string comparison() const { return fmt::format("setp{}.{}", match_->tokens[1], name(*match_->type)); }

  bool decodeCompare(Instruction &i) {
    i.run = execute::lanes;
    const bool combined = i.flags & CombineMask;
    if (!count(combined ? 4 : 3, combined ? 4 : 3) || !source(operand(1), i.type, i.a) ||
        !source(operand(2), i.type, i.b))
      return false;
    if (combined && !negatable(operand(3), i.c, i.flags))
      return false;
    return pair(operand(0), Type::Pred, i.d, i.d2) && lanes(i, comparison());
  }

  bool decodeSet(Instruction &i) {
    i.run = execute::set;
    const bool combined = i.flags & CombineMask;
    if (!count(combined ? 4 : 3, combined ? 4 : 3) || !source(operand(1), i.type, i.a) ||
        !source(operand(2), i.type, i.b))
      return false;
    if (combined && !negatable(operand(3), i.c, i.flags))
      return false;
    if (!lanes(i, comparison()))
      return false;
    // The first type is that of the result.
    i.type = match_->tokens[match_->tokens.size() - 2] == ".f32" ? Type::F32 : Type::U32;
    return destination(operand(0), i.type, i.d);
  }

  bool decodeConvert(Instruction &i) {
    i.run = execute::convert;
    const Type to = *match_->type, from = *match_->second;
    const bool integral = i.flags & ToInteger;
    bool rounds = integral;
    for (std::string_view mode : {".rn", ".rz", ".rm", ".rp"})
      rounds |= match_->has(mode);
    // PTX ISA, "cvt": what needs a rounding and what takes none.
    const bool intoInteger = isFloat(from) && !isFloat(to), fromInteger = !isFloat(from) && isFloat(to);
    const bool narrows = isFloat(from) && isFloat(to) && byteWidth(to) < byteWidth(from);
    if ((intoInteger && !integral) || ((fromInteger || narrows) && (!rounds || integral)))
      return fail(fmt::format("'{}' needs a rounding", statement_->opcode),
                  intoInteger ? "floats become integers by .rni, .rzi, .rmi or .rpi"
                              : "results are rounded by .rn, .rz, .rm or .rp");
    if ((!isFloat(from) && !isFloat(to) && rounds) ||
        (integral && isFloat(from) && isFloat(to) && from != to))
      return fail(fmt::format("'{}' takes no rounding", statement_->opcode));
    if (intoInteger) // What NaN becomes.
      i.flags = (i.flags & ~SatFinite) | (from == Type::F64 || byteWidth(to) == 8 ? SatFinite : 0u);
    Register a{noSlot, from, -1}, d;
    if (!count(2, 2) || !source(operand(1), from, i.a, !isFloat(from), true, &a) ||
        !destination(operand(0), to, i.d, !isFloat(to), &d))
      return false;
    const unsigned width = std::max(2u, byteWidth(a.slot == noSlot ? from : a.type));
    const char kind = isFloat(from) ? 'f' : isSigned(from) ? 's' : 'u';
    i.lanes2 = functions_.find(fmt::format("to.{}.{}.{}", name(to), std::max(2u, byteWidth(d.type)), kind));
    if (!i.lanes2)
      return lanes(i, "");
    return lanes(i, fmt::format("from.{}.{}", name(from), width));
  }

  Space spaceOf() const {
    for (auto [token, space] : {std::pair(".global", Space::Global),
                                {".shared", Space::Shared},
                                {".shared::cta", Space::Shared},
                                {".local", Space::Local},
                                {".const", Space::Const},
                                {".param", Space::Param},
                                {".param::entry", Space::Param}})
      if (match_->has(token))
        return space;
    return Space::Generic;
  }

  void touchesShared(Space space, unsigned bytes) {
    if (space == Space::Shared || space == Space::Generic)
      kernel_.leastSharedWidth = std::min(kernel_.leastSharedWidth, bytes);
  }

  bool decodeAccess(Instruction &i, bool loads) {
    i.run = loads ? execute::load : execute::store;
    i.space = spaceOf();
    i.width = static_cast<uint8_t>(byteWidth(i.type));
    i.vector = match_->has(".v2") ? 2 : match_->has(".v4") ? 4 : 1;
    const size_t hint = match_->has(".L2::cache_hint");
    if (!count(2 + hint, 2 + hint))
      return false;
    if (i.width * i.vector > 16)
      return fail(fmt::format("an access has up to 16 bytes, this one has {}", i.width * i.vector));
    if (!loads && (i.space == Space::Const || i.space == Space::Param))
      return fail(fmt::format("{} memory cannot be written", name(i.space)));
    const Space space = i.space;
    if (i.space == Space::Const)
      i.space = Space::Global;
    bool wide;
    if (!address(operand(loads ? 1 : 0), space, i.a, i.offset, wide))
      return false;
    i.flags = wide;
    touchesShared(i.space, i.width);
    return elements(operand(loads ? 0 : 1), i.vector, i.type, loads, i);
  }

  execute::AtomicOperation atomicOperation() const {
    using Op = execute::AtomicOperation;
    for (auto [token, op] : {std::pair(".and", Op::And),
                             {".or", Op::Or},
                             {".xor", Op::Xor},
                             {".exch", Op::Exchange},
                             {".cas", Op::CompareAndSwap},
                             {".add", Op::Add},
                             {".inc", Op::Increment},
                             {".dec", Op::Decrement},
                             {".min", Op::Min}})
      if (match_->has(token))
        return op;
    return Op::Max;
  }

  bool decodeAtomic(Instruction &i, bool returns) {
    i.run = execute::atomic;
    i.space = spaceOf();
    i.width = static_cast<uint8_t>(byteWidth(i.type));
    const auto operation = atomicOperation();
    i.operation = static_cast<uint8_t>(operation);
    const bool swap = operation == execute::AtomicOperation::CompareAndSwap;
    const size_t at = returns, wanted = at + 2 + swap + match_->has(".L2::cache_hint");
    bool wide;
    if (!count(wanted, wanted) || !address(operand(at), i.space, i.a, i.offset, wide) ||
        !source(operand(at + 1), i.type, i.b) || (swap && !source(operand(at + 2), i.type, i.c)))
      return false;
    i.flags = wide;
    touchesShared(i.space, i.width);
    return !returns || destination(operand(0), i.type, i.d);
  }

  bool decodeCopyAsync(Instruction &i) {
    i.run = execute::copyAsync;
    i.space = Space::Shared;
    const size_t hint = match_->has(".L2::cache_hint"), given = statement_->operands.size();
    if (!count(3 + hint, 4 + hint))
      return false;
    const Operand &size = operand(2);
    const bool any = match_->has(".ca");
    if (size.kind != Kind::Integer || !(size.value == 16 || (any && (size.value == 4 || size.value == 8))))
      return fail("the size of the copy is impossible", any ? "it is 4, 8 or 16" : "it is 16");
    i.width = static_cast<uint8_t>(size.value);
    int64_t from = 0;
    bool wideTo, wideFrom;
    if (!address(operand(0), Space::Shared, i.a, i.offset, wideTo) ||
        !address(operand(1), Space::Global, i.b, from, wideFrom))
      return false;
    if (from < INT32_MIN || from > INT32_MAX)
      return fail("the offset does not fit in 32 bits");
    i.target = static_cast<uint32_t>(from);
    i.flags = (wideTo ? 1u : 0u) | (wideFrom ? 2u : 0u);
    if (given == 3 + hint)
      return true;
    const Operand &taken = operand(3);
    const Register *r = taken.kind == Kind::Name ? findRegister(taken.name) : nullptr;
    if (r && r->type == Type::Pred) {
      i.flags |= 4;
      return source(taken, Type::Pred, i.c);
    }
    return source(taken, Type::B32, i.c);
  }

  bool decodeAddressOf(Instruction &i) {
    const bool to = match_->has(".to");
    i.run = execute::add64;
    const Space space = spaceOf();
    const uint64_t window = space == Space::Shared  ? sharedWindow
                            : space == Space::Local ? localWindow
                            : space == Space::Param ? parameterWindow
                                                    : 0;
    i.offset = static_cast<int64_t>(to ? 0 - window : window);
    if (!count(2, 2))
      return false;
    const Operand &from = operand(1);
    if (from.kind == Kind::Name && !findRegister(from.name)) {
      const Placed *placed = findPlaced(from.name);
      if (!placed)
        return fail(fmt::format("'{}' is not declared", from.name));
      i.a = constant(placed->address, 8);
    } else if (!source(from, Type::B64, i.a)) {
      return false;
    }
    return destination(operand(0), Type::B64, i.d);
  }

  bool decodeBarrier(Instruction &i) {
    i.run = execute::barrier;
    i.flow = Flow::Barrier;
    i.vector = !match_->has(".arrive"); // Whether it waits.
    const bool reduces = match_->has(".red");
    if (!reduces) {
      const bool arrives = !i.vector;
      return count(arrives ? 2 : 1, 2) && source(operand(0), Type::B32, i.a) &&
             (statement_->operands.size() < 2 || source(operand(1), Type::B32, i.b));
    }
    i.operation = match_->has(".popc") ? 0 : match_->has(".and") ? 1 : 2;
    i.flags = 0;
    i.type = match_->has(".pred") ? Type::Pred : Type::U32;
    if ((i.type == Type::U32) != (i.operation == 0))
      return fail("popc has a number as its result, and and or have predicates");
    const size_t given = statement_->operands.size();
    return count(3, 4) && destination(operand(0), i.type, i.d) && source(operand(1), Type::B32, i.a) &&
           (given == 3 || source(operand(2), Type::B32, i.b)) && negatable(operand(given - 1), i.c, i.flags);
  }

  bool decodeShuffle(Instruction &i) {
    using execute::ShuffleMode;
    i.run = execute::shuffle;
    i.operation = static_cast<uint8_t>(match_->has(".up")     ? ShuffleMode::Up
                                       : match_->has(".down") ? ShuffleMode::Down
                                       : match_->has(".bfly") ? ShuffleMode::Butterfly
                                                              : ShuffleMode::Index);
    return count(5, 5) && source(operand(1), Type::B32, i.a) && source(operand(2), Type::B32, i.b) &&
           source(operand(3), Type::B32, i.c) && source(operand(4), Type::B32, i.e) &&
           pair(operand(0), Type::B32, i.d, i.d2);
  }

  bool decodeVote(Instruction &i) {
    using execute::VoteMode;
    i.run = execute::vote;
    const bool ballot = match_->has(".ballot");
    i.operation = static_cast<uint8_t>(ballot                ? VoteMode::Ballot
                                       : match_->has(".all") ? VoteMode::All
                                       : match_->has(".any") ? VoteMode::Any
                                                             : VoteMode::Uniform);
    i.flags = 0;
    return count(3, 3) && negatable(operand(1), i.a, i.flags) && source(operand(2), Type::B32, i.b) &&
           destination(operand(0), ballot ? Type::B32 : Type::Pred, i.d);
  }

  bool decodeLoadMatrix(Instruction &i) {
    i.run = execute::loadMatrix;
    i.space = spaceOf();
    i.vector = match_->has(".x1") ? 1 : match_->has(".x2") ? 2 : 4;
    i.operation = match_->has(".trans");
    bool wide;
    if (!count(2, 2) || !address(operand(1), i.space, i.a, i.offset, wide))
      return false;
    i.flags = wide;
    i.list = static_cast<uint32_t>(kernel_.lists.size());
    i.listCount = i.vector;
    return fragment(operand(0), i.vector, Type::B32, true);
  }

  bool decodeMma(Instruction &i) {
    i.run = execute::mma;
    // mma.sync.aligned.SHAPE.row.col[.satfinite|.rn].D.A.B.C
    std::string name(match_->tokens[3].substr(1));
    for (size_t t = match_->tokens.size() - 4; t < match_->tokens.size(); ++t)
      name += match_->tokens[t];
    i.mma = functions_.findMma(name);
    if (!i.mma) {
      unknown_[statement_->opcode].push_back(statement_->line);
      return false;
    }
    i.multiplyAdds = i.mma->multiplyAdds;
    const Type type = i.mma->width == 8 ? Type::B64 : Type::B32;
    i.list = static_cast<uint32_t>(kernel_.lists.size());
    return count(4, 4) && fragment(operand(0), i.mma->d, type, true) &&
           fragment(operand(1), i.mma->a, type, false) && fragment(operand(2), i.mma->b, type, false) &&
           fragment(operand(3), i.mma->c, type, false);
  }

  const Module &module_;
  const Function &function_;
  const Symbols &symbols_;
  const LaneFunctions &functions_;
  UnknownOpcodes &unknown_;
  Diagnostics &diagnostics_;
  Kernel kernel_;
  Symbols placed_;
  std::map<std::pair<uint32_t, std::string_view>, Register> registers_;
  std::map<std::pair<uint64_t, unsigned>, uint32_t> constants_;
  std::map<Special, Slot> specials_;
  const Statement *statement_ = nullptr;
  const Match *match_ = nullptr;
  std::vector<int32_t> uses_, defines_;
};

} // namespace

LaneFunctions::LaneFunctions(SimdLevel level) {
  for (const LaneTable *table : {&integerLanes(level), &floatLanes(level), &convertLanes(level)})
    for (size_t k = 0; k < table->count; ++k)
      lanes_.emplace(table->rows[k].name, table->rows[k].function);
  const MmaTable &table = mmaFunctions(level);
  for (size_t k = 0; k < table.count; ++k)
    mma_.emplace(table.rows[k].name, &table.rows[k]);
}

LaneFunction LaneFunctions::find(std::string_view name) const {
  auto at = lanes_.find(name);
  return at == lanes_.end() ? nullptr : at->second;
}

const MmaFunction *LaneFunctions::findMma(std::string_view name) const {
  auto at = mma_.find(name);
  return at == mma_.end() ? nullptr : at->second;
}

Kernel decode(const Module &module, const Function &function, const Symbols &symbols,
              const LaneFunctions &functions, UnknownOpcodes &unknown, Diagnostics &diagnostics) {
  return Decoder(module, function, symbols, functions, unknown, diagnostics).run();
}

} // namespace npuc::ptx
