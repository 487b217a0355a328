// Random changes of a protobuf message that keep it a message, so that a fuzzer reaches what lies behind the
// parser.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>

namespace npuc::fuzz {

/// Changes one field somewhere in `message`, or removes, repeats, swaps or copies a part of it: numbers
/// become others, small ones and limits more often; strings are taken from elsewhere in the message, as names
/// are, or lose or gain a character. Equal seeds give equal changes.
void mutate(google::protobuf::Message &message, uint32_t seed);

} // namespace npuc::fuzz
