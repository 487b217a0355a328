#include "test/unit/ptx_sim/Harness.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::ptx::test {
namespace {

constexpr std::string_view head = ".version 8.7\n.target sm_90\n.address_size 64\n";

constexpr std::string_view registers = "{\n.reg .pred %p<60>; .reg .b16 %h<60>; .reg .b32 %r<60>; .reg .b64 "
                                       "%d<60>; .reg .f32 %f<60>; .reg .f64 %g<60>;\n"
                                       ".reg .b64 %a<9>; .reg .b32 %i; .reg .b32 %i<3>;\n";
constexpr std::string_view threadIndex =
    "mov.u32 %i0, %tid.z; mov.u32 %i1, %ntid.y; mov.u32 %i2, %tid.y; mad.lo.u32 %i0, %i0, %i1, %i2;\n"
    "mov.u32 %i1, %ntid.x; mov.u32 %i2, %tid.x; mad.lo.u32 %i, %i0, %i1, %i2;\n// body\n";

uint32_t bodyLine(const std::string &text) {
  const size_t at = text.find("// body\n");
  return static_cast<uint32_t>(
             std::count(text.begin(), text.begin() + static_cast<long>(std::min(at, text.size())), '\n')) +
         1;
}

} // namespace

std::string kernel(unsigned parameters, const std::string &body, const std::string &variables) {
  std::vector<std::string> declared;
  std::string loads;
  for (unsigned k = 0; k < parameters; ++k) {
    declared.push_back(fmt::format(".param .u64 p{}", k));
    loads += fmt::format("ld.param.u64 %a{0}, [p{0}];\n", k);
  }
  return fmt::format("{}{}\n.visible .entry k({})\n{}{}{}{}\nret;\n}}\n", head, variables,
                     fmt::join(declared, ", "), registers, loads, threadIndex, body);
}

Run::Run(const std::string &text, Dim3 grid, Dim3 block) {
  Diagnostics diagnostics;
  program = Program::load(text, "test.ptx", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(program);
  memory = std::make_unique<Memory>(*program);
  launch.kernel = std::string("k");
  launch.grid = grid;
  launch.block = block;
  launch.threads = 2;
  // Lines of findings count from the body.
  report.sharedBytes = bodyLine(text);
}

Run &Run::add(std::span<const std::byte> bytes, bool written) {
  const uint64_t address = memory->allocate(fmt::format("array {}", addresses.size()), bytes.size());
  std::ranges::copy(bytes, memory->bytes(address).begin());
  memory->setWritten(address, written);
  addresses.push_back(address);
  const auto *raw = reinterpret_cast<const std::byte *>(&address);
  launch.parameters.insert(launch.parameters.end(), raw, raw + sizeof address);
  return *this;
}

Run &Run::go() {
  const uint32_t first = report.sharedBytes;
  Diagnostics diagnostics;
  const std::optional<Report> done = run(*program, *memory, launch, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(done);
  report = *done;
  for (Finding &finding : report.findings) {
    finding.line -= first;
    if (const size_t at = finding.message.find("line "); at != std::string::npos) {
      size_t digits = 0;
      const int line = std::stoi(finding.message.substr(at + 5), &digits);
      finding.message.replace(at + 5, digits, std::to_string(line - static_cast<int>(first)));
    }
  }
  return *this;
}

std::vector<std::string> Run::findings() const {
  std::vector<std::string> lines;
  for (const Finding &f : report.findings)
    lines.push_back(fmt::format("{} at {}: thread ({}, {}, {}) of block ({}, {}, {}): {}, {} times",
                                name(f.check), f.line, f.thread.x, f.thread.y, f.thread.z, f.block.x,
                                f.block.y, f.block.z, f.message, f.count));
  return lines;
}

std::string errorsOf(const std::string &text) {
  Diagnostics diagnostics;
  const auto program = Program::load(text, "test.ptx", diagnostics);
  CHECK((program == nullptr) == diagnostics.hasErrors());
  return diagnostics.text();
}

std::vector<uint32_t> counting(unsigned count) {
  std::vector<uint32_t> values(count);
  for (unsigned k = 0; k < count; ++k)
    values[k] = k;
  return values;
}

} // namespace npuc::ptx::test
