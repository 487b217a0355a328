#include "backends/npu/target/Builtin.h"
#include "backends/npu/target/Checks.h"
#include "backends/npu/target/Fields.h"
#include "backends/npu/target/Reader.h"
#include "backends/npu/target/Target.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <sstream>

namespace npuc::target {
namespace {

constexpr uintmax_t greatestFileBytes = 1 << 20;

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit byteUnits[] = {{"KiB", 1ull << 10},
                              {"MiB", 1ull << 20},
                              {"GiB", 1ull << 30},
                              {"TiB", 1ull << 40},
                              {"KB", 1000},
                              {"MB", 1'000'000},
                              {"GB", 1'000'000'000},
                              {"TB", 1'000'000'000'000},
                              {"B", 1}};

// "4MiB" as "4194304" where the field counts bytes, "1.2GHz" as "1.2" where it counts GHz; other text as it
// is.
std::string withoutUnit(const std::string &value, const FieldDescriptor &field) {
  const std::string &unit = constraintOf(field).unit();
  if (!isNumber(field) || unit.empty())
    return value;
  if (value.ends_with(unit))
    return value.substr(0, value.size() - unit.size());
  if (unit != "bytes")
    return value;
  for (const Unit &u : byteUnits) {
    if (!value.ends_with(u.name))
      continue;
    std::istringstream number(value.substr(0, value.size() - u.name.size()));
    number.imbue(std::locale::classic());
    double count = 0;
    if (number >> count && number.eof())
      return formatNumber(count * static_cast<double>(u.factor));
    return value;
  }
  return value;
}

// An overridden figure rests on whoever set it, not on the source of what it replaces.
void moveProvenance(TargetDescription &description, const std::string &path) {
  auto &entries = *description.mutable_provenance();
  for (int i = entries.size() - 1; i >= 0; --i) {
    auto &paths = *entries[i].mutable_paths();
    auto old = std::find(paths.begin(), paths.end(), path);
    if (old == paths.end())
      continue;
    paths.erase(old);
    if (paths.empty())
      entries.erase(entries.begin() + i);
  }
  Provenance &entry = *entries.Add();
  entry.add_paths(path);
  entry.set_grade(Provenance::ASSUMED);
  entry.set_reason("set by an override");
}

void applyOverride(TargetDescription &description, const std::string &text, Report &report) {
  std::string place = fmt::format("override '{}'", text);
  auto fail = [&](std::string what, std::string why, std::string hint) {
    report.setPlace(place, place);
    report.error(place, std::move(what), std::move(why), std::move(hint));
  };
  size_t equals = text.find('=');
  if (equals == std::string::npos)
    return fail("an override is PATH=VALUE", "", "write it as in scratchpad.bytes=4MiB");
  std::string path = text.substr(0, equals), value = text.substr(equals + 1);
  PathError error;
  Place target = resolve(description, path, error);
  if (!target.message)
    return fail(error.what, "", error.hint);
  const FieldDescriptor &field = *target.field;
  bool isGroup = isList(field) || field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (isGroup)
    return fail(fmt::format("{} is no single figure", path), "", "name one of its fields");
  if (path == "schema_version" || field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
      constraintOf(field).key())
    return fail(fmt::format("{} cannot be overridden", path), "overrides set figures, not names",
                "write a description file of your own");
  report.setPlace(path, place);
  if (std::string expected = setScalar(*target.message, field, withoutUnit(value, field)); !expected.empty())
    return report.badField(path, fmt::format("{} cannot be \"{}\"", path, value), "it must be " + expected);
  moveProvenance(description, path);
}

std::optional<std::string> readFile(const std::string &path, Diagnostics &diagnostics) {
  std::error_code status;
  uintmax_t size = std::filesystem::file_size(path, status);
  if (status) {
    diagnostics.error(path, "cannot read the target description", status.message());
    return std::nullopt;
  }
  if (size > greatestFileBytes) {
    diagnostics.error(
        path, "this is no target description",
        fmt::format("it has {} bytes; the largest that is read has {}", size, greatestFileBytes));
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    diagnostics.error(path, "cannot read the target description", std::strerror(errno));
    return std::nullopt;
  }
  return text;
}

} // namespace

std::vector<std::string> builtinNames() {
  std::vector<std::string> names;
  for (const Builtin &builtin : builtins())
    names.emplace_back(builtin.name);
  return names;
}

std::optional<TargetDescription> load(const std::string &nameOrPath, std::span<const std::string> overrides,
                                      Diagnostics &diagnostics) {
  if (nameOrPath.find('/') != std::string::npos || nameOrPath.ends_with(".json")) {
    std::optional<std::string> text = readFile(nameOrPath, diagnostics);
    return text ? parse(*text, nameOrPath, overrides, diagnostics) : std::nullopt;
  }
  for (const Builtin &builtin : builtins())
    if (builtin.name == nameOrPath)
      return parse(builtin.json, nameOrPath + ".json", overrides, diagnostics);
  std::vector<std::string> names = builtinNames();
  std::string near = nearest(nameOrPath, names);
  diagnostics.error("", fmt::format("unknown target '{}'", nameOrPath),
                    fmt::format("built in are {}", fmt::join(names, ", ")),
                    near.empty() ? "a description file of your own is named by its path, as in ./mychip.json"
                                 : fmt::format("did you mean '{}'?", near));
  return std::nullopt;
}

std::optional<TargetDescription> parse(std::string_view json, const std::string &origin,
                                       std::span<const std::string> overrides, Diagnostics &diagnostics) {
  Report report(origin, diagnostics);
  TargetDescription description;
  if (!readJson(json, origin, description, report))
    return std::nullopt;
  checkProvenance(description, report);
  for (const std::string &text : overrides)
    applyOverride(description, text, report);
  checkRelations(description, report);
  if (report.hasErrors())
    return std::nullopt;
  return description;
}

bool verify(const TargetDescription &description, const std::string &origin, Diagnostics &diagnostics) {
  Report report(origin, diagnostics);
  checkFields(description, report);
  if (report
          .hasErrors()) // relations of a hostile message's fields are not worth the time that they might take
    return false;
  checkProvenance(description, report);
  checkRelations(description, report);
  return !report.hasErrors();
}

} // namespace npuc::target
