#include "backends/npu/isa/Encoding.h"

#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <unordered_map>

namespace npuc::isa {
namespace {

constexpr std::string_view magic = "NPIS";

// Bits of a command that say which parts follow.
enum Presence : uint8_t { HasWaits = 1, HasMulticast = 2, HasSignal = 4, HasSource = 8, presenceMask = 15 };

// ---- writing ----

class Output {
public:
  void byte(uint8_t value) { bytes.push_back(static_cast<char>(value)); }
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      byte(static_cast<uint8_t>(value | 0x80));
    byte(static_cast<uint8_t>(value));
  }
  // Also right for differences that wrapped around.
  void signedNumber(int64_t value) { number((uint64_t(value) << 1) ^ uint64_t(value >> 63)); }
  void real(double value) {
    auto bits = std::bit_cast<uint64_t>(value);
    for (int i = 0; i < 8; ++i)
      byte(static_cast<uint8_t>(bits >> (8 * i)));
  }
  void text(std::string_view value) {
    number(value.size());
    bytes += value;
  }

  std::string bytes;
};

// Distinct entries in order of first use.
class Table {
public:
  uint32_t index(std::string &&entry) {
    auto [at, isNew] = entries_.try_emplace(std::move(entry), static_cast<uint32_t>(entries_.size()));
    if (isNew)
      out_.bytes += at->first;
    return at->second;
  }
  void write(Output &out) const {
    out.number(entries_.size());
    out.bytes += out_.bytes;
  }

private:
  std::unordered_map<std::string, uint32_t> entries_;
  Output out_;
};

std::string layoutOf(const View &v) {
  Output out;
  out.byte(static_cast<uint8_t>(v.space));
  out.byte(static_cast<uint8_t>(v.type));
  out.byte(v.rank);
  out.signedNumber(v.baseRegister);
  if (v.baseRegister != noRegister)
    out.signedNumber(v.registerScale);
  out.signedNumber(v.boundRegister);
  if (v.boundRegister != noRegister) {
    out.byte(v.boundDim);
    out.signedNumber(v.boundOffset);
  }
  for (const Dim &d : v.shape()) {
    out.signedNumber(d.size);
    out.signedNumber(d.stride);
  }
  return std::move(out.bytes);
}

std::string programOf(std::span<const VectorInstruction> instructions) {
  Output out;
  out.number(instructions.size());
  for (const VectorInstruction &i : instructions) {
    for (uint8_t field : {static_cast<uint8_t>(i.op), static_cast<uint8_t>(i.type), i.dst, i.a, i.b, i.c})
      out.byte(field);
    if (info(i.op).immediate)
      out.real(i.immediate);
  }
  return std::move(out.bytes);
}

std::string headOf(const Command &c, uint32_t program) {
  Output out;
  for (uint8_t field :
       {static_cast<uint8_t>(c.opcode), static_cast<uint8_t>(c.engine), c.dmaClass, c.queue,
        static_cast<uint8_t>(c.accumulate), c.rankBatch, c.rankM, c.rankN, c.rankK, c.operandCount})
    out.byte(field);
  out.number(program);
  out.signedNumber(c.predicateRegister);
  if (c.predicateRegister != noRegister)
    out.signedNumber(c.predicateBound);
  out.real(c.immediate);
  return std::move(out.bytes);
}

// What the last command of a stream said, by operand slot: the next one tends to differ little.
struct Last {
  std::array<int64_t, 256> base{};
  std::array<uint32_t, 256> buffer{};
  uint32_t source = 0;
};

class Encoder {
public:
  explicit Encoder(const Program &program) : program_(program) { programs_.index(programOf({})); }

  std::string encode() {
    Output streams;
    streams.number(program_.streams.size());
    for (const std::vector<Command> &stream : program_.streams) {
      streams.number(stream.size());
      Last last;
      for (const Command &command : stream)
        write(streams, command, last);
    }
    Output out;
    out.bytes = magic;
    out.number(encodingVersion);
    out.number(program_.semaphores);
    sources_.write(out);
    layouts_.write(out);
    programs_.write(out);
    heads_.write(out);
    return out.bytes + streams.bytes;
  }

private:
  void write(Output &out, const Command &c, Last &last) {
    out.number(heads_.index(headOf(c, programs_.index(programOf(program_.instructionsOf(c))))));
    const uint32_t source = sourceIndex(c.source);
    out.byte((c.waitCount ? HasWaits : 0) | (c.multicastCount ? HasMulticast : 0) |
             (c.signal != none ? HasSignal : 0) | (source != last.source ? HasSource : 0));
    auto operands = program_.operandsOf(c);
    for (size_t i = 0; i < operands.size(); ++i) {
      out.number(layouts_.index(layoutOf(operands[i])));
      out.signedNumber(int64_t(operands[i].buffer) - int64_t(last.buffer[i]));
      out.signedNumber(int64_t(uint64_t(operands[i].base) - uint64_t(last.base[i])));
      last.buffer[i] = operands[i].buffer;
      last.base[i] = operands[i].base;
    }
    if (c.waitCount) {
      out.number(c.waitCount);
      for (const Wait &w : program_.waitsOf(c)) {
        out.number(w.semaphore);
        out.number(w.value);
      }
    }
    if (c.multicastCount) {
      out.number(c.multicastCount);
      for (uint16_t core : program_.multicastOf(c))
        out.number(core);
    }
    if (c.signal != none)
      out.number(c.signal);
    if (source != last.source)
      out.signedNumber(int64_t(source) - int64_t(last.source));
    last.source = source;
  }

  // Sources are numbered by first use, so that the bytes do not depend on the pool's order. Number 0 is "".
  uint32_t sourceIndex(uint32_t source) {
    if (sourceIndices_.empty()) {
      sourceIndices_.assign(program_.sources.size() + 1, none);
      sources_.index(std::string(1, '\0')); // "" with its length
    }
    uint32_t &index = sourceIndices_[source];
    if (index == none) {
      Output text;
      text.text(program_.sources[source]);
      index = sources_.index(std::move(text.bytes));
    }
    return index;
  }

  const Program &program_;
  Table sources_, layouts_, programs_, heads_;
  std::vector<uint32_t> sourceIndices_;
};

// ---- reading ----

// Reads numbers; after the first failure everything reads as 0 and `why` says what was wrong, where.
class Input {
public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool failed() const { return failed_; }
  size_t left() const { return bytes_.size() - at_; }
  const std::string &why() const { return why_; }

  void fail(std::string_view why) {
    if (!failed_)
      why_ = fmt::format("byte {}: {}", at_, why);
    failed_ = true;
    at_ = bytes_.size();
  }

  uint8_t byte(unsigned limit, const char *what) {
    if (left() == 0)
      return fail(fmt::format("the bytes end within {}", what)), 0;
    auto value = static_cast<uint8_t>(bytes_[at_++]);
    if (value >= limit)
      return fail(fmt::format("{} is {}, but must be below {}", what, value, limit)), 0;
    return value;
  }

  uint64_t number(uint64_t greatest, const char *what) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      uint64_t part = byte(256, what);
      if (shift == 63 && part > 1)
        return fail(fmt::format("{} does not fit in 64 bits", what)), 0;
      value |= (part & 0x7f) << shift;
      if (part < 0x80)
        break;
    }
    if (value > greatest)
      return fail(fmt::format("{} is {}, but at most {} is allowed", what, value, greatest)), 0;
    return value;
  }

  int64_t signedNumber(const char *what) {
    uint64_t value = number(std::numeric_limits<uint64_t>::max(), what);
    return int64_t(value >> 1) ^ -int64_t(value & 1);
  }

  int64_t signedNumber(int64_t least, int64_t greatest, const char *what) {
    int64_t value = signedNumber(what);
    if (value < least || value > greatest)
      return fail(fmt::format("{} is {}, outside {}…{}", what, value, least, greatest)), 0;
    return value;
  }

  double real(const char *what) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i)
      bits |= uint64_t(byte(256, what)) << (8 * i);
    return std::bit_cast<double>(bits);
  }

  // A count of entries that take at least `least` bytes each, of those that are left behind the count.
  size_t count(size_t least, const char *what) {
    uint64_t value = number(std::numeric_limits<uint64_t>::max(), what);
    if (!failed_ && value > left() / least)
      return fail(fmt::format("{} is {}, but at most {} is allowed", what, value, left() / least)), 0;
    return value;
  }

  std::string_view text(const char *what) {
    size_t length = count(1, what);
    std::string_view value(reinterpret_cast<const char *>(bytes_.data()) + at_, failed_ ? 0 : length);
    at_ += value.size();
    return value;
  }

  bool literal(std::string_view expected) {
    if (left() < expected.size() || std::memcmp(bytes_.data() + at_, expected.data(), expected.size()) != 0)
      return false;
    at_ += expected.size();
    return true;
  }

private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  bool failed_ = false;
  std::string why_;
};

struct InstructionRange {
  uint32_t first = 0;
  uint16_t count = 0;
};

class Decoder {
public:
  Decoder(std::span<const std::byte> bytes, Program &program) : in_(bytes), program_(program) {}

  const Input &input() const { return in_; }

  void decode() {
    static_cast<Pools &>(program_) = {};
    program_.streams.clear();
    if (!in_.literal(magic))
      return in_.fail("these are not an NPU program's bytes");
    if (uint64_t version = in_.number(none, "the encoding's version");
        !in_.failed() && version != encodingVersion)
      return in_.fail(fmt::format(
          "the program's encoding has version {}, this program reads version {}; compile the model "
          "again with this version",
          version, encodingVersion));
    program_.semaphores = static_cast<uint32_t>(in_.number(none - 1, "the count of semaphores"));
    readSources();
    for (size_t n = in_.count(5, "the count of layouts"); n-- > 0 && !in_.failed();)
      layouts_.push_back(readLayout());
    for (size_t n = in_.count(1, "the count of vector programs"); n-- > 0 && !in_.failed();)
      programs_.push_back(readProgram());
    for (size_t n = in_.count(20, "the count of command heads"); n-- > 0 && !in_.failed();)
      heads_.push_back(readHead());
    size_t streams = in_.count(1, "the count of streams");
    for (size_t i = 0; i < streams && !in_.failed(); ++i)
      readStream();
    if (!in_.failed() && in_.left())
      in_.fail(fmt::format("{} bytes follow the program", in_.left()));
  }

private:
  void readSources() {
    for (size_t n = in_.count(1, "the count of sources"); n-- > 0 && !in_.failed();)
      program_.sources.emplace_back(in_.text("a source's name"));
    if (!in_.failed() && !program_.sources.empty() && !program_.sources[0].empty())
      in_.fail("source 0 must have no name");
    if (program_.sources.empty())
      program_.sources.emplace_back();
  }

  View readLayout() {
    View v;
    v.space = static_cast<Space>(in_.byte(4, "a memory space"));
    v.type = static_cast<ElementType>(in_.byte(elementTypeCount, "an element type"));
    v.rank = in_.byte(maxRank + 1, "a rank");
    v.baseRegister = readRegister();
    if (v.baseRegister != noRegister)
      v.registerScale = in_.signedNumber("a register's scale");
    v.boundRegister = readRegister();
    if (v.boundRegister != noRegister) {
      v.boundDim = in_.byte(maxRank, "a bounded dimension");
      v.boundOffset = in_.signedNumber("a bound's offset");
    }
    for (unsigned d = 0; d < v.rank; ++d) {
      v.dims[d].size =
          static_cast<int32_t>(in_.signedNumber(0, std::numeric_limits<int32_t>::max(), "a size"));
      v.dims[d].stride = in_.signedNumber("a stride");
    }
    return v;
  }

  int16_t readRegister() {
    return static_cast<int16_t>(
        in_.signedNumber(noRegister, std::numeric_limits<int16_t>::max(), "a register"));
  }

  InstructionRange readProgram() {
    InstructionRange range;
    size_t count = std::min<size_t>(in_.count(6, "the count of instructions"), 65536);
    if (count == 65536)
      in_.fail("a vector program has more than 65535 instructions");
    range.first = static_cast<uint32_t>(program_.instructions.size());
    range.count = static_cast<uint16_t>(count);
    for (size_t n = count; n-- > 0 && !in_.failed();) {
      VectorInstruction i;
      i.op = static_cast<VectorOp>(in_.byte(vectorOpCount, "a vector operation"));
      i.type = static_cast<ElementType>(in_.byte(elementTypeCount, "an instruction's type"));
      for (uint8_t *field : {&i.dst, &i.a, &i.b, &i.c})
        *field = in_.byte(256, "an instruction's field");
      if (info(i.op).immediate)
        i.immediate = in_.real("an immediate");
      program_.instructions.push_back(i);
    }
    return range;
  }

  Command readHead() {
    Command c;
    c.opcode = static_cast<Opcode>(in_.byte(7, "an opcode"));
    c.engine = static_cast<Engine>(in_.byte(3, "an engine"));
    c.dmaClass = in_.byte(256, "a DMA class");
    c.queue = in_.byte(256, "a queue");
    c.accumulate = in_.byte(2, "the accumulate bit");
    for (uint8_t *rank : {&c.rankBatch, &c.rankM, &c.rankN, &c.rankK})
      *rank = in_.byte(maxRank + 1, "a count of dimensions");
    c.operandCount = in_.byte(256, "a count of operands");
    size_t program = readIndex(programs_.size(), "a vector program's number");
    c.predicateRegister = readRegister();
    if (c.predicateRegister != noRegister)
      c.predicateBound = in_.signedNumber("a predicate's bound");
    c.immediate = in_.real("an immediate");
    if (in_.failed())
      return c;
    c.firstInstruction = programs_[program].first;
    c.instructionCount = programs_[program].count;
    return c;
  }

  size_t readIndex(size_t size, const char *what) {
    if (size == 0)
      return in_.fail(fmt::format("{} stands where there is no such entry", what)), 0;
    return in_.number(size - 1, what);
  }

  void readStream() {
    std::vector<Command> &stream = program_.streams.emplace_back();
    size_t count = in_.count(2, "the count of commands");
    Last last;
    stream.reserve(std::min<size_t>(count, 1 << 16));
    for (size_t n = count; n-- > 0 && !in_.failed();)
      if (Command command; readCommand(command, last))
        stream.push_back(command);
  }

  bool readCommand(Command &c, Last &last) {
    size_t head = readIndex(heads_.size(), "a command head's number");
    if (in_.failed())
      return false;
    c = heads_[head];
    const uint8_t presence = in_.byte(presenceMask + 1, "a command's presence bits");
    c.firstOperand = static_cast<uint32_t>(program_.operands.size());
    for (unsigned i = 0; i < c.operandCount; ++i)
      if (!readOperand(i, last))
        return false;
    c.firstWait = static_cast<uint32_t>(program_.waits.size());
    if (presence & HasWaits) {
      c.waitCount = static_cast<uint16_t>(in_.number(65535, "a count of waits"));
      for (unsigned n = c.waitCount; n-- > 0 && !in_.failed();) {
        Wait w;
        w.semaphore = static_cast<uint32_t>(in_.number(none - 1, "a semaphore"));
        w.value = static_cast<uint32_t>(in_.number(none, "a semaphore's value"));
        program_.waits.push_back(w);
      }
    }
    c.firstMulticast = static_cast<uint32_t>(program_.multicast.size());
    if (presence & HasMulticast) {
      c.multicastCount = static_cast<uint16_t>(in_.number(65535, "a count of cores"));
      for (unsigned n = c.multicastCount; n-- > 0 && !in_.failed();)
        program_.multicast.push_back(static_cast<uint16_t>(in_.number(65535, "a core")));
    }
    if (presence & HasSignal)
      c.signal = static_cast<uint32_t>(in_.number(none - 1, "a semaphore"));
    if (presence & HasSource) {
      int64_t difference = in_.signedNumber("a source");
      // Wraps, and is then out of range.
      uint64_t source = uint64_t(last.source) + uint64_t(difference);
      if (source >= program_.sources.size())
        in_.fail(fmt::format("there is no source {}", source));
      last.source = static_cast<uint32_t>(source);
    }
    c.source = last.source;
    return !in_.failed();
  }

  bool readOperand(unsigned slot, Last &last) {
    size_t layout = readIndex(layouts_.size(), "a layout's number");
    int64_t difference = in_.signedNumber("a buffer");
    uint64_t buffer = uint64_t(last.buffer[slot]) + uint64_t(difference);
    if (buffer > none)
      in_.fail("a buffer's number does not fit in 32 bits");
    last.buffer[slot] = static_cast<uint32_t>(buffer);
    last.base[slot] = int64_t(uint64_t(last.base[slot]) + uint64_t(in_.signedNumber("a base")));
    if (in_.failed())
      return false;
    View &view = program_.operands.emplace_back(layouts_[layout]);
    view.buffer = last.buffer[slot];
    view.base = last.base[slot];
    return true;
  }

  Input in_;
  Program &program_;
  std::vector<View> layouts_;
  std::vector<InstructionRange> programs_;
  std::vector<Command> heads_;
};

} // namespace

std::string encodeStreams(const Program &program) {
  return Encoder(program).encode();
}

bool decodeStreams(std::span<const std::byte> bytes, const std::string &where, Program &program,
                   Diagnostics &diagnostics) {
  if (bytes.size() > none) {
    diagnostics.error(where, "the program is larger than 4 GiB, more than its indices can count");
    return false;
  }
  Decoder decoder(bytes, program);
  decoder.decode();
  if (!decoder.input().failed())
    return true;
  diagnostics.error(where, "the command streams are corrupt", decoder.input().why(),
                    "the file is damaged or was not written by npuc; compile the model again");
  return false;
}

} // namespace npuc::isa
