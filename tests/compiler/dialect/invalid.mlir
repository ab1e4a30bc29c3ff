// What each op, type and attribute of the dialect refuses.
// RUN: tilejit opt --split-input-file --verify-diagnostics %s

func.func @program_id() {
  // expected-error @+1 {{axis must be 0, 1 or 2, not 3}}
  %x = tile.program_id 3
  return
}

// -----
func.func @size(%v: !tile.view<4xf32, strides = [1], align = 4>) {
  // expected-error @+1 {{dim 1 of '!tile.view<4xf32}}
  %x = tile.size %v, 1 : !tile.view<4xf32, strides = [1], align = 4>
  return
}

// -----
// expected-error @+1 {{one stride a dim, here 1 for 2}}
func.func @strides(%v: !tile.view<4x4xf32, strides = [1], align = 4>) { return }

// -----
// expected-error @+1 {{align must be a power of two, not 12}}
func.func @align(%v: !tile.view<4xf32, strides = [1], align = 12>) { return }

// -----
// expected-error @+1 {{a view's elements are integers or floats}}
func.func @elements(%v: !tile.view<4xindex, strides = [1], align = 4>) { return }

// -----
// expected-error @+1 {{five bits, not 3}}
func.func @layout(%x: tensor<8xf32, #tile.layout<"i:8 | lane i1 i2 i4">>) { return }

// -----
func.func @iota() {
  // expected-error @+1 {{makes a tile of one dim of i32}}
  %x = tile.iota : tensor<4x4xi32>
  return
}

// -----
func.func @splat(%s: f32) {
  // expected-error @+1 {{of 'f32' can't make 'tensor<4xf16>'}}
  %x = tile.splat %s : f32 -> tensor<4xf16>
  return
}

// -----
func.func @to_scalar(%x: tensor<4xf32>) {
  // expected-error @+1 {{of 'tensor<4xf32>' can't make 'f32'}}
  %s = tile.to_scalar %x : tensor<4xf32> -> f32
  return
}

// -----
func.func @expand_dims(%x: tensor<4xf32>) {
  // expected-error @+1 {{at dim 0 is not 'tensor<4x1xf32>'}}
  %y = tile.expand_dims %x, 0 : tensor<4xf32> -> tensor<4x1xf32>
  return
}

// -----
func.func @broadcast(%x: tensor<4x2xf32>) {
  // expected-error @+1 {{'tensor<4x2xf32>' does not broadcast to 'tensor<4x4xf32>'}}
  %y = tile.broadcast %x : tensor<4x2xf32> -> tensor<4x4xf32>
  return
}

// -----
func.func @transpose(%x: tensor<4x2xf32>) {
  // expected-error @+1 {{does not transpose to 'tensor<4x2xf32>'}}
  %y = tile.transpose %x, [1, 0] : tensor<4x2xf32> -> tensor<4x2xf32>
  return
}

// -----
func.func @reduce_axis(%x: tensor<4x2xf32>) {
  // expected-error @+1 {{axis 2 of 'tensor<4x2xf32>'}}
  %y = tile.reduce %x axis 2 : (tensor<4x2xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32, %b: f32):
    tile.yield %a : f32
  }
  return
}

// -----
func.func @reduce_shape(%x: tensor<4x2xf32>) {
  // expected-error @+1 {{operand 0: 'tensor<4x2xf32>' to 'tensor<4xf32>'}}
  %y = tile.reduce %x axis 0 : (tensor<4x2xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32, %b: f32):
    tile.yield %a : f32
  }
  return
}

// -----
func.func @reduce_yield(%x: tensor<4x2xf32>) {
  // expected-error @+1 {{must yield a 'f32' for operand 0}}
  %y = tile.reduce %x axis 1 : (tensor<4x2xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.cmpf olt, %a, %b : f32
    tile.yield %c : i1
  }
  return
}

// -----
func.func @dot_sizes(%a: tensor<16x8xbf16>, %b: tensor<8x8xbf16>, %c: tensor<16x8xf32>) {
  // expected-error @+1 {{needs M a multiple of 16, N of 8 and K of 16, not 16, 8, 8}}
  %d = tile.dot %a, %b, %c : tensor<16x8xbf16>, tensor<8x8xbf16> -> tensor<16x8xf32>
  return
}

// -----
func.func @dot_types(%a: tensor<16x16xbf16>, %b: tensor<16x8xf16>, %c: tensor<16x8xf32>) {
  // expected-error @+1 {{operands are both bf16, f16 or f32, not 'bf16' and 'f16'}}
  %d = tile.dot %a, %b, %c : tensor<16x16xbf16>, tensor<16x8xf16> -> tensor<16x8xf32>
  return
}

// -----
func.func @dot_acc(%a: tensor<16x16xbf16>, %b: tensor<16x8xbf16>, %c: tensor<16x8xbf16>) {
  // expected-error @+1 {{accumulates in f32}}
  %d = tile.dot %a, %b, %c : tensor<16x16xbf16>, tensor<16x8xbf16> -> tensor<16x8xbf16>
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @indices(%v: !v, %i: i32) {
  // expected-error @+1 {{one index for each of the view's 2 dims, not 1}}
  %x = tile.load %v[%i] dims [0] : !v -> tensor<4xf32>
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @dims(%v: !v, %i: i32) {
  // expected-error @+1 {{dims must be distinct dims of the view}}
  %x = tile.load %v[%i, %i] dims [1, 1] : !v -> tensor<4x4xf32>
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @rank(%v: !v, %i: i32) {
  // expected-error @+1 {{one view dim for each of the tile's 2 dims}}
  %x = tile.load %v[%i, %i] dims [1] : !v -> tensor<4x4xf32>
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @store_type(%v: !v, %i: i32, %x: tensor<4xf16>) {
  // expected-error @+1 {{element types differ: 'tensor<4xf16>' and}}
  tile.store %x, %v[%i, %i] dims [1] : tensor<4xf16> -> !v
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @mask(%v: !v, %i: i32, %m: tensor<2xi1>) {
  // expected-error @+1 {{mask must be an i1 tile of the same shape, not 'tensor<2xi1>'}}
  %x = tile.load %v[%i, %i] dims [1] mask %m : tensor<2xi1> : !v -> tensor<4xf32>
  return
}

// -----
!v = !tile.view<4x4xf32, strides = [4, 1], align = 16>
func.func @other(%v: !v, %i: i32, %o: f16) {
  // expected-error @+1 {{other must be a 'f32'}}
  %x = tile.load %v[%i, %i] dims [1] other %o : f16 : !v -> tensor<4xf32>
  return
}

// -----
func.func @convert(%x: tensor<32xf32>) {
  // expected-error @+1 {{needs a layout on 'tensor<32xf32>'}}
  %y = tile.convert %x : tensor<32xf32> -> tensor<32xf32, #tile.layout<"i:32 | lane i1 i2 i4 i8 i16">>
  return
}

// -----
func.func @shared_load(%x: !tile.shared<32xf32, "i:32 | offset i1 i2 i4 i8 i16">) {
  // expected-error @+1 {{shapes or element types differ}}
  %y = tile.shared_load %x : !tile.shared<32xf32, "i:32 | offset i1 i2 i4 i8 i16"> -> tensor<32xf16, #tile.layout<"i:32 | lane i1 i2 i4 i8 i16">>
  return
}

// -----
!ring = !tile.shared<4xf32, "i:4 | offset i1 i2", slots = 2>
func.func @slot(%r: !ring, %i: i32) {
  // expected-error @+1 {{is not '!tile.shared<4xf32, "i:4 | offset i2 i1">'}}
  %t = tile.slot %r[%i] : !ring -> !tile.shared<4xf32, "i:4 | offset i2 i1">
  return
}

// -----
// expected-error @+1 {{tile.warps must be an i32 from 1 to 32}}
func.func @warps() attributes {tile.kernel, tile.warps = 64 : i32} { return }
