#include "backends/npu/target/Capability.h"
#include "test/unit/target/Common.h"

namespace npuc::target {
namespace {

using Id = CapabilityId;

std::string refusal(Id id, const std::string &target, const Facts &facts) {
  Diagnostics diagnostics;
  CHECK_FALSE(check(id, builtin(target), facts, "node_3", diagnostics));
  CHECK_FALSE(holds(id, builtin(target), facts));
  return diagnostics.text();
}

bool allowed(Id id, const std::string &target, const Facts &facts) {
  Diagnostics diagnostics;
  bool result = check(id, builtin(target), facts, "node_3", diagnostics);
  CHECK(result != diagnostics.hasErrors());
  return result;
}

TEST_CASE("capabilities stand in the order of their ids, each with a sentence for every target") {
  std::vector<std::string> names;
  for (size_t i = 0; i < capabilities().size(); ++i) {
    CHECK(static_cast<size_t>(capabilities()[i].id) == i);
    CHECK(&capability(capabilities()[i].id) == &capabilities()[i]);
    names.emplace_back(capabilities()[i].name);
    for (const std::string &target : builtinNames())
      if (applies(capabilities()[i], builtin(target)))
        CHECK(sentence(capabilities()[i], builtin(target)).find("{}") == std::string::npos);
  }
  CHECK(static_cast<size_t>(Id::ThreadRegisters) + 1 == capabilities().size());
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
}

TEST_CASE("types of the engines") {
  CHECK(allowed(Id::MatrixType, "atom", {.type = ElementType::F16}));
  CHECK(refusal(Id::MatrixType, "atom", {.type = ElementType::BF16}) ==
        "error: node_3: atom: the matrix engine multiplies i8, i4 and f16: the operands are bf16\n"
        "  hint: choose another precision\n");
  CHECK(refusal(Id::MatrixType, "warboy", {.type = ElementType::F16}) ==
        "error: node_3: warboy: the matrix engine multiplies i8: the operands are f16\n  hint: choose "
        "another precision\n");
  CHECK(allowed(Id::VectorType, "rngd", {.type = ElementType::I32}));
  CHECK(refusal(Id::VectorType, "rngd", {.type = ElementType::BF16}) ==
        "error: node_3: rngd: the vector engine computes in i32 and f32: the operands are bf16\n"
        "  hint: convert to one of them\n");
}

TEST_CASE("sums fit their accumulators") {
  // 511 products of int8 fit 24 bits whatever they are, 512 do not.
  CHECK(allowed(Id::AccumulatorWidth, "sapeon-x220", {.type = ElementType::I8, .count = 511}));
  CHECK(refusal(Id::AccumulatorWidth, "sapeon-x220", {.type = ElementType::I8, .count = 512}) ==
        "error: node_3: sapeon-x220: the matrix engine's sums have 24 bits for i8 and 48 bits for i16: "
        "nothing bounds a sum of 512 products of i8\n  hint: split k into sums that fit\n");
  // Known weights bound a longer sum: 2^23 − 1 fits, 2^23 does not.
  CHECK(allowed(Id::AccumulatorWidth, "sapeon-x220",
                {.type = ElementType::I8, .count = 4096, .bound = (1 << 23) - 1}));
  CHECK(
      refusal(Id::AccumulatorWidth, "sapeon-x220", {.type = ElementType::I8, .count = 4096, .bound = 1 << 23})
          .find("a sum of 4096 products of i8 can reach 8388608") != std::string::npos);
  CHECK(allowed(Id::AccumulatorWidth, "atom", {.type = ElementType::F16, .count = 1 << 30}));
  CHECK_FALSE(holds(Id::AccumulatorWidth, builtin("atom"), {.type = ElementType::BF16, .count = 1}));
}

TEST_CASE("functions and requantization") {
  CHECK(allowed(Id::VectorFunction, "atom", {.function = isa::VectorOp::Exp}));
  CHECK(allowed(Id::VectorFunction, "warboy", {.function = isa::VectorOp::Select}));
  CHECK(refusal(Id::VectorFunction, "warboy", {.function = isa::VectorOp::Requantize}) ==
        "error: node_3: warboy: beyond simple operations the vector engine runs exp, tanh, erf, log, sin, "
        "cos, sigmoid, "
        "divide, reciprocal, sqrt, rsqrt and requantize_fixed_point: the operation is requantize\n");
  CHECK(allowed(Id::Requantization, "sapeon-x220", {.function = isa::VectorOp::RequantizeShift}));
  CHECK(
      refusal(Id::Requantization, "sapeon-x220", {.function = isa::VectorOp::Requantize}) ==
      "error: node_3: sapeon-x220: sums are requantized by requantize_shift: the operation is requantize\n");
  // A rate of 0 says that the engine lacks it.
  CHECK_FALSE(holds(Id::VectorFunction, builtin("atom", {"vector.functions[exp].rate=0"}),
                    {.function = isa::VectorOp::Exp}));
}

TEST_CASE("transfers") {
  CHECK(allowed(Id::TransferRoute, "atom", {.source = DRAM, .destination = SHARED}));
  CHECK(refusal(Id::TransferRoute, "warboy", {.source = SCRATCHPAD, .destination = REMOTE_SCRATCHPAD}) ==
        "error: node_3: warboy: transfers go from DRAM to SCRATCHPAD, SCRATCHPAD to DRAM, DRAM to DRAM and "
        "SCRATCHPAD to "
        "SCRATCHPAD: the transfer is SCRATCHPAD to REMOTE_SCRATCHPAD\n  hint: go through another memory\n");
  CHECK(allowed(Id::Multicast, "atom", {.source = DRAM, .destination = SCRATCHPAD}));
  CHECK_FALSE(allowed(Id::Multicast, "atom", {.source = DRAM, .destination = SHARED}));
  CHECK(refusal(Id::Multicast, "warboy", {.source = DRAM, .destination = SCRATCHPAD}) ==
        "error: node_3: warboy: one transfer reaches several cores from nothing: the transfer is DRAM to "
        "SCRATCHPAD\n"
        "  hint: copy to each core\n");
  CHECK(allowed(Id::GatherScatter, "rngd", {.source = DRAM, .destination = SCRATCHPAD}));
  CHECK_FALSE(holds(Id::GatherScatter, builtin("rngd", {"dma[tensor].gather_scatter=false"}),
                    {.source = DRAM, .destination = SCRATCHPAD}));
}

TEST_CASE("GPUs have limits of their own, and none of the others'") {
  const std::pair<Id, uint64_t> limits[] = {{Id::PtxVersion, 70},
                                            {Id::BlockThreads, 1024},
                                            {Id::BlockSharedBytes, 163 * 1024},
                                            {Id::ThreadRegisters, 255}};
  for (auto [id, limit] : limits) {
    CHECK(allowed(id, "cuda:sm_80", {.count = limit}));
    CHECK_FALSE(holds(id, builtin("cuda:sm_80"), {.count = limit + 1}));
    CHECK(allowed(id, "atom", {.count = limit + 1}));
    CHECK_FALSE(applies(capability(id), builtin("atom")));
  }
  CHECK(refusal(Id::PtxVersion, "cuda:sm_80", {.count = 84}) ==
        "error: node_3: cuda:sm_80: kernels are in PTX 7.0 for sm_80: 84 needed\n");
  for (Id id : {Id::VectorRegisters, Id::ScratchpadBytes, Id::Semaphores, Id::ViewRank, Id::GatherScatter})
    CHECK(allowed(id, "cuda:sm_80", {.source = DRAM, .destination = SCRATCHPAD, .count = 1 << 30}));
  CHECK(refusal(Id::MatrixType, "cuda:sm_80", {.type = ElementType::F8E4M3}) ==
        "error: node_3: cuda:sm_80: the matrix engine multiplies i8, f16 and bf16: the operands are f8e4m3\n"
        "  hint: choose another precision\n");
}

TEST_CASE("counts and capacities") {
  // A greatest count, and the field of the toy that states it.
  struct Count {
    Id id;
    const char *path;
    uint64_t limit;
  };
  const Count counts[] = {
      {Id::AccumulatorElements, "matrix.accumulator_elements", 128},
      {Id::VectorOperands, "vector.operands", 3},
      {Id::VectorRegisters, "vector.registers", 5},
      {Id::ProgramLength, "vector.program_length", 7},
      {Id::TableEntries, "vector.table_entries", 16},
      {Id::ViewRank, "control.address_dimensions", 4},
      {Id::ScalarRegisters, "control.registers", 2},
      {Id::Semaphores, "control.semaphores", 9},
      {Id::ScratchpadBytes, "scratchpad.bytes", 4096},
      {Id::SharedBytes, "shared.bytes", 8192},
      {Id::DramBytes, "dram.bytes", 65536},
  };
  for (const Count &count : counts) {
    TargetDescription t = builtin("toy", {std::string(count.path) + "=" + std::to_string(count.limit)});
    INFO(count.path);
    CHECK(holds(count.id, t, {.count = count.limit}));
    CHECK_FALSE(holds(count.id, t, {.count = count.limit + 1}));
    CHECK(sentence(capability(count.id), t).find(std::to_string(count.limit)) != std::string::npos);
  }
  CHECK(allowed(Id::ViewRank, "toy", {.count = 8}));
  CHECK(refusal(Id::ViewRank, "toy", {.count = 9}) ==
        "error: node_3: toy: an operand has at most 8 dimensions: 9 needed\n  hint: split the command along "
        "a dimension\n");
  // 16 GiB less 288 MiB.
  CHECK(allowed(Id::DramBytes, "atom", {.count = 16877879296}));
  CHECK(refusal(Id::DramBytes, "atom", {.count = 16877879297}) ==
        "error: node_3: atom: programs may use 16877879296 bytes of DRAM: 16877879297 needed\n"
        "  hint: choose a smaller precision, batch or sequence length\n");
  CHECK_FALSE(holds(Id::SharedBytes, builtin("rngd"), {.count = 1}));
  CHECK_FALSE(holds(Id::TableEntries, builtin("atom"), {.count = 1}));
}

} // namespace
} // namespace npuc::target
