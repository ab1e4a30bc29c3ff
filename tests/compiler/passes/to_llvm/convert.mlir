// RUN: tilejit opt --to-llvm %s | FileCheck %s

#v = #tile.layout<"i:64 | reg i1 | lane i2 i4 i8 i16 i32 | warp">
#s = #tile.layout<"i:64 | reg i32 | lane i1 i2 i4 i8 i16 | warp">
!o = !tile.view<64xf32, strides = [1], align = 16>

// Between lanes of a warp: as many shuffles as registers, no memory.
// CHECK-LABEL: llvm.func ptx_kernelcc @lanes
// CHECK-COUNT-2: llvm.nvvm.shfl.sync.idx.i32
// CHECK-NOT: shfl
// CHECK-NOT: !llvm.ptr<3>
// CHECK: llvm.return
func.func @lanes(%x: !o) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %a = tile.load %x[%c0] dims [0] : !o -> tensor<64xf32, #v>
  %b = tile.convert %a : tensor<64xf32, #v> -> tensor<64xf32, #s>
  tile.store %b, %x[%c0] dims [0] : tensor<64xf32, #s> -> !o
  return
}
