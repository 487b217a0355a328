#include "support/Diagnostic.h"

#include <catch2/catch.hpp>

using namespace npuc;

TEST_CASE("diagnostics keep their order and count errors only") {
  Diagnostics diagnostics;
  diagnostics.warning("a", "odd");
  CHECK_FALSE(diagnostics.hasErrors());
  diagnostics.error("node 'x'", "unsupported operator 'Foo'", "no handler for version 3",
                    "export with opset 17");
  CHECK(diagnostics.errorCount() == 1);
  CHECK(diagnostics.text() == "warning: a: odd\n"
                              "error: node 'x': unsupported operator 'Foo': no handler for version 3\n"
                              "  hint: export with opset 17\n");
}

TEST_CASE("what is found several times is told once, where it was found first") {
  Diagnostics diagnostics;
  for (const char *node : {"a", "b", "a", "a"})
    diagnostics.error(node, "is wrong");
  diagnostics.error("a", "is wrong", "for another reason");
  CHECK(diagnostics.text() == "error: a: is wrong\n"
                              "error: b: is wrong\n"
                              "error: a: is wrong: for another reason\n");
  CHECK(diagnostics.errorCount() == 5);
}

TEST_CASE("diagnostics as JSON survive bytes that are not UTF-8") {
  Diagnostics diagnostics;
  diagnostics.error("\xff", "bad \"name\"");
  CHECK(diagnostics.json().find("\\\"name\\\"") != std::string::npos);
}

TEST_CASE("the nearest name is suggested only if it is near") {
  std::vector<std::string> targets = {"atom", "rngd", "sapeon-x220", "sapeon-x330"};
  CHECK(nearest("atm", targets) == "atom");
  CHECK(nearest("sapeon-x230", targets) == "sapeon-x220"); // both are one edit away: the first wins
  CHECK(nearest("tpu", targets).empty());
  CHECK(nearest("", {}).empty());
}
