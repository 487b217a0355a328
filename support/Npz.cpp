#include "support/Npz.h"

#include "support/ArrayFile.h"
#include "support/File.h"
#include "support/NpyHeader.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <zip.h>

namespace npuc {
namespace {

using Bytes = std::vector<std::byte>;

struct ZipDiscard {
  void operator()(zip_t *archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, ZipDiscard>;

std::string text(zip_error_t *error) {
  std::string out = zip_error_strerror(error);
  zip_error_fini(error);
  return out;
}

/// Adds `bytes`, which must outlive the archive, as `name`; returns what is wrong, or nothing.
std::string addEntry(zip_t *archive, const std::string &name, const Bytes &bytes) {
  zip_source_t *source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  zip_int64_t index = source ? zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
  if (index < 0) {
    std::string why = zip_strerror(archive);
    if (source)
      zip_source_free(source);
    return why;
  }
  zip_uint64_t entry = static_cast<zip_uint64_t>(index);
  // 1980-01-01, the earliest that a zip archive can say.
  if (zip_set_file_compression(archive, entry, ZIP_CM_STORE, 0) != 0 ||
      zip_file_set_dostime(archive, entry, 0, (1 << 5) | 1, 0) != 0)
    return zip_strerror(archive);
  return "";
}

bool checkSize(const Array &array, const std::string &where, Diagnostics &diagnostics) {
  size_t bytes = byteSize(array.type, static_cast<size_t>(array.count()));
  if (bytes == array.data.size())
    return true;
  diagnostics.error(where, "cannot write the array",
                    "its shape needs " + std::to_string(bytes) + " bytes, it has " +
                        std::to_string(array.data.size()));
  return false;
}

std::optional<Bytes> npyBytes(const Array &array, const std::string &where, Diagnostics &diagnostics) {
  std::optional<std::string> header = npyHeader(array, where, diagnostics);
  if (!header || !checkSize(array, where, diagnostics))
    return std::nullopt;
  Bytes bytes(header->size() + array.data.size());
  std::memcpy(bytes.data(), header->data(), header->size());
  std::copy(array.data.begin(), array.data.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(header->size()));
  return bytes;
}

} // namespace

int64_t Array::count() const {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

std::optional<std::vector<NamedArray>> readArrays(const std::string &path, Diagnostics &diagnostics) {
  std::optional<ArrayFile> file = ArrayFile::open(path, diagnostics);
  if (!file)
    return std::nullopt;
  std::vector<NamedArray> arrays;
  bool ok = true;
  for (size_t i = 0; i < file->arrays().size(); ++i) {
    std::optional<Array> array = file->read(i, diagnostics);
    if (array)
      arrays.push_back({file->arrays()[i].name, std::move(*array)});
    ok = ok && array;
  }
  if (!ok)
    return std::nullopt;
  return arrays;
}

bool writeNpy(const std::string &path, const Array &array, Diagnostics &diagnostics) {
  std::optional<std::string> header = npyHeader(array, path, diagnostics);
  if (!header || !checkSize(array, path, diagnostics))
    return false;
  std::optional<AtomicFile> file = AtomicFile::create(path, diagnostics);
  return file && file->write(std::as_bytes(std::span(*header)), diagnostics) &&
         file->write(array.data, diagnostics) && file->commit(diagnostics);
}

bool writeNpz(const std::string &path, std::span<const NamedArray> arrays, Diagnostics &diagnostics) {
  std::vector<Bytes> contents;
  std::set<std::string> names;
  bool ok = true;
  for (const NamedArray &named : arrays) {
    std::string where = path + ": array '" + named.name + "'";
    if (!names.insert(named.name).second) {
      diagnostics.error(where, "there are two arrays of this name");
      ok = false;
    }
    std::optional<Bytes> bytes = npyBytes(named.array, where, diagnostics);
    ok = ok && bytes;
    if (ok)
      contents.push_back(std::move(*bytes));
  }
  if (!ok)
    return false;
  auto fail = [&](const std::string &why) {
    diagnostics.error(path, "cannot write the .npz archive", why);
    return false;
  };
  if (arrays.empty()) {
    // libzip does not write archives without entries: the end record alone is one.
    std::string end(22, '\0');
    end.replace(0, 4, "PK\x05\x06");
    return writeFile(path, std::as_bytes(std::span(end)), diagnostics);
  }
  // libzip would write a temporary file of its own that a signal leaves behind; so it writes to memory.
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *memory = zip_source_buffer_create(nullptr, 0, 0, &error);
  if (!memory)
    return fail(text(&error));
  zip_source_keep(memory);
  std::unique_ptr<zip_source_t, decltype(&zip_source_free)> keep(memory, zip_source_free);
  Archive archive(zip_open_from_source(memory, ZIP_CREATE | ZIP_TRUNCATE, &error));
  if (!archive) {
    zip_source_free(memory);
    return fail(text(&error));
  }
  for (size_t i = 0; i < contents.size(); ++i)
    if (std::string why = addEntry(archive.get(), arrays[i].name + ".npy", contents[i]); !why.empty())
      return fail(why);
  if (zip_close(archive.get()) != 0)
    return fail(zip_strerror(archive.get()));
  (void)archive.release();

  std::optional<AtomicFile> file = AtomicFile::create(path, diagnostics);
  if (!file)
    return false;
  if (zip_source_open(memory) != 0)
    return fail(text(zip_source_error(memory)));
  Bytes chunk(size_t{1} << 20);
  zip_int64_t count = 0;
  while ((count = zip_source_read(memory, chunk.data(), chunk.size())) > 0)
    if (!file->write(std::span(chunk).first(static_cast<size_t>(count)), diagnostics))
      break;
  std::string why = count < 0 ? text(zip_source_error(memory)) : "";
  zip_source_close(memory);
  if (count < 0)
    return fail(why);
  return count == 0 && file->commit(diagnostics);
}

} // namespace npuc
