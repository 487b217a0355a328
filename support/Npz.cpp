#include "support/Npz.h"

#include "support/File.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <zip.h>

namespace npuc {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::string_view npyMagic = "\x93NUMPY";
constexpr std::string_view zipMagics[] = {"PK\x03\x04",
                                          "PK\x05\x06"}; // an archive with entries; an empty one

struct Dtype {
  std::string_view descr;
  ElementType type;
};

/// How NumPy spells the types, the spelling it writes itself first.
constexpr Dtype dtypes[] = {
    {"|b1", ElementType::Bool}, {"|i1", ElementType::I8},  {"|u1", ElementType::U8},
    {"<i2", ElementType::I16},  {"<u2", ElementType::U16}, {"<i4", ElementType::I32},
    {"<u4", ElementType::U32},  {"<i8", ElementType::I64}, {"<u8", ElementType::U64},
    {"<f2", ElementType::F16},  {"<f4", ElementType::F32}, {"<f8", ElementType::F64},
};

std::string_view asText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// The header's Python dictionary, read by a cursor; each function returns false at what it does not expect.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;
  bool structured = false; ///< The type is a list of fields; the rest was not read.

  bool parse() {
    bool seen[3] = {};
    if (!accept('{'))
      return false;
    while (!accept('}')) {
      std::string key;
      if (!string(key) || !accept(':'))
        return false;
      int index = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      if (index < 0 || seen[index])
        return false;
      seen[index] = true;
      if (index == 0 && peek() == '[') {
        structured = true;
        return true;
      }
      if (!(index == 0 ? string(descr) : index == 1 ? boolean(fortranOrder) : tuple(shape)))
        return false;
      if (!accept(',') && peek() != '}')
        return false;
    }
    return seen[0] && seen[1] && seen[2] && peek() == '\0';
  }

private:
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c)
      return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    peek();
    if (text_.substr(at_, w.size()) != w)
      return false;
    at_ += w.size();
    return true;
  }
  bool string(std::string &out) {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return false;
    size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos)
      return false;
    out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool boolean(bool &out) {
    out = word("True");
    return out || word("False");
  }
  bool tuple(std::vector<int64_t> &out) {
    if (!accept('('))
      return false;
    while (!accept(')')) {
      peek();
      int64_t value = 0;
      auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0)
        return false;
      at_ = static_cast<size_t>(end - text_.data());
      out.push_back(value);
      if (!accept(',') && peek() != ')')
        return false;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

/// Copies a column-major array of `size`-byte elements into row-major order.
Bytes fromFortran(std::span<const std::byte> source, const std::vector<int64_t> &shape, size_t size) {
  Bytes out(source.size());
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<size_t> stride(shape.size());
  size_t running = size;
  for (size_t d = 0; d < shape.size(); ++d) {
    stride[d] = running;
    running *= static_cast<size_t>(shape[d]);
  }
  size_t from = 0;
  for (size_t to = 0; to < out.size(); to += size) {
    std::memcpy(out.data() + to, source.data() + from, size);
    for (size_t d = shape.size(); d-- > 0;) {
      from += stride[d];
      if (++index[d] < shape[d])
        break;
      from -= stride[d] * static_cast<size_t>(shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

const Dtype *findDtype(std::string_view descr) {
  for (const Dtype &dtype : dtypes) {
    // One-byte types have no byte order, whatever the mark in front says; '=' is this machine's own order.
    bool same = descr.size() == 3 && descr.substr(1) == dtype.descr.substr(1);
    if (same && (dtype.descr[0] == '|' || descr[0] == '<' || descr[0] == '='))
      return &dtype;
  }
  return nullptr;
}

/// The bytes of a .npy header with everything before the data, padded so that the data starts at a multiple
/// of 64.
std::optional<std::string> npyHeader(const Array &array, const std::string &where, Diagnostics &diagnostics) {
  const Dtype *dtype = std::find_if(std::begin(dtypes), std::end(dtypes),
                                    [&](const Dtype &d) { return d.type == array.type; });
  if (dtype == std::end(dtypes)) {
    diagnostics.error(where, "cannot write the array", "NumPy has no type " + std::string(name(array.type)),
                      "convert it to f32 first");
    return std::nullopt;
  }
  std::string shape;
  for (int64_t size : array.shape)
    shape += std::to_string(size) + (array.shape.size() == 1 ? "," : ", ");
  if (array.shape.size() > 1)
    shape.resize(shape.size() - 2);
  std::string text =
      "{'descr': '" + std::string(dtype->descr) + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  // Version 1 has a 2-byte length; a longer header (tens of thousands of dimensions) cannot come about.
  size_t before = npyMagic.size() + 2 + 2;
  text.resize((before + text.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  text += '\n';
  std::string out(npyMagic);
  out += {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return out + text;
}

struct ZipDiscard {
  void operator()(zip_t *archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, ZipDiscard>;

std::string text(zip_error_t *error) {
  std::string out = zip_error_strerror(error);
  zip_error_fini(error);
  return out;
}

/// The whole content of entry `index`, or an error.
std::optional<Bytes> readEntry(zip_t *archive, zip_uint64_t index, const std::string &where,
                               Diagnostics &diagnostics) {
  auto fail = [&](const std::string &why) {
    diagnostics.error(where, "cannot read the array", why);
    return std::nullopt;
  };
  zip_stat_t stat;
  if (zip_stat_index(archive, index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE) ||
      !(stat.valid & ZIP_STAT_COMP_SIZE))
    return fail("the archive does not say its size");
  if (stat.encryption_method != ZIP_EM_NONE)
    return fail("it is encrypted");
  // Deflate cannot expand by more than 1032; a greater claim is a lie that must not make us allocate.
  if (stat.size / 1032 > stat.comp_size)
    return fail("its size does not fit its compressed size");
  std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(zip_fopen_index(archive, index, 0), zip_fclose);
  if (!file)
    return fail(zip_strerror(archive));
  Bytes bytes(stat.size);
  // At the end of the entry libzip checks its checksum; one byte more than announced is an error too.
  for (size_t at = 0;;) {
    std::byte beyond;
    bool full = at == bytes.size();
    zip_int64_t count =
        zip_fread(file.get(), full ? &beyond : bytes.data() + at, full ? 1 : bytes.size() - at);
    if (count < 0)
      return fail(zip_file_strerror(file.get()));
    if (full ? count > 0 : count == 0)
      return fail("its size is not what the archive says");
    if (full)
      return bytes;
    at += static_cast<size_t>(count);
  }
}

std::optional<std::vector<NamedArray>> readNpz(const MappedFile &file, Diagnostics &diagnostics) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *source = zip_source_buffer_create(file.bytes().data(), file.size(), 0, &error);
  Archive archive(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
  if (!archive) {
    if (source)
      zip_source_free(source);
    diagnostics.error(file.path(), "cannot read the .npz archive", text(&error));
    return std::nullopt;
  }
  std::vector<NamedArray> arrays;
  std::set<std::string> names;
  bool ok = true;
  zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char *entry = zip_get_name(archive.get(), static_cast<zip_uint64_t>(i), 0);
    std::string name = entry ? entry : "";
    if (name.ends_with(".npy"))
      name.resize(name.size() - 4);
    std::string where = file.path() + ": array '" + name + "'";
    if (!names.insert(name).second) {
      diagnostics.error(where, "the archive has two arrays of this name");
      ok = false;
      continue;
    }
    std::optional<Bytes> bytes = readEntry(archive.get(), static_cast<zip_uint64_t>(i), where, diagnostics);
    std::optional<Array> array = bytes ? parseNpy(*bytes, where, diagnostics) : std::nullopt;
    if (array)
      arrays.push_back({std::move(name), std::move(*array)});
    ok = ok && array;
  }
  if (!ok)
    return std::nullopt;
  return arrays;
}

std::string stem(const std::string &path) {
  std::string file = path.substr(path.find_last_of('/') + 1);
  return file.ends_with(".npy") ? file.substr(0, file.size() - 4) : file;
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

std::optional<Array> parseNpy(std::span<const std::byte> bytes, const std::string &where,
                              Diagnostics &diagnostics) {
  auto fail = [&](const std::string &why, const std::string &hint = {}) {
    diagnostics.error(where, "cannot read the array", why, hint);
    return std::nullopt;
  };
  if (!asText(bytes).starts_with(npyMagic))
    return fail("it does not start as a .npy file");
  if (bytes.size() < 12)
    return fail("the header is truncated");
  auto byteAt = [&](size_t i) { return static_cast<size_t>(bytes[i]); };
  size_t version = byteAt(6);
  if (version < 1 || version > 3)
    return fail("version " + std::to_string(version) + " of the .npy format is unknown (1 to 3 are known)");
  size_t start = version == 1 ? 10 : 12;
  size_t length = byteAt(8) | byteAt(9) << 8;
  if (version > 1)
    length |= byteAt(10) << 16 | byteAt(11) << 24;
  if (length > bytes.size() - start)
    return fail("the header is truncated");
  HeaderParser header(asText(bytes.subspan(start, length)));
  if (!header.parse())
    return fail("the header is malformed");
  if (header.structured)
    return fail("records are not supported", "store each field as an array of its own");
  const Dtype *dtype = findDtype(header.descr);
  if (!dtype)
    return fail("its type is '" + header.descr + "'" + (header.descr.starts_with('>') ? " (big-endian)" : ""),
                "store it as bool, int8 to int64, uint8 to uint64 or float16 to float64, little-endian");
  size_t size = bitWidth(dtype->type) / 8;
  std::span<const std::byte> data = bytes.subspan(start + length);
  size_t count = 1;
  bool empty = std::find(header.shape.begin(), header.shape.end(), 0) != header.shape.end();
  for (int64_t extent : header.shape)
    if (empty)
      count = 0;
    else if (__builtin_mul_overflow(count, static_cast<size_t>(extent), &count) || count > data.size())
      return fail("the file is shorter than its shape needs");
  if (count > data.size() / size || count * size != data.size())
    return fail("its shape needs " + std::to_string(count) + " elements of " + std::to_string(size) +
                " bytes, the file has " + std::to_string(data.size()) + " bytes of data");
  Array array;
  array.type = dtype->type;
  array.shape = std::move(header.shape);
  array.data = header.fortranOrder && array.shape.size() > 1 ? fromFortran(data, array.shape, size)
                                                             : Bytes(data.begin(), data.end());
  if (array.type == ElementType::Bool &&
      std::any_of(array.data.begin(), array.data.end(), [](std::byte b) { return b > std::byte{1}; }))
    return fail("a bool is neither 0 nor 1");
  return array;
}

std::optional<std::vector<NamedArray>> readArrays(const std::string &path, Diagnostics &diagnostics) {
  std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  if (!file)
    return std::nullopt;
  std::string_view content = asText(file->bytes());
  for (std::string_view magic : zipMagics)
    if (content.starts_with(magic))
      return readNpz(*file, diagnostics);
  if (!content.starts_with(npyMagic)) {
    diagnostics.error(path, "it is neither a .npz nor a .npy file", {},
                      "write it with numpy.savez or numpy.save");
    return std::nullopt;
  }
  std::optional<Array> array = parseNpy(file->bytes(), path, diagnostics);
  if (!array)
    return std::nullopt;
  std::vector<NamedArray> arrays(1);
  arrays[0] = {stem(path), std::move(*array)};
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
    end.replace(0, 4, zipMagics[1]);
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
