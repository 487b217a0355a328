#include "runtime/ptx_sim/Program.h"

#include "runtime/ptx_sim/Decode.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace npuc::ptx {
namespace {

/// Of all variables of a module.
constexpr uint64_t mostVariableBytes = uint64_t{1} << 30;

void fill(GlobalVariable &global, const Variable &variable, const Symbols &symbols, const std::string &where,
          Diagnostics &diagnostics) {
  const unsigned width = byteWidth(variable.type);
  global.bytes.resize(variable.values.size() * width);
  for (size_t k = 0; k < variable.values.size(); ++k) {
    uint64_t value = variable.values[k].value;
    if (std::string_view symbol = variable.values[k].symbol; !symbol.empty()) {
      auto at = symbols.find(symbol);
      if (at == symbols.end() || width != 8) {
        diagnostics.error(where, fmt::format("'{}' is no value of '{}'", symbol, variable.name),
                          at == symbols.end() ? "it is no variable in global memory"
                                              : "an address has 64 bits");
        return;
      }
      value += at->second.address;
    }
    std::memcpy(&global.bytes[k * width], &value, width);
  }
}

void placeVariables(const Module &module, Program &program, Symbols &symbols, Diagnostics &diagnostics) {
  uint64_t next = variablesBase;
  for (const Variable &v : module.variables) {
    const std::string where = fmt::format("{}:{}", module.file, v.line);
    if (v.space == Space::Shared)
      continue; // Each kernel that uses it places it.
    if (v.space != Space::Global && v.space != Space::Const) {
      diagnostics.error(where, fmt::format("'{}' cannot be declared in a module", v.name),
                        fmt::format("it lies in {} memory", name(v.space)));
      continue;
    }
    if (v.external) {
      diagnostics.error(where, fmt::format("variable '{}' is declared and not defined", v.name),
                        "it is .extern", "link the module that defines it");
      continue;
    }
    next = (next + 255) / 256 * 256;
    if (!symbols.emplace(v.name, Placed{v.space, next}).second)
      diagnostics.error(where, fmt::format("variable '{}' is defined twice", v.name));
    GlobalVariable global;
    global.name = v.name;
    global.address = next;
    global.size = v.bytes();
    global.constant = v.space == Space::Const;
    program.variables.push_back(std::move(global));
    // Apart, so that what is beyond one is in none.
    next += v.bytes() + (64 << 10);
  }
  uint64_t all = 0;
  for (const GlobalVariable &v : program.variables)
    all += v.size;
  if (all > mostVariableBytes)
    diagnostics.error(module.file,
                      fmt::format("the module's variables take more than {} bytes", mostVariableBytes),
                      fmt::format("they take {}", all));
  size_t k = 0;
  for (const Variable &v : module.variables)
    if (k < program.variables.size() && program.variables[k].name == v.name)
      fill(program.variables[k++], v, symbols, fmt::format("{}:{}", module.file, v.line), diagnostics);
}

void tell(const UnknownOpcodes &unknown, const std::string &file, Diagnostics &diagnostics) {
  for (const auto &[opcode, lines] : unknown) {
    constexpr size_t shown = 8;
    std::vector<uint32_t> sorted = lines;
    std::ranges::sort(sorted);
    const auto [begin, end] = std::ranges::unique(sorted);
    sorted.erase(begin, end);
    const size_t more = sorted.size() > shown ? sorted.size() - shown : 0;
    sorted.resize(sorted.size() - more);
    diagnostics.error(fmt::format("{}:{}", file, sorted[0]),
                      fmt::format("the instruction '{}' is unknown", opcode),
                      fmt::format("it stands at line{} {}{}", sorted.size() > 1 ? "s" : "",
                                  fmt::join(sorted, ", "), more ? fmt::format(" and {} more", more) : ""),
                      "npurun ptx --instructions lists those that are known");
  }
}

} // namespace

const Kernel *Program::find(std::string_view kernel) const {
  auto at = std::ranges::find(kernels, kernel, &Kernel::name);
  return at == kernels.end() ? nullptr : &*at;
}

std::shared_ptr<const Program> Program::load(std::string text, const std::string &file,
                                             Diagnostics &diagnostics, SimdLevel level) {
  const size_t before = diagnostics.errorCount();
  const std::optional<Module> module = parse(std::move(text), file, diagnostics);
  if (!module)
    return nullptr;
  auto program = std::make_shared<Program>();
  program->file = file;
  Symbols symbols;
  placeVariables(*module, *program, symbols, diagnostics);
  static const LaneFunctions levels[] = {LaneFunctions(SimdLevel::Base), LaneFunctions(SimdLevel::V3),
                                         LaneFunctions(SimdLevel::V4)};
  const LaneFunctions &functions = levels[static_cast<size_t>(level)];
  UnknownOpcodes unknown;
  size_t inlinedLeft = mostInlined;
  for (const Function &function : module->functions)
    if (function.entry) {
      if (program->find(function.name))
        diagnostics.error(fmt::format("{}:{}", file, function.line),
                          fmt::format("kernel '{}' is defined twice", function.name));
      program->kernels.push_back(
          decode(*module, function, symbols, functions, unknown, inlinedLeft, diagnostics));
    }
  tell(unknown, file, diagnostics);
  if (program->kernels.empty() && diagnostics.errorCount() == before)
    diagnostics.error(file, "there is no kernel in it", "no function is an .entry");
  return diagnostics.errorCount() == before ? program : nullptr;
}

} // namespace npuc::ptx
