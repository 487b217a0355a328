#pragma once

#include "test/fuzz/Require.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

namespace npuc::fuzz {

/// A file alone in a folder of its own, for what reads files; both go with the object.
class ScratchFile {
public:
  explicit ScratchFile(const char *name) {
    std::string folder = (std::filesystem::temp_directory_path() / "npuc-fuzz-XXXXXX").string();
    require(mkdtemp(folder.data()) != nullptr);
    path_ = std::filesystem::path(folder) / name;
  }
  ~ScratchFile() { std::filesystem::remove_all(path_.parent_path()); }
  ScratchFile(const ScratchFile &) = delete;
  ScratchFile &operator=(const ScratchFile &) = delete;

  std::string path() const { return path_.string(); }
  void write(const uint8_t *data, size_t size) const {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char *>(data), static_cast<std::streamsize>(size));
  }

private:
  std::filesystem::path path_;
};

} // namespace npuc::fuzz
