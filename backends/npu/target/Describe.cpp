#include "backends/npu/target/Checks.h"
#include "backends/npu/target/Fields.h"
#include "backends/npu/target/Target.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/json_util.h>
#include <map>
#include <nlohmann/json.hpp>

namespace npuc::target {
namespace {

std::string formatBytes(uint64_t bytes) {
  constexpr std::pair<uint64_t, const char *> units[] = {
      {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}};
  for (auto [size, unit] : units)
    if (bytes >= size)
      return fmt::format("{:.4g} {}", double(bytes) / double(size), unit);
  return fmt::format("{} B", bytes);
}

std::string gradeName(Provenance::Grade grade) {
  std::string name = Provenance::Grade_Name(grade);
  std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string describeCores(const TargetDescription &t) {
  const Topology &topology = t.topology();
  return fmt::format("  {} cores in {} clusters, {} slices a core, {} GHz\n", coreCount(t),
                     topology.devices() * topology.clusters_per_device(), topology.slices_per_core(),
                     formatNumber(t.clock_ghz()));
}

std::string describeMultiprocessors(const TargetDescription &t) {
  const Gpu &g = t.gpu();
  return fmt::format("  compute capability {}.{}, kernels in PTX {}.{}\n"
                     "  {} multiprocessors of {} parts, {} GHz\n",
                     g.compute_capability() / 10, g.compute_capability() % 10, g.ptx_version() / 10,
                     g.ptx_version() % 10, coreCount(t), t.topology().slices_per_core(),
                     formatNumber(t.clock_ghz()));
}

std::string describeMemories(const TargetDescription &t) {
  std::string out = fmt::format("  scratchpad {} a core", formatBytes(t.scratchpad().bytes()));
  if (t.has_shared())
    out += fmt::format(", shared {}", formatBytes(t.shared().bytes()));
  return out + '\n';
}

std::string describeGpu(const TargetDescription &t) {
  const Gpu &g = t.gpu();
  std::string out = fmt::format(
      "  a multiprocessor: {} blocks, {} threads, {} registers, {} of shared memory\n"
      "  a block: {} threads, {} of shared memory; a thread: {} registers\n",
      g.blocks_per_core(), g.threads_per_core(), g.registers_per_core(), formatBytes(t.scratchpad().bytes()),
      g.threads_per_block(), formatBytes(g.shared_bytes_per_block()), g.registers_per_thread());
  if (t.has_shared())
    out += fmt::format("  L2 {}, {:.4g} GB/s\n", formatBytes(t.shared().bytes()),
                       t.shared().bytes_per_cycle() * t.clock_ghz());
  return out;
}

std::string describeMatrix(const TargetDescription &t) {
  std::string out;
  for (const MatrixType &type : t.matrix().types()) {
    ElementType element = elementType(type.type());
    const Accumulator *sums = accumulator(t, element);
    out += fmt::format("  contracts {:<7} {:8.1f} {} (sums in {} {})\n", name(element),
                       2 * peakMacsPerCycle(t, element) * t.clock_ghz() / 1000,
                       isFloat(element) ? "TFLOPS" : "TOPS", sums->bits(),
                       sums->is_float() ? "bit floats" : "bits");
  }
  return out;
}

std::string describeVector(const TargetDescription &t) {
  std::string out;
  for (const VectorType &type : t.vector().types())
    out += fmt::format("  computes in {:<5} {:8.1f} Gop/s\n", name(elementType(type.type())),
                       peakVectorOpsPerCycle(t, elementType(type.type())) * t.clock_ghz());
  std::vector<std::string> functions;
  for (const FunctionRate &function : t.vector().functions())
    if (function.rate() > 0)
      functions.push_back(fmt::format("{} {}", function.function(), formatNumber(function.rate())));
  if (!functions.empty())
    out += fmt::format("  functions, per lane and cycle: {}\n", fmt::join(functions, ", "));
  return out;
}

std::string describeTransfers(const TargetDescription &t) {
  std::string out;
  for (const DmaClass &dma : t.dma()) {
    std::vector<std::string> routes;
    for (const DmaClass::Route &route : dma.routes())
      routes.push_back(fmt::format("{}→{}", Space_Name(route.source()), Space_Name(route.destination())));
    out += fmt::format("  dma {}: {} a core, {} bytes/cycle each, {} cycles to start; {}\n", dma.name(),
                       dma.queues_per_core(), dma.bytes_per_cycle(), dma.startup_cycles(),
                       fmt::join(routes, ", "));
  }
  return out;
}

// One entry of the provenance is one line, with the number of figures that rest on it.
std::string describeAssumed(const TargetDescription &t) {
  std::map<const Provenance *, size_t> counts;
  size_t all = 0, assumed = 0;
  for (const Field &figure : figures(t)) {
    const Provenance *entry = provenanceOf(t, figure.path);
    ++all;
    if (entry && isAssumed(entry->grade())) {
      ++assumed;
      ++counts[entry];
    }
  }
  std::string out = fmt::format("  assumed: {} of {} figures\n", assumed, all);
  for (const Provenance &entry : t.provenance()) {
    if (!counts.count(&entry))
      continue;
    std::string why = gradeName(entry.grade());
    for (const std::string *part : {&entry.source(), &entry.reason()})
      if (!part->empty())
        why += ": " + *part;
    std::string what = fmt::format("{}", fmt::join(entry.paths(), ", "));
    out += fmt::format("    {} ({})\n      {}\n", what.empty() ? "everything" : what, counts[&entry], why);
  }
  return out;
}

void describeFields(const google::protobuf::Descriptor &type, const std::string &path, std::string &out) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor &field = *type.field(i);
    const Constraint &constraint = constraintOf(field);
    std::string fieldPath = join(path, field.name());
    std::vector<std::string> notes;
    for (auto [set, note] :
         {std::pair(constraint.optional(), "optional"), std::pair(constraint.key(), "key"),
          std::pair(constraint.timing(), "timing"), std::pair(constraint.capability(), "capability"),
          std::pair(constraint.npu(), "not of GPUs")})
      if (set)
        notes.emplace_back(note);
    out += fmt::format("| `{}` | {} | {} |\n", fieldPath, requirement(field), fmt::join(notes, ", "));
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      describeFields(*field.message_type(), isList(field) ? fieldPath + "[…]" : fieldPath, out);
  }
}

// Protobuf's printer writes absent numbers as 0; those that a GPU does not have must not stand there.
void eraseNpuFields(const google::protobuf::Descriptor &type, nlohmann::ordered_json &json) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor &field = *type.field(i);
    if (constraintOf(field).npu())
      json.erase(field.name());
    else if (field.message_type() && !isList(field) && json.contains(field.name()))
      eraseNpuFields(*field.message_type(), json[field.name()]);
  }
}

} // namespace

std::string toJson(const TargetDescription &description) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string out;
  // Fails only for Any and for strings that are not UTF-8, which neither a parsed nor a decoded description
  // holds.
  auto status = google::protobuf::util::MessageToJsonString(description, &out, options);
  if (!status.ok())
    return {};
  if (!isGpu(description))
    return out;
  auto json = nlohmann::ordered_json::parse(out);
  eraseNpuFields(*description.GetDescriptor(), json);
  return json.dump(1) + '\n';
}

std::vector<AssumedField> assumedFields(const TargetDescription &description,
                                        std::span<const std::string> paths) {
  std::vector<AssumedField> out;
  for (const Field &figure : figures(description)) {
    bool wanted = paths.empty() ||
                  std::ranges::any_of(paths, [&](const std::string &p) { return covers(p, figure.path); });
    const Provenance *entry = wanted ? provenanceOf(description, figure.path) : nullptr;
    if (entry && isAssumed(entry->grade()))
      out.push_back({figure.path, formatValue(*figure.message, *figure.field), entry->grade(),
                     entry->source(), entry->reason()});
  }
  return out;
}

std::string describe(const TargetDescription &t) {
  std::string out = fmt::format("{}: {}\n", t.name(), t.title());
  out += isGpu(t) ? describeMultiprocessors(t) : describeCores(t);
  out += describeMatrix(t) + describeVector(t);
  out += isGpu(t) ? describeGpu(t) : describeMemories(t);
  out += fmt::format("  {} {}, {:.4g} GB/s ({:.4g} bytes/cycle of the core clock)\n",
                     Dram::Kind_Name(t.dram().kind()), formatBytes(t.dram().bytes()),
                     dramBytesPerSecond(t) / 1e9, dramBytesPerCycle(t));
  out += describeTransfers(t);
  return out + describeAssumed(t);
}

std::string schemaReference() {
  std::string out = "| field | what stands there | |\n| --- | --- | --- |\n";
  describeFields(*TargetDescription::descriptor(), "", out);
  return out;
}

} // namespace npuc::target
