//===- NNBase.td - the nn dialect, its types, enums, attributes and op classes ===//
#ifndef NPUC_DIALECTS_NN_IR_NNBASE_TD
#define NPUC_DIALECTS_NN_IR_NNBASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::npuc::nn";
  let summary = "A neural network as its meaning: one typed operation per meaning, every shape static";
  let description = [{
    What an imported model becomes, and what the model-level steps (recovering meaning, quantizing, checking against a
    target) work on. Two rules make everything below it simple:

    * **Every tensor is ranked and statically shaped.** Dimensions are bound while a model is imported, and the arithmetic
      by which exporters compute shapes is evaluated there, so that no operation takes a shape as an operand: a reshape's
      shape is its result type. A dimension of size 0 is allowed (the past of a first decoding step).
    * **A constant of 64 KiB or more is a handle**, never bytes: `#nn.external` names a range of a file, and
      `#nn.transposed`, `#nn.reshaped`, `#nn.sliced`, `#nn.converted`, `#nn.concatenated`, `#nn.scaled`, `#nn.quantized` say what is to be done to it.
      Smaller constants are `dense`. See `nn.constant`.

    Tensors are row-major. Signed integers are signless types (`i8`, `i32`), unsigned ones `ui8`, …; `i1` is bool. Floating
    point operations compute as if in at least fp32 and round the result to its type; targets state their own precision.
    *Broadcasting* is NumPy's: shapes align at the right, a dimension of 1 repeats. It is part of every pointwise
    operation's meaning, so no explicit `nn.broadcast` is needed before one. Negative axes do not occur: importers
    normalize them.

    Each operation carries the name of the ONNX node it came from as its location (`NameLoc`).
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let extraClassDeclaration = [{
    /// Names, of type StringAttr, of a `func.func`'s argument or result: the ONNX input's or output's name.
    static constexpr llvm::StringLiteral nameAttr = "nn.name";
    /// Constants with at least this many bytes are handles.
    static constexpr int64_t handleBytes = 64 * 1024;
  }];
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

def NN_FloatType : AnyTypeOf<[F16, BF16, F32, F64, F8E4M3FN, F8E5M2], "floating point">;
def NN_IntType : AnyTypeOf<[I<4>, I8, I16, I32, I64, UI<4>, UI8, UI16, UI32, UI64], "integer">;
def NN_NumberType : AnyTypeOf<[F16, BF16, F32, F64, F8E4M3FN, F8E5M2, I<4>, I8, I16, I32, I64, UI<4>, UI8, UI16, UI32,
                               UI64], "number">;
def NN_ElementType : AnyTypeOf<[I1, F16, BF16, F32, F64, F8E4M3FN, F8E5M2, I<4>, I8, I16, I32, I64, UI<4>, UI8, UI16, UI32,
                                UI64], "bool or number">;

class NN_TensorOf<Type element> : StaticShapeTensorOf<[element]>;
def NN_Tensor : NN_TensorOf<NN_ElementType>;
def NN_NumberTensor : NN_TensorOf<NN_NumberType>;
def NN_FloatTensor : NN_TensorOf<NN_FloatType>;
def NN_IntTensor : NN_TensorOf<NN_IntType>;
def NN_IntOrBoolTensor : NN_TensorOf<AnyTypeOf<[I1, NN_IntType], "integer or bool">>;
def NN_BoolTensor : NN_TensorOf<I1>;
def NN_IndexTensor : NN_TensorOf<AnyTypeOf<[I32, I64], "i32 or i64">>;
def NN_QuantizedTensor : NN_TensorOf<AnyTypeOf<[I<4>, UI<4>, I8, UI8, I16, UI16, F8E4M3FN, F8E5M2, I32], "quantized">>;

//===----------------------------------------------------------------------===//
// Enums
//===----------------------------------------------------------------------===//


class NN_EnumInfo<string name, string summary, list<string> names>
    : I32Enum<name, summary, !foreach(i, !range(!size(names)), I32EnumCase<names[i], i, !tolower(names[i])>)> {
  let cppNamespace = "::npuc::nn";
}

def NN_ReduceKindInfo : NN_EnumInfo<"ReduceKind", "What a reduction computes",
    ["Sum", "Mean", "Max", "Min", "Prod", "LogSumExp"]>;
def NN_ReduceKind : EnumAttr<NN_Dialect, NN_ReduceKindInfo, "reduce_kind">;

def NN_ComparePredicateInfo : NN_EnumInfo<"ComparePredicate", "What a comparison asks",
    ["Eq", "Ne", "Lt", "Le", "Gt", "Ge"]>;
def NN_ComparePredicate : EnumAttr<NN_Dialect, NN_ComparePredicateInfo, "compare_predicate">;

def NN_PoolKindInfo : NN_EnumInfo<"PoolKind", "What a pooling window computes", ["Max", "Average"]>;
def NN_PoolKind : EnumAttr<NN_Dialect, NN_PoolKindInfo, "pool_kind">;

def NN_PadModeInfo : NN_EnumInfo<"PadMode", "What padding is filled with", ["Constant", "Edge", "Reflect", "Wrap"]>;
def NN_PadMode : EnumAttr<NN_Dialect, NN_PadModeInfo, "pad_mode">;

def NN_ScatterReductionInfo : NN_EnumInfo<"ScatterReduction", "How an update meets the element that it falls on",
    ["None", "Add", "Mul", "Max", "Min"]>;
def NN_ScatterReduction : EnumAttr<NN_Dialect, NN_ScatterReductionInfo, "scatter_reduction">;

def NN_RequantizeKindInfo : NN_EnumInfo<"RequantizeKind", "How a requantization multiplies by its scale",
    ["Float", "FixedPoint"]>;
def NN_RequantizeKind : EnumAttr<NN_Dialect, NN_RequantizeKindInfo, "requantize_kind">;

def NN_RoundingInfo : NN_EnumInfo<"Rounding", "How a tie between two integers is decided; down: no rounding, the integer below",
    ["HalfEven", "HalfAway", "HalfUp", "Down"]>;
def NN_Rounding : EnumAttr<NN_Dialect, NN_RoundingInfo, "rounding">;

//===----------------------------------------------------------------------===//
// Handles of large constants
//===----------------------------------------------------------------------===//

class NN_Attr<string name, string attrMnemonic, list<Trait> traits = []> : AttrDef<NN_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

class NN_Handle<string name, string attrMnemonic> : NN_Attr<name, attrMnemonic, [TypedAttrInterface]>;

def NN_ExternalAttr : NN_Handle<"External", "external"> {
  let summary = "A tensor's bytes in a file";
  let description = [{
    `#nn.external<"dir/model.onnx.data", 4096, tensor<768x768xf32>>`: the row-major little-endian elements that start at
    byte 4096 of the file (no alignment is promised); a bool takes a byte, 4-bit integers lie two to a byte, the element of
    even index in the low half. Source: ONNX TensorProto.raw_data. The path is the model's path as the user gave it, joined
    with the location that the model states.
  }];
  let parameters = (ins StringRefParameter<"file">:$path, "int64_t":$offset, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $path `,` $offset `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// How many bytes of the file it takes.
    int64_t getByteSize() const;
  }];
}

def NN_TransposedAttr : NN_Handle<"Transposed", "transposed"> {
  let summary = "A handle with its dimensions permuted";
  let description = "Result dimension `i` is source dimension `permutation[i]`, as in `nn.transpose`.";
  let parameters = (ins "::mlir::TypedAttr":$source, ArrayRefParameter<"int64_t">:$permutation, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `,` `[` $permutation `]` `>`";
}

def NN_ReshapedAttr : NN_Handle<"Reshaped", "reshaped"> {
  let summary = "A handle with the same elements in row-major order in another shape";
  let parameters = (ins "::mlir::TypedAttr":$source, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `>`";
}

def NN_ConvertedAttr : NN_Handle<"Converted", "converted"> {
  let summary = "A handle with its elements converted as `nn.cast` (saturating) does";
  let parameters = (ins "::mlir::TypedAttr":$source, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `>`";
}

def NN_SlicedAttr : NN_Handle<"Sliced", "sliced"> {
  let summary = "A part of a handle, as in `nn.slice`; the sizes are the type's";
  let parameters = (ins "::mlir::TypedAttr":$source, ArrayRefParameter<"int64_t">:$starts, ArrayRefParameter<"int64_t">:$steps, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `,` `[` $starts `]` `,` `[` $steps `]` `>`";
}

def NN_ConcatenatedAttr : NN_Handle<"Concatenated", "concatenated"> {
  let summary = "Handles, or dense constants, one after another along an axis, as in `nn.concat`";
  let parameters = (ins ArrayRefParameter<"::mlir::TypedAttr">:$sources, "int64_t":$axis, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` `[` $sources `]` `,` $axis `>`";
}

def NN_ScaledAttr : NN_Handle<"Scaled", "scaled"> {
  let summary = "A handle of f32 with each index of `axis` multiplied by a factor of its own";
  let parameters = (ins "::mlir::TypedAttr":$source, "::mlir::DenseF32ArrayAttr":$factors, "int64_t":$axis, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `,` $factors `,` $axis `>`";
  let genVerifyDecl = 1;
}

def NN_QuantizedAttr : NN_Handle<"Quantized", "quantized"> {
  let summary = "A handle of f32 quantized to i8 as `nn.quantize` does, without a zero point, with a scale for each index of `axis`";
  let parameters = (ins "::mlir::TypedAttr":$source, "::mlir::DenseF32ArrayAttr":$scales, "int64_t":$axis, AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type);
  let assemblyFormat = "`<` $source `,` $scales `,` $axis `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Operation classes
//===----------------------------------------------------------------------===//

class NN_Op<string mnemonic, list<Trait> traits = []> : Op<NN_Dialect, mnemonic, !listconcat([Pure], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

/// An operation whose result types follow from operands and attributes: ::inferReturnTypes holds every check, so building,
/// parsing and verifying share it.
class NN_InferredOp<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([InferTypeOpAdaptor], traits)>;

/// Computes each element of its result from the elements of its operands at the same (broadcast) position.
def NN_Pointwise : NativeOpTrait<"Pointwise"> { let cppNamespace = "::npuc::nn"; }

#endif // NPUC_DIALECTS_NN_IR_NNBASE_TD
