// Matrices of 8 x 8 numbers of 16 bits, and products of matrices.
#include "runtime/ptx_sim/Access.h"
#include "runtime/ptx_sim/Mma.h"

#include <cstring>

namespace npuc::ptx::execute {

/// PTX ISA, "ldmatrix": lanes 8 m to 8 m + 7 give the addresses of matrix m's rows of 16 bytes. Lane l gets
/// of matrix m in register m the numbers of row l / 4 and columns 2 (l % 4) and the next; with .trans row and
/// column change places.
void loadMatrix(Warp &warp, const Instruction &i, uint32_t mask) {
  checkWhole(warp, i, mask);
  uint64_t address[warpSize];
  addresses(warp, i, i.a, i.flags, i.offset, address);
  MemoryAccess access(warp, i, i.space, 16, MemoryAccess::Kind::Read);
  const bool transposed = i.operation;
  alignas(16) uint16_t rows[warpSize][8] = {};
  for (unsigned l = 0; l < 8u * i.vector; ++l) {
    const Location at = access.at(l, address[l]);
    if (!at.data)
      continue;
    access.note(l, at);
    std::memcpy(rows[l], at.data, 16);
  }
  for (unsigned m = 0; m < i.vector; ++m) {
    uint32_t *d = warp.destination<uint32_t>(warp.kernel.lists[i.list + m]);
    const uint16_t (*matrix)[8] = rows + 8 * m;
    eachLane(mask, [&](unsigned l) {
      const unsigned along = l / 4, pair = 2 * (l % 4);
      const uint32_t low = transposed ? matrix[pair][along] : matrix[along][pair];
      const uint32_t high = transposed ? matrix[pair + 1][along] : matrix[along][pair + 1];
      d[l] = high << 16 | low;
    });
  }
  access.count();
}

/// PTX ISA, "movmatrix": a matrix that lies as ldmatrix leaves it, transposed.
void moveMatrix(Warp &warp, const Instruction &i, uint32_t mask) {
  checkWhole(warp, i, mask);
  const uint32_t *a = warp.source<uint32_t>(i.a);
  uint16_t matrix[8][8];
  for (unsigned l = 0; l < warpSize; ++l)
    std::memcpy(&matrix[l / 4][2 * (l % 4)], &a[l], 4);
  uint32_t *d = warp.destination<uint32_t>(i.d);
  eachLane(mask, [&](unsigned l) {
    const unsigned row = l / 4, pair = 2 * (l % 4);
    d[l] = static_cast<uint32_t>(matrix[pair + 1][row]) << 16 | matrix[pair][row];
  });
}

/// `list`: the slots of d, a, b and c.
void mma(Warp &warp, const Instruction &i, uint32_t mask) {
  checkWhole(warp, i, mask);
  MmaArguments x{};
  const int32_t *slot = &warp.kernel.lists[i.list];
  for (unsigned r = 0; r < i.mma->d; ++r)
    x.d[r] = warp.destination<std::byte>(*slot++);
  for (unsigned r = 0; r < i.mma->a; ++r)
    x.a[r] = warp.source<std::byte>(*slot++);
  for (unsigned r = 0; r < i.mma->b; ++r)
    x.b[r] = warp.source<std::byte>(*slot++);
  for (unsigned r = 0; r < i.mma->c; ++r)
    x.c[r] = warp.source<std::byte>(*slot++);
  x.saturate = i.flags & SatFinite;
  i.mma->function(x);
}

} // namespace npuc::ptx::execute
