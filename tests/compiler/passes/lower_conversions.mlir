// RUN: tilejit opt --lower-conversions --split-input-file --verify-diagnostics %s | FileCheck %s

#rows = #tile.layout<"i:64 j:16 | reg j1 j2 j4 j8 | lane i1 i2 i4 i8 i16 | warp i32">
#columns = #tile.layout<"i:64 j:16 | reg i1 i2 i4 i8 | lane i16 i32 j1 j2 j4 | warp j8">
#renamed = #tile.layout<"i:64 j:16 | reg j8 j4 j2 j1 | lane i1 i2 i4 i8 i16 | warp i32">

// Across warps: through a shared tile.
// CHECK-LABEL: func.func @memory
func.func @memory(%x: tensor<64x16xf32, #rows>) -> tensor<64x16xf32, #columns> attributes {tile.kernel, tile.warps = 2 : i32} {
  // CHECK: %[[TILE:.*]] = tile.alloc
  // CHECK: tile.shared_store %arg0, %[[TILE]]
  // CHECK: tile.shared_load %[[TILE]]
  // CHECK-NOT: tile.convert
  %y = tile.convert %x : tensor<64x16xf32, #rows> -> tensor<64x16xf32, #columns>
  return %y : tensor<64x16xf32, #columns>
}

// Within a thread: stays, no memory.
// CHECK-LABEL: func.func @rename
// CHECK-NOT: tile.alloc
func.func @rename(%x: tensor<64x16xf32, #rows>) -> tensor<64x16xf32, #renamed> attributes {tile.kernel, tile.warps = 2 : i32} {
  // CHECK: tile.convert
  %y = tile.convert %x : tensor<64x16xf32, #rows> -> tensor<64x16xf32, #renamed>
  return %y : tensor<64x16xf32, #renamed>
}

// A reduction whose axis is spread over two warps gets scratch of two elements a row.
// CHECK-LABEL: func.func @reduce
func.func @reduce(%x: tensor<64x16xf32, #columns>) -> tensor<64xf32, #tile.layout<"i:64 | reg i1 i2 i4 i8 | lane i16 i32 ~ ~ ~ | warp ~">>
    attributes {tile.kernel, tile.warps = 2 : i32} {
  // CHECK: %[[SCRATCH:.*]] = tile.alloc : <64x2xf32
  // CHECK: tile.reduce %arg0 axis 1 scratch %[[SCRATCH]]
  %y = tile.reduce %x axis 1 : (tensor<64x16xf32, #columns>) -> tensor<64xf32, #tile.layout<"i:64 | reg i1 i2 i4 i8 | lane i16 i32 ~ ~ ~ | warp ~">> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %b : f32
    tile.yield %c : f32
  }
  return %y : tensor<64xf32, #tile.layout<"i:64 | reg i1 i2 i4 i8 | lane i16 i32 ~ ~ ~ | warp ~">>
}

#other_lanes = #tile.layout<"i:64 j:16 | reg j1 j2 j4 j8 | lane i16 i8 i4 i2 i1 | warp i32">

// Between lanes of a warp: stays, for shuffles.
// CHECK-LABEL: func.func @shuffle
// CHECK-NOT: tile.alloc
func.func @shuffle(%x: tensor<64x16xf32, #rows>) -> tensor<64x16xf32, #other_lanes> attributes {tile.kernel, tile.warps = 2 : i32} {
  // CHECK: tile.convert
  %y = tile.convert %x : tensor<64x16xf32, #rows> -> tensor<64x16xf32, #other_lanes>
  return %y : tensor<64x16xf32, #other_lanes>
}

// A reduction within warps needs no scratch.
// CHECK-LABEL: func.func @reduce_in_warp
// CHECK-NOT: tile.alloc
func.func @reduce_in_warp(%x: tensor<64x16xf32, #rows>) -> tensor<64xf32, #tile.layout<"i:64 | lane i1 i2 i4 i8 i16 | warp i32">>
    attributes {tile.kernel, tile.warps = 2 : i32} {
  // CHECK: tile.reduce %arg0 axis 1 :
  %y = tile.reduce %x axis 1 : (tensor<64x16xf32, #rows>) -> tensor<64xf32, #tile.layout<"i:64 | lane i1 i2 i4 i8 i16 | warp i32">> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %b : f32
    tile.yield %c : f32
  }
  return %y : tensor<64xf32, #tile.layout<"i:64 | lane i1 i2 i4 i8 i16 | warp i32">>
}

// -----

#mixed = #tile.layout<"i:2 j:16 | lane i1^j1 j2 j4 j8 j1">

// expected-error @+1 {{a reduction's source has a layout that mixes dims}}
func.func @mixed(%x: tensor<2x16xf32, #mixed>) -> tensor<16xf32, #tile.layout<"i:16 | lane i1 i2 i4 i8 ~">>
    attributes {tile.kernel, tile.warps = 1 : i32} {
  %y = tile.reduce %x axis 0 : (tensor<2x16xf32, #mixed>) -> tensor<16xf32, #tile.layout<"i:16 | lane i1 i2 i4 i8 ~">> {
  ^bb0(%a: f32, %b: f32):
    tile.yield %a : f32
  }
  return %y : tensor<16xf32, #tile.layout<"i:16 | lane i1 i2 i4 i8 ~">>
}
