// RUN: tilejit opt --to-llvm %s | FileCheck %s

#c = #tile.layout<"i:16 j:8 | reg j1 i8 | lane j2 j4 i1 i2 i4 | warp">
#row = #tile.layout<"i:16 | reg i8 | lane ~ ~ i1 i2 i4 | warp">
!o = !tile.view<16xf32, strides = [1], align = 16>

// First within a thread, then over the lanes that share a row, two steps of shuffles for each of the thread's two rows;
// of the four lanes that then hold a row's result one stores it.
// CHECK-LABEL: llvm.func ptx_kernelcc @rows
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.maxnum"(%arg1, %arg1)
// CHECK-COUNT-4: llvm.nvvm.shfl.sync.bfly.i32
// CHECK-NOT: shfl
// CHECK: llvm.icmp "eq"
// CHECK-COUNT-2: @p st.global.b32
func.func @rows(%out: !o, %v: f32) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %x = tile.splat %v : f32 -> tensor<16x8xf32, #c>
  %r = tile.reduce %x axis 1 : (tensor<16x8xf32, #c>) -> tensor<16xf32, #row> {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maxnumf %a, %b : f32
    tile.yield %m : f32
  }
  tile.store %r, %out[%c0] dims [0] : tensor<16xf32, #row> -> !o
  return
}

// Across warps: one of the lanes that hold a warp's result stores it, all meet, and each thread combines what the warps
// have.
// CHECK-LABEL: llvm.func ptx_kernelcc @across_warps
// CHECK-COUNT-5: llvm.nvvm.shfl.sync.bfly.i32
// CHECK: llvm.cond_br
// CHECK: llvm.store %{{.*}} : f32, !llvm.ptr<3>
// CHECK: llvm.nvvm.barrier.cta.sync
// CHECK: llvm.load %{{.*}} !llvm.ptr<3>
// CHECK: llvm.fadd
#own = #tile.layout<"i:64 | lane i1 i2 i4 i8 i16 | warp i32">
#all = #tile.layout<" | lane ~ ~ ~ ~ ~ | warp ~">
func.func @across_warps(%out: !o, %v: f32) attributes {tile.kernel, tile.warps = 2 : i32, tile.shared_bytes = 16 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %scratch = tile.alloc {offset = 0 : i64} : !tile.shared<2xf32, "i:2 | offset i1">
  %x = tile.splat %v : f32 -> tensor<64xf32, #own>
  %r = tile.reduce %x axis 0 scratch %scratch : !tile.shared<2xf32, "i:2 | offset i1"> : (tensor<64xf32, #own>) -> tensor<f32, #all> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    tile.yield %s : f32
  }
  tile.store %r, %out[%c0] dims [] : tensor<f32, #all> -> !o
  return
}
