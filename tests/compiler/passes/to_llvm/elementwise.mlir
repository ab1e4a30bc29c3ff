// RUN: tilejit opt --to-llvm %s | FileCheck %s

// One element a thread, for the operations; two halves a word, for packing.
#one = #tile.layout<"i:32 | reg | lane i1 i2 i4 i8 i16 | warp">
#two = #tile.layout<"i:64 | reg i1 | lane i2 i4 i8 i16 i32 | warp">
!f = !tile.view<32xf32, strides = [1], align = 16>
!h = !tile.view<64xbf16, strides = [1], align = 16>

// CHECK-LABEL: llvm.func ptx_kernelcc @floats(%arg0: !llvm.ptr<1>)
func.func @floats(%x: !f) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  %two = arith.constant dense<2.0> : tensor<32xf32, #one>
  // CHECK: %[[A:.*]] = llvm.bitcast %{{.*}} : i32 to f32
  %a = tile.load %x[%c0] dims [0] : !f -> tensor<32xf32, #one>
  // Products and sums may fuse; functions are the machine's approximations; max skips NaNs.
  // CHECK: %[[B:.*]] = llvm.fmul %[[A]], %{{.*}} {fastmathFlags = #llvm.fastmath<contract>} : f32
  // CHECK: %[[C:.*]] = llvm.fadd %[[B]], %[[A]] {fastmathFlags = #llvm.fastmath<contract>} : f32
  // CHECK: %[[D:.*]] = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%[[C]])
  // CHECK: llvm.call_intrinsic "llvm.maxnum"(%[[D]], %[[A]])
  %b = arith.mulf %a, %two : tensor<32xf32, #one>
  %c = arith.addf %b, %a : tensor<32xf32, #one>
  %d = math.exp2 %c : tensor<32xf32, #one>
  %e = arith.maxnumf %d, %a : tensor<32xf32, #one>
  tile.store %e, %x[%c0] dims [0] : tensor<32xf32, #one> -> !f
  return
}

// Two halves are one 32-bit word: they are loaded, rounded and added together.
// CHECK-LABEL: llvm.func ptx_kernelcc @halves
func.func @halves(%x: !h) attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_90a"} {
  %c0 = arith.constant 0 : i32
  // CHECK: %[[WORD:.*]] = llvm.bitcast %{{.*}} : i32 to vector<2xbf16>
  // CHECK-COUNT-2: llvm.fpext %{{.*}} : bf16 to f32
  // CHECK: %[[ROUNDED:.*]] = llvm.fptrunc %{{.*}} : vector<2xf32> to vector<2xbf16>
  // CHECK: llvm.fadd %[[ROUNDED]], %[[WORD]] {{.*}} : vector<2xbf16>
  // CHECK: llvm.store %{{.*}} {alignment = 4 : i64} : i32
  %a = tile.load %x[%c0] dims [0] : !h -> tensor<64xbf16, #two>
  %b = arith.extf %a : tensor<64xbf16, #two> to tensor<64xf32, #two>
  %c = arith.mulf %b, %b : tensor<64xf32, #two>
  %d = arith.truncf %c : tensor<64xf32, #two> to tensor<64xbf16, #two>
  %e = arith.addf %d, %a : tensor<64xbf16, #two>
  tile.store %e, %x[%c0] dims [0] : tensor<64xbf16, #two> -> !h
  return
}

// PTX compares no bf16 where subnormals are 0, and not every GPU makes one of an integer in one step: both go through
// f32, the integer rounded to odd, so that it is rounded once.
// CHECK-LABEL: llvm.func ptx_kernelcc @through_f32
func.func @through_f32(%x: !tile.view<32xbf16, strides = [1], align = 16>, %n: i32)
    attributes {tile.kernel, tile.warps = 1 : i32, tile.shared_bytes = 0 : i64, tile.target = "sm_80"} {
  %c0 = arith.constant 0 : i32
  %a = tile.load %x[%c0] dims [0] : !tile.view<32xbf16, strides = [1], align = 16> -> tensor<32xbf16, #one>
  %i = tile.splat %n : i32 -> tensor<32xi32, #one>
  // CHECK: llvm.nvvm.i2f.rz
  // CHECK: llvm.nvvm.f2i.rz
  // CHECK: llvm.or
  // CHECK: llvm.fptrunc %{{.*}} : f32 to bf16
  %b = arith.sitofp %i : tensor<32xi32, #one> to tensor<32xbf16, #one>
  // CHECK: llvm.fcmp "olt" %{{.*}}, %{{.*}} : f32
  %less = arith.cmpf olt, %a, %b : tensor<32xbf16, #one>
  %c = arith.select %less, %a, %b : tensor<32xi1, #one>, tensor<32xbf16, #one>
  tile.store %c, %x[%c0] dims [0] : tensor<32xbf16, #one> -> !tile.view<32xbf16, strides = [1], align = 16>
  return
}
