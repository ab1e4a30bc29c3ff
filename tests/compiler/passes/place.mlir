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
  // The operand of the second product: a renaming of registers.
  // CHECK: tile.convert {{.*}} -> tensor<64x64xbf16, #tile.layout<"i:64 j:64 | reg j1 i8 j8 j16 j32 | lane j2 j4 i1 i2 i4 | warp i16 i32">>
  %r = tile.dot %p, %kt, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  tile.store %r, %o[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !tile.view<?x64xf32, strides = [?, 1], align = 16>
  return
}
