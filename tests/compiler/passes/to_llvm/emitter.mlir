// RUN: tilejit opt --to-llvm %s | FileCheck %s

#one = #tile.layout<"i:32 | reg | lane i1 i2 i4 i8 i16 | warp">
!f = !tile.view<?xf32, strides = [1], align = 16>

// What a loop carries are arguments of its header; LLVM is told not to unroll it.
// CHECK-LABEL: llvm.func ptx_kernelcc @loop
// CHECK: llvm.br ^[[HEADER:bb[0-9]+]](%{{.*}}, %[[A:.*]] : i32, f32)
// CHECK: ^[[HEADER]](%[[I:.*]]: i32, %[[SUM:.*]]: f32)
// CHECK: %[[INSIDE:.*]] = llvm.icmp "slt" %[[I]], %arg2
// CHECK: llvm.cond_br %[[INSIDE]], ^[[BODY:bb[0-9]+]], ^[[AFTER:bb[0-9]+]]
// CHECK: ^[[BODY]]:
// CHECK: %[[NEXT:.*]] = llvm.fadd %[[SUM]], %[[A]]
// CHECK: %[[UP:.*]] = llvm.add %[[I]], %{{.*}} : i32
// CHECK: llvm.br ^[[HEADER]](%[[UP]], %[[NEXT]] : i32, f32) {loop_annotation
// CHECK: ^[[AFTER]]:
// CHECK: llvm.bitcast %[[SUM]] : f32 to i32
func.func @loop(%x: !f, %n: i32) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %a = tile.load %x[%c0] dims [0] : !f -> tensor<32xf32, #one>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%s = %a) -> (tensor<32xf32, #one>) : i32 {
    %t = arith.addf %s, %a : tensor<32xf32, #one>
    scf.yield %t : tensor<32xf32, #one>
  }
  tile.store %r, %x[%c0] dims [0] : tensor<32xf32, #one> -> !f
  return
}

// A condition's results are arguments of the block behind it.
// CHECK-LABEL: llvm.func ptx_kernelcc @condition
// CHECK: llvm.cond_br %{{.*}}, ^[[YES:bb[0-9]+]], ^[[NO:bb[0-9]+]]
// CHECK: ^[[YES]]:
// CHECK: %[[SQUARE:.*]] = llvm.fmul
// CHECK: llvm.br ^[[AFTER:bb[0-9]+]](%[[SQUARE]] : f32)
// CHECK: ^[[NO]]:
// CHECK: llvm.br ^[[AFTER]](%{{.*}} : f32)
// CHECK: ^[[AFTER]](%[[RESULT:.*]]: f32)
// CHECK: llvm.bitcast %[[RESULT]] : f32 to i32
func.func @condition(%x: !f, %n: i32) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %a = tile.load %x[%c0] dims [0] : !f -> tensor<32xf32, #one>
  %yes = arith.cmpi sgt, %n, %c1 : i32
  %r = scf.if %yes -> (tensor<32xf32, #one>) {
    %t = arith.mulf %a, %a : tensor<32xf32, #one>
    scf.yield %t : tensor<32xf32, #one>
  } else {
    scf.yield %a : tensor<32xf32, #one>
  }
  tile.store %r, %x[%c0] dims [0] : tensor<32xf32, #one> -> !f
  return
}
