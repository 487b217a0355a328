#include "support/File.h"

#include <catch2/catch.hpp>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace npuc;
namespace fs = std::filesystem;

namespace {

/// A folder of its own, removed at the end.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "npuc-file-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char *name) const { return (path / name).string(); }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(path), {})); }
};

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string content(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

TEST_CASE("a mapped file shows the bytes, and still does after a move") {
  Folder folder;
  Diagnostics diagnostics;
  REQUIRE(writeFile(folder / "a", bytes("hello"), diagnostics));
  std::optional<MappedFile> file = MappedFile::open(folder / "a", diagnostics);
  REQUIRE(file);
  CHECK(file->size() == 5);
  const std::byte *address = file->bytes().data();
  MappedFile moved = std::move(*file);
  file.reset();
  CHECK(moved.bytes().data() == address);
  CHECK(static_cast<char>(moved.bytes()[4]) == 'o');
  REQUIRE(writeFile(folder / "empty", {}, diagnostics));
  CHECK(MappedFile::open(folder / "empty", diagnostics)->size() == 0);
  CHECK_FALSE(diagnostics.hasErrors());
}

TEST_CASE("a file that cannot be read is an error with the path and the reason") {
  Folder folder;
  Diagnostics diagnostics;
  CHECK_FALSE(MappedFile::open(folder / "missing", diagnostics));
  CHECK(diagnostics.text() ==
        "error: " + (folder / "missing") + ": cannot read the file: No such file or directory\n");
  CHECK_FALSE(MappedFile::open(folder.path.string(), diagnostics));
  CHECK(diagnostics.all()[1].why == "Is a directory");
  ::mkfifo((folder / "pipe").c_str(), 0600);
  CHECK_FALSE(MappedFile::open(folder / "pipe", diagnostics)); // and does not wait for a writer
  CHECK(diagnostics.errorCount() == 3);
}

TEST_CASE("an atomic file appears at commit, whole, and replaces what was there") {
  Folder folder;
  Diagnostics diagnostics;
  REQUIRE(writeFile(folder / "out", bytes("old"), diagnostics));
  fs::permissions(folder / "out", fs::perms::owner_read | fs::perms::owner_write);
  {
    auto file = AtomicFile::create(folder / "out", diagnostics);
    REQUIRE(file);
    REQUIRE(file->write(bytes("abcdef"), diagnostics));
    REQUIRE(file->writeAt(2, bytes("CD"), diagnostics));
    REQUIRE(file->writeAt(8, bytes("ij"), diagnostics));
    CHECK(content(folder / "out") == "old");
    REQUIRE(file->commit(diagnostics, true));
  }
  CHECK(content(folder / "out") == std::string("abCDef\0\0ij", 10));
  CHECK(folder.entries() == 1);
  CHECK((fs::status(folder / "out").permissions() & fs::perms::group_read) == fs::perms::none);
}

TEST_CASE("an atomic file that is not committed leaves nothing") {
  Folder folder;
  Diagnostics diagnostics;
  {
    auto file = AtomicFile::create(folder / "out", diagnostics);
    REQUIRE(file->write(bytes("abc"), diagnostics));
    AtomicFile moved = std::move(*file);
    CHECK_FALSE(fs::exists(folder / "out"));
  }
  CHECK(folder.entries() == 0);
}

TEST_CASE("an atomic file follows a link and keeps it") {
  Folder folder;
  Diagnostics diagnostics;
  REQUIRE(writeFile(folder / "real", bytes("old"), diagnostics));
  fs::create_symlink("real", folder / "link");
  REQUIRE(writeFile(folder / "link", bytes("new"), diagnostics));
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(content(folder / "real") == "new");
}

TEST_CASE("what is not a regular file is written directly") {
  Diagnostics diagnostics;
  CHECK(writeFile("/dev/null", bytes("abc"), diagnostics));
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("an output that cannot be written is an error with the reason, at once or when the disk is full") {
  Folder folder;
  Diagnostics diagnostics;
  CHECK_FALSE(AtomicFile::create(folder / "no/such/folder", diagnostics));
  CHECK(diagnostics.all()[0].why == "No such file or directory");
  CHECK_FALSE(AtomicFile::create(folder.path.string(), diagnostics));
  CHECK(diagnostics.all()[1].why == "Is a directory");
  CHECK_FALSE(writeFile("/dev/full", bytes("abc"), diagnostics));
  CHECK(diagnostics.all()[2].why == "No space left on device");
}

TEST_CASE("a process ended by a signal leaves no partial file") {
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGKILL}) {
    Folder folder;
    // What has a temporary name survives what cannot be caught.
    int nameless = ::open(folder.path.c_str(), O_TMPFILE | O_WRONLY, 0600);
    if (nameless < 0 && signal == SIGKILL)
      continue;
    ::close(nameless);
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_t child = ::fork();
    if (child == 0) {
      for (int s : {SIGINT, SIGTERM, SIGHUP})
        ::signal(s, SIG_DFL);
      Diagnostics diagnostics;
      auto one = AtomicFile::create(folder / "one", diagnostics);
      auto two = AtomicFile::create(folder / "two", diagnostics);
      bool ok = one && two && one->write(bytes("abc"), diagnostics) && two->commit(diagnostics);
      [[maybe_unused]] ssize_t told = ::write(ready[1], ok ? "+" : "-", 1);
      for (;;)
        ::pause();
    }
    char answer = 0;
    REQUIRE(::read(ready[0], &answer, 1) == 1);
    CHECK(answer == '+');
    CHECK(fs::exists(folder / "two"));
    ::kill(child, signal);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == signal);
    CHECK(folder.entries() == 1);
    CHECK(fs::exists(folder / "two"));
    ::close(ready[0]);
    ::close(ready[1]);
  }
}
