#include "compiler/quantize/Precision.h"

#include "compiler/interpret/Evaluate.h"
#include "compiler/quantize/Calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iomanip>
#include <map>
#include <sstream>
#include <utility>

namespace npuc::quantize {
namespace {

using Named = std::pair<std::string, OperatorFormat>;

std::vector<Named> makeFormats() {
  std::vector<Named> formats = {{"float", {Activations::Float, 0}},
                                {"fp8", {Activations::Fp8, 0}},
                                {"int8", {Activations::Int8, 8}},
                                {"int8-token", {Activations::Int8Token, 8}}};
  constexpr std::array<std::pair<const char *, Activations>, 3> behind = {
      {{"", Activations::Int8}, {"-token", Activations::Int8Token}, {"-float", Activations::Float}}};
  for (int64_t group : {32, 64, 128})
    for (bool asymmetric : {false, true})
      for (auto [suffix, activations] : behind)
        formats.emplace_back(fmt::format("int4-{}{}{}", group, asymmetric ? "a" : "", suffix),
                             OperatorFormat{activations, 4, group, asymmetric});
  return formats;
}

const std::vector<Named> &formats() {
  static const std::vector<Named> all = makeFormats();
  return all;
}

constexpr const char *header = "npuc-precision 1";

/// Nothing if `line` is not: "operator" format, and possibly # reason.
std::optional<PrecisionRow> parseRow(const std::string &line) {
  PrecisionRow row;
  std::istringstream input(line);
  std::string rest;
  if ((input >> std::ws).peek() != '"' || !(input >> std::quoted(row.operation) >> row.format))
    return std::nullopt;
  std::getline(input >> std::ws, rest);
  if (!rest.empty() && rest[0] != '#')
    return std::nullopt;
  if (size_t start = rest.find_first_not_of("# \t"); start != std::string::npos)
    row.reason = rest.substr(start);
  return row;
}

std::string hintOf(const std::string &given, const std::vector<std::string> &names) {
  std::string near = nearest(given, names);
  return near.empty() ? "" : "did you mean '" + near + "'?";
}

} // namespace

std::string text(const OperatorFormat &format) {
  return std::ranges::find(formats(), format, &Named::second)->first;
}

std::optional<OperatorFormat> formatFromText(std::string_view text) {
  auto found = std::ranges::find(formats(), text, &Named::first);
  return found == formats().end() ? std::nullopt : std::optional(found->second);
}

OperatorFormat formatOf(mlir::Operation *op) {
  auto name = op->getAttrOfType<mlir::StringAttr>(formatAttr);
  return name ? *formatFromText(name.getValue()) : OperatorFormat();
}

std::vector<std::string> formatNames() {
  std::vector<std::string> names;
  for (const Named &format : formats())
    names.push_back(format.first);
  return names;
}

std::vector<std::pair<mlir::Operation *, std::string>> multiplications(mlir::func::FuncOp function) {
  std::vector<std::pair<mlir::Operation *, std::string>> found;
  std::map<std::string, unsigned> names;
  for (mlir::Operation &op : function.front()) {
    if (observedOperands(&op) == 0)
      continue;
    std::string name = interpret::nodeName(&op);
    unsigned count = ++names[name];
    found.emplace_back(&op, count > 1 ? fmt::format("{}#{}", name, count) : name);
  }
  return found;
}

std::string printPrecisionTable(const std::vector<PrecisionRow> &rows) {
  std::ostringstream text;
  text << header << "\n# operator  format  # reason\n";
  for (const PrecisionRow &row : rows)
    text << std::quoted(row.operation) << "  " << row.format << "  # " << row.reason << "\n";
  return text.str();
}

std::optional<std::vector<PrecisionRow>> parsePrecisionTable(std::string_view text, const std::string &file,
                                                             Diagnostics &diagnostics) {
  std::vector<PrecisionRow> rows;
  std::map<std::string, int64_t> lines;
  size_t before = diagnostics.errorCount();
  std::istringstream input{std::string(text)};
  std::string content;
  bool hasHeader = false;
  for (int64_t line = 1; std::getline(input, content); ++line) {
    std::string where = fmt::format("{}:{}", file, line);
    if (!content.empty() && content.back() == '\r')
      content.pop_back();
    if (content.find_first_not_of(" \t") == std::string::npos ||
        content[content.find_first_not_of(" \t")] == '#')
      continue;
    if (!std::exchange(hasHeader, true)) {
      if (content == header)
        continue;
      diagnostics.error(where, "is not the first line of a precision table",
                        fmt::format("it is '{}'", content), fmt::format("the first line is '{}'", header));
      return std::nullopt;
    }
    std::optional<PrecisionRow> row = parseRow(content);
    if (!row) {
      diagnostics.error(where, "is no line of a precision table", fmt::format("it is '{}'", content),
                        "a line is an operator in quotes, a format, and after # a reason");
      continue;
    }
    row->line = line;
    if (!formatFromText(row->format)) {
      diagnostics.error(where, "'" + row->format + "' is no format",
                        fmt::format("there are {}", fmt::join(formatNames(), ", ")),
                        hintOf(row->format, formatNames()));
      continue;
    }
    auto [earlier, isNew] = lines.try_emplace(row->operation, line);
    if (!isNew)
      diagnostics.error(where, "operator '" + row->operation + "' stands here for the second time",
                        fmt::format("it has a format in line {}", earlier->second));
    rows.push_back(std::move(*row));
  }
  if (diagnostics.errorCount() != before)
    return std::nullopt;
  return rows;
}

bool applyPrecisionTable(mlir::func::FuncOp function, const std::vector<PrecisionRow> &rows,
                         const std::string &file, const std::vector<std::string> &available,
                         Diagnostics &diagnostics) {
  std::map<std::string, mlir::Operation *> operations;
  std::vector<std::string> names;
  for (auto &[op, name] : multiplications(function)) {
    operations[name] = op;
    names.push_back(name);
  }
  size_t before = diagnostics.errorCount();
  for (const PrecisionRow &row : rows) {
    std::string where = fmt::format("{}:{}", file, row.line);
    auto found = operations.find(row.operation);
    if (found == operations.end())
      diagnostics.error(where, "the model multiplies in no operator '" + row.operation + "'", "",
                        hintOf(row.operation, names));
    if (std::ranges::find(available, row.format) == available.end())
      diagnostics.error(where, "the target has no format '" + row.format + "'",
                        fmt::format("it has {}", fmt::join(available, ", ")));
    else if (found != operations.end())
      found->second->setAttr(formatAttr, mlir::StringAttr::get(function.getContext(), row.format));
  }
  return diagnostics.errorCount() == before;
}

} // namespace npuc::quantize
