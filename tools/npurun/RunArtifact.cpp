#include "tools/npurun/RunArtifact.h"

#include "support/File.h"
#include "support/Npz.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace npuc::tool {
namespace {

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
  explicit Arrays(std::vector<NamedArray> arrays) : arrays_(std::move(arrays)), used_(arrays_.size()) {}

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
  std::vector<std::string> names;
  for (const npurt::Tensor &t : inputs)
    names.push_back(t.name);
  for (const std::string &name : arrays.unused()) {
    std::string near = nearest(name, names);
    diagnostics.error(fmt::format("input '{}'", name), "the model has no input of this name",
                      "it wants " + describe(inputs),
                      near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  }
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

std::vector<NamedArray> read(const std::string &path) {
  Failure failure;
  std::optional<std::vector<NamedArray>> arrays =
      path.empty() ? std::vector<NamedArray>() : readArrays(path, failure.diagnostics);
  if (!arrays)
    throw failure;
  return std::move(*arrays);
}

/// `arrays` must live as long as what is bound to them.
void bindAll(npurt::Session &session, Arrays &arrays) {
  Failure failure;
  setRegisters(session, arrays, failure.diagnostics);
  bindInputs(session, arrays, failure.diagnostics);
  if (failure.diagnostics.hasErrors())
    throw failure;
}

double run(npurt::Session &session, const RunOptions &options) {
  Arrays arrays(read(options.inputs));
  bindAll(session, arrays);
  std::vector<NamedArray> outputs = bindOutputs(session);
  auto start = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < options.repeat; ++i)
    session.run();
  std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
  Failure failure;
  if (!options.outputs.empty() && !writeNpz(options.outputs, outputs, failure.diagnostics))
    throw failure;
  return wall.count() / options.repeat;
}

void setRegistersOnly(npurt::Session &session, const RunOptions &options) {
  Failure failure;
  Arrays arrays(read(options.inputs));
  setRegisters(session, arrays, failure.diagnostics);
  if (failure.diagnostics.hasErrors())
    throw failure;
}

bool isSpecial(const std::string &path) {
  std::error_code none;
  return std::filesystem::exists(path, none) && !std::filesystem::is_regular_file(path, none);
}

bool isSameFile(const std::string &a, const std::string &b) {
  std::error_code none;
  return std::filesystem::equivalent(a, b, none) ||
         std::filesystem::weakly_canonical(a, none) == std::filesystem::weakly_canonical(b, none);
}

} // namespace

bool checkFiles(const std::vector<NamedFile> &written, const std::vector<NamedFile> &read,
                Diagnostics &diagnostics) {
  const size_t before = diagnostics.errorCount();
  std::vector<NamedFile> others = read;
  for (const NamedFile &file : written) {
    if (file.path.empty() || isSpecial(file.path))
      continue;
    auto same = std::ranges::find_if(others, [&](const NamedFile &other) {
      return !other.path.empty() && isSameFile(file.path, other.path);
    });
    if (same != others.end())
      diagnostics.error(file.option + " " + file.path, "would overwrite the file of " + same->option, "",
                        "name another file");
    else
      AtomicFile::create(file.path, diagnostics);
    others.push_back(file);
  }
  return diagnostics.errorCount() == before;
}

bool RunOptions::checkFiles(std::vector<NamedFile> read, Diagnostics &diagnostics) const {
  read.push_back({"--inputs", inputs});
  return tool::checkFiles({{"--outputs", outputs}, {"--profile", profile}, {"--report", report}}, read,
                          diagnostics);
}

void RunOptions::add(CLI::App &app) {
  app.add_option("--inputs", inputs, "a .npz or .npy file with an array for each input (and register)");
  app.add_option("--outputs", outputs, "a .npz file to write the outputs to");
  app.add_option("--entry-point", entryPoint, "which program of the artifact, if it has several");
  app.add_flag("--timing-only", timingOnly, "the time alone: needs neither inputs nor weights");
  app.add_option("--repeat", repeat, "how often to run; states go on from run to run")
      ->check(CLI::Range(1u, 1000000u));
  app.add_option("--profile", profile, "a file to write a trace for Perfetto to");
  app.add_option("--report", report, "a file to write an HTML report to");
  app.add_flag("--json", json, "the report as JSON");
  app.add_option("--device-folder", deviceFolder, "where device libraries are, if not beside libnpurt");
}

void runArtifact(const npurt::Artifact &artifact, const std::string &name, const RunOptions &options) {
  Failure failure;
  if (!options.checkFiles({{"the artifact", name}}, failure.diagnostics))
    throw failure;
  npurt_device_options deviceOptions{};
  deviceOptions.size = sizeof deviceOptions;
  deviceOptions.threads = options.threads;
  deviceOptions.checks = options.checks;
  if (!options.deviceFolder.empty())
    deviceOptions.library_folder = options.deviceFolder.c_str();
  npurt::Device device(options.device.empty() ? artifact.device() : options.device, &deviceOptions);
  npurt::Session session(device, artifact.program(options.entryPoint));

  double wall = 0;
  if (options.timingOnly)
    setRegistersOnly(session, options);
  else if (options.inputs.empty() && !session.program().tensors(npurt::Role::Input).empty())
    fail(name, "the inputs are missing",
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
    fmt::print("a run took {:.1f} ms on this machine{}\n", wall,
               options.repeat > 1 ? fmt::format(" (mean of {} runs)", options.repeat) : "");
}

std::vector<NamedArray> outputsOf(npurt::Session &session, std::vector<NamedArray> inputs) {
  Arrays arrays(std::move(inputs));
  bindAll(session, arrays);
  std::vector<NamedArray> outputs = bindOutputs(session);
  session.run();
  return outputs;
}

std::optional<int> parse(CLI::App &app, int argc, char **argv) {
  try {
    // Two mistakes of which CLI11 would say something else, or nothing.
    std::vector<std::string> names;
    for (const CLI::App *command : app.get_subcommands({}))
      names.push_back(command->get_name());
    const std::string first = argc > 1 ? argv[1] : "-";
    if (!names.empty() && !first.starts_with('-') && std::ranges::find(names, first) == names.end()) {
      const std::string near = nearest(first, names);
      throw CLI::ExtrasError(fmt::format("there is no subcommand '{}': {}", first,
                                         near.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                                                      : fmt::format("did you mean '{}'?", near)),
                             CLI::ExitCodes::ExtrasError);
    }
    for (int i = 1; i < argc; ++i)
      if (std::string_view text = argv[i]; text.starts_with("--") && text.ends_with('='))
        throw CLI::ArgumentMismatch(fmt::format("{} has no value", text.substr(0, text.size() - 1)),
                                    CLI::ExitCodes::ArgumentMismatch);
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? Done : WrongUsage;
  }
  return std::nullopt;
}

int reportFailures(const char *tool, bool asJson, const std::function<void()> &body) {
  // After what was printed before, where both go to one place.
  auto tell = [](const std::string &text) {
    std::fflush(stdout);
    std::fputs(text.c_str(), stderr);
  };
  try {
    body();
    return Done;
  } catch (const Failure &failure) {
    tell(asJson ? failure.diagnostics.json() : failure.diagnostics.text());
    return UsersMistake;
  } catch (const npurt::Error &e) {
    tell(asJson ? e.json() : std::string(e.what()));
    return e.status() == NPURT_FAILED || e.status() == NPURT_OUT_OF_MEMORY ? UsersMistake : OurBug;
  } catch (const std::bad_alloc &) {
    Diagnostics diagnostics;
    diagnostics.error("", "there is not enough memory");
    tell(asJson ? diagnostics.json() : diagnostics.text());
    return UsersMistake;
  } catch (const std::exception &e) {
    tell(fmt::format("{}: this is a bug of {}: {}\n", tool, tool, e.what()));
    return OurBug;
  }
}

} // namespace npuc::tool
