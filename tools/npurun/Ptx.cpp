#include "tools/npurun/Ptx.h"

#include "runtime/ptx_sim/Opcodes.h"
#include "runtime/ptx_sim/Simulator.h"
#include "support/File.h"
#include "tools/npurun/RunArtifact.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>

namespace npuc::tool {
namespace {

struct Options {
  std::string file, kernel, grid = "1", block = "1", outputs, diagnosticsForm = "text";
  std::vector<std::string> arguments;
  uint32_t shared = 0;
  uint64_t mostInstructions = 0;
  unsigned threads = 0;
  bool json = false;
};

/// What an --arg says.
struct Argument {
  std::string text;
  std::optional<Array> array; ///< In memory; otherwise `bytes`.
  bool written = false;       ///< Of an array: whether its bytes come from a file.
  std::string path;           ///< Of that file.
  std::optional<ElementType> type;
  std::vector<std::byte> bytes;
  uint64_t address = 0;
};

constexpr const char *argumentForms = "@FILE.npy for an array, 42:i32 for a number, f32[64x128] for an array "
                                      "that nothing has written, hex:00ff… for bytes";

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty()
             ? std::optional(value)
             : std::nullopt;
}

std::optional<ptx::Dim3> dimensions(const std::string &text, const std::string &option,
                                    Diagnostics &diagnostics) {
  std::vector<uint32_t> sizes;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::optional<uint32_t> size = number<uint32_t>(std::string_view(text).substr(begin, end - begin));
    if (!size || sizes.size() == 3) {
      diagnostics.error(option, "one to three sizes with commas between are wanted",
                        fmt::format("'{}' is none", text), "as 32,8 or 128");
      return std::nullopt;
    }
    sizes.push_back(*size);
    begin = end + 1;
  }
  sizes.resize(3, 1);
  return ptx::Dim3{sizes[0], sizes[1], sizes[2]};
}

std::vector<std::byte> bytesOf(const void *value, size_t size) {
  const auto *bytes = static_cast<const std::byte *>(value);
  return {bytes, bytes + size};
}

bool scalar(Argument &argument, std::string_view value, ElementType type) {
  argument.type = type;
  if (isFloat(type)) {
    const std::optional<double> v = number<double>(value);
    if (!v)
      return false;
    const float f = static_cast<float>(*v);
    const uint16_t half = type == ElementType::F16 ? toF16(f) : toBF16(f);
    if (type == ElementType::F64)
      argument.bytes = bytesOf(&*v, 8);
    else if (type == ElementType::F32)
      argument.bytes = bytesOf(&f, 4);
    else
      argument.bytes = bytesOf(&half, 2);
    return true;
  }
  const unsigned bits = bitWidth(type);
  uint64_t raw = 0;
  if (isSigned(type)) {
    const std::optional<int64_t> v = number<int64_t>(value);
    if (!v || (bits < 64 && (*v < -(int64_t{1} << (bits - 1)) || *v >= int64_t{1} << (bits - 1))))
      return false;
    raw = static_cast<uint64_t>(*v);
  } else {
    const std::optional<uint64_t> v = number<uint64_t>(value);
    if (!v || (bits < 64 && *v >> bits))
      return false;
    raw = *v;
  }
  argument.bytes = bytesOf(&raw, bits / 8);
  return true;
}

bool hex(Argument &argument, std::string_view digits) {
  for (size_t k = 0; k + 1 < digits.size(); k += 2) {
    uint8_t byte = 0;
    const auto parsed = std::from_chars(digits.data() + k, digits.data() + k + 2, byte, 16);
    if (parsed.ptr != digits.data() + k + 2)
      return false;
    argument.bytes.push_back(std::byte{byte});
  }
  return !digits.empty() && digits.size() % 2 == 0;
}

/// f32[64x128]
bool fresh(Argument &argument, const std::string &text) {
  const size_t open = text.find('[');
  if (open == std::string::npos || !text.ends_with(']'))
    return false;
  const std::optional<ElementType> type = elementTypeFromName(text.substr(0, open));
  if (!type || bitWidth(*type) < 8)
    return false;
  Array array;
  array.type = *type;
  uint64_t bytes = bitWidth(*type) / 8;
  const std::string_view shape = std::string_view(text).substr(open + 1, text.size() - open - 2);
  for (size_t begin = 0; begin <= shape.size();) {
    const size_t end = std::min(shape.find('x', begin), shape.size());
    const std::optional<int64_t> size = number<int64_t>(shape.substr(begin, end - begin));
    if (!size || *size < 1 || *size > (int64_t{1} << 40) || bytes > (uint64_t{1} << 40))
      return false;
    array.shape.push_back(*size);
    bytes *= static_cast<uint64_t>(*size);
    begin = end + 1;
  }
  if (bytes > uint64_t{1} << 40)
    return false;
  array.data.resize(bytes);
  argument.array = std::move(array);
  return true;
}

Argument parse(const std::string &text, size_t index, Diagnostics &diagnostics) {
  Argument argument;
  argument.text = text;
  const std::string where = fmt::format("argument {} '{}'", index, text);
  if (text.starts_with('@')) {
    argument.path = text.substr(1);
    auto arrays = readArrays(argument.path, diagnostics);
    if (arrays && arrays->size() != 1)
      diagnostics.error(where, "the file must hold one array", fmt::format("it holds {}", arrays->size()),
                        "give a .npy file for each");
    else if (arrays)
      argument.array = std::move(arrays->front().array);
    argument.written = true;
    return argument;
  }
  const size_t colon = text.rfind(':');
  bool good = false;
  if (text.starts_with("hex:"))
    good = hex(argument, std::string_view(text).substr(4));
  else if (text.find('[') != std::string::npos)
    good = fresh(argument, text);
  else if (colon != std::string::npos)
    if (auto type = elementTypeFromName(text.substr(colon + 1));
        type && *type != ElementType::Bool && bitWidth(*type) >= 8 && *type != ElementType::F8E4M3 &&
        *type != ElementType::F8E5M2)
      good = scalar(argument, std::string_view(text).substr(0, colon), *type);
  if (!good)
    diagnostics.error(where, "the argument is malformed or out of its type's range", "", argumentForms);
  return argument;
}

/// Whether what is given is what the parameter takes.
void check(const Argument &argument, const ptx::Parameter &parameter, size_t index,
           Diagnostics &diagnostics) {
  const std::string where = fmt::format("argument {} '{}'", index, argument.text);
  const bool aggregate = parameter.type == ptx::Type::B8 && parameter.bytes != 1;
  const std::string wants = aggregate ? fmt::format("'{}' takes {} bytes", parameter.name, parameter.bytes)
                                      : fmt::format("'{}' is .{}", parameter.name, ptx::name(parameter.type));
  if (argument.array) {
    if (parameter.bytes != 8 || isFloat(parameter.type))
      diagnostics.error(where, "an array is given where the kernel takes none", wants);
    return;
  }
  if (argument.bytes.empty()) // Malformed, which is told.
    return;
  if (argument.bytes.size() != parameter.bytes)
    diagnostics.error(where, "the argument's size is wrong",
                      fmt::format("it has {} bytes, {}", argument.bytes.size(), wants));
  else if (argument.type && ptx::isFloat(parameter.type) != npuc::isFloat(*argument.type) &&
           !ptx::name(parameter.type).starts_with('b'))
    diagnostics.error(where, "the argument's type is wrong",
                      fmt::format("it is {}, {}", npuc::name(*argument.type), wants));
}

/// The files to be written, one for each array: named as what it was read from, or as its parameter.
std::vector<std::string> outputPaths(const Options &options, const std::vector<Argument> &arguments,
                                     const ptx::Kernel &kernel, Diagnostics &diagnostics) {
  std::vector<std::string> paths(arguments.size());
  if (options.outputs.empty())
    return paths;
  if (!std::filesystem::is_directory(options.outputs)) {
    diagnostics.error("--outputs " + options.outputs, "is no folder", "", "make it first");
    return paths;
  }
  std::vector<NamedFile> written, read{{"FILE", options.file}};
  for (size_t k = 0; k < arguments.size(); ++k) {
    if (!arguments[k].array)
      continue;
    const std::string stem = arguments[k].path.empty()
                                 ? kernel.parameters[k].name
                                 : std::filesystem::path(arguments[k].path).stem().string();
    paths[k] = (std::filesystem::path(options.outputs) / (stem + ".npy")).string();
    written.push_back({fmt::format("argument {}", k), paths[k]});
    if (!arguments[k].path.empty())
      read.push_back({fmt::format("--arg @{}", arguments[k].path), arguments[k].path});
  }
  checkFiles(written, read, diagnostics);
  return paths;
}

void throwIfFailed(Failure &failure) {
  if (failure.diagnostics.hasErrors())
    throw failure;
}

const ptx::Kernel &chooseKernel(const ptx::Program &program, const std::string &name,
                                Diagnostics &diagnostics) {
  std::vector<std::string> names;
  for (const ptx::Kernel &k : program.kernels)
    names.push_back(k.name);
  if (name.empty() && names.size() == 1)
    return program.kernels[0];
  if (const ptx::Kernel *kernel = program.find(name))
    return *kernel;
  const std::string near = nearest(name, names);
  diagnostics.error(program.file,
                    name.empty() ? "the kernel must be named" : fmt::format("there is no kernel '{}'", name),
                    fmt::format("there {} {}", names.size() == 1 ? "is" : "are", fmt::join(names, ", ")),
                    near.empty() ? "give --kernel=NAME" : fmt::format("did you mean '{}'?", near));
  return program.kernels[0];
}

std::string readText(const std::string &path, Diagnostics &diagnostics) {
  const std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  return file ? std::string(reinterpret_cast<const char *>(file->bytes().data()), file->size()) : "";
}

/// Whether the checks found nothing.
bool run(const Options &options) {
  Failure failure;
  Diagnostics &diagnostics = failure.diagnostics;
  std::string text = readText(options.file, diagnostics);
  throwIfFailed(failure);
  const auto program = ptx::Program::load(std::move(text), options.file, diagnostics);
  throwIfFailed(failure);
  const ptx::Kernel &kernel = chooseKernel(*program, options.kernel, diagnostics);
  const std::optional<ptx::Dim3> grid = dimensions(options.grid, "--grid", diagnostics),
                                 block = dimensions(options.block, "--block", diagnostics);
  std::vector<Argument> arguments;
  for (size_t k = 0; k < options.arguments.size(); ++k)
    arguments.push_back(parse(options.arguments[k], k, diagnostics));
  if (program->find(options.kernel) || options.kernel.empty()) {
    if (arguments.size() != kernel.parameters.size())
      diagnostics.error(fmt::format("kernel '{}'", kernel.name),
                        fmt::format("takes {} argument{}", kernel.parameters.size(),
                                    kernel.parameters.size() == 1 ? "" : "s"),
                        fmt::format("{} are given", arguments.size()),
                        "give --arg for each parameter in order");
    for (size_t k = 0; k < std::min(arguments.size(), kernel.parameters.size()); ++k)
      check(arguments[k], kernel.parameters[k], k, diagnostics);
  }
  throwIfFailed(failure);
  const std::vector<std::string> paths = outputPaths(options, arguments, kernel, diagnostics);

  ptx::Memory memory(*program);
  ptx::Launch launch{kernel.name,
                     *grid,
                     *block,
                     options.shared,
                     std::vector<std::byte>(kernel.parameterBytes),
                     options.threads,
                     options.mostInstructions};
  for (size_t k = 0; k < arguments.size(); ++k) {
    Argument &a = arguments[k];
    std::vector<std::byte> bytes = a.bytes;
    if (a.array) {
      a.address = memory.allocate(fmt::format("argument {} '{}'", k, a.text), a.array->data.size());
      std::ranges::copy(a.array->data, memory.bytes(a.address).begin());
      memory.setWritten(a.address, a.written);
      bytes = bytesOf(&a.address, 8);
    }
    std::ranges::copy(bytes, launch.parameters.begin() + kernel.parameters[k].offset);
  }
  const std::optional<ptx::Report> report = ptx::run(*program, memory, launch, diagnostics);
  throwIfFailed(failure);

  for (size_t k = 0; k < arguments.size(); ++k)
    if (!paths[k].empty()) {
      Array &array = *arguments[k].array;
      std::ranges::copy(memory.bytes(arguments[k].address), array.data.begin());
      // Types that NumPy lacks as integers of the same width.
      if (array.type == ElementType::BF16)
        array.type = ElementType::U16;
      if (array.type == ElementType::F8E4M3 || array.type == ElementType::F8E5M2)
        array.type = ElementType::U8;
      writeNpy(paths[k], array, diagnostics);
    }
  throwIfFailed(failure);
  fmt::print("{}", options.json ? report->json(kernel) : report->text(kernel, options.file));
  return report->findings.empty();
}

} // namespace

int runPtx(int argc, char **argv) {
  Options options;
  CLI::App app{"Runs a kernel of a PTX file on this machine, without a GPU: what it computes, what it does "
               "on the way, and what is wrong "
               "with it. The exit code is 1 if the checks found something.",
               "npurun ptx"};
  app.add_option("FILE", options.file, "a PTX module (.ptx)")->required();
  app.add_option("--kernel", options.kernel, "which kernel of the module, if it has several");
  app.add_option("--grid", options.grid, "blocks: X[,Y[,Z]]")->capture_default_str();
  app.add_option("--block", options.block, "threads of a block: X[,Y[,Z]]")->capture_default_str();
  app.add_option("--shared", options.shared, "bytes of dynamic shared memory");
  app.add_option("--arg", options.arguments, std::string("for each parameter in order: ") + argumentForms)
      ->allow_extra_args(false);
  app.add_option(
      "--outputs", options.outputs,
      "a folder to write the arrays to as they are afterwards, each as the .npy file that it came from");
  app.add_option("--max-instructions", options.mostInstructions,
                 "of a warp, beyond which it counts as endless; 0: no limit");
  app.add_option("--threads", options.threads, "of this machine; 0: one for each processor")
      ->check(CLI::Range(0u, mostThreads));
  app.add_flag_callback(
      "--instructions",
      [] {
        fmt::print("{}", ptx::listInstructions());
        throw CLI::Success();
      },
      "list the instructions that are known: of [.a|.b] one may be there, of (.a|.b) one must");
  app.add_flag("--json", options.json, "the report as JSON");
  app.add_option("--diagnostics", options.diagnosticsForm, "form of errors: text or json")
      ->check(CLI::IsMember({"text", "json"}));
  if (std::optional<int> code = parse(app, argc, argv))
    return *code;
  bool clean = true;
  const int code = reportFailures("npurun", options.diagnosticsForm == "json", [&] { clean = run(options); });
  return code == Done && !clean ? UsersMistake : code;
}

} // namespace npuc::tool
