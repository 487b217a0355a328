// Errors in the user's language, collected so that all of them are reported at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace npuc {

/// One thing that is wrong. Every part but `what` may be empty.
struct Diagnostic {
  enum class Severity : uint8_t { Error, Warning, Note };
  Severity severity = Severity::Error;
  std::string where; ///< An ONNX node's name, a file with line and column, a field's path.
  std::string what;  ///< What is wrong, in one sentence without a full stop.
  std::string why;   ///< The fact found, against the constraint.
  std::string hint;  ///< What to do about it.
};

/// The diagnostics of one run, in the order in which they were found. A function that takes one and returns
/// std::optional or bool has added at least one error whenever it returns nothing or false.
class Diagnostics {
public:
  void add(Diagnostic diagnostic);
  void error(std::string where, std::string what, std::string why = {}, std::string hint = {});
  void warning(std::string where, std::string what, std::string why = {}, std::string hint = {});

  bool hasErrors() const { return errors_ > 0; }
  size_t errorCount() const { return errors_; }
  const std::vector<Diagnostic> &all() const { return all_; }

  /// One paragraph for each, "error: WHERE: WHAT: WHY" and below it "  hint: …".
  std::string text() const;
  /// {"schema_version": 1, "diagnostics": [{"severity", "where", "what", "why", "hint"}]}
  std::string json() const;

private:
  std::vector<Diagnostic> all_;
  size_t errors_ = 0;
};

/// The candidate nearest to `name` by edit distance, for "did you mean"; empty if none is near (within a
/// third of its length, at least 2).
std::string nearest(const std::string &name, const std::vector<std::string> &candidates);

} // namespace npuc
