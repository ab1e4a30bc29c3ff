// RUN: tilejit opt --to-llvm %s | FileCheck %s

#a = #tile.layout<"i:16 j:16 | reg j1 i8 j8 | lane j2 j4 i1 i2 i4 | warp">
#c = #tile.layout<"i:16 j:8 | reg j1 i8 | lane j2 j4 i1 i2 i4 | warp">
#b = #tile.layout<"i:16 j:8 | reg i1 i8 | lane i2 i4 j1 j2 j4 | warp">
!c = !tile.view<16x8xf32, strides = [8, 1], align = 16>

// Operands in operand layout: one instruction, its four results the thread's registers of the product.
// CHECK-LABEL: llvm.func ptx_kernelcc @registers
// CHECK: %[[D:.*]] = llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
// CHECK-COUNT-4: llvm.extractvalue %[[D]]
// CHECK-NOT: llvm.nvvm.mma
// CHECK: llvm.return
func.func @registers(%out: !c) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %x = arith.constant dense<1.0> : tensor<16x16xbf16, #a>
  %y = arith.constant dense<2.0> : tensor<16x8xbf16, #b>
  %z = arith.constant dense<0.0> : tensor<16x8xf32, #c>
  %r = tile.dot %x, %y, %z : tensor<16x16xbf16, #a>, tensor<16x8xbf16, #b> -> tensor<16x8xf32, #c>
  tile.store %r, %out[%c0, %c0] dims [0, 1] : tensor<16x8xf32, #c> -> !c
  return
}

// Operands in shared memory: ldmatrix in front of the instruction that needs them.
// CHECK-LABEL: llvm.func ptx_kernelcc @shared
// CHECK-DAG: llvm.call_intrinsic "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.b16"
// CHECK-DAG: llvm.call_intrinsic "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16"
// CHECK: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"
!s = !tile.shared<16x16xbf16, "i:16 j:16 | offset j1 j2 j4 j8 i1 i2 i4 i8">
!t = !tile.shared<16x8xbf16, "i:16 j:8 | offset i1 i2 i4 i8 j1 j2 j4">
func.func @shared(%out: !c) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 768 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %x = tile.alloc {offset = 0 : i64} : !s
  %y = tile.alloc {offset = 512 : i64} : !t
  %z = arith.constant dense<0.0> : tensor<16x8xf32, #c>
  %r = tile.dot %x, %y, %z : !s, !t -> tensor<16x8xf32, #c>
  tile.store %r, %out[%c0, %c0] dims [0, 1] : tensor<16x8xf32, #c> -> !c
  return
}

// f32 operands are rounded to tf32 first; tf32x3 multiplies what that leaves over as well, the small products first.
// CHECK-LABEL: llvm.func ptx_kernelcc @split
// CHECK: llvm.nvvm.f2tf32.rna
// CHECK: llvm.fsub
// CHECK: llvm.nvvm.f2tf32.rna
// CHECK-COUNT-3: llvm.nvvm.mma.m16n8k8.row.col.tf32
// CHECK-NOT: llvm.nvvm.mma
// CHECK: llvm.return
#a32 = #tile.layout<"i:16 j:8 | reg i8 j4 | lane j1 j2 i1 i2 i4 | warp">
#b32 = #tile.layout<"i:8 j:8 | reg i4 | lane i1 i2 j1 j2 j4 | warp">
func.func @split(%out: !c, %v: f32) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %x = tile.splat %v : f32 -> tensor<16x8xf32, #a32>
  %y = tile.splat %v : f32 -> tensor<8x8xf32, #b32>
  %z = arith.constant dense<0.0> : tensor<16x8xf32, #c>
  %r = tile.dot %x, %y, %z {precision = 1 : i32} : tensor<16x8xf32, #a32>, tensor<8x8xf32, #b32> -> tensor<16x8xf32, #c>
  tile.store %r, %out[%c0, %c0] dims [0, 1] : tensor<16x8xf32, #c> -> !c
  return
}
