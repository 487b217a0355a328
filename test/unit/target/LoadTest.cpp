#include "backends/npu/target/Target.h"

#include <catch2/catch.hpp>

using namespace npuc;

TEST_CASE("every built-in description loads without a fault") {
  for (const std::string &name : target::builtinNames()) {
    Diagnostics diagnostics;
    auto description = target::load(name, {}, diagnostics);
    INFO(diagnostics.text());
    CHECK(description);
    CHECK(diagnostics.all().empty());
  }
}
