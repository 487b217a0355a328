//===- NNCompute.td - contractions, reductions, norms and attention of the nn dialect ===//
#ifndef NPUC_DIALECTS_NN_IR_NNCOMPUTE_TD
#define NPUC_DIALECTS_NN_IR_NNCOMPUTE_TD

include "dialects/nn/IR/NNBase.td"

//===----------------------------------------------------------------------===//
// Contractions. Floats give their own type, but those of 8 bits f32; 8-bit integers (any signs) and i32 give i32, exactly
// (wrapping).
//===----------------------------------------------------------------------===//

def NN_ContractedType : AnyTypeOf<[F16, BF16, F32, F64, F8E4M3FN, F8E5M2, I<4>, UI<4>, I8, UI8, I32], "contractable">;
def NN_ContractedTensor : NN_TensorOf<NN_ContractedType>;

def NN_MatmulOp : NN_InferredOp<"matmul"> {
  let summary = "result[b…, m, n] = Σ_k lhs[b…, m, k] · rhs[b…, k, n]";
  let description = [{
    Both operands have rank ≥ 2; leading dimensions broadcast. Float operands have one type, which is the result's, but floats of 8
    bits, of either kind, give f32; integer operands (4 or 8 bits of any signs, or i32) give i32. Source: ONNX MatMul-13, MatMulInteger-10, Einsum.
  }];
  let arguments = (ins NN_ContractedTensor:$lhs, NN_ContractedTensor:$rhs);
  let results = (outs NN_ContractedTensor:$result);
}

def NN_LinearOp : NN_InferredOp<"linear"> {
  let summary = "result[…, n] = Σ_k input[…, k] · weight[k, n] + bias[n]";
  let description = [{
    `weight` is [k, n], or [n, k] with `transposed` (PyTorch's layout). `bias` is of the result's element type. Types as in
    `nn.matmul`. Source: ONNX Gemm-13, MatMul by a matrix.
  }];
  let arguments = (ins NN_ContractedTensor:$input, NN_ContractedTensor:$weight, Optional<NN_ContractedTensor>:$bias,
                       UnitAttr:$transposed);
  let results = (outs NN_ContractedTensor:$result);
}

def NN_GroupedLinearOp : NN_Op<"grouped_linear", [AttrSizedOperandSegments]> {
  let summary = "result[…, n] = Σ_g scale[n, g] · Σ_{k of group g} input[…, k] · (weight[n, k] - zero_point[n, g])";
  let description = [{
    Integers whose scales differ along the sum, in as many equal groups of k as `scale` has columns. A group's sum, to which
    `offset[n, g]` is added (what an input's zero point takes away), is exact in i32; times its scale it is added to those of
    the groups before it, in f32. With `unpack` weights become i8 first, less their zero points, for engines that multiply no others.
    Source: com.microsoft MatMulNBits-1, DequantizeLinear-21 with blocks.
  }];
  let arguments = (ins NN_TensorOf<AnyTypeOf<[I8, UI8]>>:$input, NN_TensorOf<AnyTypeOf<[I<4>, UI<4>, I8, UI8]>>:$weight,
                       NN_TensorOf<F32>:$scale, Optional<NN_TensorOf<AnyTypeOf<[I8, UI8]>>>:$zero_point, Optional<NN_TensorOf<I32>>:$offset,
                       UnitAttr:$unpack);
  let results = (outs NN_TensorOf<F32>:$result);
  let hasVerifier = 1;
}

def NN_ConvOp : NN_InferredOp<"conv"> {
  let summary = "Convolution of 1 to 3 spatial dimensions";
  let description = [{
    result[n, o, y…] = Σ_{c, k…} input[n, g·C/groups + c, y·strides + k·dilations - pads_low …] · weight[o, c, k…] + bias[o],
    where g = o / (O/groups); elements outside of the input count as 0. input [N, C, spatial…], weight [O, C/groups, kernel…].
    `pads` holds the low pads of all spatial dimensions, then the high ones. Types as in `nn.matmul`.
    Source: ONNX Conv-22, ConvInteger-10.
  }];
  let arguments = (ins NN_ContractedTensor:$input, NN_ContractedTensor:$weight, Optional<NN_ContractedTensor>:$bias,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
                       DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs NN_ContractedTensor:$result);
}

def NN_ConvTransposeOp : NN_InferredOp<"conv_transpose"> {
  let summary = "Transposed convolution: the gradient of nn.conv by its input";
  let description = [{
    Each input[n, c, x…] · weight[c, o, k…] is added to result[n, g·O + o, x·strides + k·dilations - pads_low …], where
    g = c / (C/groups), plus bias; what falls outside of the result is dropped. weight [C, O/groups, kernel…]. Size of a spatial dimension:
    (x-1)·stride + (k-1)·dilation + 1 + output_padding - low - high. Source: ONNX ConvTranspose-22.
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$weight, Optional<NN_FloatTensor>:$bias,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$output_padding, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs NN_FloatTensor:$result);
}

def NN_PoolOp : NN_InferredOp<"pool"> {
  let summary = "Maximum or mean over windows of the spatial dimensions";
  let description = [{
    result[n, c, y…] over input[n, c, y·strides + k·dilations - pads_low …] for k in `kernel`. Elements outside of the input
    never are a maximum; a mean divides by the number of elements inside of the input or, with `count_padding`, inside of the padded
    input. `pads` as in `nn.conv`. Result size: floor((x + low + high - (k-1)·dilation - 1) / stride) + 1.
    Source: ONNX MaxPool-22, AveragePool-22.
  }];
  let arguments = (ins NN_PoolKind:$kind, NN_NumberTensor:$input, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads, UnitAttr:$count_padding);
  let results = (outs NN_NumberTensor:$result);
  let assemblyFormat = "`` $kind $input attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

def NN_ReduceOp : NN_InferredOp<"reduce"> {
  let summary = "A reduction over `axes`";
  let description = [{
    `logsumexp` is ln Σ e^x, computed without overflow; `mean` of integers rounds toward zero; over no element: sum 0, prod 1, max and min the least and
    greatest value of the type (floats: ∓infinity), mean NaN. On bools only `max` (any) and `min` (all). With `keep`, the axes stay with size 1.
    Source: ONNX ReduceSum-13, ReduceMean-18, ….
  }];
  let arguments = (ins NN_ReduceKind:$kind, NN_Tensor:$input, DenseI64ArrayAttr:$axes, UnitAttr:$keep);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "`` $kind $input attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
}

def NN_ArgReduceOp : NN_InferredOp<"arg_reduce"> {
  let summary = "Index of the greatest or least element along `axis`, as i64";
  let description = [{
    `kind` is `max` or `min`. Of equal elements the first, or with `last` the last. NaN is greater, respectively less, than
    any number. Source: ONNX ArgMax-13, ArgMin-13.
  }];
  let arguments = (ins NN_ReduceKind:$kind, NN_NumberTensor:$input, I64Attr:$axis, UnitAttr:$keep, UnitAttr:$last);
  let results = (outs NN_TensorOf<I64>:$result);
  let assemblyFormat = "`` $kind $input attr-dict `:` functional-type(operands, results)";
}

def NN_TopKOp : NN_InferredOp<"top_k"> {
  let summary = "The k greatest elements along `axis`, in order, and their indices";
  let description = [{
    Or the least with `smallest`. Of equal elements the one of lower index comes first. Source: ONNX TopK-24.
  }];
  let arguments = (ins NN_NumberTensor:$input, I64Attr:$k, I64Attr:$axis, UnitAttr:$smallest);
  let results = (outs NN_NumberTensor:$values, NN_TensorOf<I64>:$indices);
}

def NN_CumSumOp : NN_Op<"cum_sum", [SameOperandsAndResultType]> {
  let summary = "Running sums along `axis`";
  let description = [{
    `exclusive` leaves the element itself out; `reverse` sums from the end. Source: ONNX CumSum-14.
  }];
  let arguments = (ins NN_NumberTensor:$input, I64Attr:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_NumberTensor:$result);
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Softmax and norms
//===----------------------------------------------------------------------===//

class NN_SoftmaxLikeOp<string mnemonic, string formula> : NN_Op<mnemonic, [SameOperandsAndResultType]> {
  let summary = formula;
  let arguments = (ins NN_FloatTensor:$input, I64Attr:$axis);
  let results = (outs NN_FloatTensor:$result);
  let hasVerifier = 1;
}

def NN_SoftmaxOp : NN_SoftmaxLikeOp<"softmax", "e^(x - m) / Σ e^(x - m), m the greatest x, along `axis`"> {
  let description = [{
    A row of nothing but -infinity is NaN; with `zero_masked`, 0. Source: ONNX Softmax-13; `zero_masked` from a
    following IsNaN and Where.
  }];
  let arguments = (ins NN_FloatTensor:$input, I64Attr:$axis, UnitAttr:$zero_masked);
}
def NN_LogSoftmaxOp : NN_SoftmaxLikeOp<"log_softmax", "x - m - ln Σ e^(x - m), m the greatest x, along `axis`">;

def NN_LayerNormOp : NN_InferredOp<"layer_norm"> {
  let summary = "(x - mean) / √(variance + epsilon) · scale + bias over dimensions `axis` and after";
  let description = [{
    Mean and (biased) variance over all of these dimensions together. `scale` and `bias` broadcast to the input
    and are of its element type, or f32. Source: ONNX LayerNormalization-17.
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$scale, Optional<NN_FloatTensor>:$bias, I64Attr:$axis,
                       F32Attr:$epsilon);
  let results = (outs NN_FloatTensor:$result);
}

def NN_RmsNormOp : NN_InferredOp<"rms_norm"> {
  let summary = "x / √(mean(x²) + epsilon) · scale over dimensions `axis` and after";
  let description = "`scale` broadcasts to the input and is of its element type, or f32. Source: ONNX RMSNormalization-23.";
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$scale, I64Attr:$axis, F32Attr:$epsilon);
  let results = (outs NN_FloatTensor:$result);
}

def NN_GroupNormOp : NN_InferredOp<"group_norm"> {
  let summary = "(x - mean) / √(variance + epsilon) · scale[c] + bias[c], each over a group of channels";
  let description = [{
    input [N, C, …]; mean and variance over each of the `groups` runs of C/groups channels and all that follows; scale and
    bias are [C], of the input's element type, or f32. Source: ONNX GroupNormalization-21, InstanceNormalization-22 (groups = C).
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$scale, NN_FloatTensor:$bias, I64Attr:$groups,
                       F32Attr:$epsilon);
  let results = (outs NN_FloatTensor:$result);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def NN_AttentionTensor : NN_TensorOf<AnyTypeOf<[NN_FloatType, I8], "floating point or i8">>;

def NN_AttentionOp : NN_InferredOp<"attention"> {
  let summary = "softmax(scale · query · keyᵀ + mask) · value, by heads";
  let description = [{
    query [B, H, S, D], key [B, G, T, D], value [B, G, T, E], result [B, H, S, E]. H is a multiple of G: query head h reads key
    head h / (H/G) (grouped-query attention).

    scores[b, h, i, j] = `scale` · Σ_d query[b, h, i, d] · key[b, g, j, d]; with `softcap` > 0, scores = softcap · tanh(scores /
    softcap); then the mask: `mask` broadcasts to [B, H, S, T], a float is added, a false bool makes the score -infinity; with
    `causal_offset`, so does j > i + causal_offset (0: a square lower triangle; T - S: the new positions see all of the past). Softmax
    over j; a row of nothing but -infinity is NaN, or with `zero_masked` 0. Then Σ_j probability · value.

    Query, key and value of i8 hold integers (their scales are in `scale`, and that of value in `value_scale`). The sums of
    their products are exact. With e_j = e^(score_j - m), m the row's greatest score, p_j is 127 · e_j rounded to i8, ties to
    even, and the result, of any float type, is `value_scale` · Σ_j p_j · value_j / Σ_j p_j.
    Source: ONNX Attention-23, and what exporters decompose it into.
  }];
  let arguments = (ins NN_AttentionTensor:$query, NN_AttentionTensor:$key, NN_AttentionTensor:$value,
                       Optional<NN_TensorOf<AnyTypeOf<[I1, NN_FloatType], "bool or float">>>:$mask, F32Attr:$scale,
                       OptionalAttr<I64Attr>:$causal_offset, DefaultValuedAttr<F32Attr, "0.0">:$softcap, UnitAttr:$zero_masked,
                       DefaultValuedAttr<F32Attr, "1.0">:$value_scale);
  let results = (outs NN_FloatTensor:$result);
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether query, key and value are integers.
    bool isInteger() { return getQuery().getType().getElementType().isInteger(8); }
    /// Integers leave the result's float type open.
    static bool isCompatibleReturnTypes(::mlir::TypeRange inferred, ::mlir::TypeRange found);
  }];
}

def NN_RopeOp : NN_InferredOp<"rope"> {
  let summary = "Rotary position embedding";
  let description = [{
    input [B, H, S, D]; cos and sin [B or 1, H or 1, S or 1, R/2] with R ≤ D, rotate the first R elements of the last dimension: pairs
    (x1, x2) become (x1·cos - x2·sin, x2·cos + x1·sin), the rest passes. Pair p is (x[p], x[p + R/2]); with
    `interleaved`, (x[2p], x[2p + 1]). Source: ONNX RotaryEmbedding-23.
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$cos, NN_FloatTensor:$sin, UnitAttr:$interleaved);
  let results = (outs NN_FloatTensor:$result);
}

#endif // NPUC_DIALECTS_NN_IR_NNCOMPUTE_TD
