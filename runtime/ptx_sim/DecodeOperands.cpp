#include "runtime/ptx_sim/DecodeOperands.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <fmt/format.h>

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
constexpr uint64_t aligned(uint64_t offset, uint64_t align) {
  return (offset + align - 1) / align * align;
}
constexpr unsigned lineBytes = sizeof(Line);
constexpr uint64_t mostSharedBytes = 227 << 10, mostLocalBytes = 512 << 10; // Of compute capability 8 and 9.

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

} // namespace

std::optional<Special> specialFromName(std::string_view name) {
  for (auto [text, special] : specials)
    if (text == name)
      return special;
  return std::nullopt;
}

unsigned byteWidth(Special special) {
  return special == Special::GridId || special == Special::Clock64 || special == Special::GlobalTimer ? 8 : 4;
}

std::string OperandDecoder::where() const {
  return fmt::format("{}:{}", module_.file, statement_ ? statement_->line : function().line);
}

bool OperandDecoder::fail(std::string what, std::string why, std::string hint) {
  diagnostics_.error(where(), std::move(what), std::move(why), std::move(hint));
  return false;
}

const Function *OperandDecoder::findFunction(std::string_view name) const {
  auto at = std::ranges::find(module_.functions, name, &Function::name);
  return at == module_.functions.end() ? nullptr : &*at;
}

void OperandDecoder::placeParameters() {
  for (const Variable &p : function().parameters) {
    const uint64_t offset = aligned(kernel_.parameterBytes, p.align);
    if (offset + p.bytes() > 32764) { // PTX ISA, "Kernel Function Parameters".
      fail("the parameters take more than 32764 bytes", fmt::format("of '{}'", function().name));
      return;
    }
    kernel_.parameters.push_back(
        {std::string(p.name), static_cast<uint32_t>(offset), static_cast<uint32_t>(p.bytes()), p.type});
    kernel_.parameterBytes = static_cast<uint32_t>(offset + p.bytes());
    at_->placed[{0, p.name}] = {Space::Param, offset};
  }
}

void OperandDecoder::placeShared() {
  // What the kernel and the functions that it may call name.
  std::set<std::string_view> used;
  std::vector<const Function *> reached = {&function()};
  auto use = [&](auto &&self, const Operand &operand) -> void {
    if (!operand.name.empty() && used.insert(operand.name).second)
      if (const Function *called = findFunction(operand.name);
          called && std::ranges::find(reached, called) == reached.end())
        reached.push_back(called);
    for (const Operand &part : operand.parts)
      self(self, part);
  };
  for (size_t k = 0; k < reached.size(); ++k)
    for (const Statement &statement : reached[k]->statements)
      for (const Operand &operand : statement.operands)
        use(use, operand);

  uint64_t shared = 0, dynamicAlign = 16;
  std::vector<std::string_view> dynamic;
  auto place = [&](const Variable &v) {
    const uint64_t offset = shared = aligned(shared, v.align);
    shared += v.bytes();
    if (!v.values.empty())
      fail(fmt::format("'{}' cannot have an initializer", v.name), "it lies in shared memory");
    return offset;
  };
  for (const Variable &v : module_.variables) {
    if (v.space != Space::Shared || !used.contains(v.name))
      continue;
    if (v.external) {
      dynamic.push_back(v.name);
      dynamicAlign = std::max(dynamicAlign, v.align);
    } else {
      shared_[v.name] = {Space::Shared, place(v)};
    }
  }
  for (const Function *f : reached)
    for (const Scope &scope : f->scopes)
      for (const Variable &v : scope.variables)
        if (v.space == Space::Shared)
          sharedOffsets_[&v] = place(v);
  if (!dynamic.empty())
    shared = aligned(shared, dynamicAlign);
  for (std::string_view name : dynamic)
    shared_[name] = {Space::Shared, shared};
  if (shared > mostSharedBytes)
    fail("static shared memory is too large",
         fmt::format("'{}' has {} bytes, a block has up to {}", kernel_.name, shared, mostSharedBytes));
  kernel_.sharedBytes = static_cast<uint32_t>(std::min(shared, mostSharedBytes));
}

void OperandDecoder::placeVariables() {
  uint64_t local = kernel_.localBytes;
  for (uint32_t scope = 0; scope < function().scopes.size(); ++scope)
    for (const Variable &v : function().scopes[scope].variables) {
      Placed &placed = at_->placed[{scope, v.name}];
      if (v.space == Space::Shared) {
        placed = {Space::Shared, sharedOffsets_[&v]};
      } else if ((v.space == Space::Local || v.space == Space::Param) && v.values.empty()) {
        local = aligned(local, v.align);
        placed = {Space::Local, local, v.space == Space::Param ? v.bytes() : 0};
        local += v.bytes();
      } else {
        fail(fmt::format("'{}' cannot be declared so in a function", v.name),
             v.values.empty() ? fmt::format("it lies in {} memory", name(v.space)) : "it has an initializer");
      }
    }
  if (local > mostLocalBytes)
    fail("local memory is too large",
         fmt::format("'{}' has {} bytes, a thread has up to {}", kernel_.name, local, mostLocalBytes));
  kernel_.localBytes = static_cast<uint32_t>(std::min(local, mostLocalBytes));
}

const Placed *OperandDecoder::findPlaced(std::string_view name) const {
  for (uint32_t scope = statement_->scope;; scope = function().scopes[scope].parent) {
    if (auto at = at_->placed.find({scope, name}); at != at_->placed.end())
      return &at->second;
    if (scope == 0)
      break;
  }
  for (const Symbols *symbols : {&shared_, &symbols_})
    if (auto at = symbols->find(name); at != symbols->end())
      return &at->second;
  return nullptr;
}

Slot OperandDecoder::newSlot(unsigned width) {
  const uint32_t slot = kernel_.registerBytes;
  kernel_.registerBytes += static_cast<uint32_t>(aligned(uint64_t{width} * warpSize, lineBytes));
  return static_cast<Slot>(slot);
}

const Register *OperandDecoder::findRegister(std::string_view name) {
  for (uint32_t scope = statement_->scope;; scope = function().scopes[scope].parent) {
    if (auto known = registers_.find({at_->number, scope, name}); known != registers_.end())
      return &known->second;
    for (const RegisterRange &range : function().scopes[scope].registers) {
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
      return &registers_.emplace(std::tuple(at_->number, scope, name), r).first->second;
    }
    if (scope == 0)
      return nullptr;
  }
}

Slot OperandDecoder::constant(uint64_t bits, unsigned width, bool predicate) {
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
      std::memcpy(reinterpret_cast<std::byte *>(kernel_.constants.data()) + at->second + lane * width, &bits,
                  width);
  }
  return ~static_cast<Slot>(at->second);
}

std::optional<Slot> OperandDecoder::special(std::string_view name, unsigned width) {
  const std::optional<Special> special = specialFromName(name);
  if (!special) {
    fail(fmt::format("'{}' is not declared", name));
    return std::nullopt;
  }
  if (byteWidth(*special) != width || *special >= Special::Clock) {
    fail(*special >= Special::Clock ? fmt::format("'{}' is read by mov alone", name)
                                    : fmt::format("'{}' has {} bits", name, 8 * byteWidth(*special)),
         fmt::format("the instruction wants a number of {} bits", 8 * width));
    return std::nullopt;
  }
  auto [at, fresh] = specials_.try_emplace(*special, noSlot);
  if (fresh) {
    at->second = newSlot(width);
    kernel_.specials.push_back({*special, at->second});
  }
  return at->second;
}

bool OperandDecoder::fits(const Operand &operand, const Register &r, Type type, bool wider) {
  const bool predicate = type == Type::Pred;
  if (predicate == (r.type == Type::Pred) &&
      (byteWidth(r.type) == byteWidth(type) || (wider && byteWidth(r.type) > byteWidth(type))))
    return true;
  return fail(fmt::format("register '{}' is of the wrong type", operand.name),
              fmt::format("it is .{}, the instruction wants .{}", name(r.type), name(type)));
}

bool OperandDecoder::source(const Operand &operand, Type type, Slot &slot, bool wider, bool checked,
                            Register *out) {
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

bool OperandDecoder::destination(const Operand &operand, Type type, Slot &slot, bool wider, Register *out) {
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

bool OperandDecoder::count(size_t least, size_t most) {
  const size_t given = statement_->operands.size();
  if (given >= least && given <= most)
    return true;
  return fail(fmt::format("'{}' has {} operands", statement_->opcode, given),
              least == most ? fmt::format("it takes {}", least)
                            : fmt::format("it takes {} to {}", least, most));
}

bool OperandDecoder::address(const Operand &operand, Space &space, Slot &slot, int64_t &offset, bool &wide) {
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
  if (placed->parameterBytes && space == Space::Param)
    space = Space::Local;
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

bool OperandDecoder::elements(const Operand &operand, size_t wanted, Type type, bool written,
                              Instruction &i) {
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
    kernel_.lists.push_back(static_cast<int32_t>(std::max(2u, byteWidth(r.slot == noSlot ? type : r.type))));
  }
  return true;
}

bool OperandDecoder::fragment(const Operand &operand, size_t wanted, Type type, bool written) {
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

} // namespace npuc::ptx
