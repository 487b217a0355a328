// The words of a PTX text.
#pragma once

#include "support/Diagnostic.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::ptx {

struct Token {
  enum class Kind : uint8_t {
    End,
    Word, ///< An identifier, opcode or directive with all its dots: "ld.global.f32", ".reg", "%tid.x", "_".
    Integer, ///< `value` is the number, modulo 2^64.
    Float32, ///< 0f…: `value` is the bits.
    Float64, ///< 0d… and decimal fractions: `value` is the bits.
    String,  ///< Without the quotes.
    Symbol,  ///< One character.
  };
  Kind kind = Kind::End;
  uint32_t line = 0; ///< From 1.
  uint64_t value = 0;
  std::string_view text; ///< Lies in the lexed text.

  bool is(char symbol) const { return kind == Kind::Symbol && text[0] == symbol; }
  bool isWord(std::string_view word) const { return kind == Kind::Word && text == word; }
};

/// All tokens of `text`, the last of them End. Errors, with the line: a character that PTX lacks, a number or
/// a comment that is not finished.
std::optional<std::vector<Token>> lex(std::string_view text, const std::string &file,
                                      Diagnostics &diagnostics);

} // namespace npuc::ptx
