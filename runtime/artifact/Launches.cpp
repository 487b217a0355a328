// What launches of kernels must be.
#include "runtime/artifact/Checks.h"
#include "runtime/ptx_sim/Limits.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace npuc::artifact {
namespace {

constexpr uint32_t memoryAlignment = 256; // of what the CUDA driver gives
constexpr int mostArguments = 512;        // 4096 bytes of parameters

using Sizes = google::protobuf::RepeatedField<uint32_t>;

bool within(const Sizes &sizes, const uint32_t (&most)[3]) {
  for (int d = 0; d < 3; ++d)
    if (sizes.size() != 3 || sizes[d] < 1 || sizes[d] > most[d])
      return false;
  return true;
}

class Checker {
public:
  Checker(const Manifest &manifest, const EntryPoint &entry, const std::string &name,
          Diagnostics &diagnostics)
      : manifest_(manifest), entry_(entry), name_(name), diagnostics_(diagnostics),
        before_(diagnostics.errorCount()) {}

  bool good() const { return diagnostics_.errorCount() == before_; }

  void error(const std::string &where, std::string why) {
    if (diagnostics_.errorCount() < before_ + 100)
      diagnostics_.error(name_ + where, "the artifact is corrupt", std::move(why),
                         "the file is damaged or was not written by npuc; copy or compile it again");
  }

  void checkText(std::span<const std::byte> ptx) {
    if (ptx.empty() || std::ranges::find(ptx, std::byte{0}) != ptx.end())
      error("", "its PTX is empty or no text");
  }

  void checkBuffers() {
    for (uint32_t index : entry_.buffers()) {
      const Buffer &buffer = manifest_.buffers(static_cast<int>(index));
      if (buffer.alignment() > memoryAlignment)
        error("", fmt::format("buffer '{}' is aligned to {} bytes, CUDA's memory to {}", buffer.name(),
                              buffer.alignment(), memoryAlignment));
    }
  }

  void checkKernels() {
    std::set<std::string> names;
    for (const Kernel &kernel : entry_.kernels())
      if (kernel.name().empty() || !names.insert(kernel.name()).second)
        error("", fmt::format("what it says of kernel '{}' has no name of its own", kernel.name()));
  }

  void checkLaunch(int index) {
    const KernelLaunch &launch = entry_.launches(index);
    const std::string where = fmt::format(", launch {} (kernel '{}')", index, launch.kernel());
    const target::Gpu &gpu = manifest_.target().gpu();
    if (launch.kernel().empty())
      error(where, "it names no kernel");
    if (!within(launch.grid(), ptx::mostGrid))
      error(where, fmt::format("its grid is [{}]; from 1 to {} are possible", fmt::join(launch.grid(), ", "),
                               fmt::join(ptx::mostGrid, " x ")));
    const uint64_t most = std::min<uint64_t>(gpu.threads_per_block(), ptx::mostThreads);
    uint64_t threads = 1;
    if (within(launch.block(), ptx::mostBlock))
      for (uint32_t size : launch.block())
        threads *= size;
    else
      threads = most + 1;
    if (threads > most)
      error(where, fmt::format("its block is [{}]; from 1 to {} are possible, and {} threads in all",
                               fmt::join(launch.block(), ", "), fmt::join(ptx::mostBlock, " x "), most));
    if (launch.shared_bytes() > gpu.shared_bytes_per_block())
      error(where, fmt::format("it asks for {} bytes of shared memory, a block has up to {}",
                               launch.shared_bytes(), gpu.shared_bytes_per_block()));
    if (launch.arguments_size() > mostArguments)
      error(where, fmt::format("it has {} arguments, a kernel takes up to {}", launch.arguments_size(),
                               mostArguments));
    for (int k = 0; k < std::min(launch.arguments_size(), mostArguments); ++k)
      checkArgument(launch.arguments(k), fmt::format("{}, argument {}", where, k));
  }

private:
  void checkArgument(const KernelArgument &argument, const std::string &where) {
    if (argument.buffer() >= uint32_t(entry_.buffers_size()))
      return error(where,
                   fmt::format("it points to buffer {} of {}", argument.buffer(), entry_.buffers_size()));
    const uint32_t index = entry_.buffers(static_cast<int>(argument.buffer()));
    const Buffer &buffer = manifest_.buffers(static_cast<int>(index));
    const auto bytes = static_cast<uint64_t>(buffer.bytes());
    if (argument.offset() > bytes || (argument.offset() == bytes && bytes > 0))
      error(where, fmt::format("it points to byte {} of buffer '{}', which has {}", argument.offset(),
                               buffer.name(), bytes));
  }

  const Manifest &manifest_;
  const EntryPoint &entry_;
  const std::string &name_;
  Diagnostics &diagnostics_;
  size_t before_;
};

} // namespace

bool checkLaunches(const Manifest &manifest, const EntryPoint &entry, std::span<const std::byte> ptx,
                   const std::string &name, Diagnostics &diagnostics) {
  Checker checker(manifest, entry, name, diagnostics);
  checker.checkText(ptx);
  checker.checkBuffers();
  checker.checkKernels();
  for (int i = 0; i < entry.launches_size(); ++i)
    checker.checkLaunch(i);
  return checker.good();
}

} // namespace npuc::artifact
