#include "runtime/artifact/Artifact.h"

#include "runtime/artifact/Format.h"
#include "test/unit/artifact/SmallArtifact.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>
#include <unistd.h>

using namespace npuc;
using namespace npuc::artifact;

namespace {

std::shared_ptr<const Artifact> load(const std::string &bytes, Diagnostics &diagnostics) {
  return Artifact::fromMemory(std::as_bytes(std::span(bytes)), "a.npa", diagnostics);
}

std::string errorsOf(const std::string &bytes) {
  Diagnostics diagnostics;
  auto artifact = load(bytes, diagnostics);
  CHECK((artifact == nullptr) == diagnostics.hasErrors());
  return diagnostics.text();
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

// The header again after a change, with the right checksum.
void resign(std::string &bytes, const Header &header) {
  auto encoded = encode(header);
  std::copy(encoded.begin(), encoded.end(), bytes.begin());
}

Header headerOf(const std::string &bytes) {
  return decode(reinterpret_cast<const unsigned char *>(bytes.data()));
}

} // namespace

TEST_CASE("what was written is read") {
  const std::string bytes = artifact::test::bytesOf();
  Diagnostics diagnostics;
  auto artifact = load(bytes, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(artifact);
  CHECK(artifact->target().name() == "toy");
  CHECK(artifact->entryPointCount() == 1);
  CHECK(artifact->program(0).commandCount() == 7);
  CHECK(artifact->program(0).buffers[4].role == isa::Role::State);
  CHECK(artifact->program(0).registers[0] == isa::Register{"rows", 0, 4});
  REQUIRE(artifact->hasConstants());
  CHECK(artifact->checkConstants(diagnostics));
  REQUIRE(artifact->constant(2).size() == 64);
  CHECK(static_cast<int8_t>(artifact->constant(2)[4 * 5 + 1]) == artifact::test::weightAt(5, 1));
  CHECK(artifact->manifest().sections(1).offset() % 4096 == 0);
  CHECK(artifact->section(QUANTIZATION_REPORT)->size() == 2);
  CHECK_FALSE(artifact->section(PTX));
  CHECK(artifact->findEntryPoint("", diagnostics) == 0u);
  CHECK_FALSE(artifact->findEntryPoint("decode", diagnostics));
  CHECK(has(diagnostics.text(), "there is no entry point 'decode': it has main"));
}

TEST_CASE("equal calls give equal bytes, in memory and in a file") {
  const std::string bytes = artifact::test::bytesOf();
  CHECK(bytes == artifact::test::bytesOf());

  // Sections written by several threads, a byte at a time, in a file.
  const std::string path =
      (std::filesystem::temp_directory_path() / ("npuc-artifact-" + std::to_string(getpid()))).string();
  Diagnostics diagnostics;
  Manifest manifest = artifact::test::manifestOf();
  auto original = load(bytes, diagnostics);
  REQUIRE(original);
  {
    auto writer = Writer::toFile(path, diagnostics);
    REQUIRE(writer);
    for (const Section &s : original->manifest().sections())
      writer->reserve(s.kind(), s.name(), s.bytes());
    std::vector<std::thread> threads;
    std::atomic<int> failures = 0;
    for (uint32_t i = 0; i < 3; ++i)
      threads.emplace_back([&, i] {
        Diagnostics own;
        for (std::byte b : original->section(i))
          failures += !writer->write(i, std::span(&b, 1), own);
      });
    for (std::thread &thread : threads)
      thread.join();
    REQUIRE(failures == 0);
    CHECK_FALSE(std::filesystem::exists(path)); // not before it is finished
    REQUIRE(writer->finish(manifest, diagnostics));
  }
  auto file = MappedFile::open(path, diagnostics);
  REQUIRE(file);
  CHECK(std::string(reinterpret_cast<const char *>(file->bytes().data()), file->size()) == bytes);
  CHECK(Artifact::open(path, diagnostics));
  std::filesystem::remove(path);
  CHECK_FALSE(Artifact::open(path, diagnostics));
}

TEST_CASE("an artifact for timing has no constants") {
  artifact::test::Options options;
  options.withConstants = false;
  Diagnostics diagnostics;
  auto bytes = artifact::test::bytesOf(options);
  auto artifact = load(bytes, diagnostics);
  REQUIRE(artifact);
  CHECK_FALSE(artifact->hasConstants());
  CHECK(artifact->checkConstants(diagnostics));
}

TEST_CASE("a truncated artifact is an error at every length") {
  const std::string bytes = artifact::test::bytesOf();
  for (size_t length = 0; length < bytes.size(); ++length) {
    std::string cut = bytes.substr(0, length);
    Diagnostics diagnostics;
    REQUIRE(load(cut, diagnostics) == nullptr);
    REQUIRE(diagnostics.errorCount() == 1);
    REQUIRE(has(diagnostics.all()[0].what, length == 0 ? "no npuc artifact" : "truncated"));
  }
  CHECK(has(errorsOf(bytes + "x"),
            "the artifact is corrupt: it has " + std::to_string(bytes.size() + 1) + " bytes"));
}

TEST_CASE("a changed byte is seen, wherever it is") {
  const std::string bytes = artifact::test::bytesOf();
  const size_t constants = 2 * 4096, constantsEnd = constants + 192; // checked when they are used
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    Diagnostics diagnostics;
    auto artifact = load(bad, diagnostics);
    INFO(at);
    if (at >= constants && at < constantsEnd) {
      REQUIRE(artifact);
      REQUIRE_FALSE(artifact->checkConstants(diagnostics));
      REQUIRE(has(diagnostics.text(), "section 'constants' does not match its checksum"));
      Diagnostics again;
      REQUIRE_FALSE(artifact->checkConstants(again));
    } else {
      REQUIRE_FALSE(artifact);
      REQUIRE(diagnostics.hasErrors());
    }
  }
}

TEST_CASE("another version is named together with ours, and what to do") {
  std::string bytes = artifact::test::bytesOf();
  Header header = headerOf(bytes);
  header.version = 7;
  std::string("9.8.7").copy(header.writer.data(), header.writer.size());
  resign(bytes, header);
  std::string errors = errorsOf(bytes);
  CHECK(has(errors, "npuc 9.8.7 wrote format 7"));
  CHECK(has(errors, "this is npuc " + std::string(version) + " with format 1"));
  CHECK(has(errors, "hint: compile the model again with npuc " + std::string(version) +
                        ", or run it with npuc 9.8.7"));
  header.version = formatVersion;
  header.schemaHash ^= 1;
  resign(bytes, header);
  CHECK(has(errorsOf(bytes), "the artifact is of another version"));
}

TEST_CASE("what is no artifact is called so") {
  CHECK(has(errorsOf("PK\x03\x04 a zip file"), "this is no npuc artifact"));
  CHECK(has(errorsOf(std::string(5000, 'x')), "this is no npuc artifact"));
}

TEST_CASE("a well-signed manifest that says what is not so is refused") {
  struct Fault {
    const char *error;
    void (*plant)(Manifest &);
  };
  const Fault faults[] = {
      {"it has no entry point", [](Manifest &m) { m.clear_entry_points(); }},
      {"has no name of its own", [](Manifest &m) { *m.add_entry_points() = m.entry_points(0); }},
      {"has no streams", [](Manifest &m) { m.mutable_entry_points(0)->set_streams(1); }},
      {"has no streams", [](Manifest &m) { m.mutable_entry_points(0)->set_streams(77); }},
      {"a buffer that does not exist, or twice: 9",
       [](Manifest &m) { m.mutable_entry_points(0)->add_buffers(9); }},
      {"a buffer that does not exist, or twice: 0",
       [](Manifest &m) { m.mutable_entry_points(0)->add_buffers(0); }},
      {"buffer 'table' leaves its section", [](Manifest &m) { m.mutable_buffers(1)->set_offset(128); }},
      {"buffer 'table' leaves its section",
       [](Manifest &m) { m.mutable_buffers(1)->set_offset(uint64_t(-64)); }},
      {"buffer 'W' is not aligned", [](Manifest &m) { m.mutable_buffers(2)->set_offset(100); }},
      {"buffer 'W' names no section of constants", [](Manifest &m) { m.mutable_buffers(2)->set_section(0); }},
      {"unknown type 'i9'", [](Manifest &m) { m.mutable_buffers(0)->set_type("i9"); }},
      {"has no role", [](Manifest &m) { m.mutable_buffers(0)->set_role(static_cast<artifact::Role>(44)); }},
      {"impossible shape", [](Manifest &m) { m.mutable_buffers(0)->add_shape(-1); }},
      {"converts i64 to i8", [](Manifest &m) { m.mutable_buffers(0)->set_type("i8"); }},
      {"impossible range", [](Manifest &m) { m.mutable_buffers(0)->set_least(8); }},
      {"another number of elements", [](Manifest &m) { m.mutable_buffers(0)->set_has_host_shape(true); }},
      {"no input or output", [](Manifest &m) { m.mutable_buffers(4)->set_host_type("i64"); }},
      {"buffer '' has no name of its own", [](Manifest &m) { m.mutable_buffers(0)->clear_name(); }},
      {"register 'rows' has no name of its own",
       [](Manifest &m) { *m.mutable_entry_points(0)->add_registers() = m.entry_points(0).registers(0); }},
      {"it touches bytes 0 to 15 of dram[0], which has 8",
       [](Manifest &m) {
         m.mutable_buffers(0)->set_bytes(8);
         m.mutable_buffers(0)->set_shape(0, 2);
       }},
      {"too many registers",
       [](Manifest &m) {
         for (int i = 0; i < 9; ++i)
           m.mutable_entry_points(0)->add_registers()->set_name(std::to_string(i));
       }},
      {"a.npa: target", [](Manifest &m) { m.mutable_target()->mutable_control()->set_queue_depth(0); }},
  };
  for (const Fault &fault : faults) {
    Manifest manifest = artifact::test::manifestOf();
    fault.plant(manifest);
    std::string errors = errorsOf(artifact::test::bytesOf(manifest));
    INFO(errors);
    CHECK(has(errors, fault.error));
  }
}

TEST_CASE("an artifact for a GPU has launches") {
  artifact::test::Options options;
  options.gpu = true;
  const std::string bytes = artifact::test::bytesOf(options);
  Diagnostics diagnostics;
  auto artifact = load(bytes, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(artifact);
  CHECK(artifact->target().has_gpu());
  CHECK(artifact->program(0).name == "main");
  CHECK(artifact->program(0).buffers.size() == 6);
  CHECK(artifact->program(0).buffers[5].role == isa::Role::Workspace);
  CHECK(artifact->program(0).commandCount() == 0);
  CHECK(artifact->entryPoint(0).launches_size() == 2);
  auto ptx = artifact->section(artifact->entryPoint(0).ptx());
  CHECK(std::string(reinterpret_cast<const char *>(ptx.data()), ptx.size()) == artifact::test::smallPtx());
}

TEST_CASE("launches that cannot be are refused") {
  struct Fault {
    const char *error;
    void (*plant)(Manifest &);
  };
  static const auto launch = [](Manifest &m) { return m.mutable_entry_points(0)->mutable_launches(1); };
  const Fault faults[] = {
      {"entry point 'main' has no PTX", [](Manifest &m) { m.mutable_entry_points(0)->set_ptx(1); }},
      {"entry point 'main' has no PTX",
       [](Manifest &m) { m.mutable_entry_points(0)->set_ptx(uint32_t(-1)); }},
      {"has streams or registers, but its target is a GPU",
       [](Manifest &m) { m.mutable_entry_points(0)->set_streams(2); }},
      {"has streams or registers, but its target is a GPU",
       [](Manifest &m) { m.mutable_entry_points(0)->add_registers()->set_name("rows"); }},
      {"buffer 'scratch' is aligned to 512 bytes, CUDA's memory to 256",
       [](Manifest &m) { m.mutable_buffers(5)->set_alignment(512); }},
      {"the buffer is smaller than its shape", [](Manifest &m) { m.mutable_buffers(5)->set_bytes(127); }},
      {"the buffers do not fit in the target's DRAM",
       [](Manifest &m) { m.mutable_buffers(5)->set_bytes(int64_t{1} << 40); }},
      {"a.npa: entry point 'main', launch 1 (kernel ''): the artifact is corrupt: it names no kernel",
       [](Manifest &m) { launch(m)->clear_kernel(); }},
      {"its grid is [1, 1]; from 1 to 2147483647 x 65535 x 65535 are possible",
       [](Manifest &m) { launch(m)->mutable_grid()->RemoveLast(); }},
      {"its grid is [1, 1, 1, 1]", [](Manifest &m) { launch(m)->add_grid(1); }},
      {"its grid is [0, 1, 1]", [](Manifest &m) { launch(m)->set_grid(0, 0); }},
      {"its grid is [2147483648, 1, 1]", [](Manifest &m) { launch(m)->set_grid(0, 1u << 31); }},
      {"its grid is [1, 65536, 1]", [](Manifest &m) { launch(m)->set_grid(1, 65536); }},
      {"its grid is [1, 1, 65536]", [](Manifest &m) { launch(m)->set_grid(2, 65536); }},
      {"its block is [4, 4]; from 1 to 1024 x 1024 x 64 are possible, and 512 threads in all",
       [](Manifest &m) { launch(m)->mutable_block()->RemoveLast(); }},
      {"its block is [4, 0, 1]", [](Manifest &m) { launch(m)->set_block(1, 0); }},
      {"its block is [1, 1, 65]",
       [](Manifest &m) {
         launch(m)->set_block(0, 1);
         launch(m)->set_block(1, 1);
         launch(m)->set_block(2, 65);
       }},
      {"its block is [129, 4, 1]", [](Manifest &m) { launch(m)->set_block(0, 129); }}, // the target has 512
      {"it asks for 16385 bytes of shared memory, a block has up to 16384",
       [](Manifest &m) { launch(m)->set_shared_bytes(16385); }},
      {"it has 513 arguments, a kernel takes up to 512",
       [](Manifest &m) {
         while (launch(m)->arguments_size() < 513)
           launch(m)->add_arguments();
       }},
      {"launch 1 (kernel 'linear'), argument 2: the artifact is corrupt: it points to buffer 6 of 6",
       [](Manifest &m) { launch(m)->mutable_arguments(2)->set_buffer(6); }},
      {"argument 0: the artifact is corrupt: it points to byte 128 of buffer 'scratch', which has 128",
       [](Manifest &m) { launch(m)->mutable_arguments(0)->set_offset(128); }},
      {"it points to byte 18446744073709551615 of buffer 'scratch'",
       [](Manifest &m) { launch(m)->mutable_arguments(0)->set_offset(uint64_t(-1)); }},
      {"what it says of kernel '' has no name of its own",
       [](Manifest &m) { m.mutable_entry_points(0)->add_kernels(); }},
      {"what it says of kernel 'embed' has no name of its own",
       [](Manifest &m) {
         m.mutable_entry_points(0)->add_kernels()->set_name("embed");
         m.mutable_entry_points(0)->add_kernels()->set_name("embed");
       }},
      {"a.npa: target", [](Manifest &m) { m.mutable_target()->mutable_gpu()->set_threads_per_block(0); }},
  };
  artifact::test::Options options;
  options.gpu = true;
  for (const Fault &fault : faults) {
    Manifest manifest = artifact::test::manifestOf(options);
    fault.plant(manifest);
    std::string errors = errorsOf(artifact::test::bytesOf(manifest, options));
    INFO(errors);
    CHECK(has(errors, fault.error));
  }
  for (const std::string &text : {std::string(), std::string("a\0b", 3)}) {
    options.ptx = text;
    CHECK(has(errorsOf(artifact::test::bytesOf(options)), "its PTX is empty or no text"));
  }
}

TEST_CASE("launches are a GPU's alone") {
  for (void (*plant)(Manifest &) : {+[](Manifest &m) { m.mutable_entry_points(0)->set_ptx(1); },
                                    +[](Manifest &m) { m.mutable_entry_points(0)->add_launches(); },
                                    +[](Manifest &m) { m.mutable_entry_points(0)->add_kernels(); }}) {
    Manifest manifest = artifact::test::manifestOf();
    plant(manifest);
    CHECK(has(errorsOf(artifact::test::bytesOf(manifest)),
              "has PTX, launches or kernels, but its target is no GPU"));
  }
}

TEST_CASE("a program that would never end is refused") {
  artifact::test::Options options;
  options.loops = true;
  CHECK(has(errorsOf(artifact::test::bytesOf(options)),
            "core 0, command 6 (copy, 'linear'): the command waits for ever"));
}

TEST_CASE("sections that overlap, leave the file or hide bytes between them are refused") {
  auto changed = [](void (*change)(Manifest &)) {
    // The writer writes a right manifest, so this one is put in its place by hand.
    std::string bytes = artifact::test::bytesOf();
    Header header = headerOf(bytes);
    Manifest manifest;
    REQUIRE(manifest.ParseFromString(bytes.substr(header.manifestOffset)));
    change(manifest);
    std::string text = manifest.SerializeAsString();
    bytes.resize(header.manifestOffset);
    bytes += text;
    header.manifestBytes = text.size();
    header.fileBytes = bytes.size();
    header.manifestChecksum = artifact::checksum(std::as_bytes(std::span(text)));
    resign(bytes, header);
    return errorsOf(bytes);
  };
  CHECK(changed([](Manifest &) {}) == "");
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(1)->set_offset(4096); }),
            "'constants' is not where a section can be"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(1)->set_offset(8193); }),
            "'constants' is not where a section can be"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(2)->set_bytes(1 << 20); }),
            "'quantization' is not where a section can be"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(2)->set_bytes(uint64_t(-1)); }),
            "'quantization' is not where a section can be"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(0)->set_bytes(1); }),
            "a byte between its sections is not zero"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(0)->set_kind(static_cast<SectionKind>(99)); }),
            "of an unknown kind"));
  CHECK(has(changed([](Manifest &m) { m.mutable_sections(0)->set_checksum(1); }),
            "section 'main' does not match its checksum"));
}
