#include "support/NpyHeader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

namespace npuc {
namespace {

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

const Dtype *findDtype(std::string_view descr) {
  for (const Dtype &dtype : dtypes) {
    // One-byte types have no byte order, whatever the mark in front says; '=' is this machine's own order.
    bool same = descr.size() == 3 && descr.substr(1) == dtype.descr.substr(1);
    if (same && (dtype.descr[0] == '|' || descr[0] == '<' || descr[0] == '='))
      return &dtype;
  }
  return nullptr;
}

std::nullopt_t fail(Diagnostics &diagnostics, const std::string &where, const std::string &why,
                    const std::string &hint = {}) {
  diagnostics.error(where, "cannot read the array", why, hint);
  return std::nullopt;
}

/// The fixed part: the magic number, two bytes of version, and the header's length.
size_t fixedPart(size_t version) {
  return version == 1 ? 10 : 12;
}

} // namespace

std::optional<size_t> npyDataOffset(std::span<const std::byte> start, size_t size, const std::string &where,
                                    Diagnostics &diagnostics) {
  if (!asText(start).starts_with(npyMagic))
    return fail(diagnostics, where, "it does not start as a .npy file");
  if (start.size() < npyStart)
    return fail(diagnostics, where, "the header is truncated");
  auto byteAt = [&](size_t i) { return static_cast<size_t>(start[i]); };
  size_t version = byteAt(6);
  if (version < 1 || version > 3)
    return fail(diagnostics, where,
                "version " + std::to_string(version) + " of the .npy format is unknown (1 to 3 are known)");
  size_t length = byteAt(8) | byteAt(9) << 8;
  if (version > 1)
    length |= byteAt(10) << 16 | byteAt(11) << 24;
  if (length > size - fixedPart(version))
    return fail(diagnostics, where, "the header is truncated");
  return fixedPart(version) + length;
}

std::optional<NpyHeader> parseNpyHeader(std::span<const std::byte> beforeData, size_t size,
                                        const std::string &where, Diagnostics &diagnostics) {
  HeaderParser header(asText(beforeData.subspan(fixedPart(static_cast<size_t>(beforeData[6])))));
  if (!header.parse())
    return fail(diagnostics, where, "the header is malformed");
  if (header.structured)
    return fail(diagnostics, where, "records are not supported", "store each field as an array of its own");
  const Dtype *dtype = findDtype(header.descr);
  if (!dtype)
    return fail(diagnostics, where,
                "its type is '" + header.descr + "'" + (header.descr.starts_with('>') ? " (big-endian)" : ""),
                "store it as bool, int8 to int64, uint8 to uint64 or float16 to float64, little-endian");
  size_t itemBytes = bitWidth(dtype->type) / 8, bytes = size - beforeData.size(), count = 1;
  bool empty = std::ranges::find(header.shape, 0) != header.shape.end();
  for (int64_t extent : header.shape)
    if (empty)
      count = 0;
    else if (__builtin_mul_overflow(count, static_cast<size_t>(extent), &count) || count > bytes)
      return fail(diagnostics, where, "the file is shorter than its shape needs");
  if (count > bytes / itemBytes || count * itemBytes != bytes)
    return fail(diagnostics, where,
                "its shape needs " + std::to_string(count) + " elements of " + std::to_string(itemBytes) +
                    " bytes, the file has " + std::to_string(bytes) + " bytes of data");
  return NpyHeader{dtype->type, std::move(header.shape), header.fortranOrder, beforeData.size()};
}

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
  // The data starts at a multiple of 64.
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

std::vector<std::byte> fromFortran(std::span<const std::byte> source, const std::vector<int64_t> &shape,
                                   size_t size) {
  std::vector<std::byte> out(source.size());
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

} // namespace npuc
