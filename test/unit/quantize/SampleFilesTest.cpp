#include "compiler/quantize/SampleFiles.h"

#include "test/unit/quantize/Model.h"

#include <filesystem>
#include <unistd.h>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// A folder that goes with the test.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("npuc-samples-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directory(path); }
  ~Folder() { std::filesystem::remove_all(path); }

  std::string write(const std::string &name, const std::vector<NamedArray> &arrays) const {
    Diagnostics diagnostics;
    REQUIRE(writeNpz((path / name).string(), arrays, diagnostics));
    return (path / name).string();
  }
};

/// An array of `count` times 2 elements, which are numbered from `first`.
NamedArray pairs(const std::string &name, std::vector<int64_t> shape, int first) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  std::vector<float> values;
  for (int i = 0; i < count; ++i)
    values.push_back(static_cast<float>(first + i));
  return array(name, std::move(shape), values);
}

const std::vector<SampleInput> wanted = {{"x", ElementType::F32, {1, 2}}, {"y", ElementType::F32, {2}}};

/// The first elements of all samples' arrays.
std::vector<std::vector<float>> firsts(const SampleFiles &samples) {
  std::vector<std::vector<float>> all;
  Diagnostics diagnostics;
  REQUIRE(samples.forEach(
      [&](size_t sample, std::span<const NamedArray> arrays) {
        CHECK(sample == all.size());
        all.emplace_back();
        for (const NamedArray &a : arrays)
          all.back().push_back(*reinterpret_cast<const float *>(a.array.data.data()));
        return true;
      },
      diagnostics));
  return all;
}

std::string errorsOf(const std::vector<SampleInput> &inputs, const std::vector<std::string> &paths) {
  Diagnostics diagnostics;
  CHECK_FALSE(SampleFiles::open(inputs, paths, diagnostics));
  return diagnostics.text();
}

} // namespace

TEST_CASE("samples are stacked, numbered, in files and in folders", "[quantize]") {
  Folder folder;
  std::filesystem::create_directory(folder.path / "more");
  // x by its own first dimension, y by one more.
  std::string one = folder.write("one.npz", {pairs("x", {3, 2}, 0), pairs("y", {3, 2}, 100)});
  folder.write("more/b.npz", {pairs("y[0]", {2}, 300), pairs("x[1]", {1, 2}, 202), pairs("x[0]", {1, 2}, 200),
                              pairs("y[1]", {2}, 302)});
  folder.write("more/a.npz", {pairs("x", {1, 1, 2}, 400), pairs("y", {2}, 500)});
  Diagnostics diagnostics;
  auto samples = SampleFiles::open(wanted, {one, (folder.path / "more").string()}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(samples);
  CHECK(samples->count() == 6);
  std::vector<std::vector<float>> all = {{0, 100}, {2, 102}, {4, 104}, {400, 500}, {200, 300}, {202, 302}};
  CHECK(firsts(*samples) == all);
  CHECK(firsts(*samples) == all); // As often as they are asked for.
  CHECK(samples->nameOf(2) == "sample 2 of " + one);
  CHECK(samples->nameOf(5) == "sample 1 of " + (folder.path / "more" / "b.npz").string());
}

TEST_CASE("a first dimension of any size counts samples, and the others are the first file's", "[quantize]") {
  Folder folder;
  std::vector<SampleInput> any = {{"x", ElementType::F32, {-1, -1}}};
  std::string stacked = folder.write("a.npz", {pairs("x", {5, 4}, 0)}),
              numbered = folder.write("b.npz", {pairs("x[0]", {2, 3}, 0)});
  Diagnostics diagnostics;
  auto five = SampleFiles::open(any, {stacked}, diagnostics),
       one = SampleFiles::open(any, {numbered}, diagnostics);
  REQUIRE((five && one));
  CHECK(five->count() == 5);
  CHECK(five->shapes().at("x") == std::vector<int64_t>{1, 4});
  CHECK(one->shapes().at("x") == std::vector<int64_t>{2, 3});
  CHECK(
      errorsOf(any, {stacked, numbered})
          .find(
              "b.npz: array 'x[0]': does not hold samples of the model's input: it has the shape [2, 3], the "
              "input [1, 4]") != std::string::npos);
}

TEST_CASE("everything that is wrong with samples is told at once", "[quantize]") {
  Folder folder;
  NamedArray ints{"y", {ElementType::I32, {2}, std::vector<std::byte>(8)}};
  std::string names = folder.write("names.npz", {pairs("xx", {1, 2}, 0), ints}),
              shapes = folder.write("shapes.npz", {pairs("x", {3, 3}, 0), pairs("y", {2, 2}, 0)}),
              counts = folder.write("counts.npz", {pairs("x", {3, 2}, 0), pairs("y", {2, 2}, 0)}),
              gaps = folder.write("gaps.npz", {pairs("x[0]", {1, 2}, 0), pairs("x[2]", {1, 2}, 0),
                                               pairs("y", {2}, 0), pairs("y[0]", {2}, 0)});
  std::filesystem::create_directory(folder.path / "none");
  std::string text = errorsOf(wanted, {names, shapes, counts, gaps, (folder.path / "none").string(),
                                       (folder.path / "missing.npz").string()});
  INFO(text);
  for (const char *error :
       {"names.npz: array 'xx': the model has no input of this name: it wants 'x' f32[1, 2], 'y' f32[2]",
        "did you mean 'x'?", "names.npz: lacks the input 'x': the model wants 'x' f32[1, 2]",
        "names.npz: array 'y': its type is i32: the model wants 'y' f32[2]",
        "shapes.npz: array 'x': does not hold samples of the model's input: it has the shape [3, 3], the "
        "input "
        "[1, 2]",
        "counts.npz: array 'y': has 2 samples, 'x' has 3",
        "gaps.npz: array 'x[2]': does not follow the arrays before it: there is no 'x[1]'",
        "gaps.npz: array 'y[0]': is beside an array with all samples", "none: the folder has no .npz files",
        "missing.npz"})
    CHECK(text.find(error) != std::string::npos);
}

// Written by numpy.savez_compressed; f is of int16, in Fortran order, [2, 3, 4], arange - 12.
TEST_CASE("Fortran order is read whole, and not sample by sample", "[quantize]") {
  Diagnostics diagnostics;
  std::string text =
      errorsOf({{"f", ElementType::I16, {3, 4}}}, {NPUC_SOURCE_DIR "/test/unit/support/data/numpy.npz"});
  CHECK(text.find("array 'f': cannot be read a sample at a time: it is in Fortran order") !=
        std::string::npos);
}
