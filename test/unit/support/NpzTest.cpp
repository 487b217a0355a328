#include "support/Npz.h"
#include "support/ArrayFile.h"
#include "support/File.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <random>
#include <unistd.h>

using namespace npuc;

namespace {

std::string scratch(const char *name) {
  return (std::filesystem::temp_directory_path() / ("npuc-npz-" + std::to_string(::getpid()) + "-" + name))
      .string();
}

template <typename T>
Array arrayOf(ElementType type, std::vector<int64_t> shape, const std::vector<T> &values) {
  Array array{type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  if (!values.empty())
    std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

template <typename T>
std::vector<T> valuesOf(const Array &array) {
  std::vector<T> values(array.data.size() / sizeof(T));
  if (!values.empty())
    std::memcpy(values.data(), array.data.data(), array.data.size());
  return values;
}

/// A .npy of version 1 with this header text and data.
std::vector<std::byte> npy(const std::string &header, const std::string &data) {
  std::string text = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size() & 0xff) +
                     static_cast<char>(header.size() >> 8) + header + data;
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

/// Of a file with these bytes.
std::optional<Array> parse(const std::vector<std::byte> &bytes, Diagnostics &diagnostics) {
  std::string path = scratch("x.npy");
  REQUIRE(writeFile(path, bytes, diagnostics));
  auto arrays = readArrays(path, diagnostics);
  std::filesystem::remove(path);
  return arrays ? std::optional((*arrays)[0].array) : std::nullopt;
}

std::string whyNot(const std::string &header, const std::string &data) {
  Diagnostics diagnostics;
  CHECK_FALSE(parse(npy(header, data), diagnostics));
  return diagnostics.hasErrors() ? diagnostics.all()[0].why : "";
}

std::vector<std::byte> content(const std::string &path) {
  Diagnostics diagnostics;
  std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  REQUIRE(file);
  return {file->bytes().begin(), file->bytes().end()};
}

} // namespace

// Written by numpy.savez_compressed(c=arange(24, dtype=float32).reshape(2, 3, 4) / 2,
// f=asfortranarray(arange(24, dtype=int16).reshape(2, 3, 4) - 12), scalar=float64(0.1), empty=zeros((0, 5),
// int64), half=array([1.5, -inf, 6e-8], float16), flags=array([[True], [False]]), ubytes=arange(200,
// dtype=uint8)).
TEST_CASE("an archive written by NumPy") {
  Diagnostics diagnostics;
  auto arrays = readArrays(NPUC_SOURCE_DIR "/test/unit/support/data/numpy.npz", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(arrays);
  REQUIRE(arrays->size() == 7);
  const std::vector<NamedArray> &a = *arrays;
  CHECK(a[0].name == "c");
  CHECK(a[0].array.shape == std::vector<int64_t>{2, 3, 4});
  std::vector<float> halves;
  std::vector<int16_t> shifted;
  for (int i = 0; i < 24; ++i) {
    halves.push_back(static_cast<float>(i) / 2);
    shifted.push_back(static_cast<int16_t>(i - 12));
  }
  CHECK(valuesOf<float>(a[0].array) == halves);
  CHECK(a[1].array.type == ElementType::I16);
  CHECK(valuesOf<int16_t>(a[1].array) == shifted); // row-major again
  CHECK(a[2].array.shape.empty());
  CHECK(valuesOf<double>(a[2].array) == std::vector<double>{0.1});
  CHECK(a[3].array.shape == std::vector<int64_t>{0, 5});
  CHECK(a[3].array.data.empty());
  CHECK(valuesOf<uint16_t>(a[4].array) == std::vector<uint16_t>{0x3e00, 0xfc00, 0x0001});
  CHECK(a[5].array.type == ElementType::Bool);
  CHECK(valuesOf<uint8_t>(a[5].array) == std::vector<uint8_t>{1, 0});
  CHECK(valuesOf<uint8_t>(a[6].array)[199] == 199);
}

TEST_CASE("what is written reads back, and twice the same are the same bytes") {
  std::vector<NamedArray> arrays;
  for (unsigned i = 0; i < elementTypeCount; ++i) {
    auto type = static_cast<ElementType>(i);
    if (bitWidth(type) == 4 || type == ElementType::BF16 || type == ElementType::F8E4M3 ||
        type == ElementType::F8E5M2)
      continue;
    std::vector<uint8_t> raw(bitWidth(type) / 8 * 6, 1);
    arrays.push_back({std::string(name(type)), arrayOf(type, {3, 2}, raw)});
  }
  arrays.push_back({"scalar", arrayOf<float>(ElementType::F32, {}, {2.5f})});
  arrays.push_back({"vector/with/slash", arrayOf<float>(ElementType::F32, {1}, {2.5f})});
  arrays.push_back({"none", arrayOf<float>(ElementType::F32, {2, 0}, {})});
  Diagnostics diagnostics;
  std::string path = scratch("all.npz");
  REQUIRE(writeNpz(path, arrays, diagnostics));
  std::vector<std::byte> first = content(path);
  auto back = readArrays(path, diagnostics);
  REQUIRE(back);
  REQUIRE(back->size() == arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    CHECK((*back)[i].name == arrays[i].name);
    CHECK((*back)[i].array.type == arrays[i].array.type);
    CHECK((*back)[i].array.shape == arrays[i].array.shape);
    CHECK((*back)[i].array.data == arrays[i].array.data);
  }
  ::setenv("TZ", "Asia/Seoul", 1);
  ::tzset();
  REQUIRE(writeNpz(path, arrays, diagnostics));
  CHECK(content(path) == first);

  std::string single = scratch("one.npy");
  REQUIRE(writeNpy(single, arrays[0].array, diagnostics));
  auto one = readArrays(single, diagnostics);
  REQUIRE(one);
  CHECK((*one)[0].array.data == arrays[0].array.data);
  CHECK(single.ends_with((*one)[0].name + ".npy"));

  REQUIRE(writeNpz(path, {}, diagnostics));
  back = readArrays(path, diagnostics);
  REQUIRE(back);
  CHECK(back->empty());
  std::filesystem::remove(path);
  std::filesystem::remove(single);
}

TEST_CASE("types that NumPy lacks, and two arrays of one name, are not written") {
  Diagnostics diagnostics;
  std::string path = scratch("bad.npz");
  NamedArray bf16{"b", arrayOf<uint16_t>(ElementType::BF16, {1}, {0x3f80})};
  NamedArray f32{"f", arrayOf<float>(ElementType::F32, {1}, {1})};
  CHECK_FALSE(writeNpz(path, std::vector{bf16, f32, f32}, diagnostics));
  REQUIRE(diagnostics.errorCount() == 2);
  CHECK(diagnostics.all()[0].why == "NumPy has no type bf16");
  CHECK(diagnostics.all()[1].what == "there are two arrays of this name");
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("spellings of the header that other writers use") {
  Diagnostics diagnostics;
  auto array = parse(npy("{\"shape\":(2,),\"descr\":\"<u2\",\"fortran_order\":True}", "\x01\x02\x03\x04"),
                     diagnostics);
  REQUIRE(array);
  CHECK(valuesOf<uint16_t>(*array) == std::vector<uint16_t>{0x0201, 0x0403});
  CHECK(parse(npy("{'descr': '<b1', 'fortran_order': False, 'shape': ( 2 , )}\n", std::string("\0\1", 2)),
              diagnostics));
  CHECK(parse(npy("{'descr': '=f4', 'fortran_order': False, 'shape': (), }", "abcd"), diagnostics));
}

TEST_CASE("a bad array is an error that says what is wrong") {
  auto header = [](const std::string &descr, const std::string &shape) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  };
  CHECK(whyNot(header(">f4", "(1,)"), "abcd") == "its type is '>f4' (big-endian)");
  CHECK(whyNot(header("|O", "(1,)"), "abcd") == "its type is '|O'");
  CHECK(whyNot(header("<c8", "(1,)"), "abcdefgh") == "its type is '<c8'");
  CHECK(whyNot("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "abcd") ==
        "records are not supported");
  CHECK(whyNot(header("<f4", "(2,)"), "abcd") ==
        "its shape needs 2 elements of 4 bytes, the file has 4 bytes of data");
  CHECK(whyNot(header("<f4", "(1,)"), "abcdefgh") ==
        "its shape needs 1 elements of 4 bytes, the file has 8 bytes of data");
  CHECK(whyNot(header("<f4", "(4294967296, 4294967296)"), "abcd") ==
        "the file is shorter than its shape needs");
  CHECK(whyNot(header("<f4", "(9223372036854775807, 9223372036854775807)"), "") ==
        "the file is shorter than its shape needs");
  CHECK(whyNot(header("<f4", "(99999999999999999999,)"), "abcd") == "the header is malformed");
  CHECK(whyNot(header("<f4", "(-1,)"), "abcd") == "the header is malformed");
  CHECK(whyNot(header("|b1", "(1,)"), "\x02") == "a bool is neither 0 nor 1");
  CHECK(whyNot("{'descr': '<f4'}", "abcd") == "the header is malformed");
  CHECK(whyNot("", "") == "the header is truncated"); // shorter than any version's fixed part
  CHECK(whyNot("{'descr'", "abcd") == "the header is malformed");
}

TEST_CASE("a file that is neither kind says so") {
  Diagnostics diagnostics;
  CHECK_FALSE(readArrays(NPUC_SOURCE_DIR "/CMakeLists.txt", diagnostics));
  CHECK(diagnostics.all()[0].what == "it is neither a .npz nor a .npy file");
}

// The same archive as above: its entries are compressed.
TEST_CASE("arrays are read in parts, side by side") {
  Diagnostics diagnostics;
  auto file = ArrayFile::open(NPUC_SOURCE_DIR "/test/unit/support/data/numpy.npz", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(file);
  REQUIRE(file->arrays().size() == 7);
  CHECK(file->arrays()[0].name == "c");
  CHECK(file->arrays()[0].shape == std::vector<int64_t>{2, 3, 4});
  CHECK_FALSE(file->arrays()[0].isFortran);
  CHECK(file->arrays()[1].isFortran);
  auto floats = file->reader(0, diagnostics), bytes = file->reader(6, diagnostics);
  REQUIRE(floats);
  REQUIRE(bytes);
  file.reset(); // They outlive it.
  for (int part = 0; part < 2; ++part) {
    std::vector<float> halves(12);
    REQUIRE(floats->read(std::as_writable_bytes(std::span(halves)), diagnostics));
    std::vector<uint8_t> counted(100);
    REQUIRE(bytes->read(std::as_writable_bytes(std::span(counted)), diagnostics));
    for (size_t i = 0; i < 12; ++i)
      CHECK(halves[i] == static_cast<float>(12 * part + static_cast<int>(i)) / 2);
    CHECK(counted[99] == 100 * part + 99);
  }
}

TEST_CASE("no damage to an archive is a crash, and what still reads has a consistent size") {
  std::vector<std::byte> good = content(NPUC_SOURCE_DIR "/test/unit/support/data/numpy.npz");
  std::string path = scratch("damaged.npz");
  std::mt19937 random(7);
  size_t refused = 0;
  constexpr size_t rounds = 2000;
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<std::byte> bytes = good;
    if (round % 4 == 0)
      bytes.resize(random() % bytes.size());
    for (size_t i = 0; i < 3 && !bytes.empty(); ++i)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    Diagnostics diagnostics;
    REQUIRE(writeFile(path, bytes, diagnostics));
    auto arrays = readArrays(path, diagnostics);
    CHECK(arrays.has_value() == !diagnostics.hasErrors());
    refused += !arrays;
    if (arrays)
      for (const NamedArray &named : *arrays)
        CHECK(byteSize(named.array.type, static_cast<size_t>(named.array.count())) ==
              named.array.data.size());
  }
  CHECK(refused > rounds / 2);
  std::filesystem::remove(path);
}

TEST_CASE("no damage to a .npy is a crash") {
  std::vector<std::byte> good =
      npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", std::string(24, 'x'));
  std::mt19937 random(8);
  for (size_t round = 0; round < 2000; ++round) {
    std::vector<std::byte> bytes = good;
    if (round % 4 == 0)
      bytes.resize(random() % bytes.size());
    for (size_t i = 0; i < 2 && !bytes.empty(); ++i)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    Diagnostics diagnostics;
    auto array = parse(bytes, diagnostics);
    CHECK(array.has_value() == !diagnostics.hasErrors());
  }
}
