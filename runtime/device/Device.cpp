#include "runtime/device/Device.h"

#include <algorithm>
#include <fmt/format.h>
#include <new>
#include <thread>
#include <utility>

namespace npuc::device {

Hooks::Hooks()
    : log([](bool, const std::string &) {}), allocate([](size_t bytes, size_t alignment) {
        return ::operator new(bytes, std::align_val_t(alignment), std::nothrow);
      }),
      deallocate([](void *memory, size_t, size_t alignment) {
        ::operator delete(memory, std::align_val_t(alignment));
      }),
      start([](std::function<void()> task) { std::thread(std::move(task)).detach(); }) {}

std::optional<Memory> Memory::allocate(const Hooks &hooks, size_t bytes, size_t alignment,
                                       const std::string &what, Diagnostics &diagnostics) {
  // At least a byte, so that null always means that there is no memory.
  void *memory = hooks.allocate(std::max<size_t>(bytes, 1), alignment);
  if (!memory) {
    diagnostics.error(what, "there is not enough memory", fmt::format("{} bytes are needed", bytes));
    return std::nullopt;
  }
  std::fill_n(static_cast<std::byte *>(memory), bytes, std::byte{0});
  return Memory(hooks, memory, bytes, alignment);
}

Memory::Memory(Memory &&other) noexcept
    : hooks_(other.hooks_), memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_),
      alignment_(other.alignment_) {}

Memory &Memory::operator=(Memory &&other) noexcept {
  std::swap(hooks_, other.hooks_);
  std::swap(memory_, other.memory_);
  std::swap(bytes_, other.bytes_);
  std::swap(alignment_, other.alignment_);
  return *this;
}

Memory::~Memory() {
  if (memory_)
    hooks_->deallocate(memory_, std::max<size_t>(bytes_, 1), alignment_);
}

} // namespace npuc::device
