#include "runtime/ptx_sim/Decode.h"

#include "runtime/ptx_sim/DecodeOperands.h"
#include "runtime/ptx_sim/Execute.h"
#include "runtime/ptx_sim/Flow.h"
#include "runtime/ptx_sim/Mma.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace npuc::ptx {
namespace {

using Kind = Operand::Kind;

class Decoder : OperandDecoder {
public:
  Decoder(const Module &module, const Symbols &symbols, const LaneFunctions &functions,
          UnknownOpcodes &unknown, size_t &inlinedLeft, Diagnostics &diagnostics)
      : OperandDecoder(module, symbols, diagnostics), functions_(functions), unknown_(unknown),
        inlinedLeft_(inlinedLeft) {}

  Kernel run(const Function &function) {
    kernel_.name = function.name;
    kernel_.line = function.line;
    kernel_.reqntid = function.reqntid;
    kernel_.maxntid = function.maxntid;
    kernel_.registerBytes = 8 * warpSize; // The first is where results go that nobody wants.
    kernel_.constants.resize(1);
    Instance instance;
    instance.function = &function;
    at_ = &instance;
    placeParameters();
    placeShared();
    body(instance);
    Instruction end;
    end.flow = Flow::Exit;
    end.kind = Class::Control;
    end.line = function.statements.empty() ? function.line : function.statements.back().line;
    kernel_.code.push_back(end);
    rankInstructions(kernel_);
    return std::move(kernel_);
  }

private:
  /// Decodes a function where it is run. Its parameters are placed.
  void body(Instance &instance) {
    Instance *outer = std::exchange(at_, &instance);
    const Statement *call = std::exchange(statement_, nullptr);
    active_.push_back(instance.function);
    placeVariables();
    for (const Statement &statement : instance.function->statements) {
      instance.codeAt.push_back(static_cast<uint32_t>(kernel_.code.size()));
      if (!instance.number || inlinedLeft_)
        instruction(statement);
      inlinedLeft_ -= instance.number && inlinedLeft_;
    }
    instance.codeAt.push_back(static_cast<uint32_t>(kernel_.code.size()));
    for (uint32_t jump : instance.jumps) {
      Instruction &i = kernel_.code[jump];
      i.target = instance.codeAt[i.target];
      for (unsigned t = 0; i.flow == Flow::Indexed && t < i.listCount; ++t)
        kernel_.lists[i.list + t] =
            static_cast<int32_t>(instance.codeAt[static_cast<size_t>(kernel_.lists[i.list + t])]);
    }
    active_.pop_back();
    at_ = outer;
    statement_ = call;
  }

  /// The function that is called, at the place of the call: [(result), ]name[, (argument, …)].
  void inlineCall(uint32_t at) {
    const std::vector<Operand> &given = statement_->operands;
    const size_t named = !given.empty() && given[0].kind == Kind::List;
    const Function *called =
        named < given.size() && given[named].kind == Kind::Name ? findFunction(given[named].name) : nullptr;
    static const std::vector<Operand> none;
    const std::vector<Operand> &results = named ? given[0].parts : none;
    const std::vector<Operand> &arguments =
        given.size() == named + 2 && given.back().kind == Kind::List ? given.back().parts : none;
    if (!called || called->entry) {
      fail(named < given.size()
               ? fmt::format("function '{}' is not defined in this module", given[named].name)
               : "the function's name is missing",
           "only those are called, by their names");
      return;
    }
    if (given.size() > named + 2 || results.size() != called->results.size() ||
        arguments.size() != called->parameters.size()) {
      fail(fmt::format("the call does not fit '{}'", called->name),
           fmt::format("it takes {} arguments and has {} results", called->parameters.size(),
                       called->results.size()));
      return;
    }
    if (std::ranges::find(active_, called) != active_.end()) {
      fail(fmt::format("'{}' calls itself", called->name), "recursion is not supported");
      return;
    }
    Instance instance;
    instance.function = called;
    instance.number = ++instances_;
    auto bind = [&](const Operand &actual, const Variable &formal) {
      const Placed *placed = actual.kind == Kind::Name ? findPlaced(actual.name) : nullptr;
      if (placed && placed->parameterBytes >= formal.bytes() && formal.bytes())
        instance.placed[{0, formal.name}] = *placed;
      else
        fail(fmt::format("'{}' is given no variable of its size in .param", formal.name),
             fmt::format("it has {} bytes", formal.bytes()));
    };
    for (size_t k = 0; k < results.size(); ++k)
      bind(results[k], called->results[k]);
    for (size_t k = 0; k < arguments.size(); ++k)
      bind(arguments[k], called->parameters[k]);
    body(instance);
    if (!inlinedLeft_ && !std::exchange(tooLong_, true))
      fail(fmt::format("calls make more than {} instructions of the module", mostInlined),
           "they are replaced by what they call");
    kernel_.code[at].target = static_cast<uint32_t>(kernel_.code.size());
  }

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
    if (i.flow == Flow::Branch && found->row->family != Family::Call)
      at_->jumps.push_back(static_cast<uint32_t>(kernel_.code.size()));
    if (i.flow == Flow::Indexed)
      at_->jumps.push_back(static_cast<uint32_t>(kernel_.code.size()));
    kernel_.code.push_back(i);
    if (found->row->family == Family::Call)
      inlineCall(static_cast<uint32_t>(kernel_.code.size() - 1));
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
    case Family::ComparePair:
      return decodeComparePair(i);
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
      if (at_->number && statement_->opcode.starts_with("ret")) { // To behind the call.
        i.flow = Flow::Branch;
        i.target = static_cast<uint32_t>(function().statements.size());
      }
      return count(0, 0);
    case Family::Call: // Without its guard, around what is called.
      i.run = execute::nothing;
      if (i.guard != noSlot) {
        i.flow = Flow::Branch;
        i.guardNegated = !i.guardNegated;
      }
      return true;
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
    for (uint32_t scope = statement_->scope;; scope = function().scopes[scope].parent) {
      auto at = function().scopes[scope].labels.find(operand.name);
      if (operand.kind == Kind::Name && at != function().scopes[scope].labels.end()) {
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
    for (uint32_t scope = statement_->scope;; scope = function().scopes[scope].parent) {
      auto at = function().scopes[scope].branchTargets.find(operand(1).name);
      if (at != function().scopes[scope].branchTargets.end()) {
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
      const Type part = i.width == 2 ? Type::B16 : Type::B32;
      const bool unpacks = to.kind == Kind::Vector;
      i.run = unpacks ? execute::unpack : execute::pack;
      std::vector<int32_t> slots, numbers;
      Register r;
      for (const Operand &element : vector.parts) {
        Slot slot = noSlot;
        r = {};
        if (!(unpacks ? destination(element, part, slot, false, &r)
                      : source(element, part, slot, false, false, &r)))
          return false;
        slots.push_back(slot);
        numbers.push_back(r.number);
      }
      r = {};
      if (!(unpacks ? source(from, i.type, i.a, false, false, &r) : destination(to, i.type, i.d, false, &r)))
        return false;
      numbers.push_back(r.number);
      defines_.clear();
      i.list = static_cast<uint32_t>(kernel_.lists.size());
      kernel_.lists.insert(kernel_.lists.end(), slots.begin(), slots.end());
      kernel_.lists.insert(kernel_.lists.end(), numbers.begin(), numbers.end());
      return true;
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
      const std::optional<Special> special = specialFromName(from.name);
      if (special && *special >= Special::Clock) {
        i.run = execute::clock;
        i.operation = static_cast<uint8_t>(*special);
        i.width = static_cast<uint8_t>(byteWidth(i.type));
        return i.width == byteWidth(*special) ||
               fail(fmt::format("'{}' has {} bits", from.name, 8 * byteWidth(*special)));
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

  /// Of a comparison: two numbers, and the predicate that its result is combined with, if it is.
  bool compared(Instruction &i) {
    const bool combined = i.flags & CombineMask;
    return count(combined ? 4 : 3, combined ? 4 : 3) && source(operand(1), i.type, i.a) &&
           source(operand(2), i.type, i.b) && (!combined || negatable(operand(3), i.c, i.flags));
  }

  bool decodeCompare(Instruction &i) {
    i.run = execute::lanes;
    return compared(i) && pair(operand(0), Type::Pred, i.d, i.d2) && lanes(i, comparison());
  }

  bool decodeSet(Instruction &i) {
    i.run = execute::set;
    if (!compared(i) || !lanes(i, comparison()))
      return false;
    // The first type is that of the result.
    i.type = *typeFromName(match_->tokens[match_->tokens.size() - 2].substr(1));
    return destination(operand(0), i.type, i.d);
  }

  bool decodeComparePair(Instruction &i) {
    i.run = execute::comparePair;
    i.operation = statement_->opcode.starts_with("set."); // Numbers, not predicates.
    if (!compared(i))
      return false;
    if (!i.operation && operand(0).kind != Kind::Pair)
      return fail("the result must be two predicates, p|q");
    if (!(i.operation ? destination(operand(0), Type::B32, i.d) : pair(operand(0), Type::Pred, i.d, i.d2)))
      return false;
    return lanes(i, fmt::format("setp{}.{}", match_->tokens[1], i.type == Type::F16x2 ? "f16" : "bf16"));
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

  /// What the first of the modifiers that the opcode has stands for.
  template <typename T>
  T chosen(std::initializer_list<std::pair<const char *, T>> modifiers, T otherwise) const {
    for (auto [token, value] : modifiers)
      if (match_->has(token))
        return value;
    return otherwise;
  }

  Space spaceOf() const {
    return chosen<Space>({{".global", Space::Global},
                          {".shared", Space::Shared},
                          {".shared::cta", Space::Shared},
                          {".local", Space::Local},
                          {".const", Space::Const},
                          {".param", Space::Param},
                          {".param::entry", Space::Param}},
                         Space::Generic);
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
    bool wide;
    if (!address(operand(loads ? 1 : 0), i.space, i.a, i.offset, wide))
      return false;
    if (!loads && (i.space == Space::Const || i.space == Space::Param))
      return fail(fmt::format("{} memory cannot be written", name(i.space)));
    if (i.space == Space::Const)
      i.space = Space::Global;
    i.flags = wide;
    touchesShared(i.space, i.width);
    return elements(operand(loads ? 0 : 1), i.vector, i.type, loads, i);
  }

  execute::AtomicOperation atomicOperation() const {
    using Op = execute::AtomicOperation;
    return chosen<Op>({{".and", Op::And},
                       {".or", Op::Or},
                       {".xor", Op::Xor},
                       {".exch", Op::Exchange},
                       {".cas", Op::CompareAndSwap},
                       {".add", Op::Add},
                       {".inc", Op::Increment},
                       {".dec", Op::Decrement},
                       {".min", Op::Min}},
                      Op::Max);
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
    Space global = Space::Global;
    if (!address(operand(0), i.space, i.a, i.offset, wideTo) ||
        !address(operand(1), global, i.b, from, wideFrom))
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
    i.operation = static_cast<uint8_t>(chosen<ShuffleMode>(
        {{".up", ShuffleMode::Up}, {".down", ShuffleMode::Down}, {".bfly", ShuffleMode::Butterfly}},
        ShuffleMode::Index));
    // What was not written stays so in the lanes that take it.
    Register a, d;
    const bool paired = !statement_->operands.empty() && operand(0).kind == Kind::Pair;
    if (!count(5, 5) || !source(operand(1), Type::B32, i.a, false, false, &a) ||
        !source(operand(2), Type::B32, i.b) || !source(operand(3), Type::B32, i.c) ||
        !source(operand(4), Type::B32, i.e) ||
        !destination(paired ? operand(0).parts[0] : operand(0), Type::B32, i.d, false, &d))
      return false;
    defines_.clear();
    i.list = static_cast<uint32_t>(kernel_.lists.size());
    i.listCount = 2;
    kernel_.lists.insert(kernel_.lists.end(), {a.number, d.number});
    return !paired || destination(operand(0).parts[1], Type::Pred, i.d2);
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

  const LaneFunctions &functions_;
  UnknownOpcodes &unknown_;
  std::vector<const Function *> active_; ///< That are being decoded, each called by the one before.
  uint32_t instances_ = 0;
  size_t &inlinedLeft_;
  bool tooLong_ = false;
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
              const LaneFunctions &functions, UnknownOpcodes &unknown, size_t &inlinedLeft,
              Diagnostics &diagnostics) {
  return Decoder(module, symbols, functions, unknown, inlinedLeft, diagnostics).run(function);
}

} // namespace npuc::ptx
