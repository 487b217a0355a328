#include "compiler/quantize/Export.h"

#include "compiler/import/ModelFile.h"
#include "compiler/import/Types.h"
#include "compiler/quantize/QdqGraph.h"
#include "dialects/nn/IR/NN.h"
#include "support/File.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

namespace npuc::quantize {
namespace {

namespace fs = std::filesystem;

/// Of a protobuf message.
constexpr uint64_t mostBytes = (uint64_t{1} << 31) - 1;
/// Smaller tensors stay in the model where others lie in a data file.
constexpr size_t leastOutside = 1024;

std::span<const std::byte> view(std::string_view bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

std::string locationOf(const onnx::TensorProto &tensor) {
  for (const onnx::StringStringEntryProto &entry : tensor.external_data())
    if (entry.key() == "location")
      return entry.value();
  return "";
}

bool isOutside(const onnx::TensorProto &tensor) {
  return tensor.data_location() == onnx::TensorProto::EXTERNAL;
}

/// Where the bytes of initializers go: into the model, or into one file beside it.
class Storage {
public:
  Storage(const std::string &dataPath, bool outside, Diagnostics &diagnostics)
      : name_(fs::path(dataPath).filename()), diagnostics_(diagnostics) {
    if (outside)
      file_ = AtomicFile::create(dataPath, diagnostics);
  }

  bool store(onnx::TensorProto &tensor, std::string_view bytes) {
    stored_.insert(tensor.name());
    tensor.clear_external_data();
    if (!file_ || bytes.size() < leastOutside) {
      tensor.clear_data_location();
      inline_ += bytes.size();
      if (inline_ <= mostBytes) // Beyond that, the model cannot be written.
        tensor.set_raw_data(bytes.data(), bytes.size());
      return true;
    }
    // Aligned for who maps the file.
    constexpr uint64_t alignment = 64;
    uint64_t at = (end_ + alignment - 1) / alignment * alignment;
    end_ = at + bytes.size();
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    auto state = [&](const char *key, const std::string &value) {
      onnx::StringStringEntryProto *entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    state("location", name_);
    state("offset", std::to_string(at));
    state("length", std::to_string(bytes.size()));
    return file_->writeAt(at, view(bytes), diagnostics_);
  }

  uint64_t inlineBytes() const { return inline_; }
  /// Whether the tensor's bytes are where they are to be.
  bool has(const onnx::TensorProto &tensor) const { return stored_.count(tensor.name()) != 0; }
  bool commit() { return !file_ || end_ == 0 || file_->commit(diagnostics_); }

private:
  std::string name_;
  Diagnostics &diagnostics_;
  std::optional<AtomicFile> file_;
  std::set<std::string> stored_;
  uint64_t inline_ = 0, end_ = 0;
};

/// Calls `use` with every tensor in the attributes of nodes, subgraphs' and functions' included.
template <typename NodeList>
void forEachAttributeTensor(NodeList &nodes, const std::function<void(onnx::TensorProto &)> &use) {
  auto inGraph = [&](onnx::GraphProto &graph) {
    for (onnx::TensorProto &tensor : *graph.mutable_initializer())
      use(tensor);
    forEachAttributeTensor(*graph.mutable_node(), use);
  };
  for (onnx::NodeProto &node : nodes)
    for (onnx::AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_t())
        use(*attribute.mutable_t());
      for (onnx::TensorProto &tensor : *attribute.mutable_tensors())
        use(tensor);
      if (attribute.has_g())
        inGraph(*attribute.mutable_g());
      for (onnx::GraphProto &graph : *attribute.mutable_graphs())
        inGraph(graph);
    }
}

class Exporter {
public:
  Exporter(importer::ModelFile &file, mlir::MLIRContext &context, Diagnostics &diagnostics)
      : file_(file), context_(context), diagnostics_(diagnostics), model_(file.model()) {}

  std::optional<Exported> run(const std::vector<ExportedNode> &nodes, interpret::ConstantReader &constants,
                              const std::string &source, const std::string &output) {
    std::string data = output + ".data";
    bool outside = false;
    for (const onnx::TensorProto &tensor : model_.graph().initializer())
      outside |= isOutside(tensor) && locationOf(tensor) != importer::ownFile;
    if (!keepsWhatIsRead(source, {output, outside ? data : ""}))
      return std::nullopt;
    Storage storage(data, outside, diagnostics_);
    QdqGraph graph(
        model_, constants,
        [&](onnx::TensorProto &tensor, std::string_view bytes) { return storage.store(tensor, bytes); },
        diagnostics_);
    Exported exported;
    for (const ExportedNode &how : nodes) {
      std::string why = graph.apply(how);
      if (why.empty())
        ++exported.quantized;
      else
        exported.inFloat.push_back({how.node, how.operation, why});
    }
    graph.finish();
    keepTensors(storage);
    if (storage.inlineBytes() > mostBytes || model_.ByteSizeLong() > mostBytes)
      diagnostics_.error(
          output, "would be larger than a protobuf message can be",
          fmt::format("its tensors have {} bytes, of at most {}", storage.inlineBytes(), mostBytes),
          "give the model with its weights as external data");
    std::string text;
    if (diagnostics_.hasErrors() || !model_.SerializeToString(&text) || !storage.commit() ||
        !writeFile(output, view(text), diagnostics_))
      return std::nullopt;
    return exported;
  }

private:
  /// False, with errors, if a file to write is one that the model is read from.
  bool keepsWhatIsRead(const std::string &source, const std::vector<std::string> &written) {
    std::set<fs::path> read = {source};
    for (const onnx::TensorProto &tensor : model_.graph().initializer())
      if (isOutside(tensor) && locationOf(tensor) != importer::ownFile)
        read.insert(fs::path(source).parent_path() / locationOf(tensor));
    bool good = true;
    for (const std::string &path : written)
      for (const fs::path &other : read) {
        std::error_code none;
        if (path.empty() || !fs::equivalent(path, other, none))
          continue;
        diagnostics_.error(path, "would overwrite the model's own file", "", "name another file");
        good = false;
      }
    return good;
  }

  /// The bytes of a tensor that the model's files hold.
  std::string_view bytesOf(const onnx::TensorProto &tensor) {
    mlir::Type element = importer::elementType(tensor.data_type(), &context_);
    if (!element) {
      diagnostics_.error("initializer '" + tensor.name() + "'",
                         "has elements of type " + importer::onnxTypeName(tensor.data_type()));
      return {};
    }
    llvm::SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
    auto bytes = static_cast<uint64_t>(nn::byteSize(mlir::RankedTensorType::get(shape, element)));
    std::optional<importer::DataRange> range = file_.external(tensor, bytes, diagnostics_);
    return range ? file_.bytes(*range) : std::string_view();
  }

  /// What is still read of the model's files goes to the new ones.
  void keepTensors(Storage &storage) {
    auto inModel = [&](onnx::TensorProto &tensor) {
      if (!isOutside(tensor))
        return;
      std::string_view bytes = bytesOf(tensor);
      tensor.clear_external_data();
      tensor.clear_data_location();
      tensor.set_raw_data(bytes.data(), bytes.size());
    };
    for (onnx::TensorProto &tensor : *model_.mutable_graph()->mutable_initializer())
      if (isOutside(tensor) && !storage.has(tensor))
        (void)storage.store(tensor, bytesOf(tensor));
    forEachAttributeTensor(*model_.mutable_graph()->mutable_node(), inModel);
    for (onnx::FunctionProto &function : *model_.mutable_functions())
      forEachAttributeTensor(*function.mutable_node(), inModel);
  }

  importer::ModelFile &file_;
  mlir::MLIRContext &context_;
  Diagnostics &diagnostics_;
  onnx::ModelProto model_;
};

} // namespace

std::optional<Exported> exportModel(const std::string &model, const std::vector<ExportedNode> &nodes,
                                    interpret::ConstantReader &constants, mlir::MLIRContext &context,
                                    const std::string &output, Diagnostics &diagnostics) {
  std::optional<importer::ModelFile> file = importer::ModelFile::open(model, diagnostics);
  if (!file)
    return std::nullopt;
  return Exporter(*file, context, diagnostics).run(nodes, constants, model, output);
}

} // namespace npuc::quantize
