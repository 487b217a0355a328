// A description from JSON text: protobuf's JSON mapping, with every fault placed in the text.
#pragma once

#include "backends/npu/target/Report.h"
#include "backends/npu/target/target.pb.h"

#include <string_view>

namespace npuc::target {

/// Fills `description` with what the text states and reports what cannot be stored: syntax errors, unknown,
/// repeated and missing fields, wrong types, numbers beyond their field's range. `origin` is how errors name
/// the text. False if the text is not a JSON object, so that nothing further can be said.
bool readJson(std::string_view text, const std::string &origin, TargetDescription &description,
              Report &report);

/// Sets one scalar field from its text, as JSON or an override spells it. Gives what must stand there if
/// `text` does not fit the field's type or range, nothing if it was set.
std::string setScalar(google::protobuf::Message &message, const google::protobuf::FieldDescriptor &field,
                      const std::string &text);

} // namespace npuc::target
