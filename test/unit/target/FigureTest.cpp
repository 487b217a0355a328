// The figures that descriptions imply, against the public ones.
#include "backends/npu/target/Checks.h"
#include "backends/npu/target/Fields.h"
#include "test/unit/target/Common.h"

namespace npuc::target {
namespace {

double tops(const std::string &name, ElementType type) {
  TargetDescription t = builtin(name);
  return 2 * peakMacsPerCycle(t, type) * t.clock_ghz() * 1e9 / 1e12;
}

TEST_CASE("peaks are the public ones") {
  using enum ElementType;
  // Rebellions: FP16 32 TFLOPS, INT8 128 TOPS, INT4 256 TOPS.
  CHECK(tops("atom", I8) == Approx(128).epsilon(1e-3));
  CHECK(tops("atom", F16) == Approx(32).epsilon(1e-3));
  CHECK(tops("atom", I4) == Approx(256).epsilon(1e-3));
  // SAPEON: 87 TOPS; 367 TFLOPS.
  CHECK(tops("sapeon-x220", I8) == Approx(87).epsilon(1e-3));
  CHECK(tops("sapeon-x330", F8E4M3) == Approx(367).epsilon(1e-3));
  // Furiosa: 64 TOPS in marketing, 2 PEs × 64 slices × 32 × 4 × 2 × 2 GHz = 65.5 by its configuration file.
  CHECK(tops("warboy-2pe", I8) == Approx(65.536));
  CHECK(tops("warboy", I8) == Approx(65.536 / 2));
  // RNGD: 512 slices × 8 × 64 × 2 × 1 GHz = 524 TOPS int8 (512 in marketing), half of it bf16, twice int4.
  CHECK(tops("rngd", I8) == Approx(524.288));
  CHECK(tops("rngd", F8E4M3) == Approx(524.288));
  CHECK(tops("rngd", BF16) == Approx(262.144));
  CHECK(tops("rngd", I4) == Approx(1048.576));
  // NVIDIA, dense: A100 312 TFLOPS and 624 TOPS, H100 SXM 989 TFLOPS and 1,979 TOPS and fp8 TFLOPS, B200
  // 2,250 and 4,500; A2 18.1 and 36.2; L4 121 and 242.
  for (auto [name, fp16] :
       {std::pair("cuda:sm_80", 312.), std::pair("cuda:sm_86", 18.13), std::pair("cuda:sm_89", 121.),
        std::pair("cuda:sm_90", 989.4), std::pair("cuda:sm_100", 2250.)}) {
    INFO(name);
    CHECK(tops(name, F16) == Approx(fp16).epsilon(2e-3));
    CHECK(tops(name, BF16) == tops(name, F16));
    CHECK(tops(name, I8) == 2 * tops(name, F16));
    const bool hasFp8 = builtin(name).gpu().compute_capability() >= 89;
    CHECK(tops(name, F8E4M3) == (hasFp8 ? tops(name, I8) : 0));
    CHECK(tops(name, F8E5M2) == tops(name, F8E4M3));
    CHECK(tops(name, I4) == 0); // unpacked to i8 before they are multiplied
  }
  // 2 cores × 4 × 4 × 2 × 1 GHz.
  CHECK(tops("toy", I8) == Approx(0.064));
}

TEST_CASE("engines have the types that are public, and no others") {
  using enum ElementType;
  CHECK(tops("rngd", F16) == 0);
  CHECK(tops("atom", BF16) == 0);
  CHECK(tops("sapeon-x220", F16) == 0);
  CHECK(tops("warboy", F16) == 0);
  CHECK(tops("warboy", F32) == 0);
}

TEST_CASE("DRAM bandwidths are the public ones") {
  CHECK(dramBytesPerSecond(builtin("atom")) == Approx(256e9));
  CHECK(dramBytesPerSecond(builtin("sapeon-x220")) ==
        Approx(4 * 4 * 4.266e9)); // 4 channels × 32 bits at 4,266 MT/s
  CHECK(dramBytesPerSecond(builtin("sapeon-x330")) == Approx(512e9));
  CHECK(dramBytesPerSecond(builtin("warboy")) == Approx(66e9));
  CHECK(dramBytesPerSecond(builtin("warboy-2pe")) == Approx(66e9));
  CHECK(dramBytesPerSecond(builtin("rngd")) == Approx(32 * 48e9));
  CHECK(dramBytesPerSecond(builtin("toy")) == Approx(16e9));
  CHECK(dramBytesPerSecond(builtin("cuda:sm_80")) == Approx(1935e9).epsilon(1e-3));
  CHECK(dramBytesPerSecond(builtin("cuda:sm_86")) == Approx(200e9));
  CHECK(dramBytesPerSecond(builtin("cuda:sm_89")) == Approx(300e9));
  CHECK(dramBytesPerSecond(builtin("cuda:sm_90")) == Approx(3350e9).epsilon(1e-3));
  CHECK(dramBytesPerSecond(builtin("cuda:sm_100")) == Approx(8000e9));
  CHECK(dramBytesPerCycle(builtin("warboy")) == Approx(33)); // 66 GB/s at 2 GHz
}

TEST_CASE("capacities are the public ones") {
  auto sram = [](const std::string &name) {
    TargetDescription t = builtin(name);
    return coreCount(t) * t.scratchpad().bytes() + t.shared().bytes();
  };
  constexpr uint64_t mib = 1 << 20, gib = 1 << 30;
  CHECK(sram("atom") == 64 * mib);
  CHECK(sram("sapeon-x220") == 11 * mib);
  CHECK(sram("warboy") == 16 * mib);
  CHECK(sram("warboy-2pe") == 32 * mib);
  CHECK(sram("rngd") == 256 * mib);
  CHECK(builtin("rngd").dram().bytes() == 48 * gib);
  CHECK(usableDramBytes(builtin("atom")) == 16 * gib - 288 * mib);
  CHECK(builtin("sapeon-x220").dram().bytes() == 8 * gib);
}

TEST_CASE("lanes and rates of the vector engine") {
  TargetDescription atom = builtin("atom"), rngd = builtin("rngd"), x220 = builtin("sapeon-x220");
  CHECK(vectorLanes(atom, ElementType::F32) == 64);
  CHECK(vectorLanes(atom, ElementType::F16) == 128);
  CHECK(peakVectorOpsPerCycle(atom, ElementType::F16) == 8 * 128);
  CHECK(vectorLanes(atom, ElementType::BF16) == 0);
  CHECK(vectorLanes(rngd, ElementType::I32) == 64 * 8);
  CHECK(vectorLanes(rngd, ElementType::F32) == 64 * 4);
  CHECK(vectorLanes(x220, ElementType::F32) == 16);
  CHECK(functionRate(atom, isa::VectorOp::Exp) == 0.25);
  CHECK(functionRate(atom, isa::VectorOp::Add) == 1);
  CHECK(functionRate(atom, isa::VectorOp::RequantizeShift) == 0);
  CHECK(functionRate(x220, isa::VectorOp::RequantizeShift) > 0);
  CHECK(requantizeOp(x220) == isa::VectorOp::RequantizeShift);
  CHECK(requantizeOp(builtin("warboy")) == isa::VectorOp::RequantizeFixedPoint);
  CHECK(requantizeOp(atom) == isa::VectorOp::Requantize);
}

TEST_CASE("vector rates of GPUs are the public ones") {
  // FP32 operations per second, two for a multiply-add: A100 19.5 TFLOPS, A2 4.53, L4 30.3, H100 SXM 66.9 at
  // 1.98 GHz, which is 61.8 at the 1.83 GHz of its tensor cores' peak; FP16 4, 1, 1 and
  // 2 times as many, INT32 as many on the A100 and half on the others.
  struct Rates {
    const char *name;
    double fp32, fp16, int32;
  };
  for (const Rates &r : {Rates{"cuda:sm_80", 19.5, 4, 1}, Rates{"cuda:sm_86", 4.53, 1, 0.5},
                         Rates{"cuda:sm_89", 30.3, 1, 0.5}, Rates{"cuda:sm_90", 61.8, 2, 0.5}}) {
    TargetDescription t = builtin(r.name);
    INFO(r.name);
    double fp32 = peakVectorOpsPerCycle(t, ElementType::F32);
    CHECK(2 * fp32 * t.clock_ghz() / 1e3 == Approx(r.fp32).epsilon(1e-2));
    CHECK(peakVectorOpsPerCycle(t, ElementType::F16) == r.fp16 * fp32);
    CHECK(peakVectorOpsPerCycle(t, ElementType::I32) == r.int32 * fp32);
    CHECK(requantizeOp(t) == isa::VectorOp::Requantize);
    CHECK(functionRate(t, isa::VectorOp::Exp) == Approx(1. / 34).epsilon(1e-2));
  }
}

TEST_CASE("sums that no values can overflow") {
  // 24 bits hold up to 8,388,607; the greatest product of int8 is (-128)² = 16,384: 511 of them make
  // 8,372,224.
  CHECK(safeProducts(builtin("sapeon-x220"), ElementType::I8) == 511);
  // 48 bits for int16: (2^47 − 1) / 2^30.
  CHECK(safeProducts(builtin("sapeon-x220"), ElementType::I16) == 131071);
  CHECK(safeProducts(builtin("atom"), ElementType::I8) == 131071); // (2^31 − 1) / 2^14
  // int4 weights, down to −8, against int8 activations, down to −128: (2^31 − 1) / 2^10.
  CHECK(safeProducts(builtin("atom"), ElementType::I4) == 2097151);
  CHECK_FALSE(safeProducts(builtin("atom"), ElementType::F16));
  CHECK_FALSE(safeProducts(builtin("warboy"), ElementType::I16));
}

TEST_CASE("data types and element types correspond") {
  for (int i = DataType_MIN; i <= DataType_MAX; ++i)
    if (DataType_IsValid(i) && i != DATA_TYPE_UNSPECIFIED)
      CHECK(dataType(elementType(static_cast<DataType>(i))) == static_cast<DataType>(i));
  CHECK(elementType(FP8_E4M3) == ElementType::F8E4M3);
  CHECK_FALSE(dataType(ElementType::Bool));
}

TEST_CASE("transfers find their class") {
  TargetDescription atom = builtin("atom");
  CHECK(dmaClass(atom, DRAM, SCRATCHPAD) == 0);
  CHECK(dmaClass(atom, DRAM, SHARED) == 1);
  CHECK(dmaClass(atom, SHARED, SCRATCHPAD) == 0);
  CHECK_FALSE(dmaClass(atom, DRAM, DRAM));
  CHECK(space(isa::Space::Scratchpad, false) == REMOTE_SCRATCHPAD);
  CHECK_FALSE(space(isa::Space::Accumulator));
}

TEST_CASE("to every figure applies exactly one source") {
  for (const std::string &name : builtinNames()) {
    TargetDescription t = builtin(name);
    for (const Field &figure : figures(t)) {
      // Entries whose path lies around the figure; the longest must be alone.
      std::vector<size_t> lengths;
      for (const Provenance &entry : t.provenance())
        for (const std::string &path : entry.paths())
          if (path.empty() || figure.path == path || figure.path.starts_with(path + ".") ||
              figure.path.starts_with(path + "["))
            lengths.push_back(path.size());
      INFO(name << " " << figure.path);
      REQUIRE_FALSE(lengths.empty());
      CHECK(std::ranges::count(lengths, *std::ranges::max_element(lengths)) == 1);
    }
  }
}

TEST_CASE("assumed figures come with their reason") {
  TargetDescription atom = builtin("atom");
  std::vector<std::string> paths = {"dram"};
  std::vector<AssumedField> dram = assumedFields(atom, paths);
  auto assumes = [](const std::vector<AssumedField> &fields, const std::string &path) {
    return std::ranges::any_of(fields, [&](const AssumedField &f) { return f.path == path; });
  };
  CHECK(assumes(dram, "dram.t_rcd"));
  CHECK(assumes(dram, "dram.channels"));
  CHECK_FALSE(assumes(dram, "dram.bytes"));
  CHECK_FALSE(assumes(dram, "clock_ghz"));
  std::vector<AssumedField> all = assumedFields(atom);
  CHECK(assumes(all, "clock_ghz"));
  CHECK_FALSE(assumes(all, "scratchpad.bytes"));
  CHECK_FALSE(assumes(all, "topology.cores_per_cluster"));
  for (const std::string &name : builtinNames())
    for (const AssumedField &field : assumedFields(builtin(name)))
      CHECK_FALSE((field.reason.empty() && field.source.empty()));
  CHECK(assumedFields(builtin("toy")).size() == figures(builtin("toy")).size());
}

} // namespace
} // namespace npuc::target
