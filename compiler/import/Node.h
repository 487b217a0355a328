// What a handler sees of the ONNX node that it turns into nn operations.
#pragma once

#include "compiler/import/Import.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"

#include <onnx/onnx_pb.h>

namespace npuc::importer {

using mlir::ArrayRef;
using mlir::RankedTensorType;
using mlir::SmallVector;
using mlir::Type;
using mlir::TypeRange;
using mlir::Value;
using mlir::ValueRange;
using Ints = SmallVector<int64_t>;

/// Thrown by handlers: why this node cannot be imported. Only crosses this library's own frames.
struct NodeFailure {
  std::string reason;
};

/// Thrown by handlers that do not take this variant of an operator, which then expands by its ONNX function
/// body; `reason` is for the case that it has none.
struct NodeDeclined {
  std::string reason;
};

/// Thrown where a part of a node has been reported already: a node of its branch or of its function's body.
struct NodeReported {};

/// The message of an MLIR error that a build step caused, without the operation's name.
std::string takeErrors(std::string &errors);

/// One node with its operands. Building folds: what is constant afterwards is an nn.constant. Every function
/// that says so fails by throwing NodeFailure.
class Node {
public:
  Node(const onnx::NodeProto &proto, int64_t sinceVersion, SmallVector<Value> inputs,
       mlir::OpBuilder &builder, mlir::Location location, const Evaluator &evaluator, std::string &errors)
      : proto_(proto), sinceVersion_(sinceVersion), inputs_(std::move(inputs)), builder_(builder),
        location_(location), evaluator_(evaluator), errors_(errors),
        results_(static_cast<size_t>(proto.output_size())) {}

  /// A part of `outer`, with other operands: for an operator that is another one around some steps.
  Node(const onnx::NodeProto &proto, int64_t sinceVersion, SmallVector<Value> inputs, Node &outer)
      : Node(proto, sinceVersion, std::move(inputs), outer.builder_, outer.location_, outer.evaluator_,
             outer.errors_) {}

  const onnx::NodeProto &proto() const { return proto_; }
  /// The version in which this form of the operator was introduced; 1 in domains without a schema.
  int64_t since() const { return sinceVersion_; }
  mlir::OpBuilder &builder() { return builder_; }
  mlir::MLIRContext *context() { return builder_.getContext(); }

  [[noreturn]] void fail(const mlir::Twine &reason) const { throw NodeFailure{reason.str()}; }
  [[noreturn]] void decline(const mlir::Twine &reason) const { throw NodeDeclined{reason.str()}; }

  // Operands. An absent optional one is null.
  size_t inputCount() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i]; }
  /// Fails if operand i is absent.
  Value input(size_t i) const;
  Value inputOrNull(size_t i) const { return i < inputs_.size() ? inputs_[i] : Value(); }
  ArrayRef<Value> inputs() const { return inputs_; }
  RankedTensorType type(size_t i) const { return typeOf(input(i)); }
  static RankedTensorType typeOf(Value value) { return mlir::cast<RankedTensorType>(value.getType()); }

  // Attributes.
  const onnx::AttributeProto *attribute(mlir::StringRef name) const;
  int64_t integer(mlir::StringRef name, int64_t otherwise) const;
  float real(mlir::StringRef name, float otherwise) const;
  std::string text(mlir::StringRef name, mlir::StringRef otherwise) const;
  Ints integers(mlir::StringRef name, Ints otherwise = {}) const;

  // Constants.
  /// The elements of a constant; null for anything else.
  static mlir::DenseElementsAttr dense(Value value);
  /// The elements of operand i, an integer or bool tensor. Fails if it is not constant, naming the node that
  /// computes it.
  Ints constantIntegers(size_t i) const;
  /// Its only element.
  int64_t constantInteger(size_t i) const;
  /// From the attribute `name`, or operand i of later opsets; nothing if neither is there.
  std::optional<Ints> integersOf(mlir::StringRef name, size_t i) const;
  /// The one value of a constant of floats that has one element or is a splat.
  static std::optional<double> splat(Value value);
  Value constant(mlir::TypedAttr value);
  /// A scalar of `like`'s element type.
  Value scalar(double value, Value like);
  Value integersConstant(ArrayRef<int64_t> values, Ints shape);

  /// `axis` counted from the end if negative. Fails if `rank` dimensions have no such axis.
  int64_t axis(int64_t axis, int64_t rank) const;
  Ints axes(Ints axes, int64_t rank) const;

  // Building. Operand and attribute errors that nn finds fail.
  template <typename OpTy>
  SmallVector<Value> build(ValueRange operands, ArrayRef<mlir::NamedAttribute> attributes = {},
                           TypeRange types = {}) {
    mlir::OperationState state(location_, OpTy::getOperationName());
    state.addOperands(operands);
    mlir::DictionaryAttr dictionary = builder_.getDictionaryAttr(attributes);
    auto report = [&] { return mlir::emitError(location_); };
    using Properties = typename OpTy::Properties;
    if constexpr (!std::is_same_v<Properties, mlir::EmptyProperties>)
      if (failed(OpTy::setPropertiesFromAttr(state.getOrAddProperties<Properties>(), dictionary, report)))
        failBuild();
    SmallVector<Type> inferred(types);
    if constexpr (OpTy::template hasTrait<mlir::InferTypeOpInterface::Trait>())
      if (types.empty() &&
          failed(OpTy::inferReturnTypes(context(), location_, operands, dictionary, state.getRawProperties(),
                                        mlir::RegionRange(), inferred)))
        failBuild();
    state.addTypes(inferred);
    return finish(state);
  }
  template <typename OpTy>
  Value make(ValueRange operands, ArrayRef<mlir::NamedAttribute> attributes = {}, Type type = {}) {
    return build<OpTy>(operands, attributes, type ? TypeRange(type) : TypeRange())[0];
  }

  mlir::NamedAttribute named(mlir::StringRef name, int64_t value) {
    return builder_.getNamedAttr(name, builder_.getI64IntegerAttr(value));
  }
  mlir::NamedAttribute named(mlir::StringRef name, ArrayRef<int64_t> values) {
    return builder_.getNamedAttr(name, builder_.getDenseI64ArrayAttr(values));
  }
  mlir::NamedAttribute named(mlir::StringRef name, float value) {
    return builder_.getNamedAttr(name, builder_.getF32FloatAttr(value));
  }
  mlir::NamedAttribute flag(mlir::StringRef name, bool value) {
    return builder_.getNamedAttr(name, builder_.getBoolAttr(value));
  }
  /// The attributes without those that are null: for unit attributes that may be absent.
  static SmallVector<mlir::NamedAttribute>
  present(ArrayRef<std::pair<mlir::NamedAttribute, bool>> attributes);
  mlir::NamedAttribute unit(mlir::StringRef name) {
    return builder_.getNamedAttr(name, builder_.getUnitAttr());
  }
  mlir::NamedAttribute enumerated(mlir::StringRef name, mlir::Attribute value) {
    return builder_.getNamedAttr(name, value);
  }

  // What many handlers need.
  Value reshape(Value value, ArrayRef<int64_t> shape);
  Value transpose(Value value, ArrayRef<int64_t> permutation);
  Value cast(Value value, Type element);
  Value slice(Value value, ArrayRef<int64_t> starts, ArrayRef<int64_t> sizes);
  /// `size` elements of dimension `axis`, from `start`.
  Value sliceAxis(Value value, int64_t axis, int64_t start, int64_t size);
  Value broadcast(Value value, ArrayRef<int64_t> shape);
  Value reduce(nn::ReduceKind kind, Value value, ArrayRef<int64_t> axes, bool keep);

  void result(size_t i, Value value);
  bool wants(size_t i) const;
  ArrayRef<Value> results() const { return results_; }

private:
  [[noreturn]] void failBuild();
  void checkSizes(TypeRange types) const;
  SmallVector<Value> finish(mlir::OperationState &state);
  bool evaluate(mlir::Operation *operation, SmallVector<Value> &results);

  const onnx::NodeProto &proto_;
  int64_t sinceVersion_;
  SmallVector<Value> inputs_;
  mlir::OpBuilder &builder_;
  mlir::Location location_;
  const Evaluator &evaluator_;
  std::string &errors_;
  SmallVector<Value> results_;
};

/// How a node is said in messages: its name, or the first thing that it computes.
std::string displayName(const onnx::NodeProto &node);

} // namespace npuc::importer
