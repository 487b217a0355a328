#include "runtime/ptx_sim/Memory.h"

#include <algorithm>
#include <cstring>

namespace npuc::ptx {
namespace {

/// An access this far behind an allocation is still told as beyond its end.
constexpr uint64_t guardBytes = 64 << 10;

} // namespace

Memory::Memory(const Program &program) {
  for (const GlobalVariable &variable : program.variables) {
    add("variable '" + variable.name + "'", variable.address, variable.size);
    Region &region = regions_.back();
    std::copy(variable.bytes.begin(), variable.bytes.end(), region.data.get());
    std::fill_n(region.written.get(), region.bytes, 1); // Without an initializer they are 0.
    region.constant = variable.constant;
  }
}

void Memory::add(std::string name, uint64_t address, uint64_t bytes) {
  Region region{std::move(name),
                address,
                bytes,
                false,
                std::make_unique<std::byte[]>(bytes),
                std::make_unique<uint8_t[]>(bytes)};
  auto at = std::ranges::upper_bound(regions_, address, {}, &Region::address);
  regions_.insert(at, std::move(region));
}

uint64_t Memory::allocate(std::string name, uint64_t bytes) {
  const uint64_t address = next_;
  next_ = (next_ + bytes + 2 * guardBytes - 1) / guardBytes * guardBytes;
  add(std::move(name), address, bytes);
  return address;
}

const Region *Memory::below(uint64_t address) const {
  auto at = std::ranges::upper_bound(regions_, address, {}, &Region::address);
  return at == regions_.begin() ? nullptr : &*--at;
}

const Region *Memory::find(uint64_t address) const {
  const Region *region = below(address);
  return region && address - region->address < region->bytes ? region : nullptr;
}

std::span<std::byte> Memory::bytes(uint64_t address) {
  const Region *region = below(address);
  return {region->data.get(), region->bytes};
}

void Memory::setWritten(uint64_t address, bool written) {
  const Region *region = below(address);
  std::memset(region->written.get(), written, region->bytes);
}

} // namespace npuc::ptx
