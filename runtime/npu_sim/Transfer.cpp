// Copies, fills, gathers and scatters.
#include "runtime/npu_sim/Execute.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

namespace npuc::npu_sim {
namespace {

struct CopyLoop {
  int64_t count, source, destination; ///< Steps in units of the copy.
};

/// A copy as loops over elements of `width` bytes, or of half bytes if width is 0; neighbours that continue
/// each other are one loop.
struct CopyLoops {
  std::array<CopyLoop, isa::maxRank> loops{};
  int rank = 0;
  size_t width = 1;
};

CopyLoops loopsOf(const Operand &source, const Operand &destination) {
  CopyLoops out;
  out.width = bitWidth(source.type) / 8;
  for (int d = 0; d < source.rank; ++d) {
    CopyLoop loop{std::min(source.size[d], destination.size[d]), source.stride[d], destination.stride[d]};
    if (loop.count == 1)
      continue;
    if (out.rank > 0) {
      CopyLoop &outer = out.loops[out.rank - 1];
      if (outer.source == loop.source * loop.count && outer.destination == loop.destination * loop.count) {
        outer = {outer.count * loop.count, loop.source, loop.destination};
        continue;
      }
    }
    out.loops[out.rank++] = loop;
  }
  return out;
}

bool even(int64_t x) {
  return x % 2 == 0;
}

/// Four-bit elements that fill whole bytes on both sides are copied as bytes.
void widenNibbles(CopyLoops &c) {
  if (c.width != 0 || c.rank == 0)
    return;
  const CopyLoop &inner = c.loops[c.rank - 1];
  if (inner.source != 1 || inner.destination != 1 || !even(inner.count))
    return;
  for (int d = 0; d + 1 < c.rank; ++d)
    if (!even(c.loops[d].source) || !even(c.loops[d].destination))
      return;
  c.width = 1;
  c.loops[c.rank - 1].count /= 2;
  for (int d = 0; d + 1 < c.rank; ++d)
    c.loops[d].source /= 2, c.loops[d].destination /= 2;
}

template <class T>
void copyElements(const std::byte *source, std::byte *destination, int64_t count, int64_t stepSource,
                  int64_t stepDestination) {
  if (stepSource == 0 && stepDestination == 1) {
    T value;
    std::memcpy(&value, source, sizeof(T));
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(destination + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(destination + i * stepDestination * static_cast<int64_t>(sizeof(T)),
                source + i * stepSource * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

void copyNibbles(const std::byte *source, std::byte *destination, int64_t from, int64_t to,
                 const CopyLoop &loop) {
  for (int64_t i = 0; i < loop.count; ++i, from += loop.source, to += loop.destination) {
    uint32_t value = static_cast<uint32_t>(source[from >> 1]) >> (4 * (from & 1)) & 15;
    uint32_t shift = 4 * (to & 1), old = static_cast<uint32_t>(destination[to >> 1]);
    destination[to >> 1] = static_cast<std::byte>((old & (0xf0u >> shift)) | value << shift);
  }
}

void copyRun(size_t width, const std::byte *source, std::byte *destination, int64_t from, int64_t to,
             const CopyLoop &loop) {
  if (width == 0)
    return copyNibbles(source, destination, from, to, loop);
  int64_t bytes = static_cast<int64_t>(width);
  source += from * bytes, destination += to * bytes;
  if (loop.source == 1 && loop.destination == 1) {
    std::memmove(destination, source, static_cast<size_t>(loop.count * bytes));
    return;
  }
  switch (width) {
  case 1:
    return copyElements<uint8_t>(source, destination, loop.count, loop.source, loop.destination);
  case 2:
    return copyElements<uint16_t>(source, destination, loop.count, loop.source, loop.destination);
  case 4:
    return copyElements<uint32_t>(source, destination, loop.count, loop.source, loop.destination);
  default:
    return copyElements<uint64_t>(source, destination, loop.count, loop.source, loop.destination);
  }
}

/// The part of `operand` at index `i` of its first dimensions (`i` counts their elements, last fastest),
/// dimensions `first`… left.
Operand slice(const Operand &operand, int first, int64_t i) {
  Operand out = operand;
  int64_t offset = 0;
  for (int d = first; d-- > 0; i /= operand.size[d])
    offset += i % operand.size[d] * operand.stride[d];
  out.base += operand.byteOffset(offset);
  out.rank = static_cast<uint8_t>(operand.rank - first);
  std::copy(operand.size.begin() + first, operand.size.begin() + operand.rank, out.size.begin());
  std::copy(operand.stride.begin() + first, operand.stride.begin() + operand.rank, out.stride.begin());
  return out;
}

std::string position(const Operand &index, int64_t i) {
  std::string text;
  for (int d = index.rank; d-- > 0; i /= index.size[d])
    text = fmt::format("{}{}{}", i % index.size[d], text.empty() ? "" : ", ", text);
  return "[" + text + "]";
}

/// Value number `i` of an index operand; must lie in 0…limit−1.
int64_t indexAt(const Operand &index, int64_t i, int64_t limit) {
  int32_t value;
  std::memcpy(&value, slice(index, index.rank, i).at(0), 4);
  if (value < 0 || value >= limit)
    throw Failure{fmt::format("index out of range: {} at position {} of {}", value, position(index, i),
                              index.memory->name),
                  fmt::format("the indexed dimension takes 0 to {}", limit - 1),
                  "correct the input that the index comes from"};
  return value;
}

void checkRows(const Operand &table) {
  if (table.fourBit() && table.rank == 1)
    throw Failure{
        "four-bit elements cannot be gathered or scattered one by one", "a row must fill whole bytes", {}};
}

int64_t count(const Operand &operand) {
  int64_t n = 1;
  for (int d = 0; d < operand.rank; ++d)
    n *= operand.size[d];
  return n;
}

} // namespace

void copy(const Operand &source, const Operand &destination) {
  if (source.empty() || destination.empty())
    return;
  CopyLoops c = loopsOf(source, destination);
  widenNibbles(c);
  if (c.rank == 0)
    c.loops[c.rank++] = {1, 1, 1};
  std::array<int64_t, isa::maxRank> index{};
  int64_t from = 0, to = 0;
  const CopyLoop &inner = c.loops[c.rank - 1];
  for (;;) {
    copyRun(c.width, source.at(0), destination.at(0), from, to, inner);
    int d = c.rank - 2;
    for (; d >= 0; --d) {
      const CopyLoop &loop = c.loops[d];
      from += loop.source, to += loop.destination;
      if (++index[d] < loop.count)
        break;
      from -= loop.count * loop.source, to -= loop.count * loop.destination;
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

void fill(const Operand &destination, double value, const Kernels &kernels) {
  // One element, and a copy of it to all.
  std::byte bytes[8] = {};
  Memory one;
  one.data = bytes, one.bytes = 8;
  if (destination.type == ElementType::F64) {
    std::memcpy(bytes, &value, 8);
  } else if (isFloat(destination.type)) {
    float f = static_cast<float>(value);
    kernels.fromF32(destination.type, &f, bytes, 1);
  } else {
    const double rounded = std::nearbyint(value);
    int64_t wide = rounded >= 0x1p63    ? INT64_MAX
                   : rounded < -0x1p63  ? INT64_MIN
                   : rounded == rounded ? static_cast<int64_t>(rounded)
                                        : 0;
    if (bitWidth(destination.type) == 64 || destination.type == ElementType::U32) {
      int64_t least = isSigned(destination.type) ? INT64_MIN : 0;
      int64_t greatest = destination.type == ElementType::U32 ? UINT32_MAX : INT64_MAX;
      wide = std::clamp(wide, least, greatest);
      std::memcpy(bytes, &wide, 8);
    } else {
      int32_t narrow = static_cast<int32_t>(std::clamp<int64_t>(wide, INT32_MIN, INT32_MAX));
      kernels.fromI32(destination.type, &narrow, bytes, 1);
    }
  }
  Operand source = destination;
  source.memory = &one, source.base = 0;
  source.stride.fill(0);
  if (destination.fourBit())
    bytes[0] |= bytes[0] << 4;
  copy(source, destination);
}

void gather(const Operand &table, const Operand &index, const Operand &destination) {
  checkRows(table);
  if (destination.empty())
    return;
  for (int64_t i = 0, n = count(index); i < n; ++i) {
    int64_t row = indexAt(index, i, table.size[0]);
    Operand source = slice(table, 1, row);
    checkWritten(source, 0);
    copy(source, slice(destination, index.rank, i));
  }
}

void scatter(const Operand &source, const Operand &index, const Operand &destination) {
  checkRows(destination);
  if (source.empty())
    return;
  for (int64_t i = 0, n = count(index); i < n; ++i) {
    int64_t row = indexAt(index, i, destination.size[0]);
    Operand to = slice(destination, 1, row);
    copy(slice(source, index.rank, i), to);
    markWritten(to);
  }
}

} // namespace npuc::npu_sim
