// Models that are a little wrong are refused with a reason, or compile; never more than that.
#include "test/fuzz/ProtoMutator.h"
#include "test/fuzz/Targets.h"

#include <catch2/catch.hpp>
#include <onnx/onnx_pb.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace fs = std::filesystem;

namespace {

std::string bytesOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(const std::string &bytes) {
  npuc::fuzz::model(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
}

} // namespace

TEST_CASE("models of the corpus") {
  size_t count = 0;
  for (const auto &entry : fs::directory_iterator(NPUC_SOURCE_DIR "/test/fuzz/corpus/model")) {
    INFO(entry.path());
    run(bytesOf(entry.path().string()));
    ++count;
  }
  CHECK(count > 0);
}

TEST_CASE("models of ONNX's operator tests, each changed in up to three places") {
  std::set<std::string> models; // Sorted: a folder's own order is the machine's, the seeds are not.
  for (const auto &entry : fs::directory_iterator(NPUC_ONNX_NODE_TESTS))
    models.insert((entry.path() / "model.onnx").string());
  CHECK(models.size() > 1500);
  uint32_t seed = 1;
  for (const std::string &path : models) {
    onnx::ModelProto model;
    REQUIRE(model.ParseFromString(bytesOf(path)));
    INFO(path << ", seed " << seed);
    for (uint32_t changes = 1 + seed % 3; changes > 0; --changes)
      npuc::fuzz::mutate(model, seed++);
    run(model.SerializeAsString());
  }
}
