#include "compiler/import/ModelFile.h"

#include "compiler/import/Strip.h"
#include "dialects/nn/IR/NN.h"

#include <charconv>
#include <filesystem>
#include <fmt/format.h>

namespace npuc::importer {
namespace {

namespace fs = std::filesystem;

std::string_view view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

std::optional<uint64_t> parseNumber(const std::string &text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::string where(const onnx::TensorProto &tensor) {
  return tensor.name().empty() ? "constant" : fmt::format("initializer '{}'", tensor.name());
}

/// Why a location is not one inside of the model's folder; nothing if it is.
std::optional<std::string> leavesFolder(const fs::path &folder, const std::string &location) {
  fs::path path(location);
  if (path.is_absolute())
    return "it is an absolute path";
  for (const fs::path &part : path)
    if (part == "..")
      return "it has a '..'";
  std::error_code error;
  fs::path root = fs::canonical(folder, error), target = fs::canonical(folder / path, error);
  if (error) // Missing: opening it will say so.
    return std::nullopt;
  auto [end, unused] = std::mismatch(root.begin(), root.end(), target.begin(), target.end());
  if (end != root.end())
    return fmt::format("it links to '{}'", target.string());
  return std::nullopt;
}

} // namespace

std::optional<ModelFile> ModelFile::open(const std::string &path, Diagnostics &diagnostics) {
  std::optional<MappedFile> mapped = MappedFile::open(path, diagnostics);
  if (!mapped)
    return std::nullopt;
  ModelFile file;
  file.path_ = path;
  std::optional<std::string> stripped =
      stripLargeTensors(view(mapped->bytes()), nn::NNDialect::handleBytes, ownFile);
  // Text may happen to be a sequence of fields: no model lacks a graph, an IR version and an operator set.
  if (!stripped || !file.model_.ParseFromString(*stripped) || !file.model_.has_graph() ||
      file.model_.ir_version() <= 0 || file.model_.opset_import().empty()) {
    diagnostics.error(path, "not an ONNX model, or a truncated one",
                      fmt::format("its {} bytes are not a complete ONNX ModelProto", mapped->size()),
                      "export the model again, or copy the file again");
    return std::nullopt;
  }
  file.files_.emplace(ownFile, std::move(*mapped));
  return file;
}

std::optional<MappedFile> ModelFile::openDataFile(const std::string &path, const std::string &location,
                                                  Diagnostics &diagnostics) const {
  Diagnostics reason;
  std::optional<MappedFile> file = MappedFile::open(path, reason);
  if (!file)
    diagnostics.error(path_, fmt::format("external data '{}' cannot be read", location),
                      fmt::format("{}: {}", path, reason.all().front().why),
                      "put the data file beside the model");
  return file;
}

const MappedFile *ModelFile::dataFile(const std::string &location, Diagnostics &diagnostics) {
  auto [entry, isNew] = files_.try_emplace(location);
  if (isNew) {
    fs::path folder = fs::path(path_).parent_path();
    if (auto reason = leavesFolder(folder.empty() ? fs::path(".") : folder, location))
      diagnostics.error(path_, fmt::format("external data '{}' lies outside of the model's folder", location),
                        *reason, "put the data file beside the model and state its name alone");
    else
      entry->second = openDataFile(folder / location, location, diagnostics);
  }
  return entry->second ? &*entry->second : nullptr;
}

std::optional<DataRange> ModelFile::external(const onnx::TensorProto &tensor, uint64_t bytes,
                                             Diagnostics &diagnostics) {
  DataRange range{"", 0, bytes};
  std::string location;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    if (entry.key() != "offset" && entry.key() != "length")
      continue;
    std::optional<uint64_t> value = parseNumber(entry.value());
    if (!value || (entry.key() == "length" && *value != bytes)) {
      diagnostics.error(where(tensor),
                        fmt::format("its external data has {} '{}'", entry.key(), entry.value()),
                        fmt::format("its type and shape need {} bytes", bytes), "export the model again");
      return std::nullopt;
    }
    (entry.key() == "offset" ? range.offset : range.length) = *value;
  }
  if (location.empty()) {
    diagnostics.error(where(tensor), "its external data has no location", "", "export the model again");
    return std::nullopt;
  }
  const MappedFile *file = dataFile(location, diagnostics);
  if (!file)
    return std::nullopt;
  if (range.offset > file->size() || range.length > file->size() - range.offset) {
    diagnostics.error(
        where(tensor), fmt::format("'{}' is too short for its data", file->path()),
        fmt::format("it needs {} bytes at {}, the file has {}", range.length, range.offset, file->size()),
        "copy or download the data file again");
    return std::nullopt;
  }
  range.path = file->path();
  return range;
}

std::string_view ModelFile::bytes(const DataRange &range) const {
  for (const auto &[location, file] : files_)
    if (file && file->path() == range.path)
      return view(file->bytes()).substr(range.offset, range.length);
  return {};
}

} // namespace npuc::importer
