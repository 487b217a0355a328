#include "tools/npuc/ModelOptions.h"

#include "compiler/import/Import.h"
#include "compiler/quantize/Precision.h"
#include "compiler/quantize/SampleFiles.h"
#include "support/File.h"
#include "tools/npuc/Command.h"
#include "tools/npuc/Steps.h"

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

std::optional<std::string> contentOf(const std::string &path, Diagnostics &diagnostics) {
  std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  if (!file)
    return std::nullopt;
  return std::string(reinterpret_cast<const char *>(file->bytes().data()), file->bytes().size());
}

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
  addRanges(app);
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
  addSamples(app);
}

void ModelOptions::addCalibration(CLI::App &app) {
  addSamples(app);
  addRanges(app);
}

void ModelOptions::addSamples(CLI::App &app) {
  app.add_option(
         "--calibration", compile.calibration,
         "for integers: an .npz file of typical inputs, arrays with samples along a leading dimension or "
         "NAME[0], NAME[1], … with one each, or a folder of such files; repeatable")
      ->allow_extra_args(false);
}

void ModelOptions::addRanges(CLI::App &app) {
  app.add_option("--max-loss", maxLoss,
                 "share of the outputs that may be lost on the samples, as squared error or divergence of "
                 "logits, before some multiplications get better formats; 0.01, with weights of 4 bits 0.04 "
                 "to 0.08; 1: never")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option(
         "--calibration-method", method,
         "how a tensor's range follows from what was seen: min-max, moving-average, percentile, entropy, "
         "mean-squared-error, or of these what changes outputs least, output-error")
      ->check(CLI::IsMember(quantize::rangeMethodNames()))
      ->capture_default_str();
  app.add_option("--percentile", compile.ranges.percentile,
                 "how much of all values the range by percentile holds, half of the others on each side")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str();
  app.add_option("--calibration-table", calibrationTable,
                 "a file with ranges of tensors, as --write-calibration-table writes it; with all of them "
                 "--calibration is not needed");
  app.add_option("--write-calibration-table", writtenTable, "a file to write the range of each tensor to");
}

/// Reads --precision-table and --calibration-table.
bool ModelOptions::readTables(Diagnostics &diagnostics) {
  struct Table {
    const char *option;
    const std::string &path;
    std::string &text, &file;
  };
  bool good = true;
  for (const Table &table :
       {Table{"--precision-table", precisionTable, compile.precisionTable, compile.precisionTableFile},
        Table{"--calibration-table", calibrationTable, compile.calibrationTable,
              compile.calibrationTableFile}}) {
    if (table.path.empty())
      continue;
    std::optional<std::string> text = contentOf(table.path, diagnostics);
    if (text && text->empty())
      diagnostics.error(table.path, "the file is empty", fmt::format("{} names it", table.option));
    good &= text && !text->empty();
    table.text = text.value_or("");
    table.file = table.path;
    if (compile.precision != pipeline::Precision::Int8)
      diagnostics.error(table.option, "is about multiplications of integers",
                        "there is no --precision for them", "--precision=int8");
  }
  return good;
}

bool ModelOptions::finish(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics) {
  if (!precision.empty())
    compile.precision = pipeline::precisionFromName(precision);
  if (quantize::formatFromText(precision)) {
    compile.precision = pipeline::Precision::Int8;
    compile.format = precision;
  }
  compile.ranges.method = *quantize::rangeMethodFromName(method);
  compile.progress = [shown = std::make_shared<Progress>()](const std::string &step) { shown->say(step); };
  compile.minCosine = minCosine;
  compile.maxSlowdown = maxSlowdown;
  compile.maxLoss = maxLoss;
  if ((minCosine || maxSlowdown) &&
      (compile.precision != pipeline::Precision::Int8 || compile.target.empty()))
    diagnostics.error(minCosine ? "--min-cosine" : "--max-slowdown",
                      "mixes formats of multiplications of a target", "",
                      "give --target and --precision=int8");
  if (maxLoss && (minCosine || maxSlowdown))
    diagnostics.error("--max-loss", "raises formats, which --min-cosine and --max-slowdown mix otherwise", "",
                      "leave one of both out");
  bool good = readTables(diagnostics);
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
  return good && bindSamples(diagnostics) && !diagnostics.hasErrors();
}

std::vector<NamedFile> ModelOptions::files() const {
  const bool isPath = compile.target.find_first_of("/.") != std::string::npos;
  std::vector<NamedFile> files = {{"MODEL", model},
                                  {"--target", isPath ? compile.target : ""},
                                  {"--precision-table", precisionTable},
                                  {"--calibration-table", calibrationTable}};
  for (const std::string &path : compile.calibration)
    files.push_back({"--calibration", path});
  return files;
}

std::vector<NamedFile> ModelOptions::writtenFiles() const {
  return {{"--write-calibration-table", writtenTable}};
}

bool ModelOptions::write(const pipeline::Compilation &compilation, Diagnostics &diagnostics) const {
  std::string table = writtenTable.empty() ? "" : compilation.calibrationTable();
  if (!writtenTable.empty() && table.empty())
    diagnostics.error("--write-calibration-table", "there are no ranges",
                      "nothing was quantized that was not before", "leave the option out");
  return table.empty() ? writtenTable.empty() : writeText(writtenTable, table, diagnostics);
}

/// Checks that the samples are the model's, and gives inputs that have no shape yet that of the first.
bool ModelOptions::bindSamples(Diagnostics &diagnostics) {
  if (compile.calibration.empty() || model.empty())
    return true;
  std::optional<std::vector<importer::ModelInput>> wanted = importer::modelInputs(model, diagnostics);
  if (!wanted)
    return false;
  std::map<std::string, int64_t> symbols;
  for (const importer::ModelInput &input : *wanted) {
    auto given = compile.shapes.find(input.name);
    for (size_t d = 0; given != compile.shapes.end() && input.shape && d < input.shape->size(); ++d)
      if (given->second.size() == input.shape->size())
        symbols[(*input.shape)[d].symbol] = given->second[d];
  }
  for (const auto &[name, sizes] : compile.shapes)
    if (sizes.size() == 1)
      symbols.try_emplace(name, sizes[0]);
  std::vector<quantize::SampleInput> inputs;
  for (const importer::ModelInput &input : *wanted) {
    quantize::SampleInput &of = inputs.emplace_back(input.name, arrayType(input.type));
    if (auto given = compile.shapes.find(input.name); given != compile.shapes.end())
      of.shape = given->second;
    else if (!input.shape)
      return true; // Only --shape says more; importing asks for it.
    else
      for (const auto &[size, symbol] : *input.shape) {
        auto known = symbol.empty() ? symbols.end() : symbols.find(symbol);
        of.shape.push_back(size < 0 && known != symbols.end() ? known->second : size);
      }
  }
  std::optional<quantize::SampleFiles> samples =
      quantize::SampleFiles::open(inputs, compile.calibration, diagnostics);
  if (!samples)
    return false;
  for (const auto &[name, shape] : samples->shapes())
    compile.shapes.try_emplace(name, shape);
  return true;
}

} // namespace npuc::tool
