#ifndef NPUC_DIALECTS_NPU_IR_NPUOPS_TD
#define NPUC_DIALECTS_NPU_IR_NPUOPS_TD

include "dialects/npu/IR/NpuDialect.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Npu_Op<string mnemonic, list<Trait> traits = []> : Op<Npu_Dialect, mnemonic, traits>;

def Npu_CopyOp : Npu_Op<"copy"> {
  let summary = "copies one buffer to another; DMA";
  let description = [{
    `target` = `source`, element by element; equal shapes and element types. Either may lie in any memory but the
    accumulators; strides may be any (a transpose is a copy), so padding, slicing and concatenation are copies too.

    ```mlir
    npu.copy %weights to %tile : memref<64x128xf16, strided<[512, 1], offset: ?>> to memref<64x128xf16, #npu.space<scratchpad>>
    ```
  }];
  let arguments = (ins Arg<AnyMemRef, "", [MemRead]>:$source, Arg<AnyMemRef, "", [MemWrite]>:$target);
  let assemblyFormat = "$source `to` $target attr-dict `:` type($source) `to` type($target)";
  let hasVerifier = 1;
}

def Npu_FillOp : Npu_Op<"fill"> {
  let summary = "fills a buffer with one value";
  let description = [{
    Every element of `target` = `value`, which is exact in the element type.

    ```mlir
    npu.fill %sums, 0.0 : memref<64x128xf32, #npu.space<accumulator>>
    ```
  }];
  let arguments = (ins Arg<AnyMemRef, "", [MemWrite]>:$target, F64Attr:$value);
  let assemblyFormat = "$target `,` $value attr-dict `:` type($target)";
}

def Npu_GatherOp : Npu_Op<"gather"> {
  let summary = "copies rows of a table by index; DMA";
  let description = [{
    `target`[i…, j…] = `table`[`indices`[i…], j…]: the table's dimension 0 is indexed by i32 indices. An index outside the table
    is an error of the launch.

    ```mlir
    npu.gather %table[%ids] to %rows : memref<30522x384xf16>, memref<16xi32, #npu.space<scratchpad>> to memref<16x384xf16, #npu.space<scratchpad>>
    ```
  }];
  let arguments = (ins Arg<AnyMemRef, "", [MemRead]>:$table, Arg<AnyMemRef, "", [MemRead]>:$indices,
                       Arg<AnyMemRef, "", [MemWrite]>:$target);
  let assemblyFormat = "$table `[` $indices `]` `to` $target attr-dict `:` type($table) `,` type($indices) `to` type($target)";
  let hasVerifier = 1;
}

def Npu_ContractOp : Npu_Op<"contract"> {
  let summary = "multiplies and adds on the matrix engine";
  let description = [{
    `sums`[b…,m…,n…] += Σ over k… of `lhs`[b…,m…,k…] · `rhs`[b…,k…,n…]. The indexing maps give each operand's dimensions in terms of the
    loops: a loop that all three have is a batch, one of lhs and sums an m, one of rhs and sums an n, one of lhs and rhs a k.
    The lhs map may add loops (a convolution's window); the others are projected permutations. Integers are exact; floats
    are multiplied exactly and accumulated in f32.

    ```mlir
    npu.contract %x, %w, %y maps [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
        : memref<16x384xf16, #npu.space<scratchpad>>, memref<128x384xf16, #npu.space<scratchpad>>, memref<16x128xf32, #npu.space<accumulator>>
    ```
  }];
  let arguments = (ins Arg<AnyMemRef, "", [MemRead]>:$lhs, Arg<AnyMemRef, "", [MemRead]>:$rhs,
                       Arg<AnyMemRef, "", [MemRead, MemWrite]>:$sums, AffineMapArrayAttr:$maps);
  let assemblyFormat = "$lhs `,` $rhs `,` $sums `maps` $maps attr-dict `:` type($lhs) `,` type($rhs) `,` type($sums)";
  let hasVerifier = 1;
}

def Npu_VectorOp : Npu_Op<"vector", [AttrSizedOperandSegments]> {
  let summary = "runs a program for each element of a loop nest on the vector engine";
  let description = [{
    As `linalg.generic` on buffers: the body runs for every point of the loops, `inputs` are read and `outputs` written through
    their indexing maps. An output that lacks a loop is a reduction: its body yields the combination (arith.addf, addi, maximumf,
    minimumf, …) of the output's old value, its last block arguments, and a value. The body may use index values from outside: they
    are constants of each command.

    ```mlir
    npu.vector ins(%x : memref<16x384xf32, #npu.space<scratchpad>>) outs(%m : memref<16xf32, #npu.space<scratchpad>>)
        maps [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>] {
    ^bb0(%a: f32, %b: f32):
      %c = arith.maximumf %a, %b : f32
      npu.yield %c : f32
    }
    ```
  }];
  let arguments = (ins Arg<Variadic<AnyMemRef>, "", [MemRead]>:$inputs, Arg<Variadic<AnyMemRef>, "", [MemRead, MemWrite]>:$outputs,
                       AffineMapArrayAttr:$maps);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`ins` `(` $inputs^ `:` type($inputs) `)`)? `outs` `(` $outputs `:` type($outputs) `)` `maps` $maps $body attr-dict
  }];
  let hasVerifier = 1;
}

def Npu_IndexOp : Npu_Op<"index", [Pure, HasParent<"VectorOp">]> {
  let summary = "the index of a loop of the enclosing npu.vector, in the whole operator";
  let description = [{
    The position in loop `loop`, plus `offset`: where this tile begins in the operator that it is a tile of.
  }];
  let arguments = (ins I64Attr:$loop);
  let results = (outs Index:$result);
  let assemblyFormat = "$loop attr-dict";
}

def Npu_YieldOp : Npu_Op<"yield", [Pure, Terminator, HasParent<"VectorOp">]> {
  let summary = "ends the body of npu.vector";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

#endif
