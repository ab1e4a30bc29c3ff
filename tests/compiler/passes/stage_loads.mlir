// RUN: tilejit opt --place --stage-loads %s | FileCheck %s

!a = !tile.view<?x64xbf16, strides = [?, 1], align = 16>
!c = !tile.view<?x64xf32, strides = [?, 1], align = 16>

// The loop's operands come through rings of two slots: the first copies start before the loop, each turn waits, meets and
// starts the copies of the next turn, and the product reads the slot itself.
// CHECK-LABEL: func.func @rings
func.func @rings(%a: !a, %b: !a, %c: !c) attributes {tile.kernel, tile.warps = 4 : i32, tile.stages = 2 : i32} {
  %c0 = arith.constant 0 : i32
  %c64 = arith.constant 64 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %n = tile.size %b, 0 : !a
  // CHECK-DAG: %[[B:.*]] = tile.alloc : <64x64xbf16, {{.*}}, slots = 2>
  // CHECK-DAG: %[[A:.*]] = tile.alloc : <64x64xbf16, "{{[^"]*}}">
  // The operand that the loop does not change is copied once and held in registers.
  // CHECK: tile.copy_async %arg0
  // CHECK: tile.commit
  // CHECK: %[[ANY:.*]] = arith.cmpi slt
  // CHECK: tile.copy_async %arg1{{.*}} if %[[ANY]]
  // CHECK: tile.commit
  // CHECK: tile.wait 1
  // CHECK: tile.barrier
  // CHECK: tile.shared_load %[[A]]
  %x = tile.load %a[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  // CHECK: scf.for {{.*}} iter_args({{.*}}, %[[READ:[a-z0-9]+]] = %{{[a-z0-9_]+}}, %[[FILL:[a-z0-9]+]] = %{{[a-z0-9_]+}})
  %r = scf.for %i = %c0 to %n step %c64 iter_args(%acc = %zero) -> (tensor<64x64xf32>) : i32 {
    // CHECK: tile.wait 0
    // CHECK-NEXT: tile.barrier
    // CHECK: tile.slot %{{.*}}[%[[FILL]]]
    // CHECK: tile.copy_async %arg1
    // CHECK: tile.commit
    // CHECK: %[[TILE:.*]] = tile.slot %{{.*}}[%[[READ]]]
    // CHECK-NOT: tile.load
    // CHECK-NOT: tile.shared_load
    // CHECK: tile.dot %{{.*}}, %[[TILE]]
    %y = tile.load %b[%i, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
    %s = tile.dot %x, %y, %acc : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
    scf.yield %s : tensor<64x64xf32>
  }
  tile.store %r, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}

// A transposed operand is a view of the slot.
// CHECK-LABEL: func.func @transposed
func.func @transposed(%a: !a, %b: !a, %c: !c) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %x = tile.load %a[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  %y = tile.load %b[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  // CHECK: tile.transpose %{{.*}}, [1, 0] : !tile.shared<64x64xbf16, {{.*}}> -> !tile.shared<64x64xbf16
  %t = tile.transpose %y, [1, 0] : tensor<64x64xbf16> -> tensor<64x64xbf16>
  %s = tile.dot %x, %t, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  tile.store %s, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}

// What is not an operand of a product stays a load, and so does what arithmetic touches first.
// CHECK-LABEL: func.func @not_operands
// CHECK-NOT: tile.copy_async
func.func @not_operands(%a: !a, %b: !a, %c: !c) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  // CHECK: tile.load
  // CHECK: tile.load
  %x = tile.load %a[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  %y = tile.load %b[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  %x2 = arith.addf %x, %x : tensor<64x64xbf16>
  %y2 = arith.addf %y, %x : tensor<64x64xbf16>
  %s = tile.dot %x2, %y2, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  tile.store %s, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}

// An address that the loop computes from what it carries is not known ahead: one slot, copied and awaited in place.
// CHECK-LABEL: func.func @address_carried
func.func @address_carried(%a: !a, %b: !a, %c: !c) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %c64 = arith.constant 64 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %n = tile.size %b, 0 : !a
  %x = tile.load %a[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  // CHECK: scf.for
  %r:2 = scf.for %i = %c0 to %n step %c64 iter_args(%acc = %zero, %at = %c0) -> (tensor<64x64xf32>, i32) : i32 {
    // CHECK: tile.copy_async
    // CHECK-NEXT: tile.commit
    // CHECK: tile.wait 0
    // CHECK-NEXT: tile.barrier
    // CHECK: tile.dot
    %y = tile.load %b[%at, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
    %s = tile.dot %x, %y, %acc : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
    %next = arith.addi %at, %c64 : i32
    scf.yield %s, %next : tensor<64x64xf32>, i32
  }
  tile.store %r#0, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}

// Of a view that the kernel also writes nothing is copied ahead: what a turn stores, the next one multiplies.
// CHECK-LABEL: func.func @written
// CHECK-NOT: tile.copy_async %arg0
!s = !tile.view<?x64x64xbf16, strides = [?, 64, 1], align = 16>
func.func @written(%x: !s, %b: !a, %n: i32) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %y = tile.load %b[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  scf.for %i = %c0 to %n step %c1 : i32 {
    // CHECK: tile.load %arg0
    %t = tile.load %x[%i, %c0, %c0] dims [1, 2] : !s -> tensor<64x64xbf16>
    %p = tile.dot %t, %y, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
    %h = arith.truncf %p : tensor<64x64xf32> to tensor<64x64xbf16>
    %next = arith.addi %i, %c1 : i32
    tile.store %h, %x[%next, %c0, %c0] dims [1, 2] : tensor<64x64xbf16> -> !s
  }
  return
}

// Three stages: two groups are started before the loop, and a turn waits until one is left.
// CHECK-LABEL: func.func @three_stages
func.func @three_stages(%a: !a, %b: !a, %c: !c) attributes {tile.kernel, tile.warps = 4 : i32, tile.stages = 3 : i32} {
  %c0 = arith.constant 0 : i32
  %c64 = arith.constant 64 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %n = tile.size %b, 0 : !a
  // CHECK-DAG: tile.alloc : <64x64xbf16, {{.*}}, slots = 3>
  // CHECK: tile.copy_async %arg0
  // CHECK: tile.commit
  // CHECK: tile.copy_async %arg1
  // CHECK: tile.commit
  // CHECK: tile.copy_async %arg1
  // CHECK: tile.commit
  // CHECK: tile.wait 2
  %x = tile.load %a[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  // CHECK: scf.for
  %r = scf.for %i = %c0 to %n step %c64 iter_args(%acc = %zero) -> (tensor<64x64xf32>) : i32 {
    // CHECK: tile.wait 1
    // CHECK-NEXT: tile.barrier
    // CHECK: tile.copy_async %arg1
    // CHECK: tile.commit
    %y = tile.load %b[%i, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
    %s = tile.dot %x, %y, %acc : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
    scf.yield %s : tensor<64x64xf32>
  }
  tile.store %r, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}

// A load keeps its registers where it is masked, where something else uses it too, and where its elements are scattered.
// CHECK-LABEL: func.func @registers
// CHECK-NOT: tile.copy_async
// CHECK: return
!wide = !tile.view<?x64xbf16, strides = [?, ?], align = 2>
func.func @registers(%a: !a, %b: !a, %s: !wide, %c: !c, %m: i32) attributes {tile.kernel, tile.warps = 4 : i32} {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %i = tile.iota : tensor<64xi32>
  %bound = tile.splat %m : i32 -> tensor<64xi32>
  %in = arith.cmpi slt, %i, %bound : tensor<64xi32>
  %row = tile.expand_dims %in, 0 : tensor<64xi1> -> tensor<1x64xi1>
  %mask = tile.broadcast %row : tensor<1x64xi1> -> tensor<64x64xi1>
  %x = tile.load %a[%c0, %c0] dims [0, 1] mask %mask : tensor<64x64xi1> : !a -> tensor<64x64xbf16>
  %y = tile.load %b[%c0, %c0] dims [0, 1] : !a -> tensor<64x64xbf16>
  %z = tile.load %s[%c0, %c0] dims [0, 1] : !wide -> tensor<64x64xbf16>
  %p = tile.dot %x, %y, %zero : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  %q = tile.dot %x, %z, %p : tensor<64x64xbf16>, tensor<64x64xbf16> -> tensor<64x64xf32>
  %f = arith.extf %y : tensor<64x64xbf16> to tensor<64x64xf32>
  %r = arith.addf %q, %f : tensor<64x64xf32>
  tile.store %r, %c[%c0, %c0] dims [0, 1] : tensor<64x64xf32> -> !c
  return
}
