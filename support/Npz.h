// NumPy's array files: .npy (one array) and .npz (a zip archive of named ones).
#pragma once

#include "support/Diagnostic.h"
#include "support/ElementType.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npuc {

/// A dense array in row-major order, `data` as in ElementType (little-endian; 4-bit elements two to a byte).
struct Array {
  ElementType type = ElementType::F32;
  std::vector<int64_t> shape; ///< Empty: a scalar.
  std::vector<std::byte> data;

  /// Elements of the whole array.
  int64_t count() const;
};

struct NamedArray {
  std::string name;
  Array array;
};

/// Reads a .npz (arrays in the order of the archive, named without ".npy") or a .npy (one array, named as the
/// file without folder and extension), told apart by their content. The file is treated as hostile. Errors:
/// unreadable; not such a file; truncated or corrupt; encrypted; two arrays of one name; a type that
/// ElementType lacks (objects, strings, complex numbers, records) or whose bytes are big-endian. Fortran
/// order is transposed to row-major.
std::optional<std::vector<NamedArray>> readArrays(const std::string &path, Diagnostics &diagnostics);

/// Writes a .npz atomically, stored without compression; equal arrays give equal bytes, at any time and
/// place. An error if a type is not one of NumPy's (I4, U4, F8E4M3, F8E5M2, BF16: convert first), two names
/// are equal, or the file cannot be written.
bool writeNpz(const std::string &path, std::span<const NamedArray> arrays, Diagnostics &diagnostics);

/// Writes a .npy atomically; errors as writeNpz.
bool writeNpy(const std::string &path, const Array &array, Diagnostics &diagnostics);

} // namespace npuc
