// A quantized function said of the ONNX model that it was imported from: standard QuantizeLinear and
// DequantizeLinear around the operands of its multiplications.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/Quantize.h"
#include "support/Diagnostic.h"
#include "support/ElementType.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>
#include <vector>

namespace npuc::quantize {

/// A number q stands for scale · (q - zero point): one scale, one for each index of `axis`, or one for each
/// block of `blockSize` indices of it. `shape` is that of the scales.
struct Grid {
  ElementType type = ElementType::I8;
  std::vector<float> scales;
  std::vector<double> zeroPoints; ///< One, or as many as scales.
  std::vector<int64_t> shape;
  int64_t axis = 0, blockSize = 0;
};

/// How one multiplication is quantized. Its operands are numbered as those of ONNX's MatMul, Gemm and Conv.
struct ExportedNode {
  struct Input {
    unsigned operand = 0;
    Grid grid;                  ///< One scale; none if it is each row's own.
    std::vector<float> factors; ///< By which each index of the last dimension is divided before; or none.
    int64_t row = 0;            ///< Not 0: each row, of so many elements, has the scale max |x| / 127.
  };

  std::string node;      ///< Of the multiplication or of the addition of its bias, as the importer names it.
  std::string operation; ///< Of nn.
  ElementType floats = ElementType::F32; ///< That the multiplication has in the model.
  std::vector<Input> inputs;
  mlir::TypedAttr weights; ///< Operand 1 on the grid below; or null.
  Grid weightGrid;
  bool transposed = false; ///< The weights are [outputs, inputs] where a MatMul has [inputs, outputs].
};

/// What is quantized of a function between insertQuantization and foldQuantization: each nn.linear,
/// nn.matmul and nn.conv that has quantized operands with scales that are known. Errors, at the operation, if
/// a constant cannot be read.
std::vector<ExportedNode> exportedNodes(mlir::func::FuncOp function, interpret::ConstantReader &constants);

struct Exported {
  size_t quantized = 0;         ///< Multiplications.
  std::vector<InFloat> inFloat; ///< Those that could not be quantized, and why.
};

/// Writes the model in the file `model` to the file `output` with `nodes` quantized, all else as it is,
/// symbolic shapes included. An input of integers has QuantizeLinear and DequantizeLinear before it, after a
/// product with the factors' reciprocals where there are such, or with scales that are computed of each row;
/// weights become initializers of integers with DequantizeLinear. Of a softmax before a product, powers are
/// rounded, not quotients, and divided by their sum after it, which is how the compiled program computes
/// attention. Versions before opset 13, which lack scales for each channel, and before 21, which lack blocks,
/// get the same numbers by products.
///
/// Initializers are inline or in one data file, OUTPUT.data, as they are in `model`. Both files appear whole
/// or not at all. Nothing, and errors, if a file cannot be read or written, would overwrite what is read, or
/// would be larger than the 2 GiB of a protobuf message.
std::optional<Exported> exportModel(const std::string &model, const std::vector<ExportedNode> &nodes,
                                    interpret::ConstantReader &constants, mlir::MLIRContext &context,
                                    const std::string &output, Diagnostics &diagnostics);

} // namespace npuc::quantize
