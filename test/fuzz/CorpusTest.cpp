// What the fuzzers found, and where they start from, in every build.
#include "test/fuzz/Targets.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace {

size_t runAll(const std::string &name, void (*target)(const uint8_t *, size_t)) {
  size_t count = 0;
  for (const auto &entry :
       std::filesystem::directory_iterator(std::string(NPUC_SOURCE_DIR) + "/test/fuzz/corpus/" + name)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    INFO(entry.path());
    target(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    ++count;
  }
  return count;
}

} // namespace

TEST_CASE("artifacts of the corpus") {
  CHECK(runAll("artifact", npuc::fuzz::artifact) > 0);
}
TEST_CASE("texts of the corpus") {
  CHECK(runAll("assembler", npuc::fuzz::assembler) > 0);
}
TEST_CASE("streams of the corpus") {
  CHECK(runAll("streams", npuc::fuzz::streams) > 0);
}
TEST_CASE("arrays of the corpus") {
  CHECK(runAll("arrays", npuc::fuzz::arrays) > 0);
}
TEST_CASE("PTX of the corpus") {
  CHECK(runAll("ptx", npuc::fuzz::ptx) > 0);
}
TEST_CASE("descriptions of the corpus") {
  CHECK(runAll("description", npuc::fuzz::description) > 0);
}
