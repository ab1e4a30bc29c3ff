// RUN: tilejit opt --allocate-shared --insert-barriers %s | FileCheck %s

#regs = #tile.layout<"i:64 | reg i32 | lane i1 i2 i4 i8 i16">
!tile = !tile.shared<64xf32, "i:64 | offset i1 i2 i4 i8 i16 i32">

// Written, then read: one barrier between, none after, none where nothing collides.
// CHECK-LABEL: func.func @read_after_write
func.func @read_after_write(%x: tensor<64xf32, #regs>) attributes {tile.kernel, tile.warps = 1 : i32} {
  %t = tile.alloc : !tile
  %u = tile.alloc : !tile
  // CHECK: tile.shared_store
  // CHECK-NEXT: tile.shared_store
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.shared_load
  // CHECK-NEXT: tile.shared_load
  // CHECK-NEXT: return
  tile.shared_store %x, %t : tensor<64xf32, #regs> -> !tile
  tile.shared_store %x, %u : tensor<64xf32, #regs> -> !tile
  %a = tile.shared_load %t : !tile -> tensor<64xf32, #regs>
  %b = tile.shared_load %u : !tile -> tensor<64xf32, #regs>
  return
}

// In a loop the next turn writes what this one read: two barriers a turn.
// CHECK-LABEL: func.func @loop
func.func @loop(%x: tensor<64xf32, #regs>, %n: i32) attributes {tile.kernel, tile.warps = 1 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  // CHECK: scf.for
  scf.for %i = %c0 to %n step %c1 : i32 {
    %t = tile.alloc : !tile
    // CHECK: tile.barrier
    // CHECK-NEXT: tile.shared_store
    // CHECK-NEXT: tile.barrier
    // CHECK-NEXT: tile.shared_load
    // CHECK-NEXT: }
    tile.shared_store %x, %t : tensor<64xf32, #regs> -> !tile
    %a = tile.shared_load %t : !tile -> tensor<64xf32, #regs>
  }
  return
}

// Two tiles that take turns at the same bytes.
// CHECK-LABEL: func.func @shared_bytes
func.func @shared_bytes(%x: tensor<64xf32, #regs>) attributes {tile.kernel, tile.warps = 1 : i32} {
  %t = tile.alloc : !tile
  %u = tile.alloc : !tile
  // CHECK: tile.shared_store
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.shared_load
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.shared_store
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.shared_load
  tile.shared_store %x, %t : tensor<64xf32, #regs> -> !tile
  %a = tile.shared_load %t : !tile -> tensor<64xf32, #regs>
  tile.shared_store %a, %u : tensor<64xf32, #regs> -> !tile
  %b = tile.shared_load %u : !tile -> tensor<64xf32, #regs>
  return
}

// A ring's slots are ordered by the waits of stage-loads; the pass adds nothing between them.
// CHECK-LABEL: func.func @ring
func.func @ring(%x: tensor<64xf32, #regs>, %s: i32) attributes {tile.kernel, tile.warps = 1 : i32} {
  %r = tile.alloc : !tile.shared<64xf32, "i:64 | offset i1 i2 i4 i8 i16 i32", slots = 2>
  %t = tile.slot %r[%s] : !tile.shared<64xf32, "i:64 | offset i1 i2 i4 i8 i16 i32", slots = 2> -> !tile
  // CHECK: tile.shared_store
  // CHECK-NEXT: tile.shared_load
  tile.shared_store %x, %t : tensor<64xf32, #regs> -> !tile
  %a = tile.shared_load %t : !tile -> tensor<64xf32, #regs>
  return
}

#two = #tile.layout<"i:64 | reg i1 | lane i2 i4 i8 i16 i32 | warp ~">
#own = #tile.layout<"i:64 | reg | lane i1 i2 i4 i8 i16 | warp i32">
#turned = #tile.layout<"i:64 | reg | lane i2 i4 i8 i16 i32 | warp i1">
!v = !tile.view<?xf32, strides = [1], align = 16>

// What a block has stored to a view it may load again, and what it has loaded it may overwrite: other threads do it.
// CHECK-LABEL: func.func @view
func.func @view(%v: !v) attributes {tile.kernel, tile.warps = 2 : i32} {
  %c0 = arith.constant 0 : i32
  // CHECK: tile.load
  // CHECK-NEXT: tile.convert
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.store
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.load
  // CHECK-NEXT: return
  %a = tile.load %v[%c0] dims [0] : !v -> tensor<64xf32, #own>
  %b = tile.convert %a : tensor<64xf32, #own> -> tensor<64xf32, #turned>
  tile.store %b, %v[%c0] dims [0] : tensor<64xf32, #turned> -> !v
  %c = tile.load %v[%c0] dims [0] : !v -> tensor<64xf32, #own>
  return
}

// Nothing where each thread touches its own elements only, nor between different views.
// CHECK-LABEL: func.func @own_elements
// CHECK-NOT: tile.barrier
// CHECK: return
func.func @own_elements(%v: !v, %w: !v) attributes {tile.kernel, tile.warps = 2 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %a = tile.load %v[%c0] dims [0] : !v -> tensor<64xf32, #own>
  tile.store %a, %v[%c0] dims [0] : tensor<64xf32, #own> -> !v
  tile.store %a, %w[%c1] dims [0] : tensor<64xf32, #own> -> !v
  return
}

// Of elements that several threads hold one thread stores, when the others have loaded them.
// CHECK-LABEL: func.func @copies
func.func @copies(%v: !v) attributes {tile.kernel, tile.warps = 2 : i32} {
  %c0 = arith.constant 0 : i32
  // CHECK: tile.load
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.store
  %a = tile.load %v[%c0] dims [0] : !v -> tensor<64xf32, #two>
  tile.store %a, %v[%c0] dims [0] : tensor<64xf32, #two> -> !v
  return
}

// The same index is another place in a loop's next turn.
// CHECK-LABEL: func.func @next_turn
func.func @next_turn(%v: !v, %n: i32) attributes {tile.kernel, tile.warps = 2 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  // CHECK: scf.for
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.load
  // CHECK-NEXT: tile.store
  // CHECK-NEXT: }
  scf.for %i = %c0 to %n step %c1 : i32 {
    %a = tile.load %v[%i] dims [0] : !v -> tensor<64xf32, #own>
    tile.store %a, %v[%i] dims [0] : tensor<64xf32, #own> -> !v
  }
  return
}

// What a condition's part may have left open is open behind it; a part starts from what was open before.
// CHECK-LABEL: func.func @condition
func.func @condition(%x: tensor<64xf32, #regs>, %c: i1) attributes {tile.kernel, tile.warps = 1 : i32} {
  %t = tile.alloc : !tile
  // CHECK: scf.if
  // CHECK-NEXT: tile.shared_store
  // CHECK-NEXT: }
  // CHECK-NEXT: tile.barrier
  // CHECK-NEXT: tile.shared_load
  scf.if %c {
    tile.shared_store %x, %t : tensor<64xf32, #regs> -> !tile
  }
  %a = tile.shared_load %t : !tile -> tensor<64xf32, #regs>
  return
}

// A reduction writes its scratch, meets and reads it: what follows may write it only after one more barrier.
// CHECK-LABEL: func.func @scratch
func.func @scratch(%x: tensor<64xf32, #own>) attributes {tile.kernel, tile.warps = 2 : i32} {
  %s = tile.alloc : !tile.shared<2xf32, "i:2 | offset i1">
  // CHECK: tile.reduce
  // CHECK: tile.barrier
  // CHECK-NEXT: tile.reduce
  // CHECK-NOT: tile.barrier
  // CHECK: return
  %a = tile.reduce %x axis 0 scratch %s : !tile.shared<2xf32, "i:2 | offset i1"> : (tensor<64xf32, #own>) -> tensor<f32, #tile.layout<" | lane ~ ~ ~ ~ ~ | warp ~">> {
  ^bb0(%p: f32, %q: f32):
    tile.yield %p : f32
  }
  %b = tile.reduce %x axis 0 scratch %s : !tile.shared<2xf32, "i:2 | offset i1"> : (tensor<64xf32, #own>) -> tensor<f32, #tile.layout<" | lane ~ ~ ~ ~ ~ | warp ~">> {
  ^bb0(%p: f32, %q: f32):
    tile.yield %q : f32
  }
  return
}
