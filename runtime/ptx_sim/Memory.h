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
  std::shared_ptr<std::byte[]> data;
  std::shared_ptr<uint8_t[]> written;
};

/// A copy shares the bytes.
class Memory {
public:
  Memory() = default;
  /// With the module's variables.
  explicit Memory(const Program &program);

  /// `bytes` more, at an address that is a multiple of 256, as from the CUDA driver. Throws std::bad_alloc.
  uint64_t allocate(std::string name, uint64_t bytes);
  /// The bytes of an allocation, by its address; for the host, before and after runs.
  std::span<std::byte> bytes(uint64_t address);
  /// Takes in the allocations of `other`, whose addresses are others than its own, and shares their bytes.
  void add(const Memory &other);
  /// Gives up an allocation, by its address.
  void release(uint64_t address);
  /// What findings call an allocation, and whether kernels may only read it.
  void describe(uint64_t address, std::string name, bool constant);
  /// Whether all bytes of the allocation count as written; those of `allocate` do not.
  void setWritten(uint64_t address, bool written);

  /// The allocation in which the address lies, or null.
  const Region *find(uint64_t address) const;
  /// The allocation that ends nearest below the address, or null.
  const Region *below(uint64_t address) const;

private:
  void add(std::string name, uint64_t address, uint64_t bytes);
  std::vector<Region>::iterator at(uint64_t address);

  std::vector<Region> regions_; ///< By address.
  uint64_t next_ = allocationsBase;
};

} // namespace npuc::ptx
