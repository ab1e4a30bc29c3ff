// RUN: tilejit opt --to-llvm %s | FileCheck %s

#a = #tile.layout<"i:16 j:64 | reg j1 i8 j8 j16 j32 | lane j2 j4 i1 i2 i4 | warp">
#rows = #tile.layout<"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2 | warp">
!r = !tile.shared<16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8">
!ring = !tile.shared<16x64xbf16, "i:16 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8", slots = 3>
!m = !tile.view<16x64xbf16, strides = [64, 1], align = 16>

// Rows go in by vectors of 16 bytes and come out in operand layout by ldmatrix.
// CHECK-LABEL: llvm.func ptx_kernelcc @through
// CHECK-COUNT-4: llvm.store %{{.*}} {alignment = 16 : i64} : vector<8xbf16>, !llvm.ptr<3>
// CHECK: llvm.nvvm.barrier.cta.sync
// CHECK-COUNT-4: llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16
// CHECK-NOT: ldmatrix
// CHECK: llvm.return
func.func @through(%x: !m) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 2048 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %t = tile.alloc {offset = 0 : i64} : !r
  %a = tile.load %x[%c0, %c0] dims [0, 1] : !m -> tensor<16x64xbf16, #rows>
  tile.shared_store %a, %t : tensor<16x64xbf16, #rows> -> !r
  tile.barrier
  %b = tile.shared_load %t : !r -> tensor<16x64xbf16, #a>
  %c = arith.addf %b, %b : tensor<16x64xbf16, #a>
  tile.store %c, %x[%c0, %c0] dims [0, 1] : tensor<16x64xbf16, #a> -> !m
  return
}
// A slot begins at its number times the tile's bytes.
// CHECK-LABEL: llvm.func ptx_kernelcc @slot
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(2048 : i32)
// CHECK: %[[OFFSET:.*]] = llvm.mul %arg1, %[[BYTES]]
// CHECK: llvm.getelementptr %{{.*}}[%[[OFFSET]]] : (!llvm.ptr<3>, i32)
// CHECK-COUNT-4: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<8xbf16>
func.func @slot(%x: !m, %i: i32) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 6144 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %ring = tile.alloc {offset = 0 : i64} : !ring
  %t = tile.slot %ring[%i] : !ring -> !r
  %b = tile.shared_load %t : !r -> tensor<16x64xbf16, #rows>
  tile.store %b, %x[%c0, %c0] dims [0, 1] : tensor<16x64xbf16, #rows> -> !m
  return
}

// Of threads that hold the same elements one stores them.
// CHECK-LABEL: llvm.func ptx_kernelcc @copies
// CHECK: %[[FIRST:.*]] = llvm.icmp "eq"
// CHECK: llvm.cond_br %[[FIRST]], ^[[STORE:bb[0-9]+]], ^[[AFTER:bb[0-9]+]]
// CHECK: ^[[STORE]]:
// CHECK: llvm.store %{{.*}} : vector<8xbf16>, !llvm.ptr<3>
// CHECK: llvm.br ^[[AFTER]]
// CHECK: ^[[AFTER]]:
// CHECK-NEXT: {{.*}}llvm.nvvm.barrier.cta.sync
#twice = #tile.layout<"i:16 j:64 | reg j1 j2 j4 i4 i8 | lane j8 j16 j32 i1 i2 | warp ~">
func.func @copies(%x: !m) attributes {tile.kernel, tile.warps = 2 : i32, tile.shared_bytes = 2048 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %t = tile.alloc {offset = 0 : i64} : !r
  %a = tile.load %x[%c0, %c0] dims [0, 1] : !m -> tensor<16x64xbf16, #twice>
  tile.shared_store %a, %t : tensor<16x64xbf16, #twice> -> !r
  tile.barrier
  return
}
