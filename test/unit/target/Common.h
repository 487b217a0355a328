// What the tests of target descriptions share.
#pragma once

#include "backends/npu/target/Builtin.h"
#include "backends/npu/target/Target.h"

#include <catch2/catch.hpp>

namespace npuc::target {

inline std::string builtinText(const std::string &name) {
  for (const Builtin &builtin : builtins())
    if (builtin.name == name)
      return std::string(builtin.json);
  FAIL("no built-in description " << name);
  return {};
}

inline TargetDescription builtin(const std::string &name, const std::vector<std::string> &overrides = {}) {
  Diagnostics diagnostics;
  std::optional<TargetDescription> description = load(name, overrides, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(description);
  return *description;
}

/// `text` with its only occurrence of `from` replaced.
inline std::string replaced(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(text.find(from, at + 1) == std::string::npos);
  return text.replace(at, from.size(), to);
}

/// The diagnostics of a text that must not be accepted.
inline std::string errorsOf(const std::string &text, const std::vector<std::string> &overrides = {}) {
  Diagnostics diagnostics;
  CHECK_FALSE(parse(text, "chip.json", overrides, diagnostics));
  return diagnostics.text();
}

} // namespace npuc::target
