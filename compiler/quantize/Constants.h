// Constants that quantization reads and makes.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"

#include <optional>
#include <vector>

namespace npuc::quantize {

/// Makes and reads constants of nn at a builder's insertion point.
class Constants {
public:
  Constants(mlir::OpBuilder &builder, mlir::Location location, interpret::ConstantReader &reader)
      : b(builder), loc(location), reader(reader) {}

  /// Scales: of rank 0 if there is one, else of rank 1.
  mlir::Value scale(float value);
  mlir::Value scale(const std::vector<float> &values);
  /// One integer of `type`, of rank 0; null for 0, which needs none.
  mlir::Value zeroPoint(int64_t value, mlir::Type type);
  mlir::Value integers(const std::vector<int32_t> &values);

  /// Elements that stand in no file: dense below the size of handles, else behind the handle of a resource of
  /// the context (`dense_resource`), which frees them.
  mlir::Value inMemory(const interpret::HostTensor &elements);

  /// `value` as a constant: the handle that it is, or its elements where its source is in memory.
  mlir::Value materialize(mlir::TypedAttr value);

  /// The elements of a constant, as f32 or as i32. No tensor, and an error, if they cannot be read.
  interpret::HostTensor floats(mlir::TypedAttr value);
  interpret::HostTensor ints(mlir::TypedAttr value);

private:
  interpret::HostTensor read(mlir::TypedAttr value, ElementType type);

  mlir::OpBuilder &b;
  mlir::Location loc;
  interpret::ConstantReader &reader;
};

/// The value of a constant; null if `value` is none.
mlir::TypedAttr constantOf(mlir::Value value);
/// The elements of a small constant, or what one number stands for; nothing if `value` is neither. As double,
/// exactly.
std::optional<std::vector<double>> numbersOf(mlir::Value value);

} // namespace npuc::quantize
