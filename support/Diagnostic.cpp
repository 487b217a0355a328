#include "support/Diagnostic.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <string_view>
#include <tuple>

namespace npuc {
namespace {

const char *name(Diagnostic::Severity severity) {
  switch (severity) {
  case Diagnostic::Severity::Error:
    return "error";
  case Diagnostic::Severity::Warning:
    return "warning";
  case Diagnostic::Severity::Note:
    return "note";
  }
  return "";
}

/// Each different one once, at its first place: what is found at every use of a shared part is one thing to
/// mend.
std::vector<const Diagnostic *> distinct(const std::vector<Diagnostic> &all) {
  std::set<std::tuple<int, std::string_view, std::string_view, std::string_view, std::string_view>> seen;
  std::vector<const Diagnostic *> result;
  for (const Diagnostic &d : all)
    if (seen.emplace(static_cast<int>(d.severity), d.where, d.what, d.why, d.hint).second)
      result.push_back(&d);
  return result;
}

size_t editDistance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

} // namespace

void Diagnostics::add(Diagnostic diagnostic) {
  errors_ += diagnostic.severity == Diagnostic::Severity::Error;
  all_.push_back(std::move(diagnostic));
}

void Diagnostics::error(std::string where, std::string what, std::string why, std::string hint) {
  add({Diagnostic::Severity::Error, std::move(where), std::move(what), std::move(why), std::move(hint)});
}

void Diagnostics::warning(std::string where, std::string what, std::string why, std::string hint) {
  add({Diagnostic::Severity::Warning, std::move(where), std::move(what), std::move(why), std::move(hint)});
}

std::string Diagnostics::text() const {
  std::string out;
  for (const Diagnostic *d : distinct(all_)) {
    out += name(d->severity);
    for (const std::string *part : {&d->where, &d->what, &d->why})
      if (!part->empty())
        out += ": " + *part;
    out += '\n';
    if (!d->hint.empty())
      out += "  hint: " + d->hint + '\n';
  }
  return out;
}

std::string Diagnostics::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Diagnostic *d : distinct(all_))
    list.push_back({{"severity", name(d->severity)},
                    {"where", d->where},
                    {"what", d->what},
                    {"why", d->why},
                    {"hint", d->hint}});
  nlohmann::ordered_json document = {{"schema_version", 1}, {"diagnostics", std::move(list)}};
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string nearest(const std::string &name, const std::vector<std::string> &candidates) {
  std::string best;
  size_t bestDistance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string &candidate : candidates)
    if (size_t distance = editDistance(name, candidate); distance < bestDistance)
      best = candidate, bestDistance = distance;
  return best;
}

} // namespace npuc
