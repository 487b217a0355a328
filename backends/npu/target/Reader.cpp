#include "backends/npu/target/Reader.h"

#include "backends/npu/target/Fields.h"
#include "backends/npu/target/PositionedJson.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace npuc::target {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;

constexpr double exactIntegers = 9007199254740992.0; // 2^53: a double states every whole number up to it

std::optional<double> parseNumber(const std::string &text) {
  double value = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

bool inRange(const FieldDescriptor &field, double value) {
  const Constraint &constraint = constraintOf(field);
  bool fits = value >= constraint.least() && value <= constraint.greatest();
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE)
    fits = fits && value == std::floor(value) && value <= exactIntegers;
  if (constraint.power_of_two())
    fits = fits && std::exp2(std::round(std::log2(value))) == value;
  return fits;
}

class Reader {
public:
  Reader(std::string origin, const JsonDocument &document, Report &report)
      : origin(std::move(origin)), document(document), report(report),
        gpu(std::ranges::any_of(document.nodes.front().children,
                                [&](uint32_t child) { return document.nodes[child].key == "gpu"; })) {}

  void readMessage(const JsonNode &node, Message &message, const std::string &path) {
    const Descriptor &type = *message.GetDescriptor();
    std::vector<bool> seen(type.field_count());
    for (uint32_t child : node.children) {
      const JsonNode &member = document.nodes[child];
      const FieldDescriptor *field = findField(type, member.key);
      std::string fieldPath = join(path, field ? field->name() : member.key);
      if (!field) {
        unknownField(type, member, path);
      } else if (seen[field->index()]) {
        report.setPlace(fieldPath, place(member));
        report.badField(fieldPath, fmt::format("{} is given twice", fieldPath), "", "keep one of them");
      } else {
        seen[field->index()] = true;
        report.setPlace(fieldPath, place(member));
        readField(member, message, *field, fieldPath);
      }
    }
    for (int i = 0; i < type.field_count(); ++i)
      if (!seen[i] && !isOptional(*type.field(i), gpu))
        missing(*type.field(i), join(path, type.field(i)->name()));
  }

private:
  static const FieldDescriptor *findField(const Descriptor &type, const std::string &name) {
    const FieldDescriptor *field = type.FindFieldByName(name);
    return field ? field : type.FindFieldByCamelcaseName(name);
  }

  std::string place(const JsonNode &node) const {
    return fmt::format("{}:{}:{}", origin, node.line, node.column);
  }

  void unknownField(const Descriptor &type, const JsonNode &member, const std::string &path) {
    std::vector<std::string> names;
    for (int i = 0; i < type.field_count(); ++i)
      names.push_back(type.field(i)->name());
    std::string near = nearest(member.key, names);
    std::string fieldPath = join(path, member.key);
    report.setPlace(fieldPath, place(member));
    report.error(fieldPath,
                 fmt::format("{} has no field '{}'", path.empty() ? "a description" : path, member.key), "",
                 near.empty() ? fmt::format("its fields are {}", fmt::join(names, ", "))
                              : fmt::format("did you mean '{}'?", near));
  }

  void missing(const FieldDescriptor &field, const std::string &path) {
    report.badField(path, path + " is missing", "it must be " + requirement(field));
  }

  void wrong(const JsonNode &node, const FieldDescriptor &field, const std::string &path,
             const std::string &expected, const std::string &hint = {}) {
    report.badField(path, fmt::format("{} is {}", path, shown(node)), "it must be " + expected, hint);
  }

  static std::string shown(const JsonNode &node) {
    switch (node.kind) {
    case JsonNode::Kind::Null:
      return "null";
    case JsonNode::Kind::Boolean:
      return node.boolean ? "true" : "false";
    case JsonNode::Kind::Number:
      return node.text;
    case JsonNode::Kind::String:
      return fmt::format("\"{}\"", node.text.size() > 40 ? node.text.substr(0, 40) + "…" : node.text);
    case JsonNode::Kind::Object:
      return "an object";
    case JsonNode::Kind::List:
      return "a list";
    }
    return "";
  }

  void readField(const JsonNode &node, Message &message, const FieldDescriptor &field,
                 const std::string &path) {
    if (isList(field))
      return readList(node, message, field, path);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
      return readScalar(node, message, field, path);
    if (node.kind != JsonNode::Kind::Object)
      return wrong(node, field, path, requirement(field));
    readMessage(node, *message.GetReflection()->MutableMessage(&message, &field), path);
  }

  void readList(const JsonNode &node, Message &message, const FieldDescriptor &field,
                const std::string &path) {
    if (node.kind != JsonNode::Kind::List)
      return wrong(node, field, path, requirement(field));
    if (node.children.empty() && !isOptional(field, gpu))
      report.badField(path, path + " is empty", "it must have an element");
    if (node.children.size() > greatestListElements)
      return report.badField(path, fmt::format("{} has {} elements", path, node.children.size()),
                             fmt::format("it must have at most {}", greatestListElements));
    for (size_t i = 0; i < node.children.size(); ++i) {
      const JsonNode &element = document.nodes[node.children[i]];
      std::string elementPath = fmt::format("{}[{}]", path, i);
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        if (element.kind == JsonNode::Kind::Object)
          readElement(element, message, field, path);
        else
          wrongElement(element, field, elementPath, "an object");
      } else if (element.kind == JsonNode::Kind::String) {
        message.GetReflection()->AddString(&message, &field, element.text);
      } else {
        wrongElement(element, field, elementPath, "a string");
      }
    }
  }

  void wrongElement(const JsonNode &node, const FieldDescriptor &field, const std::string &path,
                    const char *expected) {
    report.setPlace(path, place(node));
    wrong(node, field, path, expected);
  }

  // The path of an element that has a key shows it, so the key is read before the rest.
  void readElement(const JsonNode &node, Message &message, const FieldDescriptor &field,
                   const std::string &listPath) {
    const auto *reflection = message.GetReflection();
    int index = reflection->FieldSize(message, &field);
    Message &element = *reflection->AddMessage(&message, &field);
    std::string key = std::to_string(index);
    for (uint32_t child : node.children) {
      const JsonNode &member = document.nodes[child];
      const FieldDescriptor *keyField = findField(*element.GetDescriptor(), member.key);
      if (keyField && constraintOf(*keyField).key() && member.kind == JsonNode::Kind::String)
        key = member.text;
    }
    std::string path = fmt::format("{}[{}]", listPath, key);
    for (int other = 0; other < index; ++other)
      if (path == fmt::format("{}[{}]", listPath, elementKey(message, field, other))) {
        report.setPlace(path, place(node));
        report.badField(path, fmt::format("{} has two elements '{}'", listPath, key), "", "keep one of them");
      }
    report.setPlace(path, place(node));
    readMessage(node, element, path);
  }

  void readScalar(const JsonNode &node, Message &message, const FieldDescriptor &field,
                  const std::string &path) {
    const auto *reflection = message.GetReflection();
    using Kind = JsonNode::Kind;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      if (node.kind != Kind::Boolean)
        return wrong(node, field, path, requirement(field));
      return reflection->SetBool(&message, &field, node.boolean);
    }
    bool quoted = node.kind == Kind::String;
    bool fits = isNumber(field) ? quoted || node.kind == Kind::Number : quoted;
    if (!fits)
      return wrong(node, field, path, requirement(field));
    if (std::string expected = setScalar(message, field, node.text); !expected.empty())
      wrong(node, field, path, expected, hintFor(node, field));
  }

  static std::string hintFor(const JsonNode &node, const FieldDescriptor &field) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM)
      return {};
    std::vector<std::string> names;
    for (int i = 0; i < field.enum_type()->value_count(); ++i)
      if (field.enum_type()->value(i)->number() != 0)
        names.push_back(field.enum_type()->value(i)->name());
    std::string near = nearest(node.text, names);
    return near.empty() ? near : fmt::format("did you mean '{}'?", near);
  }

  std::string origin;
  const JsonDocument &document;
  Report &report;
  bool gpu; ///< The description has that group.
};

} // namespace

std::string setScalar(Message &message, const FieldDescriptor &field, const std::string &text) {
  const auto *reflection = message.GetReflection();
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_STRING:
    reflection->SetString(&message, &field, text);
    return {};
  case FieldDescriptor::CPPTYPE_BOOL:
    if (text != "true" && text != "false")
      return requirement(field);
    reflection->SetBool(&message, &field, text == "true");
    return {};
  case FieldDescriptor::CPPTYPE_ENUM: {
    const auto *value = field.enum_type()->FindValueByName(text);
    if (!value || value->number() == 0)
      return requirement(field);
    reflection->SetEnum(&message, &field, value);
    return {};
  }
  default:
    break;
  }
  std::optional<double> value = parseNumber(text);
  if (!value || !inRange(field, *value))
    return requirement(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32)
    reflection->SetUInt32(&message, &field, static_cast<uint32_t>(*value));
  else if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
    reflection->SetUInt64(&message, &field, static_cast<uint64_t>(*value));
  else
    reflection->SetDouble(&message, &field, *value);
  return {};
}

bool readJson(std::string_view text, const std::string &origin, TargetDescription &description,
              Report &report) {
  JsonError error;
  std::optional<JsonDocument> document = parseJson(text, error);
  if (!document) {
    report.setPlace("", fmt::format("{}:{}:{}", origin, error.line, error.column));
    report.badField("", "not JSON", error.message);
    return false;
  }
  const JsonNode &root = document->nodes.front();
  report.setPlace("", fmt::format("{}:{}:{}", origin, root.line, root.column));
  if (root.kind != JsonNode::Kind::Object) {
    report.badField("", "a target description is a JSON object");
    return false;
  }
  Reader(origin, *document, report).readMessage(root, description, "");
  return true;
}

} // namespace npuc::target
