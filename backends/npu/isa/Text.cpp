#include "backends/npu/isa/Text.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <iterator>
#include <utility>

namespace npuc::isa {
namespace {

constexpr int64_t int64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t int64Min = std::numeric_limits<int64_t>::min();
constexpr int64_t int32Max = std::numeric_limits<int32_t>::max();
constexpr int64_t uint32Max = std::numeric_limits<uint32_t>::max();
constexpr int64_t uint16Max = std::numeric_limits<uint16_t>::max();
constexpr int64_t registerMax = std::numeric_limits<int16_t>::max();

const std::vector<std::string> attributes = {"dims", "accumulate", "value",  "multicast",
                                             "if",   "wait",       "signal", "from"};

template <typename... Args>
void put(std::string &out, fmt::format_string<Args...> format, Args &&...args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

// ---- printing ----

void putField(std::string &out, Field field, uint8_t value) {
  constexpr std::array<char, 4> prefix = {'?', 'r', '%', 'd'};
  put(out, "{}{}", prefix[static_cast<size_t>(field)], value);
}

void putInstruction(std::string &out, const VectorInstruction &i) {
  const VectorOpInfo &op = info(i.op);
  putField(out, op.dst, i.dst);
  put(out, " = {}.{}", op.name, npuc::name(i.type));
  const char *separator = " ";
  for (auto [field, value] : {std::pair(op.a, i.a), std::pair(op.b, i.b), std::pair(op.c, i.c)})
    if (field != Field::Unused) {
      out += separator;
      putField(out, field, value);
      separator = ", ";
    }
  if (op.immediate)
    put(out, "{}{}", separator, i.immediate);
}

template <typename Range, typename Each>
void putList(std::string &out, std::string_view open, const Range &range, Each each) {
  out += open;
  const char *separator = "";
  for (const auto &element : range) {
    out += separator;
    each(element);
    separator = ", ";
  }
  out += ')';
}

void putAttributes(std::string &out, const Pools &pools, const Command &c) {
  if (c.rankBatch || c.rankM || c.rankN || c.rankK)
    put(out, " dims({},{},{},{})", c.rankBatch, c.rankM, c.rankN, c.rankK);
  if (c.accumulate)
    out += " accumulate";
  if (c.immediate != 0)
    put(out, " value={}", c.immediate);
  if (c.multicastCount)
    putList(out, " multicast(", pools.multicastOf(c), [&](uint16_t core) { put(out, "{}", core); });
  if (c.predicateRegister != noRegister)
    put(out, " if(${}>{})", c.predicateRegister, c.predicateBound);
  if (c.waitCount)
    putList(out, " wait(", pools.waitsOf(c),
            [&](const Wait &w) { put(out, "{}>={}", w.semaphore, w.value); });
  if (c.signal != none)
    put(out, " signal({})", c.signal);
  if (!pools.sources[c.source].empty())
    put(out, " from {}", quoted(pools.sources[c.source]));
}

// ---- parsing ----

std::vector<std::string> words(auto count, auto nameOf) {
  std::vector<std::string> out;
  for (unsigned i = 0; i < count; ++i)
    out.emplace_back(nameOf(i));
  return out;
}

std::string didYouMean(std::string_view word, const std::vector<std::string> &candidates) {
  std::string near = nearest(std::string(word), candidates);
  return near.empty() ? fmt::format("known are {}", fmt::join(candidates, ", "))
                      : "did you mean '" + near + "'?";
}

std::optional<ElementType> parseType(TextReader &reader) {
  auto word = reader.word("an element type");
  if (!word)
    return std::nullopt;
  auto type = elementTypeFromName(*word);
  if (!type)
    reader.errorAtLast(fmt::format("unknown element type '{}'", *word),
                       didYouMean(*word, words(elementTypeCount, [](unsigned i) {
                         return npuc::name(static_cast<ElementType>(i));
                       })));
  return type;
}

bool parseRegisterNumber(TextReader &reader, int16_t &number) {
  if (!reader.expect("$"))
    return false;
  auto value = reader.integer(0, registerMax, "a register's number");
  number = static_cast<int16_t>(value.value_or(0));
  return value.has_value();
}

// +BASE and +$REGISTER*SCALE
bool parseAddress(TextReader &reader, View &view) {
  while (reader.accept("+")) {
    if (!reader.peek("$")) {
      const int digits = reader.accept("0x") ? 16 : 10;
      auto base = reader.integer(int64Min, int64Max, "a base in bytes", digits);
      if (!base)
        return false;
      view.base = *base;
      continue;
    }
    if (!parseRegisterNumber(reader, view.baseRegister) || !reader.expect("*"))
      return false;
    auto scale = reader.integer(int64Min, int64Max, "a scale in bytes");
    if (!scale)
      return false;
    view.registerScale = *scale;
  }
  return true;
}

bool parseSizes(TextReader &reader, View &view) {
  if (reader.peek("]") || reader.peek(";"))
    return true;
  do {
    if (view.rank == maxRank) {
      reader.error(fmt::format("a view has at most {} dimensions", maxRank));
      return false;
    }
    auto size = reader.integer(0, int32Max, "a size");
    if (!size)
      return false;
    view.dims[view.rank++].size = static_cast<int32_t>(*size);
  } while (reader.acceptPrefix("x"));
  return true;
}

bool parseStrides(TextReader &reader, View &view) {
  if (!reader.accept(":")) {
    // Dense. Sizes are below 2^31, so that a product which leaves 64 bits is seen before it is used.
    int64_t stride = 1;
    for (unsigned d = view.rank; d-- > 0;) {
      view.dims[d].stride = stride;
      if (__builtin_mul_overflow(stride, int64_t(view.dims[d].size), &stride) && d > 0) {
        reader.errorAtLast("the view's strides do not fit in 64 bits");
        return false;
      }
    }
    return true;
  }
  for (unsigned d = 0; d < view.rank; ++d) {
    if (d > 0 && !reader.expect(","))
      return false;
    auto stride = reader.integer(int64Min, int64Max, "a stride in elements");
    if (!stride)
      return false;
    view.dims[d].stride = *stride;
  }
  return true;
}

// dN<$REGISTER-OFFSET
bool parseBound(TextReader &reader, View &view) {
  if (!reader.accept(";"))
    return true;
  if (!reader.acceptPrefix("d")) {
    reader.error("expected a bound as in d0<$1-16");
    return false;
  }
  auto dim = reader.integer(0, maxRank - 1, "a dimension's number");
  if (!dim || !reader.expect("<") || !parseRegisterNumber(reader, view.boundRegister))
    return false;
  view.boundDim = static_cast<uint8_t>(*dim);
  const bool minus = reader.accept("-");
  if (!minus && !reader.accept("+"))
    return true;
  auto offset = reader.integer(0, int64Max, "an offset");
  view.boundOffset = minus ? offset.value_or(0) : -offset.value_or(0);
  return offset.has_value();
}

bool parseEngine(TextReader &reader, Command &command) {
  if (!reader.expect("@"))
    return false;
  auto word = reader.word("an engine");
  if (!word)
    return false;
  if (!word->starts_with("dma")) {
    auto engine = engineFromName(*word);
    if (!engine)
      reader.errorAtLast(fmt::format("unknown engine '{}'", *word),
                         "engines are matrix, vector and dmaCLASS.QUEUE");
    command.engine = engine.value_or(Engine::Dma);
    return engine.has_value();
  }
  command.engine = Engine::Dma;
  auto [stop, status] = std::from_chars(word->data() + 3, word->data() + word->size(), command.dmaClass);
  if (status != std::errc() || stop != word->data() + word->size()) {
    reader.errorAtLast("a DMA engine is dmaCLASS.QUEUE, as in dma0.1, each at most 255");
    return false;
  }
  if (!reader.expect("."))
    return false;
  auto queue = reader.integer(0, 255, "a queue's number");
  command.queue = static_cast<uint8_t>(queue.value_or(0));
  return queue.has_value();
}

// ( element , … )
template <typename Each>
bool parseList(TextReader &reader, size_t limit, std::string_view what, Each each) {
  if (!reader.expect("("))
    return false;
  if (reader.accept(")"))
    return true;
  size_t count = 0;
  do {
    if (++count > limit) {
      reader.error(fmt::format("a command has at most {} {}", limit, what));
      return false;
    }
    if (!each())
      return false;
  } while (reader.accept(","));
  return reader.expect(")");
}

} // namespace

void print(std::string &out, const View &view) {
  put(out, "{}[{}]", name(view.space), view.buffer);
  if (view.base > 0)
    put(out, "+0x{:x}", view.base);
  else if (view.base < 0)
    put(out, "+{}", view.base);
  if (view.baseRegister != noRegister)
    put(out, "+${}*{}", view.baseRegister, view.registerScale);
  put(out, ":{}[", npuc::name(view.type));
  for (unsigned d = 0; d < view.rank; ++d)
    put(out, "{}{}", d ? "x" : "", view.dims[d].size);
  if (!view.isDense())
    for (unsigned d = 0; d < view.rank; ++d)
      put(out, "{}{}", d ? "," : ":", view.dims[d].stride);
  if (view.boundRegister != noRegister) {
    put(out, ";d{}<${}", view.boundDim, view.boundRegister);
    if (view.boundOffset)
      put(out, "{}{}", view.boundOffset > 0 ? "-" : "+",
          view.boundOffset > 0 ? uint64_t(view.boundOffset) : -uint64_t(view.boundOffset));
  }
  out += ']';
}

void print(std::string &out, const Buffer &buffer) {
  put(out, "buffer {} {} {}[{}] bytes={} align={}", quoted(buffer.name), name(buffer.role),
      npuc::name(buffer.type), fmt::join(buffer.shape, "x"), buffer.bytes, buffer.alignment);
}

void print(std::string &out, const Register &reg) {
  put(out, "register {} {}..{}", quoted(reg.name), reg.least, reg.greatest);
}

void print(std::string &out, const Pools &pools, const Command &c, unsigned indent) {
  put(out, "{:{}}{} @{}", "", indent, name(c.opcode), name(c.engine));
  if (c.engine == Engine::Dma)
    put(out, "{}.{}", c.dmaClass, c.queue);
  if (c.operandCount)
    putList(out, " (", pools.operandsOf(c), [&](const View &view) { print(out, view); });
  putAttributes(out, pools, c);
  if (c.instructionCount) {
    out += " {\n";
    for (const VectorInstruction &i : pools.instructionsOf(c)) {
      put(out, "{:{}}", "", indent + 2);
      putInstruction(out, i);
      out += '\n';
    }
    put(out, "{:{}}}}", "", indent);
  }
  out += '\n';
}

std::string print(const Program &program) {
  std::string out;
  put(out, "program {} {{\n", quoted(program.name));
  for (const Buffer &buffer : program.buffers) {
    out += "  ";
    print(out, buffer);
    out += '\n';
  }
  for (const Register &reg : program.registers) {
    out += "  ";
    print(out, reg);
    out += '\n';
  }
  put(out, "  semaphores {}\n", program.semaphores);
  for (size_t core = 0; core < program.streams.size(); ++core) {
    put(out, "  core {} {{\n", core);
    for (const Command &command : program.streams[core])
      print(out, program, command, 4);
    out += "  }\n";
  }
  out += "}\n";
  return out;
}

std::optional<View> parseView(TextReader &reader) {
  View view;
  auto word = reader.word("a memory space");
  if (!word)
    return std::nullopt;
  auto space = spaceFromName(*word);
  if (!space) {
    reader.errorAtLast(fmt::format("unknown memory space '{}'", *word),
                       didYouMean(*word, words(4u, [](unsigned i) { return name(static_cast<Space>(i)); })));
    return std::nullopt;
  }
  view.space = *space;
  if (!reader.expect("["))
    return std::nullopt;
  auto index = reader.integer(0, uint32Max, "an index of a buffer or core");
  if (!index || !reader.expect("]") || !parseAddress(reader, view) || !reader.expect(":"))
    return std::nullopt;
  view.buffer = static_cast<uint32_t>(*index);
  auto type = parseType(reader);
  if (!type || !reader.expect("[") || !parseSizes(reader, view) || !parseStrides(reader, view) ||
      !parseBound(reader, view) || !reader.expect("]"))
    return std::nullopt;
  view.type = *type;
  return view;
}

std::optional<Buffer> parseBuffer(TextReader &reader) {
  Buffer buffer;
  auto bufferName = reader.string();
  auto word = bufferName ? reader.word("a role") : std::nullopt;
  if (!word)
    return std::nullopt;
  auto role = roleFromName(*word);
  if (!role) {
    reader.errorAtLast(fmt::format("unknown role '{}'", *word),
                       didYouMean(*word, words(5u, [](unsigned i) { return name(static_cast<Role>(i)); })));
    return std::nullopt;
  }
  auto type = parseType(reader);
  if (!type || !reader.expect("["))
    return std::nullopt;
  if (!reader.peek("]"))
    do {
      auto size = reader.integer(0, int64Max, "a size");
      if (!size)
        return std::nullopt;
      buffer.shape.push_back(*size);
    } while (reader.acceptPrefix("x"));
  if (!reader.expect("]") || !reader.expect("bytes") || !reader.expect("="))
    return std::nullopt;
  auto bytes = reader.integer(0, int64Max, "a size in bytes");
  if (!bytes || !reader.expect("align") || !reader.expect("="))
    return std::nullopt;
  auto alignment = reader.integer(1, uint32Max, "an alignment in bytes");
  if (!alignment)
    return std::nullopt;
  buffer.name = std::move(*bufferName);
  buffer.role = *role;
  buffer.type = *type;
  buffer.bytes = *bytes;
  buffer.alignment = static_cast<uint32_t>(*alignment);
  return buffer;
}

std::optional<Register> parseRegister(TextReader &reader) {
  auto registerName = reader.string();
  auto least = registerName ? reader.integer(int64Min, int64Max, "a least value") : std::nullopt;
  if (!least || !reader.expect(".."))
    return std::nullopt;
  auto greatest = reader.integer(int64Min, int64Max, "a greatest value");
  if (!greatest)
    return std::nullopt;
  return Register{std::move(*registerName), *least, *greatest};
}

struct CommandParser::Draft {
  std::vector<View> operands;
  std::vector<VectorInstruction> instructions;
  std::vector<Wait> waits;
  std::vector<uint16_t> multicast;
};

CommandParser::CommandParser(TextReader &reader, Pools &pools) : reader_(reader), pools_(pools) {
  if (pools_.sources.empty())
    pools_.sources.emplace_back();
  for (uint32_t i = 0; i < pools_.sources.size(); ++i)
    sources_.emplace(pools_.sources[i], i);
}

// Takes one attribute; true if there was one and it is right. What is no attribute is left for the caller.
bool CommandParser::parseAttribute(Command &command, Draft &draft) {
  if (reader_.accept("dims")) {
    std::array<uint8_t *, 4> ranks = {&command.rankBatch, &command.rankM, &command.rankN, &command.rankK};
    size_t count = 0;
    if (!parseList(reader_, 4, "kinds of dimensions", [&] {
          auto rank = reader_.integer(0, maxRank, "a count of dimensions");
          *ranks[count++] = static_cast<uint8_t>(rank.value_or(0));
          return rank.has_value();
        }))
      return false;
    if (count != 4)
      reader_.errorAtLast("dims needs four counts: batch, m, n, k");
    return count == 4;
  }
  if (reader_.accept("accumulate"))
    return command.accumulate = true;
  if (reader_.accept("value")) {
    auto value = reader_.expect("=") ? reader_.real() : std::nullopt;
    command.immediate = value.value_or(0);
    return value.has_value();
  }
  if (reader_.accept("multicast"))
    return parseList(reader_, uint16Max, "multicast cores", [&] {
      auto core = reader_.integer(0, uint16Max, "a core");
      draft.multicast.push_back(static_cast<uint16_t>(core.value_or(0)));
      return core.has_value();
    });
  if (reader_.accept("if")) {
    if (!reader_.expect("(") || !parseRegisterNumber(reader_, command.predicateRegister) ||
        !reader_.expect(">"))
      return false;
    auto bound = reader_.integer(int64Min, int64Max, "a bound");
    command.predicateBound = bound.value_or(0);
    return bound && reader_.expect(")");
  }
  if (reader_.accept("wait"))
    return parseList(reader_, uint16Max, "waits", [&] {
      auto semaphore = reader_.integer(0, uint32Max - 1, "a semaphore");
      auto value = semaphore && reader_.expect(">=") ? reader_.integer(0, uint32Max, "a semaphore's value")
                                                     : std::nullopt;
      draft.waits.push_back(
          {static_cast<uint32_t>(semaphore.value_or(0)), static_cast<uint32_t>(value.value_or(0))});
      return value.has_value();
    });
  if (reader_.accept("signal")) {
    auto semaphore = reader_.expect("(") ? reader_.integer(0, uint32Max - 1, "a semaphore") : std::nullopt;
    command.signal = static_cast<uint32_t>(semaphore.value_or(0));
    return semaphore && reader_.expect(")");
  }
  reader_.expect("from");
  auto source = reader_.string();
  if (!source)
    return false;
  auto [entry, isNew] = sources_.try_emplace(*source, static_cast<uint32_t>(pools_.sources.size()));
  if (isNew)
    pools_.sources.push_back(*source);
  command.source = entry->second;
  return true;
}

std::optional<uint8_t> CommandParser::parseField(Field field) {
  constexpr std::array<std::string_view, 4> prefixes = {"", "r", "%", "d"};
  constexpr std::array<std::string_view, 4> kinds = {"", "a register as in r0", "an operand as in %0",
                                                     "a loop as in d0"};
  const auto kind = static_cast<size_t>(field);
  reader_.atEnd(); // skips space
  if (!reader_.acceptPrefix(prefixes[kind])) {
    reader_.error(fmt::format("expected {}", kinds[kind]));
    return std::nullopt;
  }
  auto number = reader_.integer(0, 255, kinds[kind]);
  return number ? std::optional(static_cast<uint8_t>(*number)) : std::nullopt;
}

bool CommandParser::parseInstruction(VectorInstruction &i) {
  const Field target = reader_.peek("%") ? Field::Operand : Field::Register;
  auto dst = parseField(target);
  auto word = dst && reader_.expect("=") ? reader_.word("an operation") : std::nullopt;
  if (!word)
    return false;
  auto op = vectorOpFromName(*word);
  if (!op) {
    reader_.errorAtLast(
        fmt::format("unknown vector operation '{}'", *word),
        didYouMean(*word, words(vectorOpCount, [](unsigned n) { return name(static_cast<VectorOp>(n)); })));
    return false;
  }
  const VectorOpInfo &known = info(*op);
  if (known.dst != target) {
    reader_.errorAtLast(
        fmt::format("{} writes {}", known.name,
                    known.dst == Field::Operand ? "an operand, as in %0" : "a register, as in r0"));
    return false;
  }
  auto type = reader_.expect(".") ? parseType(reader_) : std::nullopt;
  if (!type)
    return false;
  i.op = *op;
  i.type = *type;
  i.dst = *dst;
  bool first = true;
  auto separated = [&] { return std::exchange(first, false) || reader_.expect(","); };
  for (auto [field, value] : {std::pair(known.a, &i.a), std::pair(known.b, &i.b), std::pair(known.c, &i.c)}) {
    if (field == Field::Unused)
      continue;
    auto number = separated() ? parseField(field) : std::nullopt;
    if (!number)
      return false;
    *value = *number;
  }
  if (!known.immediate)
    return true;
  auto immediate = separated() ? reader_.real() : std::nullopt;
  i.immediate = immediate.value_or(0);
  return immediate.has_value();
}

std::optional<Command> CommandParser::parse() {
  Command command;
  Draft draft;
  auto fail = [&] {
    reader_.skipItem();
    return std::nullopt;
  };
  reader_.startItem();
  auto word = reader_.word("a command");
  if (!word)
    return fail();
  auto opcode = opcodeFromName(*word);
  if (!opcode) {
    auto candidates = words(7u, [](unsigned i) { return name(static_cast<Opcode>(i)); });
    candidates.insert(candidates.end(), attributes.begin(), attributes.end());
    reader_.errorAtLast(fmt::format("unknown command or attribute '{}'", *word),
                        didYouMean(*word, candidates));
    return fail();
  }
  command.opcode = *opcode;
  if (!parseEngine(reader_, command))
    return fail();
  if (reader_.peek("(") && !parseList(reader_, 255, "operands", [&] {
        auto view = parseView(reader_);
        if (view)
          draft.operands.push_back(*view);
        return view.has_value();
      }))
    return fail();
  while (std::ranges::any_of(attributes, [&](const std::string &a) { return reader_.peek(a); }))
    if (!parseAttribute(command, draft))
      return fail();
  if (reader_.accept("{")) {
    bool good = true;
    while (!reader_.atEnd() && !reader_.accept("}")) {
      reader_.startItem();
      if (draft.instructions.size() == uint16Max) {
        reader_.error(fmt::format("a command has at most {} instructions", uint16Max));
        return fail();
      }
      if (!parseInstruction(draft.instructions.emplace_back())) {
        good = false;
        reader_.skipItem();
      }
    }
    if (!good)
      return std::nullopt;
  }
  return pools_.add(command, draft.operands, draft.instructions, draft.waits, draft.multicast);
}

namespace {

void parseCore(TextReader &reader, Program &program, CommandParser &commands) {
  auto core = reader.integer(0, uint32Max, "a core's number");
  if (core && *core != int64_t(program.streams.size()))
    reader.errorAtLast(fmt::format("core {} stands where core {} is due", *core, program.streams.size()),
                       "cores come in order, each once; one without commands is an empty block");
  if (!reader.expect("{")) {
    reader.skipItem();
    return;
  }
  std::vector<Command> &stream = program.streams.emplace_back();
  while (!reader.atEnd() && !reader.peek("}"))
    if (auto command = commands.parse())
      stream.push_back(*command);
  reader.expect("}");
}

void parseItem(TextReader &reader, Program &program, CommandParser &commands) {
  reader.startItem();
  bool good = false;
  if (reader.accept("buffer")) {
    auto buffer = parseBuffer(reader);
    if ((good = buffer.has_value()))
      program.buffers.push_back(std::move(*buffer));
  } else if (reader.accept("register")) {
    auto reg = parseRegister(reader);
    if ((good = reg.has_value()))
      program.registers.push_back(std::move(*reg));
  } else if (reader.accept("semaphores")) {
    auto count = reader.integer(0, uint32Max - 1, "a count of semaphores");
    program.semaphores = static_cast<uint32_t>(count.value_or(0));
    good = count.has_value();
  } else if (reader.accept("core")) {
    return parseCore(reader, program, commands);
  } else {
    reader.error("expected buffer, register, semaphores, core or '}'");
  }
  if (!good)
    reader.skipItem();
}

} // namespace

std::optional<Program> parseProgram(std::string_view text, std::string file, Diagnostics &diagnostics) {
  TextReader reader(text, std::move(file), diagnostics);
  Program program;
  if (!reader.expect("program"))
    return std::nullopt;
  auto programName = reader.string();
  if (!programName || !reader.expect("{"))
    return std::nullopt;
  program.name = std::move(*programName);
  CommandParser commands(reader, program);
  while (!reader.atEnd() && !reader.peek("}"))
    parseItem(reader, program, commands);
  if (reader.expect("}") && !reader.atEnd())
    reader.error("expected the end");
  if (reader.failed())
    return std::nullopt;
  return program;
}

} // namespace npuc::isa
