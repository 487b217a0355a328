// The text form of programs: an assembler and its inverse.
//
//   program "encoder" {
//     buffer "ids" input i32[1x128] bytes=512 align=64
//     register "position" 0..511
//     semaphores 3
//     core 0 {
//       copy @dma0.1 (dram[0]+0x40+$0*256:f16[128x64;d0<$0+1], scratchpad[0]:f16[128x64]) signal(1) from
//       "layer.0/query" contract @matrix (scratchpad[0]:f16[128x64], …, accumulator[0]:f32[128x96])
//       dims(0,1,1,1) accumulate wait(1>=1) vector @vector (accumulator[0]:f32[128x96],
//       scratchpad[0]+0x8000:f16[128x96:192,2]) {
//         r0 = load.f32 %0
//         r1 = tanh.f32 r0
//         %1 = store.f16 r1
//       }
//     }
//   }
//
// A view is SPACE[INDEX]+BASE+$REGISTER*SCALE:TYPE[SIZES:STRIDES;dN<$REGISTER-OFFSET]. Bytes and offsets that
// are 0 and the strides of a dense row-major view are left out. $n is a launch register, rn a register of the
// vector engine, %n an operand of the command, dn a loop. Comments go from // to the line's end. Attributes
// of a command: dims(batch,m,n,k), accumulate, value=X (Fill), multicast(cores), if($n>X),
// wait(semaphore>=value, …), signal(semaphore), from "source".
#pragma once

#include "backends/npu/isa/Program.h"
#include "support/Diagnostic.h"

#include <unordered_map>

namespace npuc::isa {

/// Reads tokens of a text. Errors go to `diagnostics` with "FILE:LINE:COLUMN"; after the 100th none is added.
class TextReader {
public:
  TextReader(std::string_view text, std::string file, Diagnostics &diagnostics);

  bool atEnd();
  /// The next token is `token`, a word or a sign; accept() also takes it, expect() reports an error
  /// otherwise.
  bool peek(std::string_view token);
  bool accept(std::string_view token);
  bool expect(std::string_view token);
  /// Takes `prefix` if the text goes on with it, also in the middle of a word: the x of 96x512.
  bool acceptPrefix(std::string_view prefix);

  /// Each takes the next token if it is of that kind, and otherwise reports "expected KIND" and takes
  /// nothing.
  std::optional<std::string_view> word(std::string_view kind = "a word");
  std::optional<std::string> string();
  /// Decimal, or in base 16 without its 0x; within least…greatest.
  std::optional<int64_t> integer(int64_t least, int64_t greatest, std::string_view kind = "a number",
                                 int base = 10);
  std::optional<double> real();

  /// An error at the next token, or at the one that was taken last.
  void error(std::string what, std::string hint = {});
  void errorAtLast(std::string what, std::string hint = {});
  /// Says that an item begins here; after an error, skipItem() goes to the line after the last token that was
  /// taken (after the block, if that line opens one).
  void startItem();
  void skipItem();
  bool failed() const { return errors_ > 0; }

private:
  void skipSpace();
  std::string_view skipLine();
  std::string_view next();
  void report(size_t at, std::string what, std::string hint);

  std::string_view text_;
  std::string file_;
  Diagnostics &diagnostics_;
  size_t at_ = 0, last_ = 0;
  // Lines are counted on demand, from where they were counted last, so that all errors together cost one
  // pass.
  size_t countedTo_ = 0, line_ = 1, lineStart_ = 0;
  unsigned errors_ = 0;
};

std::optional<View> parseView(TextReader &reader);
std::optional<Buffer> parseBuffer(TextReader &reader);     ///< What follows the word `buffer`.
std::optional<Register> parseRegister(TextReader &reader); ///< What follows the word `register`.

/// Parses commands into pools. One parser for all commands of a program, so that each source gets one entry.
class CommandParser {
public:
  CommandParser(TextReader &reader, Pools &pools);
  std::optional<Command> parse();

private:
  struct Draft;
  bool parseAttribute(Command &command, Draft &draft);
  bool parseInstruction(VectorInstruction &instruction);
  std::optional<uint8_t> parseField(Field field);

  TextReader &reader_;
  Pools &pools_;
  std::unordered_map<std::string, uint32_t> sources_;
};

void print(std::string &out, const View &view);
void print(std::string &out, const Buffer &buffer);
void print(std::string &out, const Register &reg);
/// One line, or a block if the command has instructions; `indent` spaces before each line.
void print(std::string &out, const Pools &pools, const Command &command, unsigned indent);

/// print() and parse() are inverse up to equivalent().
std::string print(const Program &program);
std::optional<Program> parseProgram(std::string_view text, std::string file, Diagnostics &diagnostics);

/// `text` in double quotes, with \", \\, \n and \xHH for control characters.
std::string quoted(std::string_view text);

} // namespace npuc::isa
