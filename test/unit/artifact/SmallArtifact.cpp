#include "test/unit/artifact/SmallArtifact.h"

#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/target/Target.h"

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

} // namespace

int8_t tableAt(int i, int k) {
  return static_cast<int8_t>((i + k) % 5 - 2);
}
int8_t weightAt(int k, int n) {
  return static_cast<int8_t>((3 * k + n) % 7 - 3);
}

Manifest manifestOf(const Options &options) {
  Diagnostics diagnostics;
  Manifest manifest;
  manifest.set_model("small");
  auto target = target::load("toy", {}, diagnostics);
  if (!target)
    throw std::runtime_error(diagnostics.text());
  *manifest.mutable_target() = *target;
  isa::Program program = programOf(options);
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
    entry.set_streams(0);
    for (uint32_t i = 0; i < program.buffers.size(); ++i)
      entry.add_buffers(i);
    Register &rows = *entry.add_registers();
    rows.set_name("rows");
    rows.set_greatest(4);
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
  bool good =
      writer.add(STREAMS, "main", asBytes(isa::encodeStreams(programOf(options))), diagnostics).has_value();
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
