// A JSON document as a flat tree in which every value knows where it stands in the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::target {

struct JsonNode {
  enum class Kind : uint8_t { Null, Boolean, Number, String, Object, List };
  Kind kind = Kind::Null;
  bool boolean = false;
  uint32_t line = 1, column = 1;  ///< Where the value begins, both from 1, columns in bytes.
  std::string text;               ///< A string's value; a number as it is written.
  std::string key;                ///< In an object: the member's name.
  std::vector<uint32_t> children; ///< Indices of members or elements.
};

struct JsonDocument {
  std::vector<JsonNode> nodes; ///< nodes[0] is the document's value.
};

/// What is not JSON, and where.
struct JsonError {
  std::string message;
  uint32_t line = 1, column = 1;
};

/// Anything that is not one JSON value gives nothing and fills `error`. Nesting is unbounded.
std::optional<JsonDocument> parseJson(std::string_view text, JsonError &error);

} // namespace npuc::target
