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
                std::make_shared<std::byte[]>(bytes),
                std::make_shared<uint8_t[]>(bytes)};
  auto at = std::ranges::upper_bound(regions_, address, {}, &Region::address);
  regions_.insert(at, std::move(region));
}

uint64_t Memory::allocate(std::string name, uint64_t bytes) {
  const uint64_t address = next_;
  next_ = (next_ + bytes + 2 * guardBytes - 1) / guardBytes * guardBytes;
  add(std::move(name), address, bytes);
  return address;
}

void Memory::add(const Memory &other) {
  const auto middle = static_cast<std::ptrdiff_t>(regions_.size());
  regions_.insert(regions_.end(), other.regions_.begin(), other.regions_.end());
  std::ranges::inplace_merge(regions_, regions_.begin() + middle, {}, &Region::address);
  next_ = std::max(next_, other.next_);
}

std::vector<Region>::iterator Memory::at(uint64_t address) {
  return std::ranges::lower_bound(regions_, address, {}, &Region::address);
}

void Memory::release(uint64_t address) {
  regions_.erase(at(address));
}

void Memory::describe(uint64_t address, std::string name, bool constant) {
  at(address)->name = std::move(name);
  at(address)->constant = constant;
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
