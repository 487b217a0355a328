// The memories that a program works on, with a record of which bytes were ever written, and views resolved
// against them.
#pragma once

#include "backends/npu/isa/Program.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace npuc::npu_sim {

/// What stops a launch; becomes a diagnostic that names the command.
struct Failure {
  std::string what, why, hint;
};

/// A memory or a DRAM buffer. With `written`, a bit for each byte says whether it holds anything; 64 bytes
/// share a word, so two threads may work on one memory if what they touch lies in different blocks of 64
/// bytes.
struct Memory {
  std::byte *data = nullptr;
  int64_t bytes = 0; ///< That a program may reach.
  std::string name;  ///< "core 3's scratchpad", "buffer 'ids'".
  bool readOnly = false;
  std::vector<uint64_t> written; ///< Empty: not recorded.

  bool checked() const { return !written.empty(); }
  void markWritten(int64_t offset, int64_t count);
  /// Offset of the first byte of the range that was never written, or −1.
  int64_t firstUnwritten(int64_t offset, int64_t count) const;
};

/// A view with registers applied: element (i0, i1, …) is at byte base + Σ i_d · stride_d · width / 8.
struct Operand {
  Memory *memory = nullptr;
  ElementType type = ElementType::I8;
  uint8_t rank = 0;
  int64_t base = 0;
  std::array<int64_t, isa::maxRank> size{}, stride{};

  bool empty() const;
  /// Bytes from the first to the last that it touches.
  isa::ByteRange hull() const;
  /// Address of the element at `offset` elements from the base; of four-bit elements, of the byte that holds
  /// it.
  std::byte *at(int64_t offset) const { return memory->data + base + byteOffset(offset); }
  int64_t byteOffset(int64_t elements) const {
    return fourBit() ? elements >> 1 : elements * (bitWidth(type) / 8);
  }
  bool fourBit() const { return bitWidth(type) == 4; }
};

/// Fails if a byte of operand number `index` was never written.
void checkWritten(const Operand &operand, unsigned index);
void markWritten(const Operand &operand);

} // namespace npuc::npu_sim
