// A machine small enough to count its cycles by hand, and programs written in a few lines.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"

#include <initializer_list>
#include <string>
#include <vector>

namespace npuc::timing::test {

/// Two cores with a 4x4 array, weights stationary, int8 (and int4 at twice, fp16 at half the rate); 4 fp32
/// lanes; one channel of DRAM at the core's clock, 8 bytes a cycle, 2 banks, rows of 256 bytes; no refresh.
/// The figures stand in Fixtures.cpp.
target::TargetDescription handMachine();

isa::View view(isa::Space space, uint32_t buffer, int64_t base, ElementType type,
               std::initializer_list<int32_t> sizes);
/// The same with strides in elements.
isa::View strided(isa::Space space, uint32_t buffer, int64_t base, ElementType type,
                  std::initializer_list<isa::Dim> dims);

/// Builds a program command by command.
struct Builder {
  isa::Program program;
  explicit Builder(uint32_t cores);
  uint32_t dram(int64_t bytes); ///< A new DRAM buffer.
  uint32_t semaphore();         ///< A new semaphore.

  isa::Command &copy(uint32_t core, isa::View source, isa::View destination, uint8_t dmaClass = 0,
                     uint8_t queue = 0);
  /// C[m,n] = A[m,k] · B[k,n] in int8 on the core's scratchpad, sums in its accumulators.
  isa::Command &contract(uint32_t core, int32_t m, int32_t n, int32_t k, ElementType type = ElementType::I8);
  isa::Command &vector(uint32_t core, std::vector<isa::View> operands,
                       std::vector<isa::VectorInstruction> instructions);
  isa::Command &barrier(uint32_t core, isa::Engine engine);
  void wait(isa::Command &command, uint32_t semaphore, uint32_t value);

private:
  isa::Command &add(uint32_t core, isa::Command command, std::vector<isa::View> operands,
                    std::vector<isa::VectorInstruction> instructions = {});
};

} // namespace npuc::timing::test
