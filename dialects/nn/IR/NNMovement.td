//===- NNMovement.td - operations of the nn dialect that move elements ===//
#ifndef NPUC_DIALECTS_NN_IR_NNMOVEMENT_TD
#define NPUC_DIALECTS_NN_IR_NNMOVEMENT_TD

include "dialects/nn/IR/NNBase.td"

def NN_ReshapeOp : NN_Op<"reshape", [SameOperandsAndResultElementType]> {
  let summary = "The same elements in row-major order in the result's shape";
  let description = "Source: ONNX Reshape-25, Flatten, Squeeze, Unsqueeze.";
  let arguments = (ins NN_Tensor:$input);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_TransposeOp : NN_InferredOp<"transpose"> {
  let summary = "Dimension i of the result is dimension permutation[i] of the input";
  let description = "Source: ONNX Transpose-25.";
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

def NN_BroadcastOp : NN_Op<"broadcast", [SameOperandsAndResultElementType]> {
  let summary = "The input repeated to the result's shape";
  let description = [{
    Shapes align at the right; a dimension of 1 repeats. Pointwise operations broadcast by themselves: this stands where the
    repeated tensor itself is needed. Source: ONNX Expand-13.
  }];
  let arguments = (ins NN_Tensor:$input);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_SliceOp : NN_InferredOp<"slice"> {
  let summary = "result[i…] = input[starts + i · steps …], of the given sizes";
  let description = [{
    One entry of `starts`, `sizes` and `steps` for each dimension. A step may be negative, never 0; every index
    addressed lies inside of the input. Source: ONNX Slice-13, Split-18.
  }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$starts, DenseI64ArrayAttr:$sizes, DenseI64ArrayAttr:$steps);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

def NN_ConcatOp : NN_InferredOp<"concat"> {
  let summary = "The operands one after another along `axis`";
  let description = "Source: ONNX Concat-13.";
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

def NN_KvUpdateOp : NN_InferredOp<"kv_update"> {
  let summary = "Keys or values of the past followed by those of the new positions, along `axis`";
  let description = [{
    What `nn.concat` of two operands computes, where the first is a cache: an operation of its own so that a target can keep
    the cache in place and write only `update`.
  }];
  let arguments = (ins NN_Tensor:$past, NN_Tensor:$update, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}

def NN_PadOp : NN_InferredOp<"pad"> {
  let summary = "The input with elements added before and after each dimension";
  let description = [{
    `low[d]` and `high[d]` elements are added before and after dimension d; a negative count removes elements.
    `constant`: `value` (of rank 0; 0 if absent); `edge`: the nearest element; `reflect`: mirrored without repeating the edge;
    `wrap`: as if the input repeated. Source: ONNX Pad-25.
  }];
  let arguments = (ins NN_PadMode:$mode, NN_Tensor:$input, Optional<NN_Tensor>:$value, DenseI64ArrayAttr:$low,
                       DenseI64ArrayAttr:$high);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "`` $mode operands attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
}

def NN_GatherOp : NN_InferredOp<"gather"> {
  let summary = "Slices of the table picked by index along `axis`";
  let description = [{
    result[a…, i…, b…] = table[a…, indices[i…], b…]; the indices take the place of dimension `axis`. A negative index counts
    from the end; an index outside of [-size, size) is an error at run time. Source: ONNX Gather-13.
  }];
  let arguments = (ins NN_Tensor:$table, NN_IndexTensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}

def NN_GatherElementsOp : NN_InferredOp<"gather_elements"> {
  let summary = "result[i…] = input[i… with i_axis replaced by indices[i…]]";
  let description = [{
    Of the indices' shape, which exceeds the input's in no dimension but `axis`. Negative indices count from the end.
    Source: ONNX GatherElements-13.
  }];
  let arguments = (ins NN_Tensor:$input, NN_IndexTensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}

def NN_GatherNdOp : NN_InferredOp<"gather_nd"> {
  let summary = "Slices of the input picked by index tuples";
  let description = [{
    result[b…, i…, r…] = input[b…, indices[b…, i…, :]…, r…]: the last dimension of `indices` is a tuple that indexes the
    dimensions after the first `batch_dims`, which both operands share. Negative indices count from the end.
    Source: ONNX GatherND-13.
  }];
  let arguments = (ins NN_Tensor:$input, NN_IndexTensor:$indices, DefaultValuedAttr<I64Attr, "0">:$batch_dims);
  let results = (outs NN_Tensor:$result);
}

def NN_ScatterElementsOp : NN_InferredOp<"scatter_elements"> {
  let summary = "The input with updates[i…] put at i… with i_axis replaced by indices[i…]";
  let description = [{
    `reduction` says how an update meets the element there; with `none` indices must not repeat (then the last wins, in
    row-major order). Negative indices count from the end. Source: ONNX ScatterElements-18.
  }];
  let arguments = (ins NN_ScatterReduction:$reduction, NN_Tensor:$input, NN_IndexTensor:$indices, NN_Tensor:$updates,
                       I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "`` $reduction operands attr-dict `:` functional-type(operands, results)";
}

def NN_ScatterNdOp : NN_InferredOp<"scatter_nd"> {
  let summary = "The input with updates[i…, :] put at the slices that the tuples indices[i…, :] name";
  let description = "`reduction` and negative indices as in `nn.scatter_elements`. Source: ONNX ScatterND-18.";
  let arguments = (ins NN_ScatterReduction:$reduction, NN_Tensor:$input, NN_IndexTensor:$indices, NN_Tensor:$updates);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "`` $reduction operands attr-dict `:` functional-type(operands, results)";
}

def NN_TriluOp : NN_Op<"trilu", [SameOperandsAndResultType]> {
  let summary = "One triangle of the matrices in the last two dimensions; zeros elsewhere";
  let description = [{
    Keeps element [i, j] where j ≤ i + diagonal; with `upper`, where j ≥ i + diagonal. Source: ONNX Trilu-14.
  }];
  let arguments = (ins NN_Tensor:$input, UnitAttr:$upper, DefaultValuedAttr<I64Attr, "0">:$diagonal);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}

#endif // NPUC_DIALECTS_NN_IR_NNMOVEMENT_TD
