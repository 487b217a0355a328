#include "support/Html.h"

namespace npuc {

std::string inScript(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    const bool afterAngle = i > 0 && json[i - 1] == '<';
    if (afterAngle && json[i] == '!') {
      out += "\\u0021";
      continue;
    }
    if (afterAngle && json[i] == '/')
      out += '\\';
    out += json[i];
  }
  return out;
}

} // namespace npuc
