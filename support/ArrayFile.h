// NumPy's array files a part at a time, for those that are larger than memory.
#pragma once

#include "support/Diagnostic.h"
#include "support/Npz.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npuc {

/// What a file says of an array before its data.
struct ArrayHeader {
  std::string name;
  ElementType type = ElementType::F32;
  std::vector<int64_t> shape;
  bool isFortran = false; ///< Its elements lie in column-major order.
};

/// A .npz or .npy file of which only the headers have been read.
class ArrayFile {
public:
  /// Told apart, named and treated as by readArrays; errors are its errors, but for damage to the data.
  static std::optional<ArrayFile> open(const std::string &path, Diagnostics &diagnostics);

  const std::vector<ArrayHeader> &arrays() const;
  /// The file and, in an archive, the array, for errors.
  std::string where(size_t array) const;

  /// Reads one array's bytes from its first to its last, in the order in which they lie in the file.
  class Reader {
  public:
    /// The next bytes, at most as many as are left. False, and an error, if they are damaged: truncated,
    /// corrupt (as far as a checksum tells, once the last are read), a bool that is neither 0 nor 1.
    bool read(std::span<std::byte> bytes, Diagnostics &diagnostics);

  private:
    friend class ArrayFile;
    struct State;
    explicit Reader(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
  };
  /// May outlive this; several may read side by side, in one thread.
  std::optional<Reader> reader(size_t array, Diagnostics &diagnostics) const;

  /// All of an array, in row-major order.
  std::optional<Array> read(size_t array, Diagnostics &diagnostics) const;

private:
  struct State;
  explicit ArrayFile(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

} // namespace npuc
