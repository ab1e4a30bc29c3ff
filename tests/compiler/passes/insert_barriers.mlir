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
