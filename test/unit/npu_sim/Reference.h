// What Program.h says a command computes, written down as plainly as it can be: one element at a time, no
// code shared with the simulator. Memories are byte vectors; a program's commands run in stream order of core
// 0, then core 1, ….
#pragma once

#include "backends/npu/isa/Program.h"

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace npuc::npu_sim::test {

class Reference {
public:
  Reference(const isa::Program &program, std::vector<int64_t> registers, size_t memoryBytes)
      : program(program), registers(std::move(registers)), memoryBytes(memoryBytes) {}

  std::vector<uint8_t> &memory(isa::Space space, uint32_t buffer);
  /// Runs one core's stream.
  void run(uint32_t core);

private:
  const isa::Program &program;
  std::vector<int64_t> registers;
  size_t memoryBytes;
  std::map<std::pair<isa::Space, uint32_t>, std::vector<uint8_t>> memories;

  /// An element or a register's content: an integer, or a float (every float type's values are doubles).
  struct Value {
    bool isFloat = false;
    __int128 i = 0;
    double f = 0;
  };
  using Index = std::vector<int64_t>;

  Index sizes(const isa::View &view) const;
  Value read(const isa::View &view, const Index &index);
  void write(const isa::View &view, const Index &index, Value value);
  static Value toRegister(ElementType type, Value value);
  void contract(const isa::Command &command);
  void vector(const isa::Command &command);
  void transfer(const isa::Command &command);
  Value compute(const isa::VectorInstruction &i, Value a, Value b, Value c);
};

/// Calls f for each index below `sizes`, the last dimension fastest.
template <class F>
void forEachIndex(const std::vector<int64_t> &sizes, F f) {
  for (int64_t s : sizes)
    if (s == 0)
      return;
  std::vector<int64_t> index(sizes.size(), 0);
  for (;;) {
    f(index);
    size_t d = sizes.size();
    while (d > 0 && ++index[d - 1] == sizes[d - 1])
      index[--d] = 0;
    if (d == 0)
      return;
  }
}

} // namespace npuc::npu_sim::test
