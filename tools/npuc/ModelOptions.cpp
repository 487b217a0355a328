#include "tools/npuc/ModelOptions.h"

#include "compiler/import/Import.h"
#include "compiler/quantize/Precision.h"
#include "support/File.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace npuc::tool {
namespace {

/// "1x128" as sizes; nothing if it is not of that form.
std::optional<std::vector<int64_t>> parseShape(std::string_view text) {
  std::vector<int64_t> sizes;
  while (true) {
    size_t end = std::min(text.find('x'), text.size());
    int64_t size = -1;
    auto [rest, error] = std::from_chars(text.data(), text.data() + end, size);
    if (error != std::errc() || rest != text.data() + end || size < 0)
      return std::nullopt;
    sizes.push_back(size);
    if (end == text.size())
      return sizes;
    text.remove_prefix(end + 1);
  }
}

/// NumPy's type for a type as nn prints it; nothing where arrays of several types are taken.
std::optional<ElementType> arrayType(const std::string &type) {
  static const std::map<std::string, ElementType> types = {
      {"i1", ElementType::Bool},  {"i8", ElementType::I8},    {"ui8", ElementType::U8},
      {"i16", ElementType::I16},  {"ui16", ElementType::U16}, {"i32", ElementType::I32},
      {"ui32", ElementType::U32}, {"i64", ElementType::I64},  {"ui64", ElementType::U64},
      {"f16", ElementType::F16},  {"f32", ElementType::F32},  {"f64", ElementType::F64}};
  auto found = types.find(type);
  return found == types.end() ? std::nullopt : std::optional(found->second);
}

std::string spelled(const importer::ModelInput &input) {
  std::string text = input.type == "i1" ? "bool" : input.type;
  if (!input.shape)
    return text;
  std::vector<std::string> dims;
  for (const auto &dim : *input.shape)
    dims.push_back(dim.size >= 0 ? std::to_string(dim.size) : dim.symbol.empty() ? "?" : dim.symbol);
  return fmt::format("{}[{}]", text, fmt::join(dims, ", "));
}

/// Where a symbol got its size.
struct SymbolSize {
  int64_t size;
  std::string input;
};

bool fits(const importer::ModelInput &input, const Array &array, std::map<std::string, SymbolSize> &symbols,
          Diagnostics &diagnostics) {
  size_t before = diagnostics.errorCount();
  std::string where = fmt::format("input '{}'", input.name);
  std::string given = fmt::format("the file has {}[{}]", name(array.type), fmt::join(array.shape, ", "));
  std::optional<ElementType> type = arrayType(input.type);
  if (type && *type != array.type)
    diagnostics.error(where, "the type is wrong",
                      fmt::format("the model wants {}, {}", spelled(input), given),
                      fmt::format("convert it, in NumPy with .astype(), to {}", name(*type)));
  if (!input.shape)
    return diagnostics.errorCount() == before;
  bool good = input.shape->size() == array.shape.size();
  for (size_t d = 0; good && d < array.shape.size(); ++d)
    good = (*input.shape)[d].size < 0 || (*input.shape)[d].size == array.shape[d];
  if (!good)
    diagnostics.error(where, "the shape is wrong",
                      fmt::format("the model wants {}, {}", spelled(input), given));
  for (size_t d = 0; good && d < array.shape.size(); ++d) {
    const importer::ModelInput::Dim &dim = (*input.shape)[d];
    if (dim.size >= 0 || dim.symbol.empty())
      continue;
    auto [known, isNew] = symbols.try_emplace(dim.symbol, SymbolSize{array.shape[d], input.name});
    if (!isNew && known->second.size != array.shape[d])
      diagnostics.error(where,
                        fmt::format("dimension {} ('{}') has another size than in input '{}'", d, dim.symbol,
                                    known->second.input),
                        fmt::format("{} here, {} there", array.shape[d], known->second.size));
  }
  return diagnostics.errorCount() == before;
}

/// Whether the arrays are the model's inputs: names, types, ranks, sizes.
bool checkInputs(const std::string &model, const std::vector<NamedArray> &arrays, Diagnostics &diagnostics) {
  std::optional<std::vector<importer::ModelInput>> inputs = importer::modelInputs(model, diagnostics);
  if (!inputs)
    return false;
  bool good = true;
  std::vector<std::string> names, wanted;
  std::map<std::string, SymbolSize> symbols;
  for (const importer::ModelInput &input : *inputs) {
    names.push_back(input.name);
    wanted.push_back(fmt::format("'{}' {}", input.name, spelled(input)));
    auto array = std::ranges::find(arrays, input.name, &NamedArray::name);
    if (array != arrays.end()) {
      good &= fits(input, array->array, symbols, diagnostics);
      continue;
    }
    good = false;
    diagnostics.error(fmt::format("input '{}'", input.name), "the inputs lack it",
                      "the model wants " + spelled(input));
  }
  for (const NamedArray &array : arrays) {
    if (std::ranges::find(names, array.name) != names.end())
      continue;
    good = false;
    std::string near = nearest(array.name, names);
    diagnostics.error(fmt::format("input '{}'", array.name), "the model has no input of this name",
                      fmt::format("it wants {}", fmt::join(wanted, ", ")),
                      near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  }
  return good;
}

/// What --precision takes.
std::vector<std::string> precisions() {
  std::vector<std::string> names = pipeline::precisionNames();
  for (const std::string &format : quantize::formatNames())
    if (format != "float" && std::ranges::find(names, format) == names.end())
      names.push_back(format);
  return names;
}

} // namespace

void ModelOptions::add(CLI::App &app) {
  app.add_option("MODEL", model, "the model, an .onnx file")->required();
  app.add_option("--shape", shapes,
                 "sizes of an input, NAME=1x128, or of a symbolic dimension, NAME=128; repeatable")
      ->allow_extra_args(false);
  app.add_option("--threads", compile.threads, "threads to compile and run with; 0: one for each processor")
      ->check(CLI::Range(0u, mostThreads))
      ->capture_default_str();
}

void ModelOptions::addTarget(CLI::App &app) {
  app.add_option("--target", compile.target, "a target's name (see npuc targets) or a description's file");
  addPrecision(app);
  app.add_option("--precision-table", precisionTable,
                 "a file that names the format of single operators, as --write-precision-table writes it");
  CLI::Option *cosine =
      app.add_option(
             "--min-cosine", minCosine,
             "mixes formats: the fastest whose outputs have at least this cosine to floats on the samples")
          ->check(CLI::Range(0.0, 1.0));
  app.add_option("--max-slowdown", maxSlowdown,
                 "mixes formats: the most accurate that take at most this multiple of the fastest ones' time")
      ->check(CLI::Range(1.0, 1e6))
      ->excludes(cosine);
}

void ModelOptions::addPrecision(CLI::App &app) {
  app.add_option("--target-option", compile.targetOptions,
                 "PATH=VALUE: another value of a field of the description; repeatable")
      ->allow_extra_args(false);
  app.add_option(
         "--precision", precision,
         "type of the model's floats, fp16 or bf16; or the format of multiplications, "
         "from the values of --calibration: int8; int8-token, a scale for each row, found at run time; "
         "int4-32, -64 or -128, weights of 4 bits in groups, with a behind for asymmetric ones, then "
         "-token or -float for other activations; fp8")
      ->check(CLI::IsMember(precisions()));
  addCalibration(app);
}

void ModelOptions::addCalibration(CLI::App &app) {
  app.add_option("--calibration", calibration,
                 "for int8: an .npz file of typical inputs, samples along a leading dimension");
}

bool ModelOptions::finish(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics) {
  compile.precision = pipeline::precisionFromName(precision);
  if (quantize::formatFromText(precision)) {
    compile.precision = pipeline::Precision::Int8;
    compile.format = precision;
  }
  compile.minCosine = minCosine;
  compile.maxSlowdown = maxSlowdown;
  if ((minCosine || maxSlowdown) &&
      (compile.precision != pipeline::Precision::Int8 || compile.target.empty()))
    diagnostics.error(minCosine ? "--min-cosine" : "--max-slowdown",
                      "mixes formats of multiplications of a target", "",
                      "give --target and --precision=int8");
  if (!precisionTable.empty()) {
    std::optional<MappedFile> file = MappedFile::open(precisionTable, diagnostics);
    if (!file)
      return false;
    compile.precisionTable.assign(reinterpret_cast<const char *>(file->bytes().data()), file->bytes().size());
    compile.precisionTableFile = precisionTable;
    if (compile.precision != pipeline::Precision::Int8)
      diagnostics.error("--precision-table", "names formats of multiplications",
                        "there is no --precision for the others", "--precision=int8");
  }
  for (const std::string &shape : shapes) {
    size_t equals = shape.find('=');
    std::optional<std::vector<int64_t>> sizes =
        equals == std::string::npos ? std::nullopt : parseShape(std::string_view(shape).substr(equals + 1));
    if (!sizes) {
      diagnostics.error("--shape=" + shape, "is not NAME=SIZES",
                        "sizes are numbers with x between, as in 1x128");
      continue;
    }
    auto [known, isNew] = compile.shapes.try_emplace(shape.substr(0, equals), *sizes);
    if (!isNew && known->second != *sizes)
      diagnostics.error("--shape=" + shape, "'" + known->first + "' has other sizes in an earlier --shape");
  }
  if (!inputs.empty() && !checkInputs(model, inputs, diagnostics))
    return false;
  for (const NamedArray &input : inputs)
    compile.shapes.try_emplace(input.name, input.array.shape);
  return readCalibration(diagnostics) && !diagnostics.hasErrors();
}

std::vector<NamedFile> ModelOptions::files() const {
  const bool isPath = compile.target.find_first_of("/.") != std::string::npos;
  return {{"MODEL", model},
          {"--target", isPath ? compile.target : ""},
          {"--calibration", calibration},
          {"--precision-table", precisionTable}};
}

bool ModelOptions::readCalibration(Diagnostics &diagnostics) {
  if (calibration.empty())
    return true;
  std::optional<std::vector<NamedArray>> arrays = readArrays(calibration, diagnostics);
  if (!arrays)
    return false;
  compile.calibration = std::move(*arrays);
  if (!compile.shapes.empty())
    return true;
  std::optional<std::vector<importer::ModelInput>> wanted = importer::modelInputs(model, diagnostics);
  if (!wanted)
    return false;
  for (const NamedArray &array : compile.calibration)
    for (const importer::ModelInput &input : *wanted) {
      if (input.name != array.name || !input.shape)
        continue;
      size_t rank = input.shape->size(), leading = array.array.shape.size() == rank + 1 ? 1 : 0;
      compile.shapes[input.name].assign(array.array.shape.begin() + static_cast<ptrdiff_t>(leading),
                                        array.array.shape.end());
    }
  return true;
}

} // namespace npuc::tool
