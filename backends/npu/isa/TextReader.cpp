#include "backends/npu/isa/Text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

namespace npuc::isa {
namespace {

bool isWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool isDigit(char c) {
  return c >= '0' && c <= '9';
}
bool isWordPart(char c) {
  return isWordStart(c) || isDigit(c);
}

int hexDigit(char c) {
  if (isDigit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

} // namespace

TextReader::TextReader(std::string_view text, std::string file, Diagnostics &diagnostics)
    : text_(text), file_(std::move(file)), diagnostics_(diagnostics) {}

void TextReader::skipSpace() {
  while (at_ < text_.size()) {
    if (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')
      ++at_;
    else if (text_.substr(at_, 2) == "//")
      at_ = std::min(text_.find('\n', at_), text_.size());
    else
      return;
  }
}

// The next token without taking it: a word, or else one character. Numbers and strings are read by who
// expects them.
std::string_view TextReader::next() {
  skipSpace();
  size_t end = at_;
  if (end < text_.size() && isWordStart(text_[end]))
    while (end < text_.size() && isWordPart(text_[end]))
      ++end;
  else if (end < text_.size())
    ++end;
  return text_.substr(at_, end - at_);
}

bool TextReader::atEnd() {
  skipSpace();
  return at_ == text_.size();
}

bool TextReader::peek(std::string_view token) {
  if (isWordStart(token[0]))
    return next() == token;
  skipSpace();
  return text_.substr(at_, token.size()) == token;
}

bool TextReader::accept(std::string_view token) {
  if (!peek(token))
    return false;
  last_ = at_;
  at_ += token.size();
  return true;
}

bool TextReader::expect(std::string_view token) {
  if (accept(token))
    return true;
  error(fmt::format("expected '{}'", token));
  return false;
}

bool TextReader::acceptPrefix(std::string_view prefix) {
  if (text_.substr(at_, prefix.size()) != prefix)
    return false;
  last_ = at_;
  at_ += prefix.size();
  return true;
}

std::optional<std::string_view> TextReader::word(std::string_view kind) {
  std::string_view token = next();
  if (token.empty() || !isWordStart(token[0])) {
    error(fmt::format("expected {}", kind));
    return std::nullopt;
  }
  last_ = at_;
  at_ += token.size();
  return token;
}

std::optional<std::string> TextReader::string() {
  if (!accept("\"")) {
    error("expected a string in double quotes");
    return std::nullopt;
  }
  std::string out;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') {
    char c = text_[at_++];
    if (c != '\\') {
      out += c;
      continue;
    }
    char escape = at_ < text_.size() ? text_[at_++] : '\0';
    if (escape == 'n') {
      out += '\n';
    } else if (escape == '"' || escape == '\\') {
      out += escape;
    } else if (int high, low; escape == 'x' && at_ + 2 <= text_.size() &&
                              (high = hexDigit(text_[at_])) >= 0 && (low = hexDigit(text_[at_ + 1])) >= 0) {
      out += static_cast<char>(high * 16 + low);
      at_ += 2;
    } else {
      at_ -= 1;
      error("unknown escape in a string", R"(known are \", \\, \n and \xHH)");
      return std::nullopt;
    }
  }
  if (at_ == text_.size() || text_[at_] != '"') {
    errorAtLast("the string does not end on its line");
    return std::nullopt;
  }
  ++at_;
  return out;
}

std::optional<int64_t> TextReader::integer(int64_t least, int64_t greatest, std::string_view kind, int base) {
  skipSpace();
  const char *first = text_.data() + at_, *end = text_.data() + text_.size(), *digits = first;
  const bool negative = digits != end && *digits == '-';
  digits += negative;
  uint64_t magnitude = 0;
  auto [stop, status] = std::from_chars(digits, end, magnitude, base);
  if (stop == digits) {
    error(fmt::format("expected {}", kind));
    return std::nullopt;
  }
  last_ = at_;
  at_ += stop - first;
  // The greatest magnitude of each sign, so that the value is representable before it is compared.
  const uint64_t limit = uint64_t(std::numeric_limits<int64_t>::max()) + negative;
  const auto value = static_cast<int64_t>(negative ? -magnitude : magnitude);
  if (status != std::errc() || magnitude > limit || value < least || value > greatest) {
    errorAtLast(fmt::format("{} is {}, which is outside {}…{}", kind, std::string_view(first, stop - first),
                            least, greatest));
    return std::nullopt;
  }
  return value;
}

std::optional<double> TextReader::real() {
  skipSpace();
  double value = 0;
  const char *first = text_.data() + at_;
  // Also reads inf and nan; what is too large or too small for a double is an error, as is what follows at
  // once.
  auto [stop, status] = std::from_chars(first, text_.data() + text_.size(), value);
  if (status != std::errc()) {
    error("expected a number that fits in 64-bit floating point");
    return std::nullopt;
  }
  last_ = at_;
  at_ += stop - first;
  return value;
}

void TextReader::error(std::string what, std::string hint) {
  skipSpace();
  size_t end = std::min(text_.find_first_of(" \t\r\n", at_), text_.size());
  std::string_view found = text_.substr(at_, std::min<size_t>(end - at_, 20));
  report(at_, what + (found.empty() ? ", found the end" : fmt::format(", found '{}'", found)),
         std::move(hint));
}

void TextReader::errorAtLast(std::string what, std::string hint) {
  report(last_, std::move(what), std::move(hint));
}

void TextReader::report(size_t at, std::string what, std::string hint) {
  if (++errors_ > 100)
    return;
  if (at < countedTo_)
    countedTo_ = lineStart_ = 0, line_ = 1;
  for (; countedTo_ < at; ++countedTo_)
    if (text_[countedTo_] == '\n')
      ++line_, lineStart_ = countedTo_ + 1;
  diagnostics_.error(fmt::format("{}:{}:{}", file_, line_, at - lineStart_ + 1), std::move(what), {},
                     std::move(hint));
}

void TextReader::startItem() {
  skipSpace();
  last_ = at_;
}

// Returns the rest of the line, without space at its ends.
std::string_view TextReader::skipLine() {
  size_t end = std::min(text_.find('\n', at_), text_.size());
  std::string_view line = text_.substr(at_, end - at_);
  at_ = std::min(end + 1, text_.size());
  const std::string_view space = " \t\r";
  size_t first = line.find_first_not_of(space);
  return first == std::string_view::npos ? "" : line.substr(first, line.find_last_not_of(space) - first + 1);
}

void TextReader::skipItem() {
  at_ = last_;
  if (skipLine().ends_with('{'))
    while (at_ < text_.size() && !skipLine().starts_with('}')) {
    }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + '"';
}

} // namespace npuc::isa
