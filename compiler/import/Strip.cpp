#include "compiler/import/Strip.h"

#include <algorithm>
#include <google/protobuf/io/coded_stream.h>
#include <onnx/onnx_pb.h>

namespace npuc::importer {
namespace {

using google::protobuf::io::CodedOutputStream;

/// Messages within messages, as many as protobuf's parser takes.
constexpr int maximumDepth = 100;

/// The messages on the way from a model to a tensor, and by which fields (onnx.proto) they hold each other.
enum class Message { Model, Graph, Node, Attribute, Function, Tensor, Opaque };

Message child(Message parent, uint32_t field) {
  switch (parent) {
  case Message::Model: // graph, functions
    return field == 7 ? Message::Graph : field == 25 ? Message::Function : Message::Opaque;
  case Message::Graph: // node, initializer
    return field == 1 ? Message::Node : field == 5 ? Message::Tensor : Message::Opaque;
  case Message::Function: // node
    return field == 7 ? Message::Node : Message::Opaque;
  case Message::Node: // attribute
    return field == 5 ? Message::Attribute : Message::Opaque;
  case Message::Attribute: // t, tensors; g, graphs
    return field == 5 || field == 10   ? Message::Tensor
           : field == 6 || field == 11 ? Message::Graph
                                       : Message::Opaque;
  case Message::Tensor:
  case Message::Opaque:
    return Message::Opaque;
  }
  return Message::Opaque;
}

/// raw_data, packed float_data, packed double_data.
bool isRawField(uint32_t field) {
  return field == 9 || field == 4 || field == 10;
}

std::optional<uint64_t> readVarint(std::string_view bytes, size_t &at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return value;
  }
  return std::nullopt;
}

void writeVarint(uint64_t value, std::string &out) {
  uint8_t buffer[10];
  uint8_t *end = CodedOutputStream::WriteVarint64ToArray(value, buffer);
  out.append(reinterpret_cast<char *>(buffer), static_cast<size_t>(end - buffer));
}

class Stripper {
public:
  Stripper(std::string_view model, size_t limit, std::string_view location)
      : model_(model), limit_(limit), location_(location) {}

  /// Appends the message that is bytes [begin, end) of the model.
  bool copy(Message message, size_t begin, size_t end, std::string &out) {
    bool isExternal = false;
    for (size_t at = begin; at < end;) {
      size_t start = at;
      std::optional<uint64_t> tag = readVarint(model_.substr(0, end), at);
      if (!tag || (*tag >> 3) == 0 || (*tag >> 3) > (1u << 29))
        return false;
      auto field = static_cast<uint32_t>(*tag >> 3);
      std::optional<size_t> next = skip(*tag & 7, at, end);
      if (!next)
        return false;
      isExternal |= message == Message::Tensor && isTaken(field, *next - at);
      if (isExternal && field == 14) // data_location, which says that the bytes are here.
        ;
      else if ((*tag & 7) != 2)
        out.append(model_, start, *next - start);
      else if (!copyDelimited(message, field, start, at, *next, out))
        return false;
      at = *next;
    }
    return true;
  }

private:
  bool isTaken(uint32_t field, size_t bytes) const { return isRawField(field) && bytes >= limit_; }

  /// The end of a field's value that starts at `at`; a length is read, and `at` moved behind it.
  std::optional<size_t> skip(unsigned wireType, size_t &at, size_t end) {
    std::string_view message = model_.substr(0, end);
    switch (wireType) {
    case 0: {
      size_t next = at;
      return readVarint(message, next) ? std::optional(next) : std::nullopt;
    }
    case 1:
      return end - at >= 8 ? std::optional(at + 8) : std::nullopt;
    case 5:
      return end - at >= 4 ? std::optional(at + 4) : std::nullopt;
    case 2: {
      std::optional<uint64_t> length = readVarint(message, at);
      return length && *length <= end - at ? std::optional(at + *length) : std::nullopt;
    }
    default:
      return std::nullopt;
    }
  }

  bool copyDelimited(Message message, uint32_t field, size_t start, size_t at, size_t next,
                     std::string &out) {
    if (message == Message::Tensor && isTaken(field, next - at)) {
      writeExternal(at, next - at, out);
      return true;
    }
    Message inner = child(message, field);
    // Only large messages can hold a large tensor; the rest is copied as it stands.
    if (inner == Message::Opaque || next - at < limit_) {
      out.append(model_, start, next - start);
      return true;
    }
    std::string copied;
    ++depth_;
    if (depth_ > maximumDepth || !copy(inner, at, next, copied))
      return false;
    --depth_;
    writeVarint(field << 3 | 2, out);
    writeVarint(copied.size(), out);
    out += copied;
    return true;
  }

  void writeExternal(size_t offset, size_t length, std::string &out) {
    onnx::TensorProto tensor;
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    auto add = [&](const char *key, std::string value) {
      onnx::StringStringEntryProto *entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(std::move(value));
    };
    add("location", std::string(location_));
    add("offset", std::to_string(offset));
    add("length", std::to_string(length));
    out += tensor.SerializeAsString();
  }

  std::string_view model_;
  size_t limit_;
  std::string_view location_;
  int depth_ = 0;
};

} // namespace

std::optional<std::string> stripLargeTensors(std::string_view model, size_t limit,
                                             std::string_view location) {
  std::string out;
  if (!Stripper(model, limit, location).copy(Message::Model, 0, model.size(), out))
    return std::nullopt;
  return out;
}

} // namespace npuc::importer
