#include "backends/npu/schedule/GraphText.h"

#include "backends/npu/isa/Text.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace npuc::schedule {
namespace {

constexpr int64_t uint32Max = std::numeric_limits<uint32_t>::max();

std::optional<VirtualBuffer> parseVirtual(isa::TextReader &reader, size_t number) {
  VirtualBuffer buffer;
  auto found = reader.integer(0, uint32Max, "a buffer's number");
  if (!found)
    return std::nullopt;
  if (*found != static_cast<int64_t>(number)) {
    reader.errorAtLast(fmt::format("virtual buffer {} stands where {} is due", *found, number));
    return std::nullopt;
  }
  auto word = reader.word("a memory space");
  if (!word)
    return std::nullopt;
  auto space = isa::spaceFromName(*word);
  if (!space) {
    reader.errorAtLast(fmt::format("unknown memory space '{}'", *word));
    return std::nullopt;
  }
  buffer.space = *space;
  if (!reader.expect("["))
    return std::nullopt;
  auto index = reader.integer(0, uint32Max - 1, "an index");
  if (!index || !reader.expect("]") || !reader.expect("bytes") || !reader.expect("="))
    return std::nullopt;
  (*space == isa::Space::Dram ? buffer.dram : buffer.core) = static_cast<uint32_t>(*index);
  auto bytes = reader.integer(0, std::numeric_limits<int64_t>::max(), "a number of bytes");
  if (!bytes || !reader.expect("align") || !reader.expect("="))
    return std::nullopt;
  buffer.bytes = *bytes;
  auto alignment = reader.integer(1, uint32Max, "an alignment");
  if (!alignment)
    return std::nullopt;
  buffer.alignment = static_cast<uint32_t>(*alignment);
  if (!reader.accept("group"))
    return buffer;
  if (!reader.expect("="))
    return std::nullopt;
  auto group = reader.integer(0, uint32Max - 1, "a group");
  if (!group)
    return std::nullopt;
  buffer.group = static_cast<uint32_t>(*group);
  return buffer;
}

void parseCore(isa::TextReader &reader, TileGraph &graph, isa::CommandParser &commands) {
  auto core = reader.integer(0, uint32Max, "a core's number");
  if (!core || !reader.expect("{")) {
    reader.skipItem();
    return;
  }
  while (!reader.atEnd() && !reader.peek("}"))
    if (auto command = commands.parse()) {
      graph.operations.push_back(*command);
      graph.cores.push_back(static_cast<uint32_t>(*core));
    }
  reader.expect("}");
}

void parseItem(isa::TextReader &reader, TileGraph &graph, isa::CommandParser &commands) {
  // Adds what was read to its list; false if nothing was.
  auto take = [](auto &list, auto value) {
    if (value)
      list.push_back(std::move(*value));
    return value.has_value();
  };
  reader.startItem();
  bool good = false;
  if (reader.accept("buffer"))
    good = take(graph.dram, isa::parseBuffer(reader));
  else if (reader.accept("register"))
    good = take(graph.registers, isa::parseRegister(reader));
  else if (reader.accept("virtual"))
    good = take(graph.buffers, parseVirtual(reader, graph.buffers.size()));
  else if (reader.accept("core"))
    return parseCore(reader, graph, commands);
  else
    reader.error("expected buffer, register, virtual, core or '}'");
  if (!good)
    reader.skipItem();
}

// As programs whose one stream is the sequence of operations.
isa::Program asProgram(const TileGraph &graph) {
  isa::Program program;
  static_cast<isa::Pools &>(program) = graph;
  program.name = graph.name;
  program.buffers = graph.dram;
  program.registers = graph.registers;
  program.streams = {graph.operations};
  if (program.sources.empty())
    program.sources.emplace_back();
  return program;
}

} // namespace

std::string print(const TileGraph &graph) {
  std::string out = fmt::format("graph {} {{\n", isa::quoted(graph.name));
  auto put = [&](const auto &item) {
    out += "  ";
    isa::print(out, item);
    out += '\n';
  };
  std::for_each(graph.dram.begin(), graph.dram.end(), put);
  std::for_each(graph.registers.begin(), graph.registers.end(), put);
  for (size_t i = 0; i < graph.buffers.size(); ++i) {
    const VirtualBuffer &b = graph.buffers[i];
    fmt::format_to(std::back_inserter(out), "  virtual {} {}[{}] bytes={} align={}", i, isa::name(b.space),
                   b.space == isa::Space::Dram ? b.dram : b.core, b.bytes, b.alignment);
    if (b.group != isa::none)
      fmt::format_to(std::back_inserter(out), " group={}", b.group);
    out += '\n';
  }
  for (size_t i = 0; i < graph.operations.size(); ++i) {
    if (i == 0 || graph.cores[i] != graph.cores[i - 1])
      fmt::format_to(std::back_inserter(out), "{}  core {} {{\n", i == 0 ? "" : "  }\n", graph.cores[i]);
    isa::print(out, graph, graph.operations[i], 4);
  }
  out += graph.operations.empty() ? "}\n" : "  }\n}\n";
  return out;
}

std::optional<TileGraph> parseGraph(std::string_view text, std::string file, Diagnostics &diagnostics) {
  isa::TextReader reader(text, std::move(file), diagnostics);
  TileGraph graph;
  if (!reader.expect("graph"))
    return std::nullopt;
  auto name = reader.string();
  if (!name || !reader.expect("{"))
    return std::nullopt;
  graph.name = std::move(*name);
  isa::CommandParser commands(reader, graph);
  while (!reader.atEnd() && !reader.peek("}"))
    parseItem(reader, graph, commands);
  if (reader.expect("}") && !reader.atEnd())
    reader.error("expected the end");
  if (reader.failed())
    return std::nullopt;
  return graph;
}

bool equivalent(const TileGraph &a, const TileGraph &b) {
  return a.buffers == b.buffers && a.cores == b.cores && isa::equivalent(asProgram(a), asProgram(b));
}

} // namespace npuc::schedule
