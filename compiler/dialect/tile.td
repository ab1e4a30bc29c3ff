//===- tile.td - the tile dialect ---------------------------------------------------------------------------------===//
//
// A tile is a builtin `tensor` of static shape. Elementwise work is upstream `arith` and `math` on such tensors, control
// flow is `scf`, a kernel is a `func.func`; the dialect adds what those lack. Two levels share it:
//
//   level 1, the tile program   `tensor<64x80xf32>`: shape and element type, nothing else. No thread, no shared memory.
//   level 2, the placed program `tensor<64x80xf32, #tile.layout<"...">>`: every tile says which register of which
//                               lane of which warp holds each element; shared tiles, asynchronous copies and barriers
//                               are ops of their own.
//
// An op is legal at both levels unless its description says "level 2". Layouts are those of compiler/layout/layout.h;
// dims of a tile are named i, j, k, l, m in order.
//
// Scalars: coordinates, sizes and loop counters are i32; addresses and strides are 64-bit and appear only when a memory
// op is lowered ("64-bit offsets"). A launch refuses tensors with a size above 2^31 - 2^24, so that
// an index may step past an end.
//===--------------------------------------------------------------------------------------------------------------===//
#ifndef TILEJIT_TILE_TD
#define TILEJIT_TILE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::tilejit::tile";
  let summary = "Programs over tiles, before and after the tiles have a place";
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===- attributes -------------------------------------------------------------------------------------------------===//

def Tile_LayoutAttr : AttrDef<Tile_Dialect, "Layout"> {
  let mnemonic = "layout";
  let summary = "where each element of a tile lives";
  let description = [{
    The encoding of a placed tile's tensor type, e.g.
    `#tile.layout<"i:16 j:8 | reg j1 i8 | lane j2 j4 i1 i2 i4">`. Uniqued by value: two attributes are equal exactly
    when the layouts are the same function.
  }];
  let parameters = (ins AttrParameter<"::tilejit::layout::Layout", "the layout">:$value);
  let hasCustomAssemblyFormat = 1;
}

def Tile_Precision : I32EnumAttr<"Precision", "how a product of 32-bit floats uses the tensor core", [
    I32EnumAttrCase<"tf32", 0>,     // one product, operands rounded to 11 bits of mantissa
    I32EnumAttrCase<"tf32x3", 1>]> { // three products of split operands: error of about 2^-22, "exact" for f32
  let cppNamespace = "::tilejit::tile";
}

//===- types ------------------------------------------------------------------------------------------------------===//

class Tile_Type<string name, string typeMnemonic> : TypeDef<Tile_Dialect, name> { let mnemonic = typeMnemonic; }

def Tile_ViewType : Tile_Type<"View", "view"> {
  let summary = "a strided tensor in global memory, an argument of the kernel";
  let description = [{
    `!tile.view<?x?x32x128xbf16, strides = [?, ?, 128, 1], align = 16>`. Sizes and strides count elements, `?` is not
    known before the launch. `align` bytes divide the address, every dynamic stride and, where it is dynamic, the size
    of the dim whose stride is 1. A view becomes kernel parameters in this order: pointer (i64), the dynamic sizes
    (i32), the dynamic strides (i64).
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, ArrayRefParameter<"int64_t">:$strides,
                        "::mlir::Type":$elementType, "unsigned":$align);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    unsigned getRank() const { return getShape().size(); }
    /// The dim whose stride is known to be 1, the last one if there are several; -1 if there is none.
    int getContiguousDim() const;
  }];
}

def Tile_SharedType : Tile_Type<"Shared", "shared"> {
  let summary = "a tile in shared memory, or a ring of them (level 2)";
  let description = [{
    `!tile.shared<64x128xbf16, "i:64 j:128 | offset ...">` or, a ring of three,
    `!tile.shared<64x128xbf16, "...", slots = 3>`. The layout maps offsets (in elements) to coordinates; slots lie one
    after the other, `slot_bytes` apart.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType,
                        AttrParameter<"::tilejit::layout::Layout", "where each element lies">:$layout, "unsigned":$slots);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// Bytes of one slot, rounded up to 1024 where there are several, so that each keeps the swizzle's phase.
    uint64_t getSlotBytes() const;
    uint64_t getBytes() const { return getSlotBytes() * getSlots(); }
  }];
}

//===- ops --------------------------------------------------------------------------------------------------------===//

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;

def Tile_Tile : Type<CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">, "tile", "::mlir::RankedTensorType">;
def Tile_TileOrShared : Type<Or<[Tile_Tile.predicate, CPred<"::llvm::isa<::tilejit::tile::SharedType>($_self)">]>,
                                       "tile or shared tile">;

// ---- scalars ----------------------------------------------------------------------------------------------------

def Tile_ProgramIdOp : Tile_Op<"program_id", [Pure]> {
  let summary = "this block's number along an axis of the grid (0 to 2)";
  let arguments = (ins I32Attr:$axis);
  let results = (outs I32:$result);
  let assemblyFormat = "$axis attr-dict";
  let hasVerifier = 1;
}

def Tile_SizeOp : Tile_Op<"size", [Pure]> {
  let summary = "a view's size along a dim, as i32";
  let arguments = (ins Tile_ViewType:$view, I32Attr:$dim);
  let results = (outs I32:$result);
  let assemblyFormat = "$view `,` $dim attr-dict `:` type($view)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

// ---- shape ------------------------------------------------------------------------------------------------------

def Tile_IotaOp : Tile_Op<"iota", [Pure]> {
  let summary = "0, 1, 2, ... of i32, one dim";
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_SplatOp : Tile_Op<"splat", [Pure]> {
  let summary = "a tile whose elements are all one scalar";
  let arguments = (ins AnyType:$scalar);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$scalar attr-dict `:` type($scalar) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_ToScalarOp : Tile_Op<"to_scalar", [Pure]> {
  let summary = "the one element of a tile of rank 0, such as a reduction of all its dims gives; every thread has it";
  let arguments = (ins Tile_Tile:$source);
  let results = (outs AnyType:$scalar);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($scalar)";
  let hasVerifier = 1;
}

def Tile_ExpandDimsOp : Tile_Op<"expand_dims", [Pure]> {
  let summary = "inserts a dim of size 1 before `dim`: 64 -> 64x1 with dim = 1";
  let arguments = (ins Tile_Tile:$source, I32Attr:$dim);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$source `,` $dim attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_BroadcastOp : Tile_Op<"broadcast", [Pure]> {
  let summary = "repeats along dims of size 1: 64x1 -> 64x80";
  let arguments = (ins Tile_Tile:$source);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_TransposeOp : Tile_Op<"transpose", [Pure]> {
  let summary = "permutes dims: dim d of the result is dim permutation[d] of the source; of a shared tile, a view";
  let arguments = (ins Tile_TileOrShared:$source, DenseI32ArrayAttr:$permutation);
  let results = (outs Tile_TileOrShared:$result);
  let assemblyFormat = "$source `,` $permutation attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

// ---- arithmetic that arith and math lack ------------------------------------------------------------------------

def Tile_ReduceOp : Tile_Op<"reduce", [AttrSizedOperandSegments, SingleBlock, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "combines the elements along `axis`, any number of tiles at once";
  let description = [{
    The region is the combine function: for n sources it takes 2n scalars (n accumulated, n new) and yields n. It must
    be associative and commutative. The axis is dropped from the results.

    ```mlir
    %m = tile.reduce %s axis 1 : (tensor<64x80xf32>) -> (tensor<64xf32>) {
    ^bb0(%a: f32, %b: f32):
      %c = arith.maximumf %a, %b : f32
      tile.yield %c : f32
    }
    ```
    Level 2: where the axis is spread over warps they exchange partial results through `scratch`, one shared tile for
    each source: of the source's shape, but along the axis one element for each warp (layout::Reduction::partial and
    `gathered` say where registers hold them before and after).
  }];
  let arguments = (ins Variadic<Tile_Tile>:$sources, Variadic<Tile_SharedType>:$scratch, I32Attr:$axis);
  let results = (outs Variadic<Tile_Tile>:$results);
  let regions = (region SizedRegion<1>:$combine);
  let assemblyFormat = [{
    $sources `axis` $axis (`scratch` $scratch^ `:` type($scratch))? attr-dict `:` functional-type($sources, $results) $combine
  }];
  let hasVerifier = 1;
}

def Tile_YieldOp : Tile_Op<"yield", [Pure, Terminator, ParentOneOf<["ReduceOp"]>]> {
  let summary = "ends a combine function";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

def Tile_DotOp : Tile_Op<"dot", [Pure, AllTypesMatch<["acc", "result"]>]> {
  let summary = "acc + a * b: MxK times KxN, products accumulated in f32";
  let description = [{
    a and b have one element type: bf16, f16 or f32 (`precision` says how f32 is multiplied). M is a multiple of 16, N
    of 8, K of 16 (8 for f32).

    Level 2: acc and result have a matrix instruction's accumulator layout, a tile operand has the matching operand
    layout. An operand may also be a shared tile, which the instruction's fragments are loaded from step by step.
  }];
  let arguments = (ins Tile_TileOrShared:$a, Tile_TileOrShared:$b, Tile_Tile:$acc,
                       DefaultValuedAttr<Tile_Precision, "::tilejit::tile::Precision::tf32">:$precision);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$a `,` $b `,` $acc attr-dict `:` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}

// ---- global memory ----------------------------------------------------------------------------------------------

def Tile_LoadOp : Tile_Op<"load", [AttrSizedOperandSegments, MemoryEffects<[MemRead]>]> {
  let summary = "a tile of a view, zero (or `other`) outside the view";
  let description = [{
    `indices` has one i32 for each dim of the view: the view coordinate of the tile's element 0. Tile dim d runs along
    view dim `dims[d]`; all other view dims stay at their index. Elements outside the view in any tile dim, and elements
    whose `mask` is false, are not read and become `other`, or 0 where there is none.

    `%k = tile.load %K[%b, %n, %h, %c0] dims [1, 3] : !tile.view<...> -> tensor<64x128xbf16>`
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<I32>:$indices, Optional<Tile_Tile>:$mask,
                       Optional<AnyType>:$other, DenseI32ArrayAttr:$dims);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = [{
    $view `[` $indices `]` `dims` $dims (`mask` $mask^ `:` type($mask))? (`other` $other^ `:` type($other))?
    attr-dict `:` type($view) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Tile_StoreOp : Tile_Op<"store", [AttrSizedOperandSegments, MemoryEffects<[MemWrite]>]> {
  let summary = "writes a tile into a view; elements outside the view or with a false mask are dropped";
  let arguments = (ins Tile_Tile:$value, Tile_ViewType:$view, Variadic<I32>:$indices, Optional<Tile_Tile>:$mask,
                       DenseI32ArrayAttr:$dims);
  let assemblyFormat = [{
    $value `,` $view `[` $indices `]` `dims` $dims (`mask` $mask^ `:` type($mask))?
    attr-dict `:` type($value) `->` type($view)
  }];
  let hasVerifier = 1;
}

// ---- level 2: layouts -------------------------------------------------------------------------------------------

def Tile_ConvertOp : Tile_Op<"convert", [Pure]> {
  let summary = "the same tile in another layout (level 2)";
  let description = [{
    The one op that changes a layout. After `lower-conversions` only those remain that need no shared memory: renamings
    of registers, selects and shuffles.
  }];
  let arguments = (ins Tile_Tile:$source);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

// ---- level 2: shared memory -------------------------------------------------------------------------------------

def Tile_AllocOp : Tile_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "shared memory for a tile or a ring (level 2)";
  let description = "`offset` is its place in the block's dynamic shared memory in bytes, set by `allocate-shared`.";
  let arguments = (ins OptionalAttr<I64Attr>:$offset);
  let results = (outs Tile_SharedType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Tile_SlotOp : Tile_Op<"slot", [Pure]> {
  let summary = "one slot of a ring (level 2)";
  let arguments = (ins Tile_SharedType:$ring, I32:$index);
  let results = (outs Tile_SharedType:$result);
  let assemblyFormat = "$ring `[` $index `]` attr-dict `:` type($ring) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_SharedLoadOp : Tile_Op<"shared_load", [MemoryEffects<[MemRead]>]> {
  let summary = "registers <- shared tile; by ldmatrix where the two layouts allow it (level 2)";
  let arguments = (ins Tile_SharedType:$source);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_SharedStoreOp : Tile_Op<"shared_store", [MemoryEffects<[MemWrite]>]> {
  let summary = "shared tile <- registers (level 2)";
  let arguments = (ins Tile_Tile:$value, Tile_SharedType:$target);
  let assemblyFormat = "$value `,` $target attr-dict `:` type($value) `->` type($target)";
  let hasVerifier = 1;
}

def Tile_CopyAsyncOp : Tile_Op<"copy_async", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "global -> shared without registers (cp.async), zero outside the view (level 2)";
  let description = [{
    `threads` is the layout of the copying threads: the registers of a lane are the elements that it copies. Where
    `enable` is false nothing is read or written. Complete after a `tile.wait` that covers its group.
  }];
  let arguments = (ins Tile_ViewType:$view, Variadic<I32>:$indices, Tile_SharedType:$target, I1:$enable,
                       DenseI32ArrayAttr:$dims, Tile_LayoutAttr:$threads);
  let assemblyFormat = [{
    $view `[` $indices `]` `dims` $dims `,` $target `if` $enable `threads` $threads
    attr-dict `:` type($view) `->` type($target)
  }];
  let hasVerifier = 1;
}

def Tile_CommitOp : Tile_Op<"commit", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "ends a group of asynchronous copies (level 2)";
  let assemblyFormat = "attr-dict";
}

def Tile_WaitOp : Tile_Op<"wait", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "waits until at most `pending` of this thread's newest copy groups are unfinished (level 2)";
  let arguments = (ins I32Attr:$pending);
  let assemblyFormat = "$pending attr-dict";
}

def Tile_BarrierOp : Tile_Op<"barrier", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "all threads of the block meet; shared memory written before is seen after (level 2)";
  let assemblyFormat = "attr-dict";
}

#endif // TILEJIT_TILE_TD
