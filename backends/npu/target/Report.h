// Where each field of a description was written, and which of them are already known to be wrong.
#pragma once

#include "support/Diagnostic.h"

#include <map>
#include <set>
#include <string>

namespace npuc::target {

/// Collects a description's errors so that one fault is reported once, where it was written.
class Report {
public:
  Report(std::string origin, Diagnostics &diagnostics)
      : origin(std::move(origin)), diagnostics(diagnostics) {}

  /// "FILE:LINE:COLUMN" or an override's text, for the field at `path`.
  void setPlace(const std::string &path, std::string place) { places[path] = std::move(place); }
  /// The place of the field, or of the nearest group around it that has one.
  std::string placeOf(std::string path) const;

  void error(const std::string &path, std::string what, std::string why = {}, std::string hint = {});
  /// An error in the field itself, so that nothing further is said about what depends on it.
  void badField(const std::string &path, std::string what, std::string why = {}, std::string hint = {});
  /// An error in the field, in a part of it, or in a group around it has been reported.
  bool isBad(const std::string &path) const;
  bool hasErrors() const { return errors > 0; }

private:
  std::string origin;
  Diagnostics &diagnostics;
  std::map<std::string, std::string> places;
  std::set<std::string> bad;
  size_t errors = 0;
};

} // namespace npuc::target
