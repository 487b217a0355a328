#include "tools/npuc/ArtifactReport.h"

#include "backends/npu/timing/Simulator.h"
#include "runtime/artifact/Artifact.h"
#include "runtime/npu_sim/SimProfile.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <set>

namespace npuc::tool {
namespace {

using Json = nlohmann::ordered_json;

std::string roleName(artifact::Role role) {
  std::string name = artifact::Role_Name(role);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

Json buffersJson(const artifact::Artifact &artifact, const artifact::EntryPoint &entry) {
  Json list = Json::array();
  for (uint32_t index : entry.buffers()) {
    const artifact::Buffer &buffer = artifact.buffer(index);
    Json one = {{"name", buffer.name()},
                {"role", roleName(buffer.role())},
                {"type", buffer.type()},
                {"shape", std::vector<int64_t>(buffer.shape().begin(), buffer.shape().end())},
                {"bytes", buffer.bytes()}};
    if (!buffer.host_type().empty())
      one["host_type"] = buffer.host_type();
    if (buffer.has_host_shape())
      one["host_shape"] = std::vector<int64_t>(buffer.host_shape().begin(), buffer.host_shape().end());
    if (buffer.has_range())
      one["range"] = {buffer.least(), buffer.greatest()};
    list.push_back(std::move(one));
  }
  return list;
}

/// Commands by engine and kind, over all cores.
Json commandsJson(const isa::Program &program) {
  std::map<std::string, std::map<std::string, uint64_t>> counts;
  for (const auto &stream : program.streams)
    for (const isa::Command &command : stream)
      ++counts[std::string(isa::name(command.engine))][std::string(isa::name(command.opcode))];
  return {{"total", program.commandCount()},
          {"cores", program.streams.size()},
          {"semaphores", program.semaphores},
          {"engines", counts}};
}

Json memoriesJson(const artifact::EntryPoint &entry) {
  Json list = Json::array();
  for (const artifact::MemoryUse &memory : entry.memories())
    list.push_back({{"space", memory.space()},
                    {"core", memory.core()},
                    {"peak_bytes", memory.peak()},
                    {"least_bytes", memory.bound()},
                    {"capacity_bytes", memory.capacity()}});
  return list;
}

std::string headText(const Json &json) {
  std::string out = fmt::format("{}: {} bytes, {} for {}, from {}{}\n", json["file"].get<std::string>(),
                                json["bytes"].get<uint64_t>(), json["compiler"].get<std::string>(),
                                json["target"].get<std::string>(), json["model"].get<std::string>(),
                                json["has_constants"].get<bool>() ? "" : ", without constants");
  std::map<std::string, std::pair<uint64_t, uint64_t>> unnamed;
  out += fmt::format("\n{:<10} {:<6} {:<16} {:>12}  {}\n", "role", "type", "shape", "bytes", "buffer");
  for (const Json &buffer : json["buffers"]) {
    std::string role = buffer["role"];
    if (role == "constant" || role == "workspace") {
      ++unnamed[role].first;
      unnamed[role].second += buffer["bytes"].get<uint64_t>();
      continue;
    }
    out += fmt::format("{:<10} {:<6} {:<16} {:>12}  {}", role, buffer["type"].get<std::string>(),
                       fmt::format("{}", fmt::join(buffer["shape"].get<std::vector<int64_t>>(), "x")),
                       buffer["bytes"].get<uint64_t>(), buffer["name"].get<std::string>());
    if (buffer.contains("host_type"))
      out += fmt::format(" ({} outside)", buffer["host_type"].get<std::string>());
    if (buffer.contains("range"))
      out += fmt::format(", {} to {}", buffer["range"][0].get<int64_t>(), buffer["range"][1].get<int64_t>());
    out += '\n';
  }
  for (const auto &[role, sum] : unnamed)
    out += fmt::format("{:<10} {:<6} {:<16} {:>12}  {} buffers\n", role, "", "", sum.second, sum.first);
  for (const Json &one : json["registers"])
    out += fmt::format("register {}: {} to {}\n", one["name"].get<std::string>(), one["least"].get<int64_t>(),
                       one["greatest"].get<int64_t>());
  return out;
}

std::string commandText(const Json &commands) {
  std::string out =
      fmt::format("\n{} commands on {} cores, {} semaphores\n", commands["total"].get<uint64_t>(),
                  commands["cores"].get<uint64_t>(), commands["semaphores"].get<uint32_t>());
  for (const auto &[engine, kinds] : commands["engines"].items()) {
    out += fmt::format("  {:<8}", engine);
    for (const auto &[kind, count] : kinds.items())
      out += fmt::format(" {} {}", kind, count.get<uint64_t>());
    out += '\n';
  }
  return out;
}

/// What the compiler predicted of a launch; null if it predicted nothing.
Json predictionJson(const artifact::KernelLaunch &launch) {
  if (!launch.has_prediction())
    return {};
  const artifact::Prediction &prediction = launch.prediction();
  return {{"us", prediction.microseconds()},
          {"bound", prediction.bound()},
          {"registers", prediction.registers()},
          {"blocks_per_core", prediction.blocks_per_core()},
          {"tensor_multiply_adds", prediction.tensor_multiply_adds()},
          {"instructions", prediction.instructions()},
          {"dram_bytes", prediction.dram_bytes()},
          {"l2_bytes", prediction.l2_bytes()},
          {"shared_bytes", prediction.shared_bytes()}};
}

/// What the compiler made for a GPU: each launch, and by nodes what is launched for them.
void addLaunches(const artifact::Artifact &artifact, const artifact::EntryPoint &entry, Json &json) {
  std::set<std::string> kernels;
  std::map<std::string, Json> byNodes;
  json["launches"] = Json::array();
  for (const artifact::KernelLaunch &launch : entry.launches()) {
    auto blocks = uint64_t{launch.grid(0)} * launch.grid(1) * launch.grid(2);
    auto threads = uint64_t{launch.block(0)} * launch.block(1) * launch.block(2);
    kernels.insert(launch.kernel());
    json["launches"].push_back({{"kernel", launch.kernel()},
                                {"nodes", launch.source()},
                                {"grid", {launch.grid(0), launch.grid(1), launch.grid(2)}},
                                {"block", {launch.block(0), launch.block(1), launch.block(2)}},
                                {"shared_bytes", launch.shared_bytes()},
                                {"predicted", predictionJson(launch)}});
    Json &arguments = json["launches"].back()["arguments"] = Json::array();
    for (const artifact::KernelArgument &argument : launch.arguments())
      arguments.push_back({{"buffer", artifact.manifest().buffers(int(argument.buffer())).name()},
                           {"offset", argument.offset()}});
    Json &nodes =
        byNodes
            .try_emplace(
                launch.source(),
                Json{{"name", launch.source()}, {"launches", 0}, {"threads", 0}, {"shared_bytes", 0}})
            .first->second;
    nodes["launches"] = nodes["launches"].get<uint64_t>() + 1;
    nodes["threads"] = nodes["threads"].get<uint64_t>() + blocks * threads;
    nodes["shared_bytes"] = std::max(nodes["shared_bytes"].get<uint64_t>(), uint64_t{launch.shared_bytes()});
  }
  json["kernel_count"] = kernels.size();
  json["assembler"] = entry.assembler().empty() ? Json() : Json(entry.assembler());
  json["kernels"] = Json::array();
  for (const artifact::Kernel &kernel : entry.kernels())
    json["kernels"].push_back({{"kernel", kernel.name()},
                               {"registers", kernel.registers()},
                               {"spilled_bytes", kernel.spilled_bytes()},
                               {"static_shared_bytes", kernel.shared_bytes()}});
  json["ptx_bytes"] = artifact.section(entry.ptx()).size();
  const artifact::Statistics &bound = entry.statistics();
  json["lower_bound_cycles"] =
      std::max({bound.multiply_add_cycles(), bound.vector_cycles(), bound.dram_cycles()});
  const bool isPredicted = bound.predicted_cycles() > 0;
  json["predicted_cycles"] = isPredicted ? Json(bound.predicted_cycles()) : Json();
  json["predicted_ms"] =
      isPredicted ? Json(bound.predicted_cycles() / artifact.target().clock_ghz() / 1e6) : Json();
  json["operators"] = Json::array();
  for (auto &[name, nodes] : byNodes)
    json["operators"].push_back(std::move(nodes));
}

/// The sum, and what of it is bound by what.
std::string predictedText(const Json &json) {
  if (json["predicted_ms"].is_null())
    return "";
  std::map<std::string, double> byBound;
  for (const Json &launch : json["launches"])
    byBound[launch["predicted"]["bound"]] += launch["predicted"]["us"].get<double>();
  std::vector<std::pair<double, std::string>> parts;
  for (const auto &[bound, microseconds] : byBound)
    parts.push_back({microseconds, bound});
  std::ranges::sort(parts, std::greater<>());
  std::string out =
      fmt::format("predicted       {:.4f} ms, launches bound by", json["predicted_ms"].get<double>());
  for (const auto &[microseconds, bound] : parts)
    out += fmt::format("{} {} {:.4f}", &bound == &parts[0].second ? "" : ",", bound, microseconds / 1e3);
  return out + "\n";
}

std::string launchText(const Json &json) {
  std::string out = fmt::format("\n{} launches of {} kernels, {} bytes of PTX\n", json["launches"].size(),
                                json["kernel_count"].get<uint64_t>(), json["ptx_bytes"].get<uint64_t>());
  out += fmt::format("lower bound {:.0f} cycles, by the target's figures; the time is measured by npurun\n",
                     json["lower_bound_cycles"].get<double>());
  out += predictedText(json);
  std::map<std::string, Json> assembled;
  for (const Json &kernel : json["kernels"])
    assembled[kernel["kernel"]] = kernel;
  out += json["assembler"].is_null()
             ? "ptxas was not asked: what kernels take of registers is not known\n"
             : fmt::format("registers, and bytes spilled for want of them, by ptxas {}\n",
                           json["assembler"].get<std::string>());
  out += fmt::format("\n{:>12} {:>7} {:>16} {:>8} {:>8} {:>10} {:>8}  kernel (nodes)\n", "predicted us",
                     "bound", "blocks", "threads", "shared", "registers", "spilled");
  auto assembledText = [&](const Json &launch, const char *what) {
    auto kernel = assembled.find(launch["kernel"]);
    return kernel == assembled.end() ? "-" : fmt::format("{}", kernel->second[what].get<uint64_t>());
  };
  for (const Json &launch : json["launches"])
    out += fmt::format(
        "{:>12} {:>7} {:>16} {:>8} {:>8} {:>10} {:>8}  {} ({})\n",
        launch["predicted"].is_null() ? "-" : fmt::format("{:.2f}", launch["predicted"]["us"].get<double>()),
        launch["predicted"].is_null() ? "-" : launch["predicted"]["bound"].get<std::string>(),
        fmt::format("{}", fmt::join(launch["grid"].get<std::vector<uint32_t>>(), "x")),
        launch["block"][0].get<uint64_t>() * launch["block"][1].get<uint64_t>() *
            launch["block"][2].get<uint64_t>(),
        launch["shared_bytes"].get<uint64_t>(), assembledText(launch, "registers"),
        assembledText(launch, "spilled_bytes"), launch["kernel"].get<std::string>(),
        launch["nodes"].get<std::string>());
  return out;
}

/// The fullest of each kind of memory.
std::string memoryText(const Json &memories) {
  std::map<std::string, Json> fullest;
  for (const Json &memory : memories) {
    Json &greatest = fullest[memory["space"]];
    if (greatest.is_null() || greatest["peak_bytes"] < memory["peak_bytes"])
      greatest = memory;
  }
  std::string out = fullest.empty() ? "" : "\nmemory at its fullest\n";
  for (const auto &[space, memory] : fullest)
    out += fmt::format("  {:<12} {} of {} bytes; {} are alive at once (core {})\n", space,
                       memory["peak_bytes"].get<uint64_t>(), memory["capacity_bytes"].get<uint64_t>(),
                       memory["least_bytes"].get<uint64_t>(), memory["core"].get<uint32_t>());
  return out;
}

} // namespace

std::optional<ArtifactReport> reportArtifact(const std::string &path, const std::string &entryPoint,
                                             Diagnostics &diagnostics) {
  std::shared_ptr<const artifact::Artifact> artifact = artifact::Artifact::open(path, diagnostics);
  if (!artifact)
    return std::nullopt;
  std::optional<size_t> at = artifact->findEntryPoint(entryPoint, diagnostics);
  if (!at)
    return std::nullopt;
  const artifact::EntryPoint &entry = artifact->entryPoint(*at);
  const isa::Program &program = artifact->program(*at);
  ArtifactReport report;
  Json &json = report.json;
  json["schema_version"] = 1;
  json["file"] = path;
  json["bytes"] = std::filesystem::file_size(path);
  json["compiler"] = artifact->manifest().compiler();
  json["model"] = artifact->manifest().model();
  json["target"] = artifact->target().name();
  json["has_constants"] = artifact->hasConstants();
  json["entry_points"] = Json::array();
  for (size_t i = 0; i < artifact->entryPointCount(); ++i)
    json["entry_points"].push_back(artifact->entryPoint(i).name());
  json["buffers"] = buffersJson(*artifact, entry);
  json["registers"] = Json::array();
  for (const isa::Register &one : program.registers)
    json["registers"].push_back({{"name", one.name}, {"least", one.least}, {"greatest", one.greatest}});
  if (artifact->target().has_gpu()) {
    addLaunches(*artifact, entry, json);
    report.text = headText(json) + launchText(json);
    return report;
  }
  std::optional<timing::Timeline> timeline = timing::simulate(program, artifact->target(), {}, diagnostics);
  if (!timeline)
    return std::nullopt;
  std::unique_ptr<device::Profile> profile = npu_sim::makeProfile(artifact, *at, std::move(*timeline));
  json["commands"] = commandsJson(program);
  json["memories"] = memoriesJson(entry);
  json.update(Json::parse(profile->json()));
  report.text =
      headText(json) + commandText(json["commands"]) + memoryText(json["memories"]) + "\n" + profile->text();
  return report;
}

} // namespace npuc::tool
