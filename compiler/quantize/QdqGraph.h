// An ONNX graph into which quantization is put: see Export.h.
#pragma once

#include "compiler/quantize/Export.h"

#include <onnx/onnx_pb.h>

#include <functional>
#include <map>
#include <set>
#include <string_view>

namespace npuc::quantize {

class QdqGraph {
public:
  /// Takes the bytes of a new initializer, into the tensor or elsewhere; false, with errors, if it cannot.
  using Store = std::function<bool(onnx::TensorProto &, std::string_view)>;

  QdqGraph(onnx::ModelProto &model, interpret::ConstantReader &constants, Store store,
           Diagnostics &diagnostics);

  /// Why the node cannot be quantized; empty if it was. Errors where a constant cannot be read or stored.
  std::string apply(const ExportedNode &how);

  /// Puts the new nodes in order and takes out what nothing uses any more.
  void finish();

private:
  /// New nodes at a node: before it, right after it (to make its result anew), and after that.
  struct Around {
    std::vector<onnx::NodeProto> before, remade, after;
  };
  using Nodes = std::vector<onnx::NodeProto>;

  int multiplication(const ExportedNode &how, std::string &why) const;
  int producerOf(const std::string &tensor) const;
  std::string unique(std::string name);
  onnx::NodeProto &add(Nodes &nodes, const char *operation, std::vector<std::string> inputs,
                       const std::string &output);
  std::string make(Nodes &nodes, const char *operation, std::vector<std::string> inputs,
                   const std::string &output);
  std::string initializer(const std::string &name, ElementType type, std::vector<int64_t> shape,
                          std::string_view bytes);
  std::string reals(const std::string &name, std::vector<int64_t> shape, const std::vector<float> &values);
  std::string integers(const std::string &name, const std::vector<int64_t> &values);
  std::string numbers(const std::string &name, const Grid &grid, const std::vector<double> &values);
  Nodes &placeAfter(const std::string &tensor);

  std::string converted(Nodes &nodes, const std::string &tensor, ElementType type);
  std::string around(Nodes &nodes, const std::string &tensor, const Grid &grid, ElementType floats);
  std::string aroundRows(Nodes &nodes, const std::string &tensor, int64_t row, ElementType floats);
  std::string reduced(Nodes &nodes, const char *operation, const std::string &tensor, int64_t axesAreInput,
                      const std::string &output);
  std::string quantized(const std::string &tensor, const ExportedNode::Input &input, ElementType floats);
  std::string weights(int node, const ExportedNode &how);
  bool roundPowers(int node, const ExportedNode::Input &input, ElementType floats);

  onnx::GraphProto &graph_;
  interpret::ConstantReader &constants_;
  Store store_;
  Diagnostics &diagnostics_;
  int64_t opset_ = 0;
  std::map<std::string, int> producers_;
  std::map<std::string, std::vector<int>> named_;
  std::set<std::string> names_;
  std::vector<Around> around_;
  Nodes first_;
  std::set<int> done_;
  /// What was quantized before, by tensor and way.
  std::map<std::string, std::string> known_;
};

} // namespace npuc::quantize
