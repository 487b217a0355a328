#include "backends/npu/target/Fields.h"

#include "support/Diagnostic.h"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace npuc::target {
namespace {

using google::protobuf::Descriptor;

const FieldDescriptor *keyOf(const Descriptor &type) {
  for (int i = 0; i < type.field_count(); ++i)
    if (constraintOf(*type.field(i)).key())
      return type.field(i);
  return nullptr;
}

std::string article(const FieldDescriptor &field) {
  if (constraintOf(field).power_of_two())
    return "a power of two";
  return field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ? "a number" : "a whole number";
}

std::vector<std::string> enumNames(const google::protobuf::EnumDescriptor &type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i)
    if (type.value(i)->number() != 0)
      names.push_back(type.value(i)->name());
  return names;
}

std::string suggestion(const std::string &name, const std::vector<std::string> &candidates,
                       std::string_view plural) {
  if (std::string near = nearest(name, candidates); !near.empty())
    return fmt::format("did you mean '{}'?", near);
  if (candidates.empty())
    return fmt::format("it has no {}", plural);
  return fmt::format("its {} are {}", plural, fmt::join(candidates, ", "));
}

void collect(const Message &message, const std::string &path, bool gpu, std::vector<Field> &out) {
  const auto *reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor &field = *message.GetDescriptor()->field(i);
    std::string fieldPath = join(path, field.name());
    if (fieldPath == "schema_version" || fieldPath == "provenance" || constraintOf(field).key())
      continue;
    if (isList(field)) {
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
        for (int e = 0; e < reflection->FieldSize(message, &field); ++e)
          collect(reflection->GetRepeatedMessage(message, &field, e),
                  fmt::format("{}[{}]", fieldPath, elementKey(message, field, e)), gpu, out);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (reflection->HasField(message, &field))
        collect(reflection->GetMessage(message, &field), fieldPath, gpu, out);
    } else if (field.cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      if (!isOptional(field, gpu) || reflection->HasField(message, &field))
        out.push_back({fieldPath, &message, &field});
    }
  }
}

} // namespace

const Constraint &constraintOf(const FieldDescriptor &descriptor) {
  return descriptor.options().GetExtension(field);
}

bool isNumber(const FieldDescriptor &field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
}

bool isList(const FieldDescriptor &field) {
  return field.is_repeated();
}

bool isOptional(const FieldDescriptor &field, bool gpu) {
  return constraintOf(field).optional() || (gpu && constraintOf(field).npu());
}

std::string formatNumber(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e16)
    return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

std::string requirement(const FieldDescriptor &field) {
  const Constraint &constraint = constraintOf(field);
  if (isList(field))
    return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? "a list of objects" : "a list of strings";
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_MESSAGE:
    return "an object";
  case FieldDescriptor::CPPTYPE_STRING:
    return "a string";
  case FieldDescriptor::CPPTYPE_BOOL:
    return "true or false";
  case FieldDescriptor::CPPTYPE_ENUM:
    return fmt::format("one of {}", fmt::join(enumNames(*field.enum_type()), ", "));
  default:
    return fmt::format("{} from {} to {}{}{}", article(field), formatNumber(constraint.least()),
                       formatNumber(constraint.greatest()), constraint.unit().empty() ? "" : " ",
                       constraint.unit());
  }
}

double numberValue(const Message &message, const FieldDescriptor &field) {
  const auto *reflection = message.GetReflection();
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_UINT32:
    return reflection->GetUInt32(message, &field);
  case FieldDescriptor::CPPTYPE_UINT64:
    return static_cast<double>(reflection->GetUInt64(message, &field));
  default:
    return reflection->GetDouble(message, &field);
  }
}

std::string formatValue(const Message &message, const FieldDescriptor &field) {
  const auto *reflection = message.GetReflection();
  switch (field.cpp_type()) {
  case FieldDescriptor::CPPTYPE_UINT32:
    return std::to_string(reflection->GetUInt32(message, &field));
  case FieldDescriptor::CPPTYPE_UINT64:
    return std::to_string(reflection->GetUInt64(message, &field));
  case FieldDescriptor::CPPTYPE_DOUBLE:
    return formatNumber(reflection->GetDouble(message, &field));
  case FieldDescriptor::CPPTYPE_BOOL:
    return reflection->GetBool(message, &field) ? "true" : "false";
  case FieldDescriptor::CPPTYPE_ENUM: {
    int value = reflection->GetEnumValue(message, &field);
    const auto *name = field.enum_type()->FindValueByNumber(value);
    return name ? name->name() : std::to_string(value);
  }
  default:
    return reflection->GetString(message, &field);
  }
}

std::string elementKey(const Message &message, const FieldDescriptor &list, int index) {
  if (list.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
    if (const FieldDescriptor *key = keyOf(*list.message_type()))
      return formatValue(message.GetReflection()->GetRepeatedMessage(message, &list, index), *key);
  return std::to_string(index);
}

std::string join(const std::string &parent, const std::string &child) {
  return parent.empty() ? child : parent + "." + child;
}

bool covers(const std::string &group, const std::string &path) {
  if (group.empty() || group == path)
    return true;
  return path.starts_with(group) && (path[group.size()] == '.' || path[group.size()] == '[');
}

Place resolve(Message &root, const std::string &path, PathError &error) {
  Message *message = &root;
  std::string walked;
  size_t at = 0;
  while (true) {
    size_t end = std::min(path.find_first_of(".[", at), path.size());
    std::string name = path.substr(at, end - at);
    const FieldDescriptor *field = message->GetDescriptor()->FindFieldByName(name);
    if (!field) {
      std::vector<std::string> names;
      for (int i = 0; i < message->GetDescriptor()->field_count(); ++i)
        names.push_back(message->GetDescriptor()->field(i)->name());
      error = {fmt::format("{} has no field '{}'", walked.empty() ? "a description" : walked, name),
               suggestion(name, names, "fields")};
      return {};
    }
    walked = join(walked, name);
    Place place{message, field, -1};
    bool isMessage = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (end < path.size() && path[end] == '[') {
      size_t close = path.find(']', end);
      if (!isList(*field) || close == std::string::npos) {
        error = isList(*field)
                    ? PathError{fmt::format("'[' after {} is not closed", walked), "write ']' after the key"}
                    : PathError{fmt::format("{} is not a list", walked), "leave out the '[…]'"};
        return {};
      }
      std::string key = path.substr(end + 1, close - end - 1);
      std::vector<std::string> keys;
      for (int e = 0; e < message->GetReflection()->FieldSize(*message, field); ++e)
        keys.push_back(elementKey(*message, *field, e));
      auto found = std::find(keys.begin(), keys.end(), key);
      if (found == keys.end()) {
        error = {fmt::format("{} has no element '{}'", walked, key), suggestion(key, keys, "elements")};
        return {};
      }
      place.element = static_cast<int>(found - keys.begin());
      walked += "[" + key + "]";
      end = close + 1;
    }
    if (end == path.size())
      return place;
    if (path[end] != '.') {
      error = {fmt::format("'{}' after {} is neither '.' nor the end", path.substr(end), walked),
               "write FIELD.FIELD[KEY].FIELD"};
      return {};
    }
    if (!isMessage || (isList(*field) && place.element < 0)) {
      error = isMessage ? PathError{fmt::format("{} is a list", walked),
                                    fmt::format("name an element, as in {}[KEY]", walked)}
                        : PathError{fmt::format("{} has no fields", walked), "end the path there"};
      return {};
    }
    const auto *reflection = message->GetReflection();
    if (!isList(*field) && !reflection->HasField(*message, field)) {
      error = {fmt::format("this description has no {}", walked),
               "add the group to a description file of your own"};
      return {};
    }
    message = isList(*field) ? reflection->MutableRepeatedMessage(message, field, place.element)
                             : reflection->MutableMessage(message, field);
    at = end + 1;
  }
}

std::vector<Field> figures(const TargetDescription &description) {
  std::vector<Field> out;
  collect(description, "", description.has_gpu(), out);
  return out;
}

} // namespace npuc::target
