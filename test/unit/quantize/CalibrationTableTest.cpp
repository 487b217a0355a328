#include "compiler/quantize/CalibrationTable.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::quantize;

TEST_CASE("a calibration table is read as it was written", "[quantize]") {
  CalibrationTable table;
  table.entries.push_back(
      {"/layer 1/\"MatMul\":0", {-0.1f, 3.4e-7f}, "entropy", 0.0125, {-3, 8}, 49152, 128, {}, 0, 0});
  table.entries.push_back({"b\\n:1", {0, 1e30f}, "min-max", 0, {0, 1e30f}, 7, 1, {0.5f, 1.0f / 3, 7}, 0, 0});
  Diagnostics diagnostics;
  auto read = CalibrationTable::parse(table.text(), "t.txt", diagnostics);
  INFO(table.text() << diagnostics.text());
  REQUIRE(read);
  REQUIRE(read->entries.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const CalibrationEntry &a = table.entries[i], &b = read->entries[i];
    CHECK(a.name == b.name);
    CHECK(a.range.least == b.range.least);
    CHECK(a.range.greatest == b.range.greatest);
    CHECK(a.method == b.method);
    CHECK(a.clippedShare == Approx(b.clippedShare));
    CHECK(a.seen.least == b.seen.least);
    CHECK(a.seen.greatest == b.seen.greatest);
    CHECK(a.values == b.values);
    CHECK(a.samples == b.samples);
    CHECK(a.factors == b.factors);
  }
  CHECK(read->find("b\\n:1") == &read->entries[1]);
  CHECK(read->find("b") == nullptr);
}

TEST_CASE("a calibration table may be written by hand", "[quantize]") {
  Diagnostics diagnostics;
  auto read = CalibrationTable::parse(
      "# mine\n\nnpuc-calibration 1 # the first\r\nlayer:0 -1 2.5 # narrower\n", "t.txt", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(read);
  REQUIRE(read->entries.size() == 1);
  CHECK(read->entries[0].name == "layer:0");
  CHECK(read->entries[0].range.greatest == 2.5f);
  CHECK(read->entries[0].method == "given");
  CHECK(read->entries[0].line == 4);
}

TEST_CASE("every bad line of a calibration table is named", "[quantize]") {
  Diagnostics diagnostics;
  CHECK_FALSE(CalibrationTable::parse("npuc-calibration 1\n" // 1
                                      "a:0 1\n"
                                      "\"b:0 1 2\n"
                                      "c:0 one 2\n"
                                      "d:0 3 2\n" // 5
                                      "e:0 0 1\n"
                                      "e:0 0 2\n"
                                      "f:0 nan 1e99\n"
                                      "factors g:0 1 2\n"
                                      "factors e:0 1 -2\n", // 10
                                      "t.txt", diagnostics));
  std::string text = diagnostics.text();
  INFO(text);
  CHECK(diagnostics.errorCount() == 9);
  for (const char *error :
       {"t.txt:2: a line of 2 words: expected \"NAME\" LEAST GREATEST", "t.txt:3: a name does not end",
        "t.txt:4: 'one' is no least value: expected a finite number",
        "t.txt:5: the least value of 'd:0' is above the greatest: 3 > 2",
        "t.txt:7: a second line for 'e:0': the first is line 6", "t.txt:8: 'nan' is no least value",
        "t.txt:8: '1e99' is no greatest value", "t.txt:9: factors of 'g:0', which has no line of its own",
        "t.txt:10: the factor -2 is not above 0"})
    CHECK(text.find(error) != std::string::npos);
}

TEST_CASE("what is no calibration table, or another version's, is refused", "[quantize]") {
  auto errorOf = [](const char *text) {
    Diagnostics diagnostics;
    CHECK_FALSE(CalibrationTable::parse(text, "t.txt", diagnostics));
    CHECK(diagnostics.errorCount() == 1);
    return diagnostics.text();
  };
  CHECK(errorOf("").find("the table is empty: its first line is 'npuc-calibration 1'") != std::string::npos);
  CHECK(errorOf("PK\3\4\n\n").find("t.txt:1: this is no calibration table") != std::string::npos);
  CHECK(errorOf("npuc-calibration 2\nx\n").find("the table has version 2: this npuc reads version 1") !=
        std::string::npos);
}
