// Every field that says that simulated time depends on it, changed, changes the time of one of a few small
// programs.
#include "backends/npu/target/Fields.h"
#include "Fixtures.h"
#include "backends/npu/timing/Simulator.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <set>

using namespace npuc;
using namespace npuc::timing;
using namespace npuc::timing::test;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using isa::Space;
using isa::VectorOp;

namespace {

// The hand machine with everything that it leaves out: slices, clusters, channels with a hash, bank groups,
// refresh, unaligned penalties, a register file.
target::TargetDescription everything() {
  auto target = handMachine();
  target.mutable_topology()->set_slices_per_core(2);
  target.mutable_topology()->set_clusters_per_device(2);
  target.mutable_matrix()->set_stationary_double_buffered(true);
  target.mutable_matrix()->set_stationary_bytes(128);
  target.mutable_matrix()->set_stream_reuse(2);
  target::Dram &dram = *target.mutable_dram();
  dram.set_channels(4);
  dram.set_bank_groups(2);
  dram.set_banks(8);
  dram.set_channel_hash(true);
  dram.set_t_ccd_l(4);
  dram.set_t_faw(40);
  dram.set_t_refi(500);
  dram.set_t_rfc(60);
  dram.set_unaligned_read_penalty(2);
  dram.set_unaligned_write_penalty(3);
  return target;
}

isa::View bytes(Space space, uint32_t buffer, int64_t base, int32_t size) {
  return view(space, buffer, base, ElementType::I8, {size});
}

isa::Command &barrierAfter(Builder &b, uint32_t core, uint32_t semaphore, uint32_t value) {
  isa::Command &barrier = b.barrier(core, isa::Engine::Vector);
  b.wait(barrier, semaphore, value);
  return barrier;
}

using Programs = std::map<std::string, isa::Program>;

void addContractions(Programs &programs) {
  for (ElementType type : {ElementType::I8, ElementType::I4, ElementType::F16}) {
    Builder b(1);
    b.contract(0, 16, 32, 32, type);
    if (type == ElementType::I4)
      b.program.operands[0].type = ElementType::I8;
    programs["contract " + std::string(name(type))] = b.program;
  }
  // Few steps, so that loads and exchange between slices show; and sums that leave for the scratchpad.
  Builder few(1);
  few.contract(0, 2, 32, 8);
  programs["contract few rows"] = few.program;
  Builder drained(1);
  drained.contract(0, 16, 8, 4).accumulate = true;
  drained.program.operands[2].space = Space::Scratchpad;
  programs["contract into the scratchpad"] = drained.program;
  Builder scattered(1);
  scattered.contract(0, 64, 4, 4);
  scattered.program.operands[0].dims[0].stride = 64;
  scattered.program.operands[0].dims[1].stride = 2;
  programs["contract scattered"] = scattered.program;
}

void addVectors(Programs &programs) {
  const auto f32 = ElementType::F32;
  for (ElementType type : {ElementType::F32, ElementType::F16, ElementType::I32}) {
    Builder b(1);
    auto x = view(Space::Scratchpad, 0, 0, type, {512});
    for (int i = 0; i < 2; ++i)
      b.vector(0, {x},
               {{VectorOp::Load, type, 0, 0},
                {VectorOp::Add, type, 1, 0, 0},
                {VectorOp::Multiply, type, 1, 1, 0},
                {VectorOp::Maximum, type, 1, 1, 0}});
    programs["vector " + std::string(name(type))] = b.program;
  }
  for (VectorOp op : {VectorOp::Exp, VectorOp::Requantize}) {
    Builder b(1);
    b.vector(0, {view(Space::Scratchpad, 0, 0, f32, {256})},
             {{VectorOp::Load, f32, 0, 0}, {op, f32, 1, 0, 0}});
    programs["vector " + std::string(isa::name(op))] = b.program;
  }
  Builder b(1);
  b.vector(0, {view(Space::Scratchpad, 0, 0, f32, {1024}), view(Space::Scratchpad, 0, 0, f32, {1024})},
           {{VectorOp::Load, f32, 0, 0}, {VectorOp::Store, f32, 1, 0}});
  programs["vector copy"] = b.program;
  Builder strides(1);
  strides.vector(0, {strided(Space::Scratchpad, 0, 0, f32, {{1024, 8}})}, {{VectorOp::Load, f32, 0, 0}});
  programs["vector strided"] = strides.program;
  Builder table(1);
  table.vector(0,
               {view(Space::Scratchpad, 0, 0, ElementType::I8, {512}),
                view(Space::Scratchpad, 0, 0, ElementType::I8, {256})},
               {{VectorOp::Load, ElementType::I32, 0, 0}, {VectorOp::Table, ElementType::I32, 1, 0, 1}});
  programs["vector table"] = table.program;
  Builder sum(1);
  sum.vector(0, {view(Space::Scratchpad, 0, 0, f32, {512}), strided(Space::Scratchpad, 0, 0, f32, {{1, 1}})},
             {{VectorOp::Load, f32, 0, 0}, {VectorOp::StoreSum, f32, 1, 0}});
  programs["vector sum"] = sum.program;
  Builder sums(1);
  sums.vector(0, {view(Space::Accumulator, 0, 0, f32, {512})}, {{VectorOp::Load, f32, 0, 0}});
  programs["vector of accumulators"] = sums.program;
}

void addCopies(Programs &programs) {
  auto pad = [](uint32_t core, int32_t size) { return bytes(Space::Scratchpad, core, 0, size); };
  for (int32_t size : {16, 4096, 32768}) {
    Builder b(1);
    const uint32_t dram = b.dram(1 << 20);
    b.copy(0, bytes(Space::Dram, dram, 0, size), pad(0, size));
    programs["load " + std::to_string(size)] = b.program;
  }
  // All that DRAM rules are about: one channel's rows by strides, writes after reads, ragged ends.
  Builder rows(1);
  uint32_t dram = rows.dram(1 << 22);
  rows.copy(0, strided(Space::Dram, dram, 0, ElementType::I8, {{64, 16384}, {16, 1}}),
            view(Space::Scratchpad, 0, 0, ElementType::I8, {64, 16}));
  rows.copy(0, view(Space::Scratchpad, 0, 0, ElementType::I8, {64, 16}),
            strided(Space::Dram, dram, 4096, ElementType::I8, {{64, 16384}, {16, 1}}), 0, 1);
  programs["rows of DRAM"] = rows.program;
  Builder mixed(2);
  dram = mixed.dram(1 << 20);
  for (uint32_t core : {0u, 1u})
    for (int i = 0; i < 3; ++i) {
      mixed.copy(core, bytes(Space::Dram, dram, 4096 * i, 512), pad(core, 512), 0, 0);
      mixed.copy(core, pad(core, 512), bytes(Space::Dram, dram, 65536 + 4096 * i, 512), 0, 1);
    }
  programs["loads and stores"] = mixed.program;
  Builder ragged(1);
  dram = ragged.dram(4096);
  ragged.copy(0, bytes(Space::Dram, dram, 5, 100), pad(0, 100));
  programs["unaligned load"] = ragged.program;
  Builder store(1);
  dram = store.dram(4096);
  store.copy(0, pad(0, 100), bytes(Space::Dram, dram, 5, 100));
  programs["unaligned store"] = store.program;
  Builder runs(1);
  runs.copy(0, strided(Space::Scratchpad, 0, 0, ElementType::I8, {{6, 4000}, {5, 900}, {4, 200}, {24, 1}}),
            view(Space::Scratchpad, 0, 0, ElementType::I8, {6, 5, 4, 24}));
  programs["many runs"] = runs.program;
  // Two queues, one after the other if a core has only one.
  Builder both(1);
  dram = both.dram(1 << 16);
  for (uint8_t queue : {0, 1})
    both.copy(0, bytes(Space::Dram, dram, 0, 64), pad(0, 64), 0, queue);
  programs["two queues"] = both.program;

  Builder across(4);
  across.copy(0, pad(0, 4096), bytes(Space::Scratchpad, 2, 8192, 4096));
  across.copy(1, pad(1, 4096), bytes(Space::Scratchpad, 3, 8192, 4096));
  across.copy(2, pad(2, 4096), bytes(Space::Scratchpad, 1, 16384, 4096));
  programs["core to core"] = across.program;
  Builder shared(4);
  for (uint32_t core = 0; core < 4; ++core)
    shared.copy(core, bytes(Space::Shared, 0, 0, 4096), pad(core, 4096));
  programs["from shared memory"] = shared.program;
  Builder one(1);
  one.copy(0, bytes(Space::Shared, 0, 0, 4096), pad(0, 4096));
  programs["from shared memory, alone"] = one.program;
  Builder many(4);
  dram = many.dram(4096);
  many.copy(0, bytes(Space::Dram, dram, 0, 1024), pad(0, 1024)).multicastCount = 4;
  many.program.multicast = {0, 1, 2, 3};
  programs["multicast"] = many.program;
}

void addControl(Programs &programs) {
  Builder queue(1);
  for (int i = 0; i < 12; ++i)
    queue.contract(0, 16, 8, 8);
  queue.vector(0, {view(Space::Scratchpad, 0, 0, ElementType::F32, {4096})},
               {{VectorOp::Load, ElementType::F32, 0, 0}, {VectorOp::Add, ElementType::F32, 0, 0, 0}});
  programs["full queue"] = queue.program;
  Builder commands(1);
  for (int i = 0; i < 40; ++i)
    commands.barrier(0, isa::Engine::Vector);
  programs["commands"] = commands.program;
  Builder semaphores(2);
  const uint32_t local = semaphores.semaphore(), remote = semaphores.semaphore();
  semaphores.contract(0, 16, 8, 8).signal = local;
  barrierAfter(semaphores, 0, local, 1).signal = remote;
  barrierAfter(semaphores, 1, remote, 1);
  programs["semaphores"] = semaphores.program;
}

Programs programs() {
  Programs result;
  addContractions(result);
  addVectors(result);
  addCopies(result);
  addControl(result);
  return result;
}

/// Milliseconds of each program, with launch; -1 if the machine refuses it.
std::vector<double> times(const Programs &programs, const target::TargetDescription &target) {
  std::vector<double> result;
  for (const auto &[name, program] : programs) {
    Diagnostics diagnostics;
    auto timeline = simulate(program, target, {}, diagnostics);
    result.push_back(timeline ? timeline->milliseconds : -1);
  }
  return result;
}

bool isTiming(const FieldDescriptor &field) {
  return target::constraintOf(field).timing();
}

void timingFields(const Descriptor &message, std::set<std::string> &result,
                  std::set<const Descriptor *> &seen) {
  // A GPU's own fields say nothing of command streams.
  if (&message == target::Gpu::descriptor() || !seen.insert(&message).second)
    return;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor &field = *message.field(i);
    if (field.message_type())
      timingFields(*field.message_type(), result, seen);
    else if (isTiming(field))
      result.insert(field.full_name());
  }
}

/// The field's value as `factor` makes it, or false if it cannot be.
bool change(target::TargetDescription &target, const std::string &path, double factor) {
  target::PathError error;
  const target::Place place = target::resolve(target, path, error);
  REQUIRE(place.message);
  const auto &reflection = *place.message->GetReflection();
  const target::Constraint &limits = target::constraintOf(*place.field);
  if (place.field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    reflection.SetBool(place.message, place.field, !reflection.GetBool(*place.message, place.field));
    return true;
  }
  const double before = target::numberValue(*place.message, *place.field);
  double after = before * factor;
  if (place.field->cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE)
    after = std::floor(after);
  if (after == before || after < limits.least() || after > limits.greatest())
    return false;
  if (place.field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE)
    reflection.SetDouble(place.message, place.field, after);
  else if (place.field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
    reflection.SetUInt64(place.message, place.field, static_cast<uint64_t>(after));
  else
    reflection.SetUInt32(place.message, place.field, static_cast<uint32_t>(after));
  return true;
}

} // namespace

TEST_CASE("every timing field changes a program's time", "[fields]") {
  const Programs all = programs();
  const auto base = everything();
  const std::vector<double> before = times(all, base);
  size_t i = 0;
  for (const auto &[name, program] : all) {
    INFO(name);
    CHECK(before[i++] > 0); // all run on the machine as it is
  }
  std::set<std::string> wanted, covered;
  std::set<const Descriptor *> seen;
  timingFields(*target::TargetDescription::descriptor(), wanted, seen);
  for (const target::Field &field : target::figures(base)) {
    if (!isTiming(*field.field))
      continue;
    covered.insert(field.field->full_name());
    bool changed = false;
    for (double factor : {2.0, 0.5, 8.0, 0.25, 0.125}) {
      auto other = base;
      if (!change(other, field.path, factor))
        continue;
      const std::vector<double> after = times(all, other);
      for (size_t p = 0; p < after.size(); ++p)
        // A program that uses two queues does not run where there is one: the one field that shows by a
        // refusal.
        changed |= after[p] != before[p] && (after[p] >= 0 || field.field->name() == "queues_per_core");
      if (changed)
        break;
    }
    INFO(field.path);
    CHECK(changed);
  }
  CHECK(covered == wanted);
}
