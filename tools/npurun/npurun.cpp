// npurun: runs an artifact, or says how long a run would take. Uses nothing of this project but npurt and
// array files.
#include "npurt.hpp"
#include "support/File.h"
#include "support/Npz.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using namespace npuc;

// Exit codes.
enum { Done = 0, UsersMistake = 1, WrongUsage = 2, OurBug = 70 };

struct Options {
  std::string file, inputs, outputs, device = "npu-sim", profile, report, entryPoint, deviceFolder;
  bool timingOnly = false, json = false, jsonDiagnostics = false;
  unsigned repeat = 1, threads = 0;
};

// What was found wrong, all of it; thrown once nothing more can be found.
struct Failure {
  Diagnostics diagnostics;
};

[[noreturn]] void fail(std::string where, std::string what, std::string why = {}, std::string hint = {}) {
  Failure failure;
  failure.diagnostics.error(std::move(where), std::move(what), std::move(why), std::move(hint));
  throw failure;
}

std::string describe(npurt::Type type, const std::vector<int64_t> &shape) {
  return fmt::format("{}[{}]", npurt::name(type), fmt::join(shape, "x"));
}

std::string describe(const std::vector<npurt::Tensor> &tensors) {
  std::vector<std::string> parts;
  for (const npurt::Tensor &t : tensors)
    parts.push_back(fmt::format("'{}' {}", t.name, describe(t.type, t.shape)));
  return parts.empty() ? "nothing" : fmt::format("{}", fmt::join(parts, ", "));
}

// Types of a NumPy file that stand for the tensor's. Those that NumPy lacks come as integers of the same
// width.
bool accepts(npurt::Type tensor, ElementType array) {
  const auto wanted = static_cast<ElementType>(tensor);
  if (array == wanted)
    return true;
  switch (wanted) {
  case ElementType::BF16:
    return array == ElementType::U16 || array == ElementType::I16;
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
    return array == ElementType::U8 || array == ElementType::I8;
  default:
    return false;
  }
}

class Arrays {
public:
  explicit Arrays(const std::string &path) : path_(path) {
    if (path.empty())
      return;
    Failure failure;
    auto read = readArrays(path, failure.diagnostics);
    if (!read)
      throw failure;
    arrays_ = std::move(*read);
    used_.resize(arrays_.size());
  }

  NamedArray *find(const std::string &name) {
    for (size_t i = 0; i < arrays_.size(); ++i)
      if (arrays_[i].name == name) {
        used_[i] = true;
        return &arrays_[i];
      }
    return nullptr;
  }

  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < arrays_.size(); ++i)
      if (!used_[i])
        names.push_back(arrays_[i].name);
    return names;
  }

private:
  std::string path_;
  std::vector<NamedArray> arrays_;
  std::vector<bool> used_;
};

// The value of an array of one integer.
std::optional<int64_t> integerOf(const Array &array) {
  auto read = [&]<typename T>(T) -> int64_t {
    T value;
    std::memcpy(&value, array.data.data(), sizeof value);
    return static_cast<int64_t>(value);
  };
  if (array.count() != 1)
    return std::nullopt;
  switch (array.type) {
  case ElementType::I8:
    return read(int8_t{});
  case ElementType::U8:
    return read(uint8_t{});
  case ElementType::I16:
    return read(int16_t{});
  case ElementType::U16:
    return read(uint16_t{});
  case ElementType::I32:
    return read(int32_t{});
  case ElementType::U32:
    return read(uint32_t{});
  case ElementType::I64:
    return read(int64_t{});
  default:
    return std::nullopt;
  }
}

// Registers come from the inputs too, as arrays of one integer; all keep their least value where none is
// given.
void setRegisters(npurt::Session &session, Arrays &arrays, Diagnostics &diagnostics) {
  auto registers = session.program().registers();
  for (size_t i = 0; i < registers.size(); ++i) {
    NamedArray *array = arrays.find(registers[i].name);
    if (!array)
      continue;
    auto value = integerOf(array->array);
    if (!value || *value < registers[i].least || *value > registers[i].greatest)
      diagnostics.error(fmt::format("register '{}'", registers[i].name), "the value is out of range",
                        value ? fmt::format("it is {}, allowed are {} to {}", *value, registers[i].least,
                                            registers[i].greatest)
                              : "it is no single integer");
    else
      session.setRegister(i, *value);
  }
}

void bindInputs(npurt::Session &session, Arrays &arrays, Diagnostics &diagnostics) {
  auto inputs = session.program().tensors(npurt::Role::Input);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const npurt::Tensor &t = inputs[i];
    const std::string where = fmt::format("input '{}'", t.name), wanted = describe(t.type, t.shape);
    NamedArray *array = arrays.find(t.name);
    if (!array) {
      diagnostics.error(where, "the inputs lack it", "the model wants " + wanted);
      continue;
    }
    const Array &given = array->array;
    if (!accepts(t.type, given.type) || given.shape != t.shape) {
      const bool wrongType = !accepts(t.type, given.type);
      diagnostics.error(where, wrongType ? "the type is wrong" : "the shape is wrong",
                        fmt::format("the model wants {}, the file has {}", wanted,
                                    describe(static_cast<npurt::Type>(given.type), given.shape)),
                        wrongType
                            ? fmt::format("convert it, in NumPy with .astype(), to {}", npurt::name(t.type))
                            : "compile the model for this shape, or pad the input");
      continue;
    }
    session.bind(npurt::Role::Input, i, array->array.data.data(), array->array.data.size());
  }
  for (const std::string &name : arrays.unused())
    diagnostics.error(fmt::format("input '{}'", name), "the model has no input of this name",
                      "it wants " + describe(inputs));
}

// As NumPy can hold it: types that it lacks as integers of the same width.
ElementType numpyType(npurt::Type type) {
  switch (const auto t = static_cast<ElementType>(type)) {
  case ElementType::BF16:
    return ElementType::U16;
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
    return ElementType::U8;
  default:
    return t;
  }
}

std::vector<NamedArray> bindOutputs(npurt::Session &session) {
  std::vector<NamedArray> outputs;
  for (const npurt::Tensor &t : session.program().tensors(npurt::Role::Output))
    outputs.push_back({t.name, {numpyType(t.type), t.shape, std::vector<std::byte>(t.bytes)}});
  for (size_t i = 0; i < outputs.size(); ++i)
    session.bind(npurt::Role::Output, i, outputs[i].array.data.data(), outputs[i].array.data.size());
  return outputs;
}

double run(npurt::Session &session, const Options &options) {
  Failure failure;
  Arrays arrays(options.inputs);
  setRegisters(session, arrays, failure.diagnostics);
  bindInputs(session, arrays, failure.diagnostics);
  if (failure.diagnostics.hasErrors())
    throw failure;
  std::vector<NamedArray> outputs = bindOutputs(session);
  auto start = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < options.repeat; ++i)
    session.run();
  std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
  if (!options.outputs.empty() && !writeNpz(options.outputs, outputs, failure.diagnostics))
    throw failure;
  return wall.count() / options.repeat;
}

void setRegistersOnly(npurt::Session &session, const Options &options) {
  Failure failure;
  Arrays arrays(options.inputs);
  setRegisters(session, arrays, failure.diagnostics);
  if (failure.diagnostics.hasErrors())
    throw failure;
}

void work(const Options &options) {
  npurt_device_options deviceOptions{};
  deviceOptions.size = sizeof deviceOptions;
  deviceOptions.threads = options.threads;
  if (!options.deviceFolder.empty())
    deviceOptions.library_folder = options.deviceFolder.c_str();
  npurt::Artifact artifact(options.file);
  npurt::Device device(options.device, &deviceOptions);
  npurt::Session session(device, artifact.program(options.entryPoint));

  double wall = 0;
  if (options.timingOnly)
    setRegistersOnly(session, options);
  else if (options.inputs.empty() && !session.program().tensors(npurt::Role::Input).empty())
    fail(options.file, "the inputs are missing",
         "the model wants " + describe(session.program().tensors(npurt::Role::Input)),
         "give --inputs=FILE.npz, or --timing-only for its time alone");
  else
    wall = run(session, options);

  npurt::Profile profile = session.time();
  if (!options.profile.empty())
    profile.writeTrace(options.profile);
  if (!options.report.empty())
    profile.writeReport(options.report);
  if (options.json) {
    auto document = nlohmann::ordered_json::parse(profile.json());
    if (!options.timingOnly)
      document["host_ms"] = wall;
    fmt::print("{}\n", document.dump(2));
    return;
  }
  fmt::print("{}", profile.text());
  if (!options.timingOnly)
    fmt::print("simulated on this machine in {:.1f} ms{}\n", wall,
               options.repeat > 1 ? fmt::format(" (mean of {} runs)", options.repeat) : "");
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app{"Runs an artifact that npuc compiled, or says how long a run would take.", "npurun"};
  app.set_version_flag("--version", std::string("npurun ") + npurt_version());
  app.add_option("FILE", options.file, "an artifact (.npa)")->required();
  app.add_option("--inputs", options.inputs,
                 "a .npz or .npy file with an array for each input (and register)");
  app.add_option("--outputs", options.outputs, "a .npz file to write the outputs to");
  app.add_option("--device", options.device, "what to run on")->capture_default_str();
  app.add_option("--entry-point", options.entryPoint, "which program of the artifact, if it has several");
  app.add_flag("--timing-only", options.timingOnly, "the time alone: needs neither inputs nor weights");
  app.add_option("--repeat", options.repeat, "how often to run; states go on from run to run")
      ->check(CLI::Range(1u, 1000000u));
  app.add_option("--threads", options.threads, "of the simulation; 0: one for each processor");
  app.add_option("--profile", options.profile, "a file to write a trace for Perfetto to");
  app.add_option("--report", options.report, "a file to write an HTML report to");
  app.add_flag("--json", options.json, "the report as JSON");
  std::string diagnosticsForm = "text";
  app.add_option("--diagnostics", diagnosticsForm, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--device-folder", options.deviceFolder,
                 "where device libraries are, if not beside libnpurt");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &e) {
    return app.exit(e) == 0 ? Done : WrongUsage;
  }
  const bool asJson = diagnosticsForm == "json";
  try {
    work(options);
    return Done;
  } catch (const Failure &failure) {
    fmt::print(stderr, "{}", asJson ? failure.diagnostics.json() : failure.diagnostics.text());
    return UsersMistake;
  } catch (const npurt::Error &e) {
    fmt::print(stderr, "{}", asJson ? e.json() : std::string(e.what()));
    return e.status() == NPURT_FAILED || e.status() == NPURT_OUT_OF_MEMORY ? UsersMistake : OurBug;
  } catch (const std::exception &e) {
    fmt::print(stderr, "npurun: this is a bug of npurun: {}\n", e.what());
    return OurBug;
  }
}
