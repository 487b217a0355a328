// The schema seen through reflection: constraints, paths, and the figures of a description.
#pragma once

#include "backends/npu/target/target.pb.h"

#include <functional>
#include <string>
#include <vector>

namespace npuc::target {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const Constraint &constraintOf(const FieldDescriptor &field);
bool isNumber(const FieldDescriptor &field); ///< uint32, uint64 or double.
bool isList(const FieldDescriptor &field);   ///< Repeated.
/// May be absent from a description; `gpu`: from one that has the group of that name.
bool isOptional(const FieldDescriptor &field, bool gpu);

/// No list is longer, so that checks that compare elements with each other end soon on any input.
inline constexpr size_t greatestListElements = 256;

/// What may stand in a field, as errors and the reference say it: "a whole number from 1 to 4096 lanes".
std::string requirement(const FieldDescriptor &field);
/// A number without an exponent and without needless digits.
std::string formatNumber(double value);
/// A scalar field's value as text: a number, true or false, an enum value's or string's characters.
std::string formatValue(const Message &message, const FieldDescriptor &field);
double numberValue(const Message &message, const FieldDescriptor &field);

/// What names element `index` of a list in a path: its key, or its position.
std::string elementKey(const Message &message, const FieldDescriptor &list, int index);
/// "a.b" from "a" and "b"; "b" from "" and "b".
std::string join(const std::string &parent, const std::string &child);
/// `path` is `group` or lies in it. "" is the whole description.
bool covers(const std::string &group, const std::string &path);

/// A field, list or element that a path names. `message` holds `field`.
struct Place {
  Message *message = nullptr;
  const FieldDescriptor *field = nullptr;
  int element = -1; ///< In a list: the element; -1: the list itself.
};
/// Why a path names nothing.
struct PathError {
  std::string what, hint;
};
/// Follows a path from `root`; an absent optional group is an error, an absent optional number is not. Gives
/// message == nullptr and fills `error` if the path names nothing.
Place resolve(Message &root, const std::string &path, PathError &error);

/// One scalar field of a description.
struct Field {
  std::string path;
  const Message *message = nullptr;
  const FieldDescriptor *field = nullptr;
};
/// Every figure that the description states: numbers, switches and choices, but no keys, no schema_version,
/// nothing in the provenance, and no optional one that is absent. In the schema's order.
std::vector<Field> figures(const TargetDescription &description);

} // namespace npuc::target
