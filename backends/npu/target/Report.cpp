#include "backends/npu/target/Report.h"

#include "backends/npu/target/Fields.h"

#include <algorithm>

namespace npuc::target {

std::string Report::placeOf(std::string path) const {
  while (true) {
    if (auto it = places.find(path); it != places.end())
      return it->second;
    if (path.empty())
      return origin;
    size_t cut = path.find_last_of(".[");
    path.resize(cut == std::string::npos ? 0 : cut);
  }
}

void Report::error(const std::string &path, std::string what, std::string why, std::string hint) {
  diagnostics.error(placeOf(path), std::move(what), std::move(why), std::move(hint));
  ++errors;
}

void Report::badField(const std::string &path, std::string what, std::string why, std::string hint) {
  bad.insert(path);
  error(path, std::move(what), std::move(why), std::move(hint));
}

bool Report::isBad(const std::string &path) const {
  return std::ranges::any_of(bad, [&](const std::string &b) { return covers(b, path) || covers(path, b); });
}

} // namespace npuc::target
