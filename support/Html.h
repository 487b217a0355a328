// Data within pages of HTML.
#pragma once

#include <string>
#include <string_view>

namespace npuc {

/// JSON as the text of a script element, which only "</" could end early and "<!--" make a comment of; JSON
/// may escape both.
std::string inScript(std::string_view json);

} // namespace npuc
