#include "support/ArrayFile.h"

#include "support/File.h"
#include "support/NpyHeader.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <set>
#include <string_view>
#include <zip.h>

namespace npuc {
namespace {

/// How an archive with entries begins, and an empty one.
constexpr std::string_view zipMagics[] = {"PK\x03\x04", "PK\x05\x06"};

struct ZipDiscard {
  void operator()(zip_t *archive) const { zip_discard(archive); }
};

/// The bytes of a file or of an archive's entry from the first to the last: how many of those asked for there
/// were; negative, and `why`, if they cannot be read.
using Source = std::function<int64_t(std::span<std::byte> bytes, std::string &why)>;

std::nullopt_t fail(Diagnostics &diagnostics, const std::string &where, const std::string &why) {
  diagnostics.error(where, "cannot read the array", why);
  return std::nullopt;
}

/// Fills `bytes` from the source.
bool fill(const Source &source, std::span<std::byte> bytes, const std::string &where,
          Diagnostics &diagnostics) {
  while (!bytes.empty()) {
    std::string why;
    int64_t count = source(bytes, why);
    if (count <= 0) {
      fail(diagnostics, where, count < 0 ? why : "its size is not what the archive says");
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return true;
}

std::string stem(const std::string &path) {
  std::string file = path.substr(path.find_last_of('/') + 1);
  return file.ends_with(".npy") ? file.substr(0, file.size() - 4) : file;
}

} // namespace

struct ArrayFile::State {
  std::string path;
  std::shared_ptr<zip_t> archive; ///< None of a .npy file.
  std::vector<ArrayHeader> headers;
  struct Place {
    zip_uint64_t entry = 0;
    size_t bytes = 0, offset = 0; ///< In all, and before the data.
  };
  std::vector<Place> places;

  std::string where(const std::string &name) const {
    return archive ? path + ": array '" + name + "'" : path;
  }
  Source open(zip_uint64_t entry, const std::string &where, Diagnostics &diagnostics) const;
  bool addEntry(zip_uint64_t entry, const std::string &name, Diagnostics &diagnostics);
  bool add(std::string name, Place place, Diagnostics &diagnostics);
};

struct ArrayFile::Reader::State {
  std::shared_ptr<const ArrayFile::State> file; ///< Holds the archive that `source` reads.
  Source source;
  std::string where;
  size_t left = 0;
  bool isBool = false;
};

/// Nothing, and an error, if it cannot be opened.
Source ArrayFile::State::open(zip_uint64_t entry, const std::string &where, Diagnostics &diagnostics) const {
  if (!archive) {
    std::shared_ptr<std::FILE> file(std::fopen(path.c_str(), "rb"),
                                    [](std::FILE *f) { return f ? std::fclose(f) : 0; });
    if (!file) {
      fail(diagnostics, where, "the file cannot be opened any more");
      return {};
    }
    return [file](std::span<std::byte> bytes, std::string &why) -> int64_t {
      size_t count = std::fread(bytes.data(), 1, bytes.size(), file.get());
      why = "the file cannot be read";
      return count == 0 && std::ferror(file.get()) ? -1 : static_cast<int64_t>(count);
    };
  }
  std::shared_ptr<zip_file_t> file(zip_fopen_index(archive.get(), entry, 0),
                                   [](zip_file_t *f) { return f ? zip_fclose(f) : 0; });
  if (!file) {
    fail(diagnostics, where, zip_strerror(archive.get()));
    return {};
  }
  return [file](std::span<std::byte> bytes, std::string &why) -> int64_t {
    zip_int64_t count = zip_fread(file.get(), bytes.data(), bytes.size());
    if (count < 0)
      why = zip_file_strerror(file.get());
    return count;
  };
}

/// Reads the header of what is at `place`.
bool ArrayFile::State::add(std::string name, Place place, Diagnostics &diagnostics) {
  std::string at = where(name);
  Source source = open(place.entry, at, diagnostics);
  std::vector<std::byte> before(std::min(npyStart, place.bytes));
  if (!source || !fill(source, before, at, diagnostics))
    return false;
  std::optional<size_t> offset = npyDataOffset(before, place.bytes, at, diagnostics);
  if (!offset)
    return false;
  size_t known = std::min(before.size(), *offset);
  before.resize(*offset);
  if (!fill(source, std::span(before).subspan(known), at, diagnostics))
    return false;
  std::optional<NpyHeader> header = parseNpyHeader(before, place.bytes, at, diagnostics);
  if (!header)
    return false;
  place.offset = *offset;
  places.push_back(place);
  headers.push_back({std::move(name), header->type, std::move(header->shape), header->isFortran});
  return true;
}

bool ArrayFile::State::addEntry(zip_uint64_t entry, const std::string &name, Diagnostics &diagnostics) {
  zip_stat_t stat;
  if (zip_stat_index(archive.get(), entry, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE) ||
      !(stat.valid & ZIP_STAT_COMP_SIZE))
    fail(diagnostics, where(name), "the archive does not say its size");
  else if (stat.encryption_method != ZIP_EM_NONE)
    fail(diagnostics, where(name), "it is encrypted");
  // Deflate cannot expand by more than 1032; a greater claim is a lie that must not make us allocate.
  else if (stat.size / 1032 > stat.comp_size)
    fail(diagnostics, where(name), "its size does not fit its compressed size");
  else
    return add(name, {entry, stat.size, 0}, diagnostics);
  return false;
}

std::optional<ArrayFile> ArrayFile::open(const std::string &path, Diagnostics &diagnostics) {
  // Mapped for its first bytes alone: what is mapped and read counts as the process's memory.
  std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  if (!file)
    return std::nullopt;
  size_t bytes = file->size();
  std::string magic(reinterpret_cast<const char *>(file->bytes().data()), std::min(bytes, npyMagic.size()));
  file.reset();
  auto state = std::make_shared<State>();
  state->path = path;
  if (magic.starts_with(npyMagic)) {
    if (!state->add(stem(path), {0, bytes, 0}, diagnostics))
      return std::nullopt;
    return ArrayFile(state);
  }
  if (std::ranges::none_of(zipMagics, [&](std::string_view zip) { return magic.starts_with(zip); })) {
    diagnostics.error(path, "it is neither a .npz nor a .npy file", {},
                      "write it with numpy.savez or numpy.save");
    return std::nullopt;
  }
  int code = 0;
  state->archive.reset(zip_open(path.c_str(), ZIP_RDONLY, &code), ZipDiscard());
  if (!state->archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    diagnostics.error(path, "cannot read the .npz archive", zip_error_strerror(&error));
    zip_error_fini(&error);
    return std::nullopt;
  }
  std::set<std::string> names;
  bool ok = true;
  zip_int64_t count = zip_get_num_entries(state->archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    auto index = static_cast<zip_uint64_t>(i);
    const char *entry = zip_get_name(state->archive.get(), index, 0);
    std::string name = entry ? entry : "";
    if (name.ends_with(".npy"))
      name.resize(name.size() - 4);
    if (!names.insert(name).second) {
      diagnostics.error(state->where(name), "the archive has two arrays of this name");
      ok = false;
      continue;
    }
    ok &= state->addEntry(index, name, diagnostics);
  }
  if (!ok)
    return std::nullopt;
  return ArrayFile(state);
}

const std::vector<ArrayHeader> &ArrayFile::arrays() const {
  return state_->headers;
}

std::string ArrayFile::where(size_t array) const {
  return state_->where(state_->headers[array].name);
}

std::optional<ArrayFile::Reader> ArrayFile::reader(size_t array, Diagnostics &diagnostics) const {
  const State::Place &place = state_->places[array];
  auto state = std::make_shared<Reader::State>();
  state->file = state_;
  state->where = where(array);
  state->left = place.bytes - place.offset;
  state->isBool = state_->headers[array].type == ElementType::Bool;
  state->source = state_->open(place.entry, state->where, diagnostics);
  std::vector<std::byte> header(place.offset);
  if (!state->source || !fill(state->source, header, state->where, diagnostics))
    return std::nullopt;
  return Reader(state);
}

bool ArrayFile::Reader::read(std::span<std::byte> bytes, Diagnostics &diagnostics) {
  if (!fill(state_->source, bytes, state_->where, diagnostics))
    return false;
  state_->left -= bytes.size();
  if (state_->isBool && std::ranges::any_of(bytes, [](std::byte b) { return b > std::byte{1}; })) {
    fail(diagnostics, state_->where, "a bool is neither 0 nor 1");
    return false;
  }
  if (state_->left > 0)
    return true;
  // At the end of an entry libzip checks its checksum; one byte more than announced is an error too.
  std::array<std::byte, 1> beyond;
  std::string why = "its size is not what the archive says";
  if (state_->source(beyond, why) == 0)
    return true;
  fail(diagnostics, state_->where, why);
  return false;
}

std::optional<Array> ArrayFile::read(size_t array, Diagnostics &diagnostics) const {
  const ArrayHeader &header = state_->headers[array];
  const State::Place &place = state_->places[array];
  std::optional<Reader> from = reader(array, diagnostics);
  Array result{header.type, header.shape, std::vector<std::byte>(place.bytes - place.offset)};
  if (!from || !from->read(result.data, diagnostics))
    return std::nullopt;
  if (header.isFortran && header.shape.size() > 1)
    result.data = fromFortran(result.data, header.shape, bitWidth(header.type) / 8);
  return result;
}

} // namespace npuc
