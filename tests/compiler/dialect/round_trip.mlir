// Every op, attribute and type of the dialect is read back as it was printed, as text and as bytecode.
// RUN: tilejit opt --mlir-print-op-generic %s | tilejit opt > %t.generic
// RUN: tilejit opt --emit-bytecode %s | tilejit opt > %t.bytecode
// RUN: tilejit opt %s > %t.text
// RUN: diff %t.generic %t.text
// RUN: diff %t.bytecode %t.text
// RUN: tilejit opt %t.text | diff - %t.text
// RUN: FileCheck %s < %t.text

#row = #tile.layout<"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2 | warp">
#sum = #tile.layout<"i:16 | reg i4 i8 | lane ~ ~ ~ i1 i2 | warp">
!q = !tile.view<?x?x32x64xbf16, strides = [?, ?, 64, 1], align = 16>
!o = !tile.view<16x64xf32, strides = [64, 1], align = 8>
!shared = !tile.shared<16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8">
!ring = !tile.shared<16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8", slots = 3>

// CHECK-LABEL: func.func @level1(
// CHECK-SAME: !tile.view<?x?x32x64xbf16, strides = [?, ?, 64, 1], align = 16> {tile.name = "q"}
// CHECK-SAME: attributes {tile.kernel, tile.stages = 3 : i32, tile.warps = 8 : i32}
func.func @level1(%q: !q {tile.name = "q"}, %o: !o, %n: i32) attributes {tile.kernel, tile.warps = 8 : i32, tile.stages = 3 : i32} {
  %c0 = arith.constant 0 : i32
  // CHECK: tile.program_id 2
  %b = tile.program_id 2
  // CHECK: tile.size %arg0, 1 : <?x?x32x64xbf16, strides = [?, ?, 64, 1], align = 16>
  %t = tile.size %q, 1 : !q
  // CHECK: tile.iota : tensor<64xi32>
  %i = tile.iota : tensor<64xi32>
  // CHECK: tile.splat %{{.*}} : i32 -> tensor<64xi32>
  %s = tile.splat %t : i32 -> tensor<64xi32>
  %in = arith.cmpi slt, %i, %s : tensor<64xi32>
  // CHECK: tile.expand_dims %{{.*}}, 0 : tensor<64xi1> -> tensor<1x64xi1>
  %row = tile.expand_dims %in, 0 : tensor<64xi1> -> tensor<1x64xi1>
  // CHECK: tile.broadcast %{{.*}} : tensor<1x64xi1> -> tensor<16x64xi1>
  %mask = tile.broadcast %row : tensor<1x64xi1> -> tensor<16x64xi1>
  %minus = arith.constant -1.0 : bf16
  // CHECK: tile.load %arg0[%{{.*}}, %{{.*}}, %arg2, %{{.*}}] dims [1, 3] mask %{{.*}} : tensor<16x64xi1> other %{{.*}} : bf16 : <{{.*}}> -> tensor<16x64xbf16>
  %x = tile.load %q[%b, %c0, %n, %c0] dims [1, 3] mask %mask : tensor<16x64xi1> other %minus : bf16 : !q -> tensor<16x64xbf16>
  // CHECK: tile.transpose %{{.*}}, [1, 0] : tensor<16x64xbf16> -> tensor<64x16xbf16>
  %y = tile.transpose %x, [1, 0] : tensor<16x64xbf16> -> tensor<64x16xbf16>
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  // CHECK: tile.dot %{{.*}}, %{{.*}}, %{{.*}} : tensor<16x64xbf16>, tensor<64x16xbf16> -> tensor<16x16xf32>
  %d = tile.dot %x, %y, %zero : tensor<16x64xbf16>, tensor<64x16xbf16> -> tensor<16x16xf32>
  %f = arith.extf %x : tensor<16x64xbf16> to tensor<16x64xf32>
  %g = arith.extf %y : tensor<64x16xbf16> to tensor<64x16xf32>
  // CHECK: tile.dot %{{.*}} {precision = 1 : i32} :
  %e = tile.dot %f, %g, %d {precision = 1 : i32} : tensor<16x64xf32>, tensor<64x16xf32> -> tensor<16x16xf32>
  // CHECK: %{{.*}}:2 = tile.reduce %{{.*}}, %{{.*}} axis 1 : (tensor<16x16xf32>, tensor<16x16xf32>) -> (tensor<16xf32>, tensor<16xf32>) {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32):
  %r:2 = tile.reduce %d, %e axis 1 : (tensor<16x16xf32>, tensor<16x16xf32>) -> (tensor<16xf32>, tensor<16xf32>) {
  ^bb0(%a0: f32, %a1: f32, %b0: f32, %b1: f32):
    %sum = arith.addf %a0, %b0 : f32
    // CHECK: tile.yield %{{.*}}, %{{.*}} : f32, f32
    tile.yield %sum, %b1 : f32, f32
  }
  %all = tile.reduce %r#0 axis 0 : (tensor<16xf32>) -> tensor<f32> {
  ^bb0(%a0: f32, %b0: f32):
    tile.yield %a0 : f32
  }
  // CHECK: tile.to_scalar %{{.*}} : tensor<f32> -> f32
  %scalar = tile.to_scalar %all : tensor<f32> -> f32
  // CHECK: tile.store %{{.*}}, %arg1[%{{.*}}, %{{.*}}] dims [0, 1] mask %{{.*}} : tensor<16x64xi1> : tensor<16x64xf32> -> <16x64xf32, strides = [64, 1], align = 8>
  tile.store %f, %o[%c0, %c0] dims [0, 1] mask %mask : tensor<16x64xi1> : tensor<16x64xf32> -> !o
  return
}

// CHECK-LABEL: func.func @level2(
// CHECK-SAME: tensor<16x64xbf16, #tile.layout<"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2">>
func.func @level2(%q: !q, %x: tensor<16x64xbf16, #row>, %i: i32, %enable: i1) attributes {tile.kernel, tile.warps = 1 : i32} {
  // CHECK: tile.alloc : <16x64xbf16, "i:16 j:64 | offset {{[^"]*}}", slots = 3>
  %ring = tile.alloc : !ring
  // CHECK: tile.alloc {offset = 2048 : i64} : <16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8">
  %tile = tile.alloc {offset = 2048 : i64} : !shared
  // CHECK: tile.slot %{{.*}}[%arg2] : <{{.*}}, slots = 3> -> <{{.*}}>
  %slot = tile.slot %ring[%i] : !ring -> !shared
  // CHECK: tile.copy_async %arg0[%arg2, %arg2, %arg2, %arg2] dims [1, 3], %{{.*}} if %arg3 threads <"i:16 j:64 | reg {{[^"]*}}"> : <{{.*}}> -> <{{.*}}>
  tile.copy_async %q[%i, %i, %i, %i] dims [1, 3], %slot if %enable threads #row : !q -> !shared
  // CHECK: tile.commit
  tile.commit
  // CHECK: tile.wait 1
  tile.wait 1
  // CHECK: tile.shared_store %arg1, %{{.*}} : tensor<16x64xbf16, {{.*}}> -> <{{.*}}>
  tile.shared_store %x, %tile : tensor<16x64xbf16, #row> -> !shared
  // CHECK: tile.barrier
  tile.barrier
  // CHECK: tile.shared_load %{{.*}} : <{{.*}}> -> tensor<16x64xbf16, {{.*}}>
  %y = tile.shared_load %tile : !shared -> tensor<16x64xbf16, #row>
  // CHECK: tile.convert %{{.*}} : tensor<16x64xbf16, {{.*}}> -> tensor<16x64xbf16, {{.*}}>
  %z = tile.convert %y : tensor<16x64xbf16, #row> -> tensor<16x64xbf16, #tile.layout<"i:16 j:64 | reg i4 i8 j1 j2 j4 | lane j8 j16 j32 i1 i2 | warp">>
  %scratch = tile.alloc : !tile.shared<16x1xbf16, "i:16 j:1 | offset i1 i2 i4 i8">
  // CHECK: tile.reduce %{{.*}} axis 1 scratch %{{.*}} : !tile.shared<16x1xbf16, "i:16 j:1 | offset i1 i2 i4 i8"> :
  %r = tile.reduce %y axis 1 scratch %scratch : !tile.shared<16x1xbf16, "i:16 j:1 | offset i1 i2 i4 i8"> : (tensor<16x64xbf16, #row>) -> tensor<16xbf16, #sum> {
  ^bb0(%a: bf16, %b: bf16):
    tile.yield %a : bf16
  }
  return
}
