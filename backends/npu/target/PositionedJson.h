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
  uint32_t offset = 0;            ///< Byte in the text where the value begins.
  std::string text;               ///< A string's value; a number as it is written.
  std::string key;                ///< In an object: the member's name.
  std::vector<uint32_t> children; ///< Indices of members or elements.
};

struct JsonDocument {
  std::vector<JsonNode> nodes; ///< nodes[0] is the document's value.
};

/// What is not JSON, and at which byte.
struct JsonError {
  std::string message;
  uint32_t offset = 0;
};

/// Reads a text below 4 GiB; anything that is not one JSON value gives nothing and fills `error`. Nesting is
/// unbounded.
std::optional<JsonDocument> parseJson(std::string_view text, JsonError &error);

/// "LINE:COLUMN" of a byte, both from 1, columns in bytes.
std::string lineAndColumn(std::string_view text, uint32_t offset);

} // namespace npuc::target
