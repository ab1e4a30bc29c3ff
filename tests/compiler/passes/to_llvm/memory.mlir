// RUN: tilejit opt --to-llvm %s | FileCheck %s

#v = #tile.layout<"i:128 | reg i1 i2 | lane i4 i8 i16 i32 i64 | warp">
#s = #tile.layout<"i:128 | reg i32 i64 | lane i1 i2 i4 i8 i16 | warp">
!v = !tile.view<?xf32, strides = [1], align = 16>
!d = !tile.view<?xf32, strides = [?], align = 4>

// Four neighbours are one access, which happens where the first is inside: the size is a multiple of the alignment.
// CHECK-LABEL: llvm.func ptx_kernelcc @vectors
// CHECK: %[[IN:.*]] = llvm.icmp "ult" %{{.*}}, %arg1 : i32
// CHECK: %[[GUARD:.*]] = llvm.zext %[[IN]]
// CHECK: llvm.inline_asm has_side_effects "{{.*}}@p ld.global.v4.b32{{.*}} %[[GUARD]],
// CHECK-NOT: ld.global
// CHECK: llvm.inline_asm has_side_effects "{{.*}}@p st.global.v4.b32
// CHECK-NOT: st.global
// CHECK: llvm.return
func.func @vectors(%x: !v, %y: !v) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %a = tile.load %x[%c0] dims [0] : !v -> tensor<128xf32, #v>
  tile.store %a, %y[%c0] dims [0] : tensor<128xf32, #v> -> !v
  return
}
// An open stride: one access an element, its offset in 64 bits.
// CHECK-LABEL: llvm.func ptx_kernelcc @strided({{.*}}, %arg1: i32, %arg2: i64,
// CHECK: llvm.mul %arg2, %{{.*}} : i64
// CHECK-COUNT-4: @p ld.global.b32
// CHECK-COUNT-4: @p st.global.b32
func.func @strided(%x: !d, %y: !v) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %a = tile.load %x[%c0] dims [0] : !d -> tensor<128xf32, #s>
  tile.store %a, %y[%c0] dims [0] : tensor<128xf32, #s> -> !v
  return
}
// Copies of 16 bytes to swizzled places; one that is switched off writes nothing, one outside the view writes zeros.
// CHECK-LABEL: llvm.func ptx_kernelcc @copy
// CHECK: llvm.xor
// CHECK: %[[BYTES:.*]] = llvm.select %{{.*}} : i1, i32
// CHECK: %[[ENABLE:.*]] = llvm.zext %arg2 : i1 to i32
// CHECK: llvm.inline_asm {{.*}}"{ .reg .pred p; setp.ne.b32 p, $0, 0; @p cp.async.cg.shared.global [$1], [$2], 16, $3; }", {{.*}} %[[ENABLE]], %{{.*}}, %{{.*}}, %[[BYTES]]
// CHECK-COUNT-3: cp.async.cg.shared.global
// CHECK: llvm.nvvm.cp.async.commit.group
// CHECK: llvm.nvvm.cp.async.wait.group
// CHECK: llvm.nvvm.barrier.cta.sync
!m = !tile.view<?x64xbf16, strides = [64, 1], align = 16>
!r = !tile.shared<16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8">
func.func @copy(%x: !m, %enable: i1) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 2048 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %t = tile.alloc {offset = 0 : i64} : !r
  tile.copy_async %x[%c0, %c0] dims [0, 1], %t if %enable threads <"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2 | warp"> : !m -> !r
  tile.commit
  tile.wait 0
  tile.barrier
  return
}

// Of two warps that hold the same elements one copies them.
// CHECK-LABEL: llvm.func ptx_kernelcc @copies_of_a_thread
// CHECK: %[[FIRST:.*]] = llvm.icmp "eq"
// CHECK: %[[ENABLE:.*]] = llvm.and %arg2, %[[FIRST]]
// CHECK: %[[BIT:.*]] = llvm.zext %[[ENABLE]] : i1 to i32
// CHECK: cp.async.cg.shared.global {{.*}} %[[BIT]],
func.func @copies_of_a_thread(%x: !m, %enable: i1) attributes {tile.kernel, tile.warps = 2 : i32, tile.shared_bytes = 2048 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %t = tile.alloc {offset = 0 : i64} : !r
  tile.copy_async %x[%c0, %c0] dims [0, 1], %t if %enable threads <"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2 | warp ~"> : !m -> !r
  tile.commit
  tile.wait 0
  tile.barrier
  return
}

// Conditions lie in memory as bytes; four neighbours are one word of it.
// CHECK-LABEL: llvm.func ptx_kernelcc @conditions
// CHECK: %[[WORD:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> i32
// CHECK: %[[BYTES:.*]] = llvm.bitcast %[[WORD]] : i32 to vector<4xi8>
// CHECK-COUNT-4: llvm.icmp "ne" %{{.*}}, %{{.*}} : i8
// CHECK-COUNT-4: llvm.zext %{{.*}} : i1 to i8
// CHECK: llvm.store %{{.*}} : i32, !llvm.ptr<1>
#bits = #tile.layout<"i:128 | reg i1 i2 | lane i4 i8 i16 i32 i64 | warp">
!bits = !tile.view<128xi1, strides = [1], align = 16>
func.func @conditions(%x: !bits, %y: !bits) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %a = tile.load %x[%c0] dims [0] : !bits -> tensor<128xi1, #bits>
  tile.store %a, %y[%c0] dims [0] : tensor<128xi1, #bits> -> !bits
  return
}
