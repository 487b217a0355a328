// C (+)= A · B over affine views: rows of A and panels of B are packed, converted to F32 or to 16-bit
// integers, and multiplied by the kernels of this machine's vector instructions. Offsets of the three views
// are sums of a part for each of batch, m, n and k, so one table for each part says where every element is.
#include "runtime/npu_sim/Execute.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace npuc::npu_sim {
namespace {

/// Rows of A packed at once: with a panel of B they fit in a second-level cache. A multiple of every tile's
/// rows.
constexpr size_t rowsPerChunk = 240;
/// Products of integers of eight bits that can be added in 32 bits: 255² · 32768 < 2^31.
constexpr size_t exactProducts = 32768;

/// Offsets of a part of a view's dimensions, last dimension fastest, and how many of them run on at stride 1
/// at a time.
struct Part {
  const std::vector<int64_t> &offsets;
  size_t run;
  size_t size() const { return offsets.size(); }
  int64_t operator[](size_t i) const { return offsets[i]; }
  /// Where in its run element i is. Most parts are one run, and division is slow.
  size_t inRun(size_t i) const { return run >= offsets.size() ? i : i % run; }
};

Part makePart(const Operand &operand, unsigned first, unsigned rank, std::span<const int64_t> sizes,
              std::vector<int64_t> &offsets) {
  offsets.assign(1, 0);
  for (unsigned d = 0; d < rank; ++d) {
    size_t count = offsets.size(), size = static_cast<size_t>(sizes[d]);
    std::vector<int64_t> &grown = offsets;
    grown.resize(count * size);
    for (size_t i = count; i-- > 0;)
      for (size_t j = size; j-- > 0;)
        grown[i * size + j] = grown[i] + static_cast<int64_t>(j) * operand.stride[first + d];
  }
  size_t run = 1;
  for (unsigned d = rank; d-- > 0;) {
    if (sizes[d] != 1 && operand.stride[first + d] != static_cast<int64_t>(run))
      break;
    run *= static_cast<size_t>(std::max<int64_t>(sizes[d], 1));
  }
  return {offsets, std::max<size_t>(run, 1)};
}

/// Elements of `operand` at start + part[first…first+count), consecutive in memory: where they lie, or copied
/// to `temporary`. Four-bit elements that do not lie so come as elements of eight bits.
struct Fetched {
  const std::byte *data;
  ElementType type;
};
Fetched fetch(const Operand &operand, int64_t start, const Part &part, size_t first, size_t count,
              std::byte *temporary) {
  int64_t at = start + part[first];
  if (part.inRun(first) + count <= part.run && (!operand.fourBit() || at % 2 == 0))
    return {operand.at(at), operand.type};
  if (operand.fourBit()) {
    bool isSigned = operand.type == ElementType::I4;
    for (size_t i = 0; i < count; ++i) {
      int64_t offset = start + part[first + i];
      uint32_t half = static_cast<uint32_t>(*operand.at(offset)) >> (4 * (offset & 1)) & 15;
      temporary[i] = static_cast<std::byte>(isSigned ? static_cast<int32_t>(half << 28) >> 28
                                                     : static_cast<int32_t>(half));
    }
    return {temporary, isSigned ? ElementType::I8 : ElementType::U8};
  }
  size_t width = bitWidth(operand.type) / 8;
  std::byte *to = temporary;
  for (size_t i = 0; i < count;) {
    size_t take = std::min(part.run - part.inRun(first + i), count - i);
    const std::byte *from = operand.at(start + part[first + i]);
    if (take > 1)
      std::memcpy(to, from, take * width);
    else if (width == 1)
      *to = *from;
    else if (width == 2)
      std::memcpy(to, from, 2);
    else
      std::memcpy(to, from, width);
    to += take * width;
    i += take;
  }
  return {temporary, operand.type};
}

/// The two kinds of arithmetic: what A and B are converted to and what sums are kept in.
struct FloatKind {
  using Packed = float;
  using Sum = float;
  static constexpr size_t strideA = kStrideF32, depth = 1; ///< `depth` rows of B are interleaved.
  static void convert(const Kernels &k, Fetched from, Packed *to, size_t n) {
    k.toF32(from.type, from.data, to, n);
  }
  static void multiply(const Kernels &kernels, const Packed *a, const Packed *b, Sum *s, size_t stride,
                       size_t k, size_t rows) {
    kernels.multiplyF32(a, b, s, stride, k, rows);
  }
};
struct IntegerKind {
  using Packed = int16_t;
  using Sum = int32_t;
  static constexpr size_t strideA = kStrideI16, depth = 2;
  static void convert(const Kernels &k, Fetched from, Packed *to, size_t n) {
    k.toI16(from.type, from.data, to, n);
  }
  static void multiply(const Kernels &kernels, const Packed *a, const Packed *b, Sum *s, size_t stride,
                       size_t k, size_t rows) {
    kernels.multiplyI16(a, b, s, stride, (k + 1) / 2, rows);
  }
};

template <class T>
T *grown(std::vector<std::byte> &buffer, size_t count) {
  if (buffer.size() < count * sizeof(T))
    buffer.resize(count * sizeof(T));
  return reinterpret_cast<T *>(buffer.data());
}

/// One batch entry: views' starts (elements from their bases) and parts.
struct Job {
  const Operand &a, &b, &c;
  int64_t startA, startB, startC;
  const Part &aM, &aK, &bK, &bN, &cM, &cN;
};

template <class Kind>
void packA(const Job &job, size_t firstM, size_t rows, size_t firstK, size_t count, const Kernels &kernels,
           typename Kind::Packed *packed, std::byte *temporary) {
  size_t padded = (rows + kernels.rowsM - 1) / kernels.rowsM * kernels.rowsM;
  for (size_t i = 0; i < padded; ++i) {
    typename Kind::Packed *row = packed + i * Kind::strideA;
    size_t filled = i < rows ? count : 0;
    if (i < rows)
      Kind::convert(kernels, fetch(job.a, job.startA + job.aM[firstM + i], job.aK, firstK, count, temporary),
                    row, count);
    std::fill(row + filled, row + (count + 1) / 2 * 2, typename Kind::Packed{});
  }
}

/// Columns firstN…firstN+columns of B, padded with zeros to the panel's width and to an even number of rows.
template <class Kind>
void packB(const Job &job, size_t firstN, size_t columns, size_t firstK, size_t count, const Kernels &kernels,
           typename Kind::Packed *panel, std::byte *temporary) {
  using Packed = typename Kind::Packed;
  const size_t width = kernels.columnsN, depth = Kind::depth;
  alignas(64) Packed line[kBlock];
  auto place = [&](size_t k, size_t n) -> Packed & {
    return panel[(k / depth * width + n) * depth + k % depth];
  };
  if (columns < width || count % depth)
    std::fill(panel, panel + (count + depth - 1) / depth * depth * width, Packed{});
  if (job.bK.run > job.bN.run) {
    // Few elements of a column at a time, so that what they are spread over stays in the first-level cache.
    constexpr size_t some = Kind::depth == 1 ? 64 : kBlock;
    for (size_t from = 0; from < count; from += some)
      for (size_t n = 0; n < columns; ++n) {
        size_t length = std::min(some, count - from);
        Kind::convert(kernels,
                      fetch(job.b, job.startB + job.bN[firstN + n], job.bK, firstK + from, length, temporary),
                      line, length);
        for (size_t k = 0; k < length; ++k)
          place(from + k, n) = line[k];
      }
    return;
  }
  // Rows lie far apart, which the machine does not foresee.
  constexpr size_t ahead = 16;
  for (size_t k = 0; k < count; ++k) {
    if (k + ahead < count)
      __builtin_prefetch(job.b.at(job.startB + job.bK[firstK + k + ahead] + job.bN[firstN]));
    Fetched row = fetch(job.b, job.startB + job.bK[firstK + k], job.bN, firstN, columns, temporary);
    if constexpr (Kind::depth == 1) {
      Kind::convert(kernels, row, &place(k, 0), columns);
    } else {
      Kind::convert(kernels, row, line, columns);
      Packed *to = &place(k, 0);
      for (size_t n = 0; n < columns; ++n)
        to[n * depth] = line[n];
    }
  }
}

/// sums[rows × stride] += A · B for rows firstM… and all columns, over k in [firstK, endK).
template <class Kind>
void multiply(const Job &job, size_t firstM, size_t rows, size_t firstK, size_t endK, const Kernels &kernels,
              typename Kind::Sum *sums, size_t stride, Scratch &scratch) {
  using Packed = typename Kind::Packed;
  Packed *a = grown<Packed>(scratch.packedA, rowsPerChunk * Kind::strideA);
  Packed *b = grown<Packed>(scratch.packedB, kBlock * kernels.columnsN);
  std::byte *temporary = grown<std::byte>(scratch.gathered, kBlock * 8);
  for (size_t k = firstK; k < endK; k += kBlock) {
    size_t count = std::min(kBlock, endK - k);
    packA<Kind>(job, firstM, rows, k, count, kernels, a, temporary);
    for (size_t n = 0; n < job.bN.size(); n += kernels.columnsN) {
      packB<Kind>(job, n, std::min(kernels.columnsN, job.bN.size() - n), k, count, kernels, b, temporary);
      for (size_t m = 0; m < rows; m += kernels.rowsM)
        Kind::multiply(kernels, a + m * Kind::strideA, b, sums + m * stride + n, stride, count, rows - m);
    }
  }
}

[[noreturn]] void overflow(int64_t value, unsigned bits, size_t m, size_t n) {
  throw Failure{fmt::format("a sum leaves the accumulator"),
                fmt::format("{} at row {}, column {} does not fit in the {} bits of the target's accumulator",
                            value, m, n, bits),
                "split K, or show from the weights that the sum stays within"};
}

/// Old values of C (or zeros) as sums.
void readSums(const Job &job, size_t firstM, size_t rows, bool accumulate, float *sums, size_t stride) {
  for (size_t i = 0; i < rows; ++i) {
    float *row = sums + i * stride;
    std::fill(row, row + stride, 0.0f);
    for (size_t n = 0; accumulate && n < job.cN.size(); ++n)
      std::memcpy(row + n, job.c.at(job.startC + job.cM[firstM + i] + job.cN[n]), 4);
  }
}

void writeSums(const Job &job, size_t firstM, size_t rows, const float *sums, size_t stride,
               const Kernels &kernels) {
  for (size_t i = 0; i < rows; ++i) {
    const float *row = sums + i * stride;
    int64_t start = job.startC + job.cM[firstM + i];
    for (size_t n = 0; n < job.cN.size(); n += job.cN.run) // Writes every NaN as the same one.
      kernels.fromF32(ElementType::F32, row + n, job.c.at(start + job.cN[n]), job.cN.run);
  }
}

template <class C>
void addSums(const Job &job, size_t firstM, size_t rows, bool accumulate, unsigned bits, const int32_t *sums,
             size_t stride) {
  const int64_t greatest = bits == 0 || bits >= 64 ? INT64_MAX : (int64_t{1} << (bits - 1)) - 1,
                least = -greatest - 1;
  for (size_t i = 0; i < rows; ++i) {
    int64_t start = job.startC + job.cM[firstM + i];
    for (size_t first = 0; first < job.cN.size(); first += job.cN.run) {
      std::byte *c = job.c.at(start + job.cN[first]);
      const int32_t *row = sums + i * stride + first;
      bool fits = true;
      for (size_t n = 0; n < job.cN.run; ++n) {
        C old = 0;
        if (accumulate)
          std::memcpy(&old, c + n * sizeof(C), sizeof(C));
        int64_t sum = old + int64_t{row[n]};
        fits &= (sum >= least) & (sum <= greatest);
        if (!fits)
          overflow(sum, bits, firstM + i, first + n);
        C result = static_cast<C>(sum);
        std::memcpy(c + n * sizeof(C), &result, sizeof(C));
      }
    }
  }
}

void multiplyFloats(const Job &job, bool accumulate, const Kernels &kernels, Scratch &scratch) {
  size_t stride = (job.bN.size() + kernels.columnsN - 1) / kernels.columnsN * kernels.columnsN;
  float *sums = grown<float>(scratch.sums, rowsPerChunk * stride);
  for (size_t m = 0; m < job.aM.size(); m += rowsPerChunk) {
    size_t rows = std::min(rowsPerChunk, job.aM.size() - m);
    readSums(job, m, rows, accumulate, sums, stride);
    multiply<FloatKind>(job, m, rows, 0, job.aK.size(), kernels, sums, stride, scratch);
    writeSums(job, m, rows, sums, stride, kernels);
  }
}

void multiplyIntegers(const Job &job, bool accumulate, unsigned bits, const Kernels &kernels,
                      Scratch &scratch) {
  size_t stride = (job.bN.size() + kernels.columnsN - 1) / kernels.columnsN * kernels.columnsN;
  int32_t *sums = grown<int32_t>(scratch.sums, rowsPerChunk * stride);
  for (size_t m = 0; m < job.aM.size(); m += rowsPerChunk) {
    size_t rows = std::min(rowsPerChunk, job.aM.size() - m);
    for (size_t k = 0; k == 0 || k < job.aK.size(); k += exactProducts) {
      std::fill(sums, sums + (rows + kernels.rowsM - 1) / kernels.rowsM * kernels.rowsM * stride, 0);
      multiply<IntegerKind>(job, m, rows, k, std::min(job.aK.size(), k + exactProducts), kernels, sums,
                            stride, scratch);
      bool add = accumulate || k > 0;
      if (job.c.type == ElementType::I64)
        addSums<int64_t>(job, m, rows, add, bits, sums, stride);
      else
        addSums<int32_t>(job, m, rows, add, bits, sums, stride);
    }
  }
}

bool narrowInteger(ElementType type) {
  return !isFloat(type) && bitWidth(type) <= 8 && type != ElementType::Bool;
}

} // namespace

void contract(const Contraction &shape, const Operand &a, const Operand &b, const Operand &c,
              const Kernels &kernels, Scratch &scratch) {
  const unsigned nb = shape.rankBatch, nm = shape.rankM, nn = shape.rankN, nk = shape.rankK;
  bool floats = isFloat(a.type) && isFloat(b.type) && c.type == ElementType::F32 && bitWidth(a.type) <= 32 &&
                bitWidth(b.type) <= 32;
  bool integers = narrowInteger(a.type) && narrowInteger(b.type) &&
                  (c.type == ElementType::I32 || c.type == ElementType::I64);
  if (!floats && !integers)
    throw Failure{
        fmt::format("{} by {} into {} cannot be contracted", name(a.type), name(b.type), name(c.type)),
        "contract takes integers of up to eight bits into i32 or i64, and floats of up to 32 bits into f32",
        {}};
  // A bound shortens a loop for all operands that have it.
  auto sizes = [](const Operand &x, unsigned firstX, const Operand &y, unsigned firstY, unsigned rank) {
    std::array<int64_t, isa::maxRank> out{};
    for (unsigned d = 0; d < rank; ++d)
      out[d] = std::min(x.size[firstX + d], y.size[firstY + d]);
    return out;
  };
  auto sizeB = sizes(a, 0, b, 0, nb), sizeM = sizes(a, nb, c, nb, nm);
  auto sizeK = sizes(a, nb + nm, b, nb, nk), sizeN = sizes(b, nb + nk, c, nb + nm, nn);
  Part aM = makePart(a, nb, nm, sizeM, scratch.offsets[0]),
       aK = makePart(a, nb + nm, nk, sizeK, scratch.offsets[1]);
  Part bK = makePart(b, nb, nk, sizeK, scratch.offsets[2]),
       bN = makePart(b, nb + nk, nn, sizeN, scratch.offsets[3]);
  Part cM = makePart(c, nb, nm, sizeM, scratch.offsets[4]),
       cN = makePart(c, nb + nm, nn, sizeN, scratch.offsets[5]);
  if (aM.size() == 0 || bN.size() == 0)
    return;
  int64_t batches = 1;
  for (unsigned d = 0; d < nb; ++d)
    batches *= sizeB[d];
  for (int64_t batch = 0; batch < batches; ++batch) {
    Job job{a, b, c, 0, 0, 0, aM, aK, bK, bN, cM, cN};
    int64_t rest = batch;
    for (unsigned d = nb; d-- > 0; rest /= sizeB[d]) {
      int64_t i = rest % sizeB[d];
      job.startA += i * a.stride[d], job.startB += i * b.stride[d], job.startC += i * c.stride[d];
    }
    if (floats)
      multiplyFloats(job, shape.accumulate, kernels, scratch);
    else
      multiplyIntegers(job, shape.accumulate, shape.accumulatorBits, kernels, scratch);
  }
}

} // namespace npuc::npu_sim
