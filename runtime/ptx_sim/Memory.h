// Global memory: allocations with guards between them, and which of their bytes were ever written.
#pragma once

#include "runtime/ptx_sim/Program.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace npuc::ptx {

/// One allocation. `written` has a byte for each of `data`, 0 or 1.
struct Region {
  std::string name; ///< As findings call it.
  uint64_t address = 0;
  uint64_t bytes = 0;
  bool constant = false;
  std::unique_ptr<std::byte[]> data;
  std::unique_ptr<uint8_t[]> written;
};

class Memory {
public:
  /// With the module's variables.
  explicit Memory(const Program &program);

  /// `bytes` more, at an address that is a multiple of 256, as from the CUDA driver. Throws std::bad_alloc.
  uint64_t allocate(std::string name, uint64_t bytes);
  /// The bytes of an allocation, by its address; for the host, before and after runs.
  std::span<std::byte> bytes(uint64_t address);
  /// Whether all bytes of the allocation count as written; those of `allocate` do not.
  void setWritten(uint64_t address, bool written);

  /// The allocation in which the address lies, or null.
  const Region *find(uint64_t address) const;
  /// The allocation that ends nearest below the address, or null.
  const Region *below(uint64_t address) const;

private:
  void add(std::string name, uint64_t address, uint64_t bytes);

  std::vector<Region> regions_; ///< By address.
  uint64_t next_ = allocationsBase;
};

} // namespace npuc::ptx
