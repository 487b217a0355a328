// What stands before the data of a .npy array: for what reads and writes NumPy's files.
#pragma once

#include "support/Diagnostic.h"
#include "support/Npz.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npuc {

inline constexpr std::string_view npyMagic = "\x93NUMPY";
/// So many bytes tell where a header ends; no file is shorter.
inline constexpr size_t npyStart = 12;

struct NpyHeader {
  ElementType type = ElementType::F32;
  std::vector<int64_t> shape;
  bool isFortran = false; ///< Elements lie in column-major order.
  size_t offset = 0;      ///< Where the data begins.
};

/// Where the data of a file of `size` bytes begins, from its first bytes (`npyStart`, or all if it has
/// fewer). Errors: no .npy file, an unknown version, a header that is truncated.
std::optional<size_t> npyDataOffset(std::span<const std::byte> start, size_t size, const std::string &where,
                                    Diagnostics &diagnostics);

/// Parses what stands before the data of a file of `size` bytes. Errors: a header that is malformed, a type
/// that is none of ours, a size that does not fit the shape.
std::optional<NpyHeader> parseNpyHeader(std::span<const std::byte> beforeData, size_t size,
                                        const std::string &where, Diagnostics &diagnostics);

/// What stands before the array's data; an error if NumPy lacks its type.
std::optional<std::string> npyHeader(const Array &array, const std::string &where, Diagnostics &diagnostics);

/// Copies a column-major array of `size`-byte elements into row-major order.
std::vector<std::byte> fromFortran(std::span<const std::byte> source, const std::vector<int64_t> &shape,
                                   size_t size);

} // namespace npuc
