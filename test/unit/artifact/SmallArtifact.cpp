#include "test/unit/artifact/SmallArtifact.h"

#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/target/Target.h"

#include <array>
#include <stdexcept>

namespace npuc::artifact::test {
namespace {

// Buffers: 0 ids, 1 table, 2 W, 3 y, 4 history. DMA class 0 of toy goes between DRAM and scratchpads.
const char *const text = R"(program "main" {
  buffer "ids" input i32[4] bytes=16 align=64
  buffer "table" constant i8[8x16] bytes=128 align=64
  buffer "W" constant i8[16x4] bytes=64 align=64
  buffer "y" output i32[4x4] bytes=64 align=64
  buffer "history" state i32[4x4] bytes=64 align=64
  register "rows" 0..4
  semaphores 3
  core 0 {
    copy @dma0.0 (dram[0]:i32[4], scratchpad[0]:i32[4]) from "embed"
    gather @dma0.0 (dram[1]:i8[8x16], scratchpad[0]:i32[4], scratchpad[0]+0x40:i8[4x16]) signal(0) from "embed"
    copy @dma0.1 (dram[2]:i8[16x4], scratchpad[0]+0x80:i8[16x4]) signal(0) from "linear"
    copy @dma0.1 (dram[4]:i32[4x4], scratchpad[0]+0x100:i32[4x4]) signal(0) from "linear"
    contract @matrix (scratchpad[0]+0x40:i8[4x16;d0<$0], scratchpad[0]+0x80:i8[16x4], scratchpad[0]+0x100:i32[4x4;d0<$0]) dims(0,1,1,1) accumulate wait(0>=3) signal(1) from "linear"
    copy @dma0.0 (scratchpad[0]+0x100:i32[4x4], dram[3]:i32[4x4]) wait(1>=1) from "linear"
    copy @dma0.1 (scratchpad[0]+0x100:i32[4x4], dram[4]:i32[4x4]) wait(1>=1) from "linear"
  }
})";

// A block for each id, a thread for each column; then a thread for each element of y.
const char *const ptx = R"(.version 7.0
.target sm_80
.address_size 64

.visible .entry embed(.param .u64 ids, .param .u64 table, .param .u64 rows)
{
  .reg .b16 %h;
  .reg .b32 %r<4>;
  .reg .b64 %d<6>;
  ld.param.u64 %d0, [ids];
  ld.param.u64 %d1, [table];
  ld.param.u64 %d2, [rows];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %d3, %r0, 4;
  add.u64 %d3, %d3, %d0;
  ld.global.s32 %r2, [%d3];
  mad.lo.s32 %r2, %r2, 16, %r1;
  cvt.s64.s32 %d4, %r2;
  add.u64 %d4, %d4, %d1;
  ld.global.u8 %h, [%d4];
  mad.lo.u32 %r3, %r0, 16, %r1;
  cvt.u64.u32 %d5, %r3;
  add.u64 %d5, %d5, %d2;
  st.global.u8 [%d5], %h;
  ret;
}

.visible .entry linear(.param .u64 rows, .param .u64 weights, .param .u64 history, .param .u64 y)
{
  .reg .pred %p;
  .reg .b32 %r<9>;
  .reg .b64 %d<9>;
  ld.param.u64 %d0, [rows];
  ld.param.u64 %d1, [weights];
  ld.param.u64 %d2, [history];
  ld.param.u64 %d3, [y];
  mov.u32 %r0, %tid.y;
  mov.u32 %r1, %tid.x;
  mad.lo.u32 %r2, %r0, 4, %r1;
  mul.wide.u32 %d4, %r2, 4;
  add.u64 %d5, %d4, %d2;
  add.u64 %d6, %d4, %d3;
  ld.global.s32 %r3, [%d5];
  mul.wide.u32 %d7, %r0, 16;
  add.u64 %d7, %d7, %d0;
  cvt.u64.u32 %d8, %r1;
  add.u64 %d8, %d8, %d1;
  mov.u32 %r4, 0;
loop:
  ld.global.s8 %r5, [%d7];
  ld.global.s8 %r6, [%d8];
  mad.lo.s32 %r3, %r5, %r6, %r3;
  add.u64 %d7, %d7, 1;
  add.u64 %d8, %d8, 4;
  add.u32 %r4, %r4, 1;
  setp.lt.u32 %p, %r4, 16;
  @%p bra loop;
  st.global.u32 [%d6], %r3;
  st.global.u32 [%d5], %r3;
  ret;
}
)";

isa::Program programOf(const Options &options) {
  Diagnostics diagnostics;
  auto program = isa::parseProgram(text, "small", diagnostics);
  if (!program)
    throw std::runtime_error(diagnostics.text());
  if (options.loops)
    program->waits.back().value = 9;
  return *program;
}

std::span<const std::byte> asBytes(const std::string &bytes) {
  return std::as_bytes(std::span(bytes));
}

target::TargetDescription targetOf(const Options &options) {
  Diagnostics diagnostics;
  // Limits that no test needs to go near to pass; 1 GHz for times that are counted by hand.
  static const std::vector<std::string> small = {"gpu.threads_per_block=512",
                                                 "gpu.shared_bytes_per_block=16KiB", "clock_ghz=1"};
  auto target =
      options.gpu ? target::load("cuda:sm_80", small, diagnostics) : target::load("toy", {}, diagnostics);
  if (!target)
    throw std::runtime_error(diagnostics.text());
  return *target;
}

// `arguments`: buffers, each with its first byte.
void addLaunch(EntryPoint &entry, const std::string &kernel, std::array<uint32_t, 3> grid,
               std::array<uint32_t, 3> block, std::vector<std::pair<uint32_t, uint64_t>> arguments,
               const std::string &source) {
  KernelLaunch &launch = *entry.add_launches();
  launch.set_kernel(kernel);
  launch.mutable_grid()->Add(grid.begin(), grid.end());
  launch.mutable_block()->Add(block.begin(), block.end());
  for (auto [buffer, offset] : arguments) {
    KernelArgument &argument = *launch.add_arguments();
    argument.set_buffer(buffer);
    argument.set_offset(offset);
  }
  launch.set_source(source);
}

} // namespace

std::string smallPtx() {
  return ptx;
}

int8_t tableAt(int i, int k) {
  return static_cast<int8_t>((i + k) % 5 - 2);
}
int8_t weightAt(int k, int n) {
  return static_cast<int8_t>((3 * k + n) % 7 - 3);
}

Manifest manifestOf(const Options &options) {
  Manifest manifest;
  manifest.set_model("small");
  *manifest.mutable_target() = targetOf(options);
  isa::Program program = programOf(options);
  if (options.gpu)
    program.buffers.push_back({"scratch", isa::Role::Workspace, ElementType::I8, {128}, 128, 64});
  for (const isa::Buffer &buffer : program.buffers)
    *manifest.add_buffers() = fromProgram(buffer);
  Buffer &ids = *manifest.mutable_buffers(0);
  ids.set_host_type("i64");
  ids.set_has_range(true);
  ids.set_greatest(7);
  manifest.set_without_constants(!options.withConstants);
  if (options.withConstants) {
    manifest.mutable_buffers(1)->set_section(1);
    manifest.mutable_buffers(2)->set_section(1);
    manifest.mutable_buffers(2)->set_offset(128);
  }
  for (const std::string &name : options.entryPoints) {
    if (name.empty())
      continue;
    EntryPoint &entry = *manifest.add_entry_points();
    entry.set_name(name);
    for (uint32_t i = 0; i < program.buffers.size(); ++i)
      entry.add_buffers(i);
    if (options.gpu) {
      addLaunch(entry, "embed", {4, 1, 1}, {16, 1, 1}, {{0, 0}, {1, 0}, {5, 64}}, "embed");
      addLaunch(entry, "linear", {1, 1, 1}, {4, 4, 1}, {{5, 64}, {2, 0}, {4, 0}, {3, 0}}, "linear");
    } else {
      Register &rows = *entry.add_registers();
      rows.set_name("rows");
      rows.set_greatest(4);
    }
    entry.mutable_statistics()->set_dram_cycles(16);
  }
  Option &option = *manifest.add_options();
  option.set_name("precision");
  option.set_value("int8");
  return manifest;
}

std::string bytesOf(const Manifest &manifest, const Options &options) {
  Diagnostics diagnostics;
  Writer writer = Writer::toMemory();
  std::string constants;
  for (int i = 0; i < 8; ++i)
    for (int k = 0; k < 16; ++k)
      constants += static_cast<char>(tableAt(i, k));
  for (int k = 0; k < 16; ++k)
    for (int n = 0; n < 4; ++n)
      constants += static_cast<char>(weightAt(k, n));
  const std::string code = options.gpu ? options.ptx : isa::encodeStreams(programOf(options));
  bool good = writer.add(options.gpu ? PTX : STREAMS, "main", asBytes(code), diagnostics).has_value();
  if (options.withConstants)
    good = writer.add(CONSTANTS, "constants", asBytes(constants), diagnostics) && good;
  good = writer.add(QUANTIZATION_REPORT, "quantization", asBytes("[]"), diagnostics) && good;
  if (!good || !writer.finish(manifest, diagnostics))
    throw std::runtime_error(diagnostics.text());
  return writer.bytes();
}

std::string bytesOf(const Options &options) {
  return bytesOf(manifestOf(options), options);
}

} // namespace npuc::artifact::test
