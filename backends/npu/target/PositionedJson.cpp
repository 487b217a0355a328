#include "backends/npu/target/PositionedJson.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace npuc::target {
namespace {

// Tells how far the parser has read, which its event interface does not.
class CountingIterator {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;

  CountingIterator(const char *at, const char **reached) : at(at), reached(reached) {}
  reference operator*() const { return *at; }
  CountingIterator &operator++() {
    *reached = ++at;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator &other) const { return at == other.at; }
  bool operator!=(const CountingIterator &other) const { return at != other.at; }

private:
  const char *at;
  const char **reached;
};

class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
public:
  TreeBuilder(std::string_view text, JsonDocument &document, JsonError &error)
      : text(text), reached(text.data()), document(document), error(error) {}

  const char **reachedPointer() { return &reached; }

  bool null() override { return add(JsonNode::Kind::Null), true; }
  bool boolean(bool value) override {
    add(JsonNode::Kind::Boolean).boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) override { return number(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(std::to_string(value)); }
  bool number_float(number_float_t, const string_t &written) override { return number(written); }
  bool string(string_t &value) override {
    add(JsonNode::Kind::String).text = std::move(value);
    return true;
  }
  bool binary(binary_t &) override { return false; }
  bool start_object(size_t) override { return open(JsonNode::Kind::Object); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(JsonNode::Kind::List); }
  bool end_array() override { return close(); }
  bool key(string_t &value) override {
    memberKey = std::move(value);
    previous = reached;
    return true;
  }
  bool parse_error(size_t position, const std::string &,
                   const nlohmann::json::exception &exception) override {
    error.message = exception.what();
    // "[json.exception.parse_error.101] parse error at line 3, column 5: syntax error …": our own position is
    // given apart.
    for (std::string_view mark : {"] ", ": "})
      if (size_t at = error.message.find(mark);
          at != std::string::npos && (mark == "] " || error.message.starts_with("parse error at")))
        error.message.erase(0, at + mark.size());
    moveTo(position > 0 ? position - 1 : 0);
    error.line = line;
    error.column = column;
    return false;
  }

private:
  JsonNode &add(JsonNode::Kind kind) {
    auto index = static_cast<uint32_t>(document.nodes.size());
    if (!open_.empty())
      document.nodes[open_.back()].children.push_back(index);
    JsonNode &node = document.nodes.emplace_back();
    node.kind = kind;
    node.key = std::move(memberKey);
    memberKey.clear();
    // Between the end of the event before and the value stand only blanks and separators.
    moveTo(text.find_first_not_of(" \t\r\n,:", previous - text.data()));
    node.line = line;
    node.column = column;
    previous = reached;
    return node;
  }
  // Positions only grow, so each byte is looked at once.
  void moveTo(size_t offset) {
    for (offset = std::min(offset, text.size()); at < offset; ++at) {
      column = text[at] == '\n' ? 1 : column + 1;
      line += text[at] == '\n';
    }
  }
  bool number(std::string written) {
    add(JsonNode::Kind::Number).text = std::move(written);
    return true;
  }
  bool open(JsonNode::Kind kind) {
    add(kind);
    open_.push_back(static_cast<uint32_t>(document.nodes.size() - 1));
    return true;
  }
  bool close() {
    open_.pop_back();
    previous = reached;
    return true;
  }

  std::string_view text;
  const char *reached;
  const char *previous = text.data();
  JsonDocument &document;
  JsonError &error;
  std::string memberKey;
  size_t at = 0;
  uint32_t line = 1, column = 1;
  std::vector<uint32_t> open_;
};

} // namespace

std::optional<JsonDocument> parseJson(std::string_view text, JsonError &error) {
  JsonDocument document;
  TreeBuilder builder(text, document, error);
  CountingIterator first(text.data(), builder.reachedPointer());
  CountingIterator last(text.data() + text.size(), builder.reachedPointer());
  if (!nlohmann::json::sax_parse(first, last, &builder))
    return std::nullopt;
  return document;
}

} // namespace npuc::target
