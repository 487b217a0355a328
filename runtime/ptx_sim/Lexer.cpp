#include "runtime/ptx_sim/Lexer.h"

#include <bit>
#include <cctype>
#include <charconv>
#include <fmt/format.h>

namespace npuc::ptx {
namespace {

bool startsWord(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}
bool continuesWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '.';
}

class Lexer {
public:
  Lexer(std::string_view text, const std::string &file, Diagnostics &diagnostics)
      : text_(text), file_(file), diagnostics_(diagnostics) {}

  std::optional<std::vector<Token>> run() {
    while (skipBlank() && at_ < text_.size())
      if (!next())
        return std::nullopt;
    if (failed_)
      return std::nullopt;
    tokens_.push_back({Token::Kind::End, line_, 0, text_.substr(text_.size())});
    return std::move(tokens_);
  }

private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  bool fail(std::string what, std::string why = {}) {
    diagnostics_.error(fmt::format("{}:{}", file_, line_), std::move(what), std::move(why));
    failed_ = true;
    return false;
  }

  /// Over white space and comments.
  bool skipBlank() {
    while (at_ < text_.size()) {
      if (peek() == '\n') {
        ++line_;
        ++at_;
      } else if (std::isspace(static_cast<unsigned char>(peek()))) {
        ++at_;
      } else if (peek() == '/' && peek(1) == '/') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (peek() == '/' && peek(1) == '*') {
        const size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos)
          return fail("the comment has no end");
        for (; at_ < end + 2; ++at_)
          line_ += text_[at_] == '\n';
      } else {
        break;
      }
    }
    return true;
  }

  void push(Token::Kind kind, size_t begin, uint64_t value = 0) {
    tokens_.push_back({kind, line_, value, text_.substr(begin, at_ - begin)});
  }

  bool next() {
    const size_t begin = at_;
    if (std::isdigit(static_cast<unsigned char>(peek())))
      return number();
    if (startsWord(peek())) {
      // A directive ends before the next dot: what follows .reg may stand close to it.
      const bool directive = text_[at_++] == '.';
      // "::" belongs to modifiers such as .L2::128B; a label ends with one colon.
      while ((continuesWord(peek()) && !(directive && peek() == '.')) ||
             (peek() == ':' && peek(1) == ':' && continuesWord(peek(2))))
        at_ += peek() == ':' ? 2 : 1;
      push(Token::Kind::Word, begin);
      return true;
    }
    if (peek() == '"') {
      const size_t end = text_.find_first_of("\"\n", at_ + 1);
      if (end == std::string_view::npos || text_[end] == '\n')
        return fail("the string has no end");
      at_ = end + 1;
      tokens_.push_back({Token::Kind::String, line_, 0, text_.substr(begin + 1, end - begin - 1)});
      return true;
    }
    if (std::string_view(",;:{}[]()<>@!|=+-~").find(peek()) == std::string_view::npos)
      return fail("the character is none of PTX",
                  fmt::format("it has the code {}", int(static_cast<unsigned char>(peek()))));
    ++at_;
    push(Token::Kind::Symbol, begin);
    return true;
  }

  /// Digits in `base` from `first` to the end of what could be digits or letters.
  bool digits(size_t begin, size_t first, int base, Token::Kind kind, size_t exactly = 0) {
    at_ = first;
    while (std::isalnum(static_cast<unsigned char>(peek())))
      ++at_;
    std::string_view body = text_.substr(first, at_ - first);
    if (kind == Token::Kind::Integer && body.ends_with('U'))
      body.remove_suffix(1);
    uint64_t value = 0;
    const auto parsed = std::from_chars(body.data(), body.data() + body.size(), value, base);
    if (body.empty() || parsed.ptr != body.data() + body.size() || parsed.ec != std::errc() ||
        (exactly && body.size() != exactly))
      return fail("the number is malformed",
                  fmt::format("'{}'", text_.substr(begin, std::min<size_t>(at_ - begin, 40))));
    push(kind, begin, value);
    return true;
  }

  bool number() {
    const size_t begin = at_;
    const char second = static_cast<char>(std::tolower(static_cast<unsigned char>(peek(1))));
    if (peek() == '0' && second == 'x')
      return digits(begin, begin + 2, 16, Token::Kind::Integer);
    if (peek() == '0' && second == 'f')
      return digits(begin, begin + 2, 16, Token::Kind::Float32, 8);
    if (peek() == '0' && second == 'd')
      return digits(begin, begin + 2, 16, Token::Kind::Float64, 16);
    if (peek() == '0' && second == 'b')
      return digits(begin, begin + 2, 2, Token::Kind::Integer);
    size_t end = at_;
    while (end < text_.size() && std::isdigit(static_cast<unsigned char>(text_[end])))
      ++end;
    const bool fraction = end < text_.size() && (text_[end] == '.' || text_[end] == 'e' || text_[end] == 'E');
    if (!fraction)
      return digits(begin, begin, peek() == '0' && end > begin + 1 ? 8 : 10, Token::Kind::Integer);
    double value = 0;
    const auto parsed = std::from_chars(text_.data() + begin, text_.data() + text_.size(), value);
    if (parsed.ec != std::errc())
      return fail("the number is malformed");
    at_ = static_cast<size_t>(parsed.ptr - text_.data());
    push(Token::Kind::Float64, begin, std::bit_cast<uint64_t>(value));
    return true;
  }

  std::string_view text_;
  const std::string &file_;
  Diagnostics &diagnostics_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool failed_ = false;
};

} // namespace

std::optional<std::vector<Token>> lex(std::string_view text, const std::string &file,
                                      Diagnostics &diagnostics) {
  return Lexer(text, file, diagnostics).run();
}

} // namespace npuc::ptx
