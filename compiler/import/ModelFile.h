// An ONNX file read without its large tensors, and the files that hold them.
#pragma once

#include "support/Diagnostic.h"
#include "support/File.h"

#include <map>
#include <onnx/onnx_pb.h>
#include <optional>
#include <string>

namespace npuc::importer {

/// Where a tensor's bytes are: `length` bytes from `offset` of the file `path`.
struct DataRange {
  std::string path;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// A model whose tensors of 64 KiB or more are not in memory: where the file holds one inline, the proto says
/// that its data is external, at that place of the model's own file. So files beyond protobuf's 2 GB are read
/// too.
class ModelFile {
public:
  static std::optional<ModelFile> open(const std::string &path, Diagnostics &diagnostics);

  const onnx::ModelProto &model() const { return model_; }

  /// Where the data of `tensor`, of which its type says `bytes`, is. Nothing, with errors, if its external
  /// location is not a regular file inside of the model's folder that has these bytes.
  std::optional<DataRange> external(const onnx::TensorProto &tensor, uint64_t bytes,
                                    Diagnostics &diagnostics);

  /// The bytes of a range that `external` returned.
  std::string_view bytes(const DataRange &range) const;

private:
  ModelFile() = default;
  std::optional<MappedFile> openDataFile(const std::string &path, const std::string &location,
                                         Diagnostics &diagnostics) const;
  const MappedFile *dataFile(const std::string &location, Diagnostics &diagnostics);

  std::string path_;
  onnx::ModelProto model_;
  /// By the location that the model states; nothing where opening it failed and has been reported.
  std::map<std::string, std::optional<MappedFile>> files_;
};

/// The location that stands for the model's own file: no path, so that no model can state it.
inline constexpr char ownFile[] = "\n";

} // namespace npuc::importer
