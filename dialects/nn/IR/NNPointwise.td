//===- NNPointwise.td - constants and pointwise operations of the nn dialect ===//
#ifndef NPUC_DIALECTS_NN_IR_NNPOINTWISE_TD
#define NPUC_DIALECTS_NN_IR_NNPOINTWISE_TD

include "dialects/nn/IR/NNBase.td"

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

def NN_ConstantOp : NN_InferredOp<"constant", [ConstantLike]> {
  let summary = "A constant: dense below 64 KiB (or a splat), a handle otherwise";
  let description = [{
    `value` is a `dense` or `dense_resource` tensor, or one of the handles of this dialect (`#nn.external` and what is
    built on it). Source: ONNX initializers, Constant.

    ```mlir
    %w = nn.constant #nn.transposed<#nn.external<"m.data", 64> : tensor<384x1536xf32>, [1, 0]> : tensor<1536x384xf32>
    ```
  }];
  let arguments = (ins TypedAttrInterface:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let extraClassDeclaration = [{
    /// Whether `value` is a handle and not elements.
    bool isHandle();
  }];
}

def NN_RangeOp : NN_Op<"range"> {
  let summary = "result[i] = start + i · step, of rank 1";
  let description = [{
    `start` and `step` are attributes of the result's element type. Source: ONNX Range, once its bounds are known.
  }];
  let arguments = (ins TypedAttrInterface:$start, TypedAttrInterface:$step);
  let results = (outs NN_NumberTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Unary
//===----------------------------------------------------------------------===//

class NN_UnaryOp<string mnemonic, string formula, Type operand, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([NN_Pointwise, SameOperandsAndResultType], traits)> {
  let summary = formula;
  let arguments = (ins operand:$input);
  let results = (outs operand:$result);
  let hasFolder = 1;
}

class NN_FloatUnaryOp<string mnemonic, string formula> : NN_UnaryOp<mnemonic, formula, NN_FloatTensor> {
  let hasFolder = 0;
}

def NN_NegOp : NN_UnaryOp<"neg", "-x (integers wrap)", NN_NumberTensor>;
def NN_AbsOp : NN_UnaryOp<"abs", "|x|", NN_NumberTensor>;
def NN_SignOp : NN_UnaryOp<"sign", "-1, 0 or 1 by the sign of x; NaN stays NaN", NN_NumberTensor> { let hasFolder = 0; }
def NN_ReluOp : NN_UnaryOp<"relu", "max(x, 0); NaN stays NaN", NN_NumberTensor>;
def NN_NotOp : NN_UnaryOp<"not", "logical not of a bool, bitwise complement of an integer", NN_IntOrBoolTensor> {
  let description = "Source: ONNX Not, BitwiseNot.";
}

def NN_ExpOp : NN_FloatUnaryOp<"exp", "e^x">;
def NN_LogOp : NN_FloatUnaryOp<"log", "natural logarithm of x; NaN below 0, -inf at 0">;
def NN_SqrtOp : NN_FloatUnaryOp<"sqrt", "√x; NaN below 0">;
def NN_RsqrtOp : NN_FloatUnaryOp<"rsqrt", "1 / √x">;
def NN_ReciprocalOp : NN_FloatUnaryOp<"reciprocal", "1 / x">;
def NN_SinOp : NN_FloatUnaryOp<"sin", "sin x (radians)">;
def NN_CosOp : NN_FloatUnaryOp<"cos", "cos x (radians)">;
def NN_TanhOp : NN_FloatUnaryOp<"tanh", "hyperbolic tangent of x">;
def NN_ErfOp : NN_FloatUnaryOp<"erf", "error function: 2/√π ∫₀ˣ e^(-t²) dt">;
def NN_SigmoidOp : NN_FloatUnaryOp<"sigmoid", "1 / (1 + e^-x)">;
def NN_SiluOp : NN_FloatUnaryOp<"silu", "x · sigmoid(x) (also called swish)">;
def NN_SoftplusOp : NN_FloatUnaryOp<"softplus", "ln(1 + e^x), without overflow for large x">;
def NN_FloorOp : NN_FloatUnaryOp<"floor", "the largest integer not above x">;
def NN_CeilOp : NN_FloatUnaryOp<"ceil", "the least integer not below x">;
def NN_RoundOp : NN_FloatUnaryOp<"round", "the integer nearest to x, ties to even">;

def NN_GeluOp : NN_FloatUnaryOp<"gelu", "Gaussian error linear unit"> {
  let description = [{
    `x/2 · (1 + erf(x/√2))`; with `tanh`, its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    Source: ONNX Gelu-20.
  }];
  let arguments = (ins NN_FloatTensor:$input, UnitAttr:$tanh);
}

def NN_EluOp : NN_FloatUnaryOp<"elu", "x where x ≥ 0, else alpha · (e^x - 1)"> {
  let arguments = (ins NN_FloatTensor:$input, DefaultValuedAttr<F32Attr, "1.0">:$alpha);
}

class NN_FloatTestOp<string mnemonic, string formula> : NN_InferredOp<mnemonic, [NN_Pointwise]> {
  let summary = formula;
  let results = (outs NN_BoolTensor:$result);
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, ::std::optional<::mlir::Location>,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(detail::boolLike(adaptor.getInput().getType()));
      return ::mlir::success();
    }
  }];
}

def NN_IsNanOp : NN_FloatTestOp<"is_nan", "whether x is NaN"> { let arguments = (ins NN_FloatTensor:$input); }
def NN_IsInfOp : NN_FloatTestOp<"is_inf", "whether x is infinite, of the signs asked for"> {
  let arguments = (ins NN_FloatTensor:$input, DefaultValuedAttr<BoolAttr, "true">:$positive,
                       DefaultValuedAttr<BoolAttr, "true">:$negative);
}

def NN_CastOp : NN_Op<"cast", [NN_Pointwise, SameOperandsAndResultShape]> {
  let summary = "x in another element type";
  let description = [{
    To bool: x ≠ 0 (NaN is true). From bool: 0 or 1. Float to float: nearest, ties to even; overflow to infinity, but to fp8
    with `saturate` (the default) to the largest finite value. Float to integer: toward zero; a value outside of the integer's range, or NaN, gives a result
    that models must not rely on, here the nearest value in range, and 0 for NaN. Integer to integer: modulo 2^bits.
    Integer to float: nearest, ties to even. Source: ONNX Cast-25, CastLike.
  }];
  let arguments = (ins NN_Tensor:$input, DefaultValuedAttr<BoolAttr, "true">:$saturate);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Binary, comparison, selection: operands broadcast
//===----------------------------------------------------------------------===//

class NN_BinaryOp<string mnemonic, string formula, Type operand, list<Trait> traits = []>
    : NN_InferredOp<mnemonic, !listconcat([NN_Pointwise], traits)> {
  let summary = formula;
  let arguments = (ins operand:$lhs, operand:$rhs);
  let results = (outs operand:$result);
  let hasFolder = 1;
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, ::std::optional<::mlir::Location> location,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return detail::inferBroadcast(location, adaptor.getOperands().getTypes(), types);
    }
  }];
}

class NN_PlainBinaryOp<string mnemonic, string formula, Type operand, list<Trait> traits = []>
    : NN_BinaryOp<mnemonic, formula, operand, traits> {
  let hasFolder = 0;
}

def NN_AddOp : NN_BinaryOp<"add", "a + b (integers wrap)", NN_NumberTensor, [Commutative]>;
def NN_SubOp : NN_BinaryOp<"sub", "a - b (integers wrap)", NN_NumberTensor>;
def NN_MulOp : NN_BinaryOp<"mul", "a · b (integers wrap)", NN_NumberTensor, [Commutative]>;
def NN_DivOp : NN_BinaryOp<"div", "a / b; integers toward zero", NN_NumberTensor>;
def NN_PowOp : NN_BinaryOp<"pow", "a to the power of b", NN_NumberTensor>;
def NN_ModOp : NN_InferredOp<"mod", [NN_Pointwise]> {
  let summary = "Remainder of a / b";
  let description = [{
    `a - b · floor(a / b)`, with the sign of b; with `truncated`, C's fmod, `a - b · trunc(a / b)`, with the sign of a.
    Source: ONNX Mod-13.
  }];
  let arguments = (ins NN_NumberTensor:$lhs, NN_NumberTensor:$rhs, UnitAttr:$truncated);
  let results = (outs NN_NumberTensor:$result);
  let extraClassDefinition = NN_AddOp.extraClassDefinition;
}
def NN_MaxOp : NN_PlainBinaryOp<"max", "the greater of a and b; NaN if either is", NN_NumberTensor, [Commutative]>;
def NN_MinOp : NN_PlainBinaryOp<"min", "the lesser of a and b; NaN if either is", NN_NumberTensor, [Commutative]>;
def NN_AndOp : NN_BinaryOp<"and", "a and b: logical on bools, bitwise on integers", NN_IntOrBoolTensor, [Commutative]>;
def NN_OrOp : NN_BinaryOp<"or", "a or b: logical on bools, bitwise on integers", NN_IntOrBoolTensor, [Commutative]>;
def NN_XorOp : NN_PlainBinaryOp<"xor", "a xor b: logical on bools, bitwise on integers", NN_IntOrBoolTensor, [Commutative]>;
def NN_ShiftLeftOp : NN_PlainBinaryOp<"shift_left", "a · 2^b; 0 where b ≥ the width", NN_IntTensor>;
def NN_ShiftRightOp : NN_PlainBinaryOp<"shift_right", "floor(a / 2^b)", NN_IntTensor>;

def NN_CompareOp : NN_InferredOp<"compare", [NN_Pointwise]> {
  let summary = "Whether a stands in a relation to b";
  let description = [{
    Any comparison with NaN is false, but `ne`, which is true. On bools only `eq` and `ne`.
    Source: ONNX Equal, Less, LessOrEqual, Greater, GreaterOrEqual.
  }];
  let arguments = (ins NN_ComparePredicate:$predicate, NN_Tensor:$lhs, NN_Tensor:$rhs);
  let results = (outs NN_BoolTensor:$result);
  let assemblyFormat = "`` $predicate operands attr-dict `:` functional-type(operands, results)";
}

def NN_SelectOp : NN_InferredOp<"select", [NN_Pointwise]> {
  let summary = "on_true where the condition holds, else on_false; all three broadcast";
  let description = "Source: ONNX Where.";
  let arguments = (ins NN_BoolTensor:$condition, NN_Tensor:$on_true, NN_Tensor:$on_false);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

def NN_QuantizeOp : NN_Op<"quantize", [NN_Pointwise]> {
  let summary = "saturate(round(x / scale) + zero_point), ties to even";
  let description = [{
    `scale` and `zero_point` have rank 0 or one element (per tensor), rank 1 with `axis`'s size (per axis), or the rank of x, with
    dimension `axis` divided by `block_size`, rounded up (per block; `block_size` > 0). To fp8 the quotient is rounded to
    the type itself, and saturates if `saturate`. Source: ONNX QuantizeLinear-25.
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$scale, Optional<NN_QuantizedTensor>:$zero_point,
                       DefaultValuedAttr<I64Attr, "0">:$axis, DefaultValuedAttr<I64Attr, "0">:$block_size,
                       DefaultValuedAttr<BoolAttr, "true">:$saturate);
  let results = (outs NN_QuantizedTensor:$result);
  let hasVerifier = 1;
}

def NN_DequantizeOp : NN_Op<"dequantize", [NN_Pointwise]> {
  let summary = "(x - zero_point) · scale, in the result's element type";
  let description = [{
    `scale` and `zero_point` as for `nn.quantize`. Source: ONNX DequantizeLinear-25.
  }];
  let arguments = (ins NN_QuantizedTensor:$input, NN_FloatTensor:$scale, Optional<NN_QuantizedTensor>:$zero_point,
                       DefaultValuedAttr<I64Attr, "0">:$axis, DefaultValuedAttr<I64Attr, "0">:$block_size);
  let results = (outs NN_FloatTensor:$result);
  let hasVerifier = 1;
}

def NN_RequantizeOp : NN_Op<"requantize", [NN_Pointwise, SameOperandsAndResultShape]> {
  let summary = "saturate(round(x · scale) + zero_point): an accumulator to the next layer's integers";
  let description = [{
    `scales` holds one factor, or one for each index of dimension `axis`. `kind` states the arithmetic, which devices
    reproduce bit by bit:

    * `float`: x is converted to fp32 (nearest, ties to even), multiplied by the fp32 scale (one rounding), rounded to an
      integer by `rounding`;
    * `fixedpoint`: scale = multiplier · 2^-(31 + shift) with a 32-bit `multiplier` in [2^30, 2^31), given by `multipliers` and
      `shifts`; the 64-bit product x · multiplier is shifted right by 31 + shift, rounded by `rounding`.

    Then `zero_point` is added and the sum saturates to the result's type. `halfeven` sends a tie to the even neighbour,
    `halfaway` away from zero, `halfup` toward plus infinity; `down` takes the integer below, for what was rounded by an
    addition before.
  }];
  let arguments = (ins NN_RequantizeKind:$kind, NN_TensorOf<AnyTypeOf<[I32, I64]>>:$input,
                       DefaultValuedAttr<DenseF32ArrayAttr, "{}">:$scales,
                       DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$multipliers,
                       DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$shifts,
                       DefaultValuedAttr<I64Attr, "0">:$axis, DefaultValuedAttr<I64Attr, "0">:$zero_point,
                       DefaultValuedAttr<NN_Rounding, "Rounding::HalfEven">:$rounding);
  let results = (outs NN_TensorOf<AnyTypeOf<[I8, UI8, I16, UI16, I32]>>:$result);
  let assemblyFormat = "`` $kind $input attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif // NPUC_DIALECTS_NN_IR_NNPOINTWISE_TD
