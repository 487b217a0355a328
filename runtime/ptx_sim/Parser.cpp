#include "runtime/ptx_sim/Lexer.h"
#include "runtime/ptx_sim/Module.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace npuc::ptx {
namespace {

/// Nesting of braces and brackets that is taken; what compilers write has two or three.
constexpr unsigned mostNesting = 64;
/// What one module's variables may take in a space.
constexpr uint64_t mostBytes = uint64_t{1} << 32;

class Parser {
public:
  Parser(Module &module, std::vector<Token> tokens, Diagnostics &diagnostics)
      : module_(module), tokens_(std::move(tokens)), diagnostics_(diagnostics) {}

  void run() {
    while (!atEnd())
      if (!topLevel())
        recover();
  }

private:
  const Token &peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool atEnd() const { return peek().kind == Token::Kind::End; }
  const Token &take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool accept(char symbol) {
    const bool is = peek().is(symbol);
    at_ += is;
    return is;
  }
  bool accept(std::string_view word) {
    const bool is = peek().isWord(word);
    at_ += is;
    return is;
  }

  bool fail(uint32_t line, std::string what, std::string why = {}) {
    diagnostics_.error(fmt::format("{}:{}", module_.file, line), std::move(what), std::move(why));
    return false;
  }
  bool failHere(std::string what) {
    return fail(peek().line, std::move(what),
                atEnd() ? "the text ends here" : fmt::format("there is '{}'", peek().text.substr(0, 40)));
  }
  bool expect(char symbol) { return accept(symbol) || failHere(fmt::format("'{}' is missing", symbol)); }

  /// Behind the statement or the braces in which an error is.
  void recover() {
    while (!atEnd()) {
      if (peek().is('{')) {
        skipBraces();
        return;
      }
      if (take().is(';'))
        return;
    }
  }
  void skipLine() {
    for (uint32_t line = peek().line; !atEnd() && peek().line == line;)
      take();
  }
  bool skipBraces() {
    if (!expect('{'))
      return false;
    for (unsigned depth = 1; depth;) {
      if (atEnd())
        return failHere("'}' is missing");
      const Token &token = take();
      depth += token.is('{');
      depth -= token.is('}');
    }
    return true;
  }

  bool topLevel() {
    if (accept(".version"))
      return number(module_.version);
    if (accept(".target")) {
      module_.target = peek().text;
      skipLine();
      return true;
    }
    if (accept(".address_size")) {
      if (peek().kind != Token::Kind::Integer || peek().value != 64)
        return failHere("addresses must have 64 bits (.address_size 64)");
      take();
      return true;
    }
    if (peek().isWord(".file") || peek().isWord(".loc")) {
      skipLine();
      return true;
    }
    if (accept(".pragma")) {
      take();
      return expect(';');
    }
    if (accept(".section")) {
      take();
      return skipBraces();
    }
    bool external = false;
    while (peek().isWord(".visible") || peek().isWord(".extern") || peek().isWord(".weak") ||
           peek().isWord(".common"))
      external |= take().text == ".extern";
    if (accept(".entry"))
      return function(true);
    if (accept(".func"))
      return function(false);
    if (std::optional<Space> space = variableSpace())
      return variables(*space, external, module_.variables);
    return failHere("a directive of a module is missing");
  }

  bool number(std::string_view &text) {
    if (peek().kind != Token::Kind::Float64 && peek().kind != Token::Kind::Integer)
      return failHere("a number is missing");
    text = take().text;
    return true;
  }

  std::optional<Space> variableSpace() {
    static constexpr std::pair<std::string_view, Space> spaces[] = {{".global", Space::Global},
                                                                    {".shared", Space::Shared},
                                                                    {".local", Space::Local},
                                                                    {".const", Space::Const},
                                                                    {".param", Space::Param}};
    for (auto [word, space] : spaces)
      if (accept(word))
        return space;
    return std::nullopt;
  }

  /// A declaration behind its space up to its name and size.
  bool declaration(Variable &variable) {
    bool typed = false;
    while (peek().kind == Token::Kind::Word && peek().text.starts_with('.')) {
      const Token &word = take();
      if (word.text == ".align") {
        if (peek().kind != Token::Kind::Integer || !std::has_single_bit(peek().value) || peek().value > 4096)
          return failHere("an alignment is a power of two up to 4096");
        const uint64_t align = take().value;
        if (!pointer_)
          variable.align = align;
      } else if (word.text == ".ptr") {
        pointer_ = true; // What follows describes what the parameter points to.
      } else if (auto type = typeFromName(word.text.substr(1)); type && *type != Type::Pred) {
        variable.type = *type;
        typed = true;
      } else if (!(pointer_ && (word.text == ".global" || word.text == ".shared" || word.text == ".const" ||
                                word.text == ".local"))) {
        pointer_ = false;
        return fail(word.line, "the declaration is of no known kind", fmt::format("'{}'", word.text));
      }
    }
    pointer_ = false;
    if (!typed)
      return failHere("a declaration's type is missing");
    if (peek().kind != Token::Kind::Word)
      return failHere("a name is missing");
    variable.line = peek().line;
    variable.name = take().text;
    variable.align = std::max<uint64_t>(variable.align, byteWidth(variable.type));
    while (accept('[')) {
      variable.array = true;
      if (accept(']')) {
        variable.external = true;
        variable.count = 0;
        continue;
      }
      if (peek().kind != Token::Kind::Integer || peek().value > mostBytes ||
          variable.count * peek().value > mostBytes)
        return failHere(fmt::format("an array has up to {} bytes", mostBytes));
      variable.count *= take().value;
      if (!expect(']'))
        return false;
    }
    if (variable.bytes() > mostBytes)
      return fail(variable.line, fmt::format("an array has up to {} bytes", mostBytes),
                  fmt::format("'{}' is larger", variable.name));
    return true;
  }

  bool initializer(Variable &variable, unsigned depth) {
    if (depth > mostNesting)
      return failHere("the initializer nests too deeply");
    if (accept('{')) {
      if (accept('}'))
        return true;
      do {
        if (!initializer(variable, depth + 1))
          return false;
      } while (accept(','));
      return expect('}');
    }
    Initializer value;
    if (peek().isWord("generic") &&
        peek(1).is('(')) { // The generic address of a variable; of global ones the same.
      take();
      take();
      value.symbol = take().text;
      if (!expect(')'))
        return false;
    } else if (peek().kind == Token::Kind::Word) {
      value.symbol = take().text;
    } else {
      Operand number;
      if (!immediate(number))
        return false;
      value.value = number.value;
      if (number.kind == Operand::Kind::Float64 && variable.type == Type::F32)
        value.value = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(number.value)));
    }
    if (accept('+')) {
      if (peek().kind != Token::Kind::Integer)
        return failHere("an offset is missing");
      value.value += take().value;
    }
    if (variable.values.size() >= variable.count)
      return fail(variable.line, "there are more values than elements",
                  fmt::format("'{}' has {}", variable.name, variable.count));
    variable.values.push_back(value);
    return true;
  }

  bool variables(Space space, bool external, std::vector<Variable> &into) {
    Variable variable;
    variable.space = space;
    if (!declaration(variable))
      return false;
    variable.external |= external;
    // An array whose initializer gives its size.
    if (variable.array && !variable.count && peek().is('='))
      variable.count = mostBytes;
    if (accept('=') && !initializer(variable, 0))
      return false;
    if (variable.count == mostBytes) {
      variable.count = variable.values.size();
      variable.external = false;
    }
    into.push_back(std::move(variable));
    return expect(';');
  }

  bool parameters(std::vector<Variable> &into) {
    if (!accept('('))
      return true;
    if (accept(')'))
      return true;
    do {
      Variable variable;
      variable.space = Space::Param;
      if (peek().isWord(".reg"))
        return failHere("parameters in registers are not supported");
      if (!accept(".param"))
        return failHere("a parameter is missing");
      if (!declaration(variable))
        return false;
      into.push_back(std::move(variable));
    } while (accept(','));
    return expect(')');
  }

  bool sizes(std::vector<uint64_t> &into) {
    do {
      if (peek().kind != Token::Kind::Integer || into.size() == 3)
        return failHere("one to three sizes are missing");
      into.push_back(take().value);
    } while (accept(','));
    return true;
  }

  bool function(bool entry) {
    Function function;
    function.entry = entry;
    if (!entry && !parameters(function.results))
      return false;
    if (peek().kind != Token::Kind::Word)
      return failHere("a function's name is missing");
    function.line = peek().line;
    function.name = take().text;
    if (!parameters(function.parameters))
      return false;
    while (peek().kind == Token::Kind::Word) {
      const Token &word = take();
      std::vector<uint64_t> values;
      if (word.text == ".reqntid") {
        if (!sizes(function.reqntid))
          return false;
      } else if (word.text == ".maxntid") {
        if (!sizes(function.maxntid))
          return false;
      } else if (word.text == ".minnctapersm" || word.text == ".maxnreg" || word.text == ".maxnctapersm") {
        if (!sizes(values))
          return false;
      } else if (word.text == ".pragma") {
        take();
        if (!expect(';'))
          return false;
      } else if (word.text != ".noreturn") {
        return fail(word.line, "the directive of a function is unknown", fmt::format("'{}'", word.text));
      }
    }
    if (accept(';')) // A declaration.
      return true;
    if (!expect('{'))
      return false;
    function.scopes.emplace_back();
    body(function, 0, 0);
    module_.functions.push_back(std::move(function));
    return true;
  }

  /// Up to and with the closing brace; errors are told and the statement that has one is left out.
  void body(Function &function, uint32_t scope, unsigned depth) {
    while (!accept('}')) {
      if (atEnd()) {
        failHere("'}' is missing");
        return;
      }
      if (depth < mostNesting && accept('{')) {
        function.scopes.push_back({scope, {}, {}, {}, {}});
        body(function, static_cast<uint32_t>(function.scopes.size() - 1), depth + 1);
      } else if (!statement(function, scope)) {
        while (!atEnd() && !peek().is('}'))
          if (take().is(';'))
            break;
      }
    }
  }

  bool statement(Function &function, uint32_t scope) {
    if (accept(';'))
      return true;
    if (peek().isWord(".loc") || peek().isWord(".file")) {
      skipLine();
      return true;
    }
    if (accept(".pragma")) {
      take();
      return expect(';');
    }
    if (accept(".reg"))
      return registers(function.scopes[scope]);
    if (std::optional<Space> space = variableSpace())
      return variables(*space, false, function.scopes[scope].variables);
    if (peek().kind == Token::Kind::Word && peek(1).is(':')) {
      const Token &label = take();
      take();
      if (accept(".branchtargets")) {
        auto &targets = function.scopes[scope].branchTargets[label.text];
        do {
          targets.push_back(take().text);
        } while (accept(','));
        return expect(';');
      }
      if (!function.scopes[scope].labels.emplace(label.text, function.statements.size()).second)
        return fail(label.line, "the label stands twice", fmt::format("'{}'", label.text));
      return true;
    }
    return instruction(function, scope);
  }

  bool registers(Scope &scope) {
    if (peek().kind != Token::Kind::Word)
      return failHere("a register's type is missing");
    const std::string_view text = peek().text;
    const std::optional<Type> type = text.starts_with('.') ? typeFromName(text.substr(1)) : std::nullopt;
    if (!type || byteWidth(*type) == 1)
      return failHere("registers have a type of 16, 32 or 64 bits, or are predicates");
    take();
    do {
      if (peek().kind != Token::Kind::Word)
        return failHere("a register's name is missing");
      RegisterRange range{take().text, std::nullopt, *type};
      if (accept('<')) {
        if (peek().kind != Token::Kind::Integer)
          return failHere("a count of registers is missing");
        range.count = take().value;
        if (!expect('>'))
          return false;
      }
      scope.registers.push_back(range);
    } while (accept(','));
    return expect(';');
  }

  bool instruction(Function &function, uint32_t scope) {
    Statement statement;
    statement.scope = scope;
    statement.line = peek().line;
    if (accept('@')) {
      statement.guardNegated = accept('!');
      if (peek().kind != Token::Kind::Word)
        return failHere("a predicate is missing behind '@'");
      statement.guard = take().text;
    }
    if (peek().kind != Token::Kind::Word || peek().text.starts_with('.') || peek().text.starts_with('%'))
      return failHere("an instruction is missing");
    statement.line = peek().line;
    statement.opcode = take().text;
    if (!peek().is(';'))
      do {
        Operand operand;
        if (!this->operand(operand, 0))
          return false;
        statement.operands.push_back(std::move(operand));
      } while (accept(','));
    if (!expect(';'))
      return false;
    function.statements.push_back(std::move(statement));
    return true;
  }

  bool immediate(Operand &operand) {
    const bool minus = accept('-'), inverted = !minus && accept('~');
    const Token &token = peek();
    switch (token.kind) {
    case Token::Kind::Integer:
      operand.kind = Operand::Kind::Integer;
      operand.value = minus ? 0 - token.value : inverted ? ~token.value : token.value;
      break;
    case Token::Kind::Float32:
      operand.kind = Operand::Kind::Float32;
      operand.value = token.value ^ (minus ? 0x80000000u : 0);
      break;
    case Token::Kind::Float64:
      operand.kind = Operand::Kind::Float64;
      operand.value = token.value ^ (minus ? uint64_t{1} << 63 : 0);
      break;
    default:
      return failHere("a value is missing");
    }
    take();
    return true;
  }

  bool list(Operand &operand, char close, unsigned depth) {
    if (accept(close))
      return true;
    do {
      if (!this->operand(operand.parts.emplace_back(), depth + 1))
        return false;
    } while (accept(','));
    return expect(close);
  }

  bool operand(Operand &operand, unsigned depth) {
    if (depth > 8)
      return failHere("an operand nests too deeply");
    if (accept('{')) {
      operand.kind = Operand::Kind::Vector;
      return list(operand, '}', depth);
    }
    if (accept('(')) {
      operand.kind = Operand::Kind::List;
      return list(operand, ')', depth);
    }
    if (accept('[')) {
      operand.kind = Operand::Kind::Address;
      return address(operand, depth);
    }
    operand.negated = accept('!');
    if (peek().kind != Token::Kind::Word)
      return immediate(operand);
    operand.name = take().text;
    if (accept('|')) {
      Operand first = operand, second;
      if (!this->operand(second, depth + 1))
        return false;
      operand = {};
      operand.kind = Operand::Kind::Pair;
      operand.parts = {std::move(first), std::move(second)};
    }
    return true;
  }

  bool address(Operand &operand, unsigned depth) {
    if (!this->operand(operand.parts.emplace_back(), depth + 1))
      return false;
    if (peek().is('+') || peek().is('-')) {
      Operand offset;
      accept('+');
      if (!immediate(offset) || offset.kind != Operand::Kind::Integer)
        return failHere("an offset is missing");
      operand.value = offset.value;
    }
    while (accept(',')) // Coordinates of instructions that the decoder does not know.
      if (!this->operand(operand.parts.emplace_back(), depth + 1))
        return false;
    return expect(']');
  }

  Module &module_;
  std::vector<Token> tokens_;
  Diagnostics &diagnostics_;
  size_t at_ = 0;
  bool pointer_ = false;
};

} // namespace

std::optional<Module> parse(std::string text, const std::string &file, Diagnostics &diagnostics) {
  const size_t before = diagnostics.errorCount();
  std::optional<Module> module(std::in_place);
  module->file = file;
  module->text = std::make_shared<const std::string>(std::move(text));
  auto tokens = lex(*module->text, file, diagnostics);
  if (!tokens)
    return std::nullopt;
  Parser(*module, std::move(*tokens), diagnostics).run();
  if (diagnostics.errorCount() == before && module->version.empty())
    diagnostics.error(file, "this is no PTX: '.version' is missing");
  if (diagnostics.errorCount() != before)
    return std::nullopt;
  return module;
}

} // namespace npuc::ptx
