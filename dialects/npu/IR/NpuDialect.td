// The npu dialect: a tile program for any NPU.
#ifndef NPUC_DIALECTS_NPU_IR_NPUDIALECT_TD
#define NPUC_DIALECTS_NPU_IR_NPUDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/Dialect/SCF/IR/DeviceMappingInterface.td"
include "mlir/IR/EnumAttr.td"

def Npu_Dialect : Dialect {
  let name = "npu";
  let cppNamespace = "::npuc::npu";
  let summary = "Tile programs for any NPU: memrefs in memory spaces, copies, commands of engines";
  let description = [{
    A function holds `scf.forall` loops over the grid of cores, `scf.for` loops over tiles, allocations in memory spaces, and
    the operations below. The meaning is that of plain sequential code: there are no tokens and no semaphores, and what may
    run at once follows from who reads and writes which buffer.

    Inside an `scf.forall` each iteration is one core's part; an allocation there is private to it. An allocation outside
    belongs to no iteration: it is in DRAM, in shared memory, or cut into equal shards over the cores' scratchpads. Only
    `npu.copy` and `npu.gather` reach memory that is not the core's own.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
  let useDefaultAttributePrinterParser = 1;
}

def Npu_MemorySpace : I32EnumAttr<"MemorySpace", "where a buffer lives", [
    I32EnumAttrCase<"Dram", 0, "dram">,
    I32EnumAttrCase<"Shared", 1, "shared">,
    I32EnumAttrCase<"Scratchpad", 2, "scratchpad">,
    I32EnumAttrCase<"Accumulator", 3, "accumulator">]> {
  let cppNamespace = "::npuc::npu";
  let genSpecializedAttr = 0;
}

def Npu_SpaceAttr : AttrDef<Npu_Dialect, "Space"> {
  let mnemonic = "space";
  let summary = "memory space of a buffer";
  let description = [{
    `#npu.space<scratchpad>` is the executing core's own memory. `#npu.space<scratchpad, chunk = 6144>` is a buffer of all
    cores: its elements in row-major order, cut into runs of 6144 (the last may be shorter), run i in core i's scratchpad.

    The runs are counted in row-major order, not by dimension, so that any reshape of a sharded buffer is a view of it; a
    cut across columns is a buffer whose leading dimension is the block of columns.
  }];
  let parameters = (ins EnumParameter<Npu_MemorySpace>:$value, DefaultValuedParameter<"int64_t", "0">:$chunk);
  let assemblyFormat = "`<` $value (`,` `chunk` `=` $chunk^)? `>`";
  let genVerifyDecl = 1;
  let builders = [AttrBuilder<(ins "MemorySpace":$value), [{ return $_get($_ctxt, value, 0); }]>];
}

def Npu_CoreAttr : AttrDef<Npu_Dialect, "Core", [DeclareAttrInterfaceMethods<DeviceMappingAttrInterface>]> {
  let mnemonic = "core";
  let summary = "maps a dimension of scf.forall to the grid of cores";
  let description = [{
    The iteration (i0, i1, …) of a mapped loop runs on the core of the row-major index of (i0, i1, …) in the loop's bounds.
  }];
  let parameters = (ins "int64_t":$dimension);
  let assemblyFormat = "`<` $dimension `>`";
}

#endif
