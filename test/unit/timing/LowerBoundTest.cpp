#include "backends/npu/timing/LowerBound.h"
#include "backends/npu/target/Target.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::timing;

namespace {

target::TargetDescription load(const std::string &name) {
  Diagnostics diagnostics;
  auto target = target::load(name, {}, diagnostics);
  REQUIRE(target);
  return *target;
}

double &macs(WorkFacts &work, ElementType type) {
  return work.multiplyAdds[static_cast<size_t>(type)];
}

} // namespace

TEST_CASE("lower bound: each term by its formula", "[bound]") {
  // toy: 2 cores of 16 int8 or 8 fp16 multiply-adds, 4 int32 or 8 fp16 operations; 16 DRAM bytes a cycle.
  WorkFacts work;
  macs(work, ElementType::I8) = 32 * 100;
  macs(work, ElementType::F16) = 16 * 10;
  work.floatOperations = 16 * 50;
  work.integerOperations = 8 * 70;
  work.dramBytes = 16 * 115;
  Diagnostics diagnostics;
  auto bound = lowerBound(work, load("toy"), diagnostics);
  REQUIRE(bound);
  CHECK(bound->multiplyAddCycles == Approx(110));
  CHECK(bound->vectorCycles == Approx(120));
  CHECK(bound->dramCycles == Approx(115));
  CHECK(bound->cycles() == Approx(120));
  CHECK(bound->bound() == Bound::Compute);
  work.dramBytes *= 2;
  bound = lowerBound(work, load("toy"), diagnostics);
  CHECK(bound->cycles() == Approx(230));
  CHECK(bound->bound() == Bound::Dram);
}

TEST_CASE("lower bound: BERT-large 1x384 in int8 on atom", "[bound]") {
  const double s = 384, h = 1024, f = 4096, heads = 16, layers = 24;
  WorkFacts work;
  // Four h x h projections, two h x f, scores and their product with the values.
  macs(work, ElementType::I8) = layers * (4 * s * h * h + 2 * s * h * f + 2 * s * s * h);
  const double scores = heads * s * s;
  // Softmax 12, scale and mask 1 each; gelu 8; two layer norms of 8 and two residual additions.
  work.floatOperations = layers * (scores * (12 + 1 + 1) + s * f * 8 + 2 * s * h * (8 + 1));
  // Requantize 3: query, key, value, scores, their product, output, both of the feed-forward.
  work.integerOperations = layers * 3 * (3 * s * h + scores + s * h + s * h + s * f + s * h);
  // The layers' weights, a byte each; embeddings' rows, inputs and outputs are small beside them.
  work.dramBytes = layers * (4 * h * h + 2 * h * f) + s * h * 2;
  const auto atom = load("atom");
  Diagnostics diagnostics;
  auto bound = lowerBound(work, atom, diagnostics);
  REQUIRE(bound);
  const double millisecond = atom.clock_ghz() * 1e6;
  CHECK(bound->multiplyAddCycles / millisecond == Approx(1.93).margin(0.005));
  CHECK(bound->vectorCycles / millisecond == Approx(2.1).margin(0.1));
  CHECK(bound->dramCycles / millisecond == Approx(1.2).margin(0.05));
}

TEST_CASE("lower bound: a type that the target lacks", "[bound]") {
  WorkFacts work;
  macs(work, ElementType::BF16) = 1;
  Diagnostics diagnostics;
  CHECK_FALSE(lowerBound(work, load("toy"), diagnostics));
  CHECK(diagnostics.all()[0].what == "has no bound for multiply-adds of bf16");
}
