// RUN: tilejit opt --to-llvm --split-input-file --verify-diagnostics %s

// expected-error @+1 {{the lowering does not know 'math.sin'}}
func.func @unknown(%x: f32) attributes {tile.kernel, tile.warps = 1 : i32} {
  %y = math.sin %x : f32
  return
}

// -----
// expected-error @+1 {{the lowering has no 'math.exp' of f64: use f32}}
func.func @f64(%x: f64) attributes {tile.kernel, tile.warps = 1 : i32} {
  %y = math.exp %x : f64
  return
}

// -----
#two = #tile.layout<"i:2 | reg i1 | lane ~ ~ ~ ~ ~">
// expected-error @+1 {{a tile constant must have one value in all elements}}
func.func @constant() attributes {tile.kernel, tile.warps = 1 : i32} {
  %x = arith.constant dense<[1.0, 2.0]> : tensor<2xf32, #two>
  return
}

// -----
#own = #tile.layout<"i:32 | lane i1 i2 i4 i8 i16">
// expected-error @+1 {{a shared tile has no place yet: run allocate-shared first}}
func.func @no_place(%v: f32) attributes {tile.kernel, tile.warps = 1 : i32} {
  %t = tile.alloc : !tile.shared<32xf32, "i:32 | offset i1 i2 i4 i8 i16">
  %x = tile.splat %v : f32 -> tensor<32xf32, #own>
  tile.shared_store %x, %t : tensor<32xf32, #own> -> !tile.shared<32xf32, "i:32 | offset i1 i2 i4 i8 i16">
  return
}

// -----
#own = #tile.layout<"i:64 | lane i1 i2 i4 i8 i16 | warp i32">
// expected-error @+1 {{a reduction across warps has no scratch: run lower-conversions first}}
func.func @no_scratch(%v: f32) attributes {tile.kernel, tile.warps = 2 : i32} {
  %x = tile.splat %v : f32 -> tensor<64xf32, #own>
  %r = tile.reduce %x axis 0 : (tensor<64xf32, #own>) -> tensor<f32, #tile.layout<" | lane ~ ~ ~ ~ ~ | warp ~">> {
  ^bb0(%a: f32, %b: f32):
    tile.yield %a : f32
  }
  return
}
