// A matrix product that keeps four cores and the DRAM busy, to measure the simulator's own speed with.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"
#include "support/Diagnostic.h"

#include <optional>

namespace npuc::timing::test {

/// Four cores with a 128x128 array, fp16, weights stationary; 16 channels of GDDR6.
std::optional<target::TargetDescription> fourCores(Diagnostics &diagnostics);

/// C = A · B, 2048 x 2048 x 2048: each core 512 columns of C, in tiles of 256 x 512, k in steps of 256,
/// double-buffered: the loads of step i + 2 wait for the contraction of step i.
isa::Program gemm();

} // namespace npuc::timing::test
