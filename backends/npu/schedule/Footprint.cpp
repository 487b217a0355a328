#include "backends/npu/schedule/Footprint.h"

#include <algorithm>

namespace npuc::schedule {
namespace {

int64_t floorModulo(int64_t value, int64_t modulus) {
  const int64_t remainder = value % modulus;
  return remainder < 0 ? remainder + modulus : remainder;
}

// Dimensions in bits, by ascending stride, and the run that they are copies of.
struct Shape {
  int64_t run = 0;
  std::array<Footprint::Dim, isa::maxRank + 1> dims{};
  unsigned rank = 0;

  void add(int64_t &base, int64_t stride, int64_t size) {
    if (stride == 0 || size <= 1)
      return;
    if (stride < 0) {
      base += stride * (size - 1);
      stride = -stride;
    }
    dims[rank++] = {stride, size};
  }

  // Adjacent or overlapping copies of the run are one longer run.
  void absorb() {
    unsigned absorbed = 0;
    while (absorbed < rank && dims[absorbed].stride <= run) {
      run += dims[absorbed].stride * (dims[absorbed].size - 1);
      ++absorbed;
    }
    dropFront(absorbed);
  }

  void dropFront(unsigned count) {
    std::move(dims.begin() + count, dims.begin() + rank, dims.begin());
    rank -= count;
  }

  // Two dimensions that step evenly are one.
  void join() {
    unsigned kept = 0;
    for (unsigned d = 1; d < rank; ++d) {
      if (dims[d].stride == dims[kept].stride * dims[kept].size)
        dims[kept].size *= dims[d].size;
      else
        dims[++kept] = dims[d];
    }
    rank = std::min(rank, kept + 1);
  }

  void fillInnermostGaps() {
    run += dims[0].stride * (dims[0].size - 1);
    dropFront(1);
    absorb();
  }

  int64_t extent() const {
    int64_t extent = run;
    for (unsigned d = 0; d < rank; ++d)
      extent += dims[d].stride * (dims[d].size - 1);
    return extent;
  }
};

// Where the bytes lie modulo something: in [start, start + extent), around the end.
struct Residues {
  int64_t start = 0, extent = 0;
};

Residues residues(const Footprint &f, int64_t modulus) {
  Residues result{floorModulo(f.low, modulus), f.run};
  for (unsigned d = 0; d < f.rank; ++d)
    if (f.dims[d].stride % modulus != 0)
      result.extent += f.dims[d].stride * (f.dims[d].size - 1);
  return result;
}

bool disjointModulo(const Footprint &a, const Footprint &b, int64_t modulus) {
  const Residues x = residues(a, modulus), y = residues(b, modulus);
  const int64_t distance = floorModulo(y.start - x.start, modulus);
  return distance >= x.extent && distance + y.extent <= modulus;
}

} // namespace

Footprint footprint(const isa::View &view, std::span<const isa::Register> registers) {
  Footprint result;
  for (const isa::Dim &d : view.shape())
    if (d.size <= 0)
      return result;
  const int64_t bits = bitWidth(view.type);
  Shape shape;
  shape.run = bits;
  int64_t base = view.base * 8;
  for (const isa::Dim &d : view.shape())
    shape.add(base, d.stride * bits, d.size);
  if (view.baseRegister != isa::noRegister) {
    const isa::Register &r = registers[view.baseRegister];
    base += r.least * view.registerScale * 8;
    shape.add(base, view.registerScale * 8, r.greatest - r.least + 1);
  }
  std::sort(shape.dims.begin(), shape.dims.begin() + shape.rank,
            [](const Footprint::Dim &a, const Footprint::Dim &b) { return a.stride < b.stride; });
  shape.absorb();
  shape.join();
  while (shape.rank > Footprint::maxRank)
    shape.fillInnermostGaps();
  // Elements of half a byte: strides that split bytes leave only the interval.
  const bool wholeBytes =
      base % 8 == 0 && std::all_of(shape.dims.begin(), shape.dims.begin() + shape.rank,
                                   [](const Footprint::Dim &d) { return d.stride % 8 == 0; });
  if (!wholeBytes) {
    shape.run = shape.extent() + floorModulo(base, 8);
    base -= floorModulo(base, 8);
    shape.rank = 0;
  }
  result.low = base / 8;
  result.run = (shape.run + 7) / 8;
  result.rank = static_cast<uint8_t>(shape.rank);
  result.high = result.low + result.run;
  for (unsigned d = 0; d < shape.rank; ++d) {
    result.dims[d] = {shape.dims[d].stride / 8, shape.dims[d].size};
    result.high += result.dims[d].stride * (result.dims[d].size - 1);
  }
  return result;
}

bool overlap(const Footprint &a, const Footprint &b) {
  if (a.empty() || b.empty() || a.low >= b.high || b.low >= a.high)
    return false;
  for (const Footprint *f : {&a, &b})
    for (unsigned d = 0; d < f->rank; ++d)
      if (disjointModulo(a, b, f->dims[d].stride))
        return false;
  return true;
}

bool covers(const Footprint &outer, const Footprint &inner) {
  if (inner.empty())
    return true;
  if (inner.low < outer.low || inner.high > outer.high)
    return false;
  if (outer.rank == 0 || outer == inner)
    return true;
  if (outer.rank > 1)
    return false;
  // One stride: `outer` has every byte of its interval whose residue is that of its run.
  const int64_t stride = outer.dims[0].stride;
  const Residues x = residues(outer, stride), y = residues(inner, stride);
  return floorModulo(y.start - x.start, stride) + y.extent <= x.extent;
}

} // namespace npuc::schedule
