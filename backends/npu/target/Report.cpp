#include "backends/npu/target/Report.h"

#include <algorithm>
#include <string_view>

namespace npuc::target {
namespace {

// The list or group around a field or element; "" around those at the top.
std::string groupOf(const std::string &path) {
  size_t cut = path.find_last_of(".[");
  return path.substr(0, cut == std::string::npos ? 0 : cut);
}

} // namespace

std::string Report::placeOf(std::string path) const {
  while (true) {
    if (auto it = places.find(path); it != places.end())
      return it->second;
    if (path.empty())
      return origin;
    path = groupOf(path);
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
  for (std::string around = path;; around = groupOf(around)) {
    if (bad.count(around))
      return true;
    if (around.empty())
      break;
  }
  if (path.empty())
    return !bad.empty();
  return std::ranges::any_of(std::string_view(".["), [&](char separator) {
    auto part = bad.lower_bound(path + separator);
    return part != bad.end() && part->starts_with(path + separator);
  });
}

} // namespace npuc::target
