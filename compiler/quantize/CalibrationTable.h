// Ranges as a text that people read, edit and give back.
#pragma once

#include "compiler/quantize/Ranges.h"
#include "support/Diagnostic.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::quantize {

/// A tensor's line. What is seen is of all its values; the range is of its values over `factors`, if it has
/// any: one for each channel, by which smoothing divides it.
struct CalibrationEntry {
  std::string name;
  Interval range;
  /// How the range was chosen: a method's name, or any word in a table that was edited.
  std::string method = {};
  double clippedShare = 0;
  Interval seen = {};
  uint64_t values = 0, samples = 0;
  std::vector<float> factors = {};
  /// Where the entry and its factors stood in a file, from 1; else 0.
  size_t line = 0, factorsLine = 0;
};

struct CalibrationTable {
  std::vector<CalibrationEntry> entries;

  /// Null if there is none.
  const CalibrationEntry *find(std::string_view name) const;

  /// A line of text for each entry, and at the end one more for each that has factors:
  ///   npuc-calibration 1
  ///   # name  least  greatest  method  clipped  seen-least  seen-greatest  values  samples
  ///   "/layer/MatMul:0"  -1.25  2.5  percentile  0.0001  -3  7.5  49152  128
  ///   factors  "/layer/MatMul:0"  0.5 2 …
  /// Floats are written with the fewest digits that give them back.
  std::string text() const;

  /// Reads such a text, which `file` names in errors. What follows the method may be missing. '#' outside of
  /// a name begins a comment. Errors, with the line and what is expected there, all of them: another version;
  /// a line that is none; a number that is none or not finite; least > greatest; two lines of one name;
  /// factors of no line, or that are not positive.
  static std::optional<CalibrationTable> parse(std::string_view text, const std::string &file,
                                               Diagnostics &diagnostics);
};

} // namespace npuc::quantize
