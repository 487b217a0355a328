// How fast the simulators are: simulated cycles a second of the timing simulator, multiply-adds a second of
// the functional one. On the processor's own time, one thread.
#include "backends/npu/timing/Simulator.h"
#include "runtime/npu_sim/Execute.h"
#include "test/unit/timing/Gemm.h"

#include <benchmark/benchmark.h>

using namespace npuc;
using namespace npuc::npu_sim;

namespace {

void timingOfGemm(benchmark::State &state) {
  Diagnostics diagnostics;
  auto target = timing::test::fourCores(diagnostics);
  const isa::Program program = timing::test::gemm();
  double cycles = 0;
  for (auto _ : state) {
    auto timeline = target ? timing::simulate(program, *target, {}, diagnostics) : std::nullopt;
    if (!timeline) {
      state.SkipWithError(diagnostics.text().c_str());
      break;
    }
    cycles += double(timeline->cycles);
  }
  state.counters["simulated cycles"] = benchmark::Counter(cycles, benchmark::Counter::kIsRate);
}
BENCHMARK(timingOfGemm)->Name("fp16 GEMM 2048^3 on four cores, timing")->Unit(benchmark::kMillisecond);

/// A row-major matrix of `rows` by `columns`, or its transpose seen as that.
Operand matrix(Memory &memory, ElementType type, int64_t rows, int64_t columns, bool transposed) {
  Operand operand;
  operand.memory = &memory;
  operand.type = type;
  operand.rank = 2;
  operand.size = {rows, columns};
  operand.stride = {transposed ? 1 : columns, transposed ? rows : 1};
  return operand;
}

/// C[m, n] = A[m, k] · B[k, n] with n = 512 and k = 1024.
void contraction(benchmark::State &state, ElementType type, bool transposed) {
  const int64_t m = state.range(0), n = 512, k = 1024;
  std::vector<std::byte> bytesA(m * k * 2), bytesB(k * n * 2), bytesC(m * n * 4);
  Memory a, b, c;
  a.data = bytesA.data(), b.data = bytesB.data(), c.data = bytesC.data();
  ElementType sum = isFloat(type) ? ElementType::F32 : ElementType::I32;
  Operand lhs = matrix(a, type, m, k, false), rhs = matrix(b, type, k, n, transposed),
          sums = matrix(c, sum, m, n, false);
  const Kernels &best = kernels(simdLevel());
  Scratch scratch;
  for (auto _ : state) {
    contract({0, 1, 1, 1, false, 32}, lhs, rhs, sums, best, scratch);
    benchmark::ClobberMemory();
  }
  state.counters["multiply-adds"] =
      benchmark::Counter(double(m * n * k) * double(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(contraction, fp16, ElementType::F16, false)->Arg(1)->Arg(16)->Arg(256);
BENCHMARK_CAPTURE(contraction, fp16 transposed, ElementType::F16, true)->Arg(1)->Arg(16)->Arg(256);
BENCHMARK_CAPTURE(contraction, int8, ElementType::I8, false)->Arg(1)->Arg(16)->Arg(256);
BENCHMARK_CAPTURE(contraction, int8 transposed, ElementType::I8, true)->Arg(1)->Arg(16)->Arg(256);

} // namespace

BENCHMARK_MAIN();
