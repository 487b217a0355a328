// Imports models written in ONNX's text form.
#pragma once

#include "compiler/import/Import.h"

#include "mlir/IR/MLIRContext.h"

#include <filesystem>
#include <fstream>
#include <onnx/defs/parser.h>
#include <stdexcept>
#include <string>

namespace npuc::importer {

/// A folder of its own that goes with the object.
class Folder {
public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "npuc-import-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw std::runtime_error("cannot make a folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string file(const std::string &name) const { return (path_ / name).string(); }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return file(name);
  }

private:
  std::filesystem::path path_;
};

inline onnx::ModelProto parseModel(const std::string &text) {
  onnx::ModelProto model;
  auto status = onnx::OnnxParser::Parse(model, text.c_str());
  if (!status.IsOK())
    throw std::runtime_error(status.ErrorMessage());
  return model;
}

/// What importing gave: the function's body, an operation per line, or the diagnostics' text with the
/// folder's name taken out.
struct Imported {
  std::string module, diagnostics;
};

inline Imported importFile(const Folder &folder, const std::string &path, const ImportOptions &options = {}) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  Imported result;
  mlir::OwningOpRef<mlir::ModuleOp> module = importModel(path, options, context, diagnostics);
  if (module)
    llvm::raw_string_ostream(result.module) << *module;
  result.diagnostics = diagnostics.text();
  std::string prefix = folder.file("");
  for (size_t at; (at = result.diagnostics.find(prefix)) != std::string::npos;)
    result.diagnostics.erase(at, prefix.size());
  return result;
}

inline Imported importText(const std::string &text, const ImportOptions &options = {}) {
  Folder folder;
  return importFile(folder, folder.write("model.onnx", parseModel(text).SerializeAsString()), options);
}

/// A model of one graph, in opset `opset`.
inline std::string model(const std::string &graph, int opset = 17) {
  return "<ir_version: 8, opset_import: [\"\" : " + std::to_string(opset) + "]>\n" + graph;
}

} // namespace npuc::importer
