// RUN: tilejit opt --allocate-shared --split-input-file --verify-diagnostics %s | FileCheck %s

#regs = #tile.layout<"i:64 | reg i32 | lane i1 i2 i4 i8 i16">
!tile = !tile.shared<64xf32, "i:64 | offset i1 i2 i4 i8 i16 i32">

// Two tiles that are never needed at once share their bytes; a third that overlaps both does not.
// CHECK-LABEL: func.func @reuse
// CHECK-SAME: tile.shared_bytes = 512
func.func @reuse(%x: tensor<64xf32, #regs>) attributes {tile.kernel, tile.warps = 1 : i32} {
  // CHECK: tile.alloc {offset = 0 : i64}
  // CHECK: tile.alloc {offset = 256 : i64}
  // CHECK: tile.alloc {offset = 256 : i64}
  %long = tile.alloc : !tile
  %first = tile.alloc : !tile
  %second = tile.alloc : !tile
  tile.shared_store %x, %long : tensor<64xf32, #regs> -> !tile
  tile.shared_store %x, %first : tensor<64xf32, #regs> -> !tile
  %a = tile.shared_load %first : !tile -> tensor<64xf32, #regs>
  tile.shared_store %a, %second : tensor<64xf32, #regs> -> !tile
  %b = tile.shared_load %second : !tile -> tensor<64xf32, #regs>
  %c = tile.shared_load %long : !tile -> tensor<64xf32, #regs>
  return
}

// -----

#regs = #tile.layout<"i:64 | reg i32 | lane i1 i2 i4 i8 i16">
!tile = !tile.shared<64xf32, "i:64 | offset i1 i2 i4 i8 i16 i32">

// A tile from before a loop that is read inside it lives to the loop's end.
// CHECK-LABEL: func.func @loop
// CHECK-SAME: tile.shared_bytes = 512
func.func @loop(%x: tensor<64xf32, #regs>, %n: i32) attributes {tile.kernel, tile.warps = 1 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %kept = tile.alloc : !tile
  tile.shared_store %x, %kept : tensor<64xf32, #regs> -> !tile
  scf.for %i = %c0 to %n step %c1 : i32 {
    %y = tile.shared_load %kept : !tile -> tensor<64xf32, #regs>
    %inner = tile.alloc : !tile
    tile.shared_store %y, %inner : tensor<64xf32, #regs> -> !tile
    %z = tile.shared_load %inner : !tile -> tensor<64xf32, #regs>
  }
  return
}

// -----

#regs = #tile.layout<"i:512 | reg i32 i64 i128 i256 | lane i1 i2 i4 i8 i16">
#few = #tile.layout<"i:32 | lane i1 i2 i4 i8 i16">
!tile = !tile.shared<512xf32, "i:512 | offset i1 i2 i4 i8 i16 i32 i64 i128 i256">
!small = !tile.shared<32xf32, "i:32 | offset i1 i2 i4 i8 i16">

// The largest lie first, from 1024 bytes on where a swizzle begins; what is small fits between at any 16 bytes. A tile
// that a branch of the program uses lives until that is through.
// CHECK-LABEL: func.func @alignment
// CHECK-SAME: tile.shared_bytes = 4352
func.func @alignment(%x: tensor<512xf32, #regs>, %y: tensor<32xf32, #few>, %c: i1) attributes {tile.kernel, tile.warps = 1 : i32} {
  // CHECK: tile.alloc {offset = 4096 : i64}
  // CHECK: tile.alloc {offset = 4224 : i64}
  // CHECK: tile.alloc {offset = 0 : i64}
  // CHECK: tile.alloc {offset = 2048 : i64}
  %a = tile.alloc : !small
  %b = tile.alloc : !small
  %d = tile.alloc : !tile
  %e = tile.alloc : !tile
  tile.shared_store %y, %a : tensor<32xf32, #few> -> !small
  tile.shared_store %y, %b : tensor<32xf32, #few> -> !small
  tile.shared_store %x, %d : tensor<512xf32, #regs> -> !tile
  tile.shared_store %x, %e : tensor<512xf32, #regs> -> !tile
  scf.if %c {
    %p = tile.shared_load %d : !tile -> tensor<512xf32, #regs>
    %q = tile.shared_load %e : !tile -> tensor<512xf32, #regs>
    %r = tile.shared_load %a : !small -> tensor<32xf32, #few>
    %s = tile.shared_load %b : !small -> tensor<32xf32, #few>
  }
  return
}

// -----

#regs = #tile.layout<"i:65536 | reg i32 i64 i128 i256 i512 i1024 i2048 i4096 i8192 i16384 i32768 | lane i1 i2 i4 i8 i16">
!tile = !tile.shared<65536xf32, "i:65536 | offset i1 i2 i4 i8 i16 i32 i64 i128 i256 i512 i1024 i2048 i4096 i8192 i16384 i32768">

// expected-error @+1 {{the kernel needs 262144 bytes of shared memory, and sm_80 has 166912 for a block: take smaller tiles or fewer stages}}
func.func @too_much(%x: tensor<65536xf32, #regs>) attributes {tile.kernel, tile.warps = 1 : i32, tile.target = "sm_80"} {
  %big = tile.alloc : !tile
  tile.shared_store %x, %big : tensor<65536xf32, #regs> -> !tile
  return
}
