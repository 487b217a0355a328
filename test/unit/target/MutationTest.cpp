// Every constrained field of the schema, set to what it must not be; and texts and messages changed at
// random.
#include "backends/npu/target/Fields.h"
#include "test/unit/target/Common.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/message_differencer.h>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

namespace npuc::target {
namespace {

using Json = nlohmann::ordered_json;

// One scalar in a description's JSON, with the path that errors must call it by.
struct Scalar {
  Json::json_pointer pointer;
  std::string path;       // of this element: "dma[main].startup_cycles"
  std::string schemaPath; // of all like it: "dma.startup_cycles"
  const FieldDescriptor *field = nullptr;
};

std::string keyOf(const Json &element, size_t index) {
  for (const char *key : {"operand", "function", "name", "type"})
    if (element.contains(key))
      return element[key];
  return std::to_string(index);
}

void collect(const Json &node, const google::protobuf::Descriptor &type, const Scalar &at,
             std::vector<Scalar> &out) {
  for (const auto &[name, value] : node.items()) {
    const FieldDescriptor *field = type.FindFieldByName(name);
    REQUIRE(field);
    auto under = [](const std::string &parent, const std::string &child) {
      return parent.empty() ? child : parent + "." + child;
    };
    Scalar here{at.pointer / name, under(at.path, name), under(at.schemaPath, name), field};
    if (here.path == "provenance")
      continue;
    if (value.is_object()) {
      collect(value, *field->message_type(), here, out);
    } else if (value.is_array()) {
      for (size_t i = 0; i < value.size(); ++i)
        collect(
            value[i], *field->message_type(),
            {here.pointer / i, fmt::format("{}[{}]", here.path, keyOf(value[i], i)), here.schemaPath, field},
            out);
    } else {
      out.push_back(here);
    }
  }
}

std::vector<Scalar> scalarsOf(const Json &json) {
  std::vector<Scalar> out;
  collect(json, *TargetDescription::descriptor(), Scalar(), out);
  return out;
}

// The first error about the field must name its path, and if it is a number its range and unit.
void checkRejected(const Json &json, const Scalar &scalar, const std::string &change) {
  Diagnostics diagnostics;
  INFO(scalar.path << " " << change);
  REQUIRE_FALSE(parse(json.dump(1), "chip.json", {}, diagnostics));
  INFO(diagnostics.text());
  const Diagnostic *found = nullptr;
  for (const Diagnostic &d : diagnostics.all())
    if (!found && d.what.starts_with(scalar.path + " is "))
      found = &d;
  REQUIRE(found);
  CHECK(found->where.starts_with("chip.json:"));
  if (!isNumber(*scalar.field))
    return;
  const Constraint &constraint = constraintOf(*scalar.field);
  CHECK(found->why.find(fmt::format("from {} to {}", formatNumber(constraint.least()),
                                    formatNumber(constraint.greatest()))) != std::string::npos);
  if (!constraint.unit().empty())
    CHECK(found->why.ends_with(" " + constraint.unit()));
}

TEST_CASE("every number of the schema has a range") {
  std::vector<const google::protobuf::Descriptor *> open = {TargetDescription::descriptor()};
  while (!open.empty()) {
    const google::protobuf::Descriptor *type = open.back();
    open.pop_back();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor *field = type->field(i);
      INFO(field->full_name());
      if (field->message_type())
        open.push_back(field->message_type());
      else if (isNumber(*field))
        CHECK(constraintOf(*field).greatest() >= std::max(1.0, constraintOf(*field).least()));
    }
  }
}

TEST_CASE("every field of every description rejects what its constraint forbids") {
  std::set<std::string> covered;
  for (const std::string &name : builtinNames()) {
    const Json original = Json::parse(builtinText(name));
    for (const Scalar &scalar : scalarsOf(original)) {
      // A field is tried once over all descriptions.
      if (!covered.insert(scalar.schemaPath).second)
        continue;
      const Constraint &constraint = constraintOf(*scalar.field);
      auto tryValue = [&](Json value) {
        Json changed = original;
        changed[scalar.pointer] = value;
        Scalar named = scalar;
        // Elements are called by their key, also if it is wrong.
        if (constraint.key() && value.is_string())
          named.path = scalar.path.substr(0, scalar.path.rfind('[')) + "[" + value.get<std::string>() +
                       scalar.path.substr(scalar.path.rfind(']'));
        else if (constraint.key())
          named.path.clear();
        if (!named.path.empty())
          checkRejected(changed, named, "= " + value.dump());
        else
          CHECK_FALSE(errorsOf(changed.dump()).empty());
      };
      if (isNumber(*scalar.field)) {
        double least = constraint.least(), greatest = constraint.greatest();
        bool whole = scalar.field->cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE;
        tryValue(whole ? Json(static_cast<int64_t>(least) - 1) : Json(least - 1));
        tryValue(whole ? Json(static_cast<int64_t>(greatest) + 1) : Json(greatest + 1));
        tryValue(1e300);
        tryValue("many");
        if (whole)
          tryValue(least + 0.5);
        if (constraint.power_of_two())
          tryValue(static_cast<int64_t>(greatest) / 2 - 1);
      } else if (scalar.field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        tryValue("NO_SUCH_VALUE");
        tryValue(scalar.field->enum_type()->FindValueByNumber(0)->name());
      }
      if (scalar.field->cpp_type() != FieldDescriptor::CPPTYPE_BOOL)
        tryValue(true);
      tryValue(nullptr);
      tryValue(Json::array());
      tryValue(Json::object());
      if (!constraint.optional() && !constraint.key()) {
        Json changed = original;
        changed[scalar.pointer.parent_pointer()].erase(scalar.pointer.back());
        checkRejected(changed, scalar, "missing");
      }
    }
  }
  // Between them the descriptions use every scalar of the schema but those of the provenance.
  std::set<std::string> all;
  std::vector<std::pair<const google::protobuf::Descriptor *, std::string>> open = {
      {TargetDescription::descriptor(), ""}};
  while (!open.empty()) {
    auto [type, path] = open.back();
    open.pop_back();
    for (int i = 0; i < type->field_count(); ++i) {
      std::string fieldPath = join(path, type->field(i)->name());
      if (type->field(i)->message_type())
        open.push_back({type->field(i)->message_type(), fieldPath});
      else if (!fieldPath.starts_with("provenance"))
        all.insert(fieldPath);
    }
  }
  CHECK(covered == all);
}

TEST_CASE("a decoded message is held to the same constraints") {
  for (const std::string &name : builtinNames()) {
    const TargetDescription original = builtin(name);
    for (const Field &figure : figures(original)) {
      if (!isNumber(*figure.field))
        continue;
      const Constraint &constraint = constraintOf(*figure.field);
      TargetDescription changed = original;
      PathError error;
      Place place = resolve(changed, figure.path, error);
      REQUIRE(place.message);
      const auto *reflection = place.message->GetReflection();
      if (figure.field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32)
        reflection->SetUInt32(place.message, place.field, static_cast<uint32_t>(constraint.greatest()) + 1);
      else if (figure.field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
        reflection->SetUInt64(place.message, place.field, static_cast<uint64_t>(constraint.greatest()) + 1);
      else
        reflection->SetDouble(place.message, place.field, std::numeric_limits<double>::quiet_NaN());
      Diagnostics diagnostics;
      INFO(name << " " << figure.path);
      CHECK_FALSE(verify(changed, "artifact", diagnostics));
      CHECK(diagnostics.all().front().where == "artifact");
      CHECK(std::ranges::any_of(
          diagnostics.all(), [&](const Diagnostic &d) { return d.what.starts_with(figure.path + " is "); }));
    }
  }
  Diagnostics diagnostics;
  CHECK_FALSE(verify(TargetDescription(), "artifact", diagnostics));
}

// A text changed at some places: bytes replaced, removed, doubled, or swapped with another part.
std::string mutate(std::string text, std::mt19937 &random) {
  auto below = [&](size_t bound) { return std::uniform_int_distribution<size_t>(0, bound - 1)(random); };
  static const std::string pieces[] = {"{",     "}",    "[",    "]",       ",",    ":", "\"",  "-1",
                                       "1e400", "null", "true", "\\u0000", "\xff", "0", "[[[["};
  for (size_t changes = 1 + below(4); changes > 0 && !text.empty(); --changes) {
    size_t at = below(text.size()), length = std::min(below(30) + 1, text.size() - at);
    switch (below(4)) {
    case 0:
      text[at] = static_cast<char>(below(256));
      break;
    case 1:
      text.erase(at, length);
      break;
    case 2:
      text.insert(below(text.size()), text.substr(at, length));
      break;
    case 3:
      text.insert(at, pieces[below(std::size(pieces))]);
      break;
    }
  }
  return text;
}

TEST_CASE("a text changed at random is either rejected with a reason or a sound description") {
  std::mt19937 random(20240607);
  const std::vector<std::string> names = builtinNames();
  unsigned accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = mutate(builtinText(names[i % names.size()]), random);
    Diagnostics diagnostics;
    auto description = parse(text, "chip.json", {}, diagnostics);
    REQUIRE(description.has_value() != diagnostics.hasErrors());
    if (!description)
      continue;
    ++accepted;
    Diagnostics more;
    bool sound = verify(*description, "again", more);
    INFO(more.text());
    REQUIRE(sound);
    auto again = parse(toJson(*description), "printed", {}, more);
    REQUIRE(again);
    REQUIRE(google::protobuf::util::MessageDifferencer::Equals(*again, *description));
  }
  CHECK(accepted > 0); // most changes break the text; a digit or a word of a reason do not
}

TEST_CASE("an override of random bytes does no harm") {
  std::mt19937 random(7);
  const std::string seed = "vector.functions[exp].rate=0.5";
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::string> overrides = {mutate(seed, random)};
    Diagnostics diagnostics;
    auto description = load("toy", overrides, diagnostics);
    REQUIRE(description.has_value() != diagnostics.hasErrors());
  }
}

TEST_CASE("deep nesting does not exhaust the stack") {
  CHECK(errorsOf(std::string(500000, '[')).find("not JSON") != std::string::npos);
  std::string deep = "{\"name\": " + std::string(500000, '[') + std::string(500000, ']') + "}";
  CHECK(errorsOf(deep).find("name is a list: it must be a string") != std::string::npos);
}

TEST_CASE("a list of many elements is rejected before they are compared with each other") {
  std::string functions;
  for (int i = 0; i < 30000; ++i)
    functions += fmt::format("{{\"function\": \"f{}\", \"rate\": 1}}, ", i);
  std::string text =
      replaced(builtinText("toy"), "{\"function\": \"exp\"", functions + "{\"function\": \"exp\"");
  CHECK(errorsOf(text).find("vector.functions has 30012 elements: it must have at most 256\n") !=
        std::string::npos);
  TargetDescription description = builtin("toy");
  for (int i = 0; i < 300; ++i)
    description.add_dma();
  Diagnostics diagnostics;
  CHECK_FALSE(verify(description, "artifact", diagnostics));
  CHECK(diagnostics.text() == "error: artifact: dma has 302 elements: it must have at most 256\n");
}

TEST_CASE("messages decoded from random bytes are verified without harm") {
  google::protobuf::LogSilencer silence; // of strings that are not UTF-8
  std::mt19937 random(11);
  const std::string seed = builtin("rngd").SerializeAsString();
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = mutate(seed, random);
    TargetDescription description;
    if (!description.ParseFromString(bytes))
      continue;
    Diagnostics diagnostics;
    bool sound = verify(description, "artifact", diagnostics);
    CHECK(sound != diagnostics.hasErrors());
  }
}

} // namespace
} // namespace npuc::target
