// RUN: tilejit opt --place %s | FileCheck %s

// A product's accumulator has the instruction's layout, its operands are converted to the fragments that match, and the
// row statistics live in the slice of it: no conversion between softmax and the second product.
// CHECK-LABEL: func.func @softmax_product
func.func @softmax_product(%q: !tile.view<?x64xbf16, strides = [?, 1], align = 16>,
                           %k: !tile.view<?x64xbf16, strides = [?, 1], align = 16>,
                           %o: !tile.view<?x64xf32, strides = [?, 1], align = 16>)
    attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %qt = tile.load %q[%c0, %c0] dims [0, 1] : !tile.view<?x64xbf16, strides = [?, 1], align = 16> -> tensor<64x64xbf16>
  %kt = tile.load %k[%c0, %c0] dims [0, 1] : !tile.view<?x64xbf16, strides = [?, 1], align = 16> -> tensor<64x64xbf16>
  %ktt = tile.transpose %kt, [1, 0] : tensor<64x64xbf16> -> tensor<64x64xbf16>
  // CHECK: tile.dot {{.*}} -> tensor<64x64xf32, #tile.layout<"i:64 j:64 | reg j1 i8 j8 j16 j32 | lane j2 j4 i1 i2 i4 | warp i16 i32">>
  %s = tile.dot %qt, %ktt, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  // CHECK: tile.reduce {{.*}} -> tensor<64xf32, #tile.layout<"i:64 | reg i8 | lane ~ ~ i1 i2 i4 | warp i16 i32">>
  %m = tile.reduce %s axis 1 : (tensor<64x64xf32>) -> tensor<64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.maximumf %a, %b : f32
    tile.yield %c : f32
  }
  // CHECK-NOT: tile.convert
  // CHECK: math.exp2
  %m1 = tile.expand_dims %m, 1 : tensor<64xf32> -> tensor<64x1xf32>
  %mb = tile.broadcast %m1 : tensor<64x1xf32> -> tensor<64x64xf32>
  %d = arith.subf %s, %mb : tensor<64x64xf32>
  %e = math.exp2 %d : tensor<64x64xf32>
  %p = arith.truncf %e : tensor<64x64xf32> to tensor<64x64xbf16>
  // The probabilities are the operand of the second product where they are.
  // CHECK: %[[P:.*]] = arith.truncf
  // CHECK-NEXT: tile.dot %[[P]]
  %r = tile.dot %p, %kt, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  tile.store %r, %o[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !tile.view<?x64xf32, strides = [?, 1], align = 16>
  return
}

// Elementwise programs keep their coalesced loads throughout; a constant takes whatever place its user has.
// CHECK-LABEL: func.func @elementwise
func.func @elementwise(%x: !tile.view<?xf32, strides = [1], align = 16>) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %half = arith.constant dense<0.5> : tensor<1024xf32>
  // CHECK: tile.load {{.*}} -> tensor<1024xf32, #tile.layout<"i:1024 | reg i1 i2 i512 | lane i4 i8 i16 i32 i64 | warp i128 i256">>
  %a = tile.load %x[%c0] dims [0] : !tile.view<?xf32, strides = [1], align = 16> -> tensor<1024xf32>
  // CHECK-NOT: tile.convert
  %b = arith.mulf %a, %half : tensor<1024xf32>
  tile.store %b, %x[%c0] dims [0] : tensor<1024xf32> -> !tile.view<?xf32, strides = [1], align = 16>
  return
}

// A value that a loop carries is one choice: the accumulator's place from the start, no conversion in the loop.
// CHECK-LABEL: func.func @carried
func.func @carried(%x: !tile.view<?x16xbf16, strides = [?, 1], align = 16>, %o: !tile.view<?x64xf32, strides = [?, 1], align = 16>, %n: i32)
    attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %a = tile.load %x[%c0, %c0] dims [0, 1] : !tile.view<?x16xbf16, strides = [?, 1], align = 16> -> tensor<64x16xbf16>
  %t = tile.transpose %a, [1, 0] : tensor<64x16xbf16> -> tensor<16x64xbf16>
  // The operands are converted once, before it.
  // CHECK-COUNT-2: tile.convert
  // CHECK: scf.for {{.*}} -> (tensor<64x64xf32, #tile.layout<"i:64 j:64 | reg j1 i8 j8 j16 j32 | lane j2 j4 i1 i2 i4 | warp i16 i32">>)
  // CHECK-NOT: tile.convert
  // CHECK: scf.yield
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (tensor<64x64xf32>) : i32 {
    %doubled = arith.addf %acc, %acc : tensor<64x64xf32>
    %next = tile.dot %a, %t, %doubled : tensor<64x16xbf16>, tensor<16x64xbf16> -> tensor<64x64xf32>
    scf.yield %next : tensor<64x64xf32>
  }
  tile.store %r, %o[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !tile.view<?x64xf32, strides = [?, 1], align = 16>
  return
}

// Where the places of a value and of its user differ stands a conversion: one here, so that the loads run along rows of x
// and the stores along rows of y.
// CHECK-LABEL: func.func @transposed
func.func @transposed(%x: !tile.view<?x64xf32, strides = [?, 1], align = 16>, %y: !tile.view<?x64xf32, strides = [?, 1], align = 16>)
    attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  // CHECK: tile.load {{.*}} -> tensor<64x64xf32, #tile.layout<"i:64 j:64 | reg j1 j2 {{[^"]*}}">>
  // CHECK-COUNT-1: tile.convert
  // CHECK-NOT: tile.convert
  // CHECK: tile.store {{.*}} : tensor<64x64xf32, #tile.layout<"i:64 j:64 | reg j1 j2 {{[^"]*}}">>
  %a = tile.load %x[%c0, %c0] dims [0, 1] : !tile.view<?x64xf32, strides = [?, 1], align = 16> -> tensor<64x64xf32>
  %b = tile.transpose %a, [1, 0] : tensor<64x64xf32> -> tensor<64x64xf32>
  tile.store %b, %y[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !tile.view<?x64xf32, strides = [?, 1], align = 16>
  return
}

// A constant, a splat and an iota cost nothing anywhere: each user has one of its own in its place.
// CHECK-LABEL: func.func @free
func.func @free(%x: !tile.view<?xf32, strides = [1], align = 16>, %h: !tile.view<?xbf16, strides = [1], align = 16>, %s: i32)
    attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  // CHECK-DAG: tile.iota : tensor<1024xi32, #tile.layout<"i:1024 | reg i1 i2 i512 |
  // CHECK-DAG: tile.iota : tensor<1024xi32, #tile.layout<"i:1024 | reg i1 i2 i4 |
  // CHECK-DAG: tile.splat {{.*}} -> tensor<1024xi32, #tile.layout<"i:1024 | reg i1 i2 i512 |
  // CHECK-DAG: tile.splat {{.*}} -> tensor<1024xi32, #tile.layout<"i:1024 | reg i1 i2 i4 |
  %i = tile.iota : tensor<1024xi32>
  %n = tile.splat %s : i32 -> tensor<1024xi32>
  %a = tile.load %x[%c0] dims [0] : !tile.view<?xf32, strides = [1], align = 16> -> tensor<1024xf32>
  %b = tile.load %h[%c0] dims [0] : !tile.view<?xbf16, strides = [1], align = 16> -> tensor<1024xbf16>
  %af = arith.fptosi %a : tensor<1024xf32> to tensor<1024xi32>
  %bf = arith.fptosi %b : tensor<1024xbf16> to tensor<1024xi32>
  %a1 = arith.addi %af, %i : tensor<1024xi32>
  %a2 = arith.addi %a1, %n : tensor<1024xi32>
  %b1 = arith.addi %bf, %i : tensor<1024xi32>
  %b2 = arith.addi %b1, %n : tensor<1024xi32>
  %ao = arith.sitofp %a2 : tensor<1024xi32> to tensor<1024xf32>
  %bo = arith.sitofp %b2 : tensor<1024xi32> to tensor<1024xbf16>
  tile.store %ao, %x[%c0] dims [0] : tensor<1024xf32> -> !tile.view<?xf32, strides = [1], align = 16>
  // CHECK-NOT: tile.convert
  // CHECK: return
  tile.store %bo, %h[%c0] dims [0] : tensor<1024xbf16> -> !tile.view<?xbf16, strides = [1], align = 16>
  return
}
