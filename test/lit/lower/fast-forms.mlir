// RUN: npu-opt %s -npuc-use-fast-forms="float16" | FileCheck %s
// RUN: npu-opt %s -npuc-use-fast-forms | FileCheck %s --check-prefix=SAME
// RUN: npu-opt %s -npuc-use-fast-forms="float16" -npuc-use-fast-forms="float16" | FileCheck %s

#rows = affine_map<(d0, d1) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
#columns = affine_map<(d0, d1) -> (d1)>
#one = affine_map<(d0) -> (d0)>
#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// A row's integers are summed by multiplying them with ones.
// CHECK-LABEL: @sums
// CHECK:       %[[ONE:.*]] = arith.constant 1 : i8
// CHECK:       %[[ONES:.*]] = linalg.fill ins(%[[ONE]] : i8) outs({{.*}} : tensor<32xi8>)
// CHECK:       linalg.generic {{.*}}ins(%{{.*}}, %[[ONES]] : tensor<4x32xi8>, tensor<32xi8>)
// CHECK:         arith.muli
// CHECK:         arith.addi
func.func @sums(%x: tensor<4x32xi8>, %init: tensor<4xi32>) -> tensor<4xi32> {
  %sums = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<4x32xi8>) outs(%init : tensor<4xi32>) {
  ^bb0(%a: i8, %old: i32):
    %wide = arith.extsi %a : i8 to i32
    %sum = arith.addi %old, %wide : i32
    linalg.yield %sum : i32
  } -> tensor<4xi32>
  return %sums : tensor<4xi32>
}

// Of a difference, which may be much less than what it is of, the exponential and what follows is narrow: 4.5 of 5.5
// operations of f32 (an exponential counts 4), for one rounding.
// CHECK-LABEL: @powers
// CHECK:         %[[D:.*]] = arith.subf %{{.*}}, %{{.*}} : f32
// CHECK-NEXT:    %[[N:.*]] = arith.truncf %[[D]] : f32 to f16
// CHECK-NEXT:    %[[E:.*]] = math.exp %[[N]] : f16
// CHECK:         math.roundeven %{{.*}} : f16
// CHECK:         arith.fptosi %{{.*}} : f16 to i8
// SAME-LABEL: @powers
// SAME-NOT:   f16
// SAME:       return
func.func @powers(%x: tensor<4x32xf32>, %top: tensor<4xf32>, %init: tensor<4x32xi8>) -> tensor<4x32xi8> {
  %least = arith.constant -128.0 : f32
  %most = arith.constant 127.0 : f32
  %powers = linalg.generic {indexing_maps = [#all, #rows, #all], iterator_types = ["parallel", "parallel"]}
      ins(%x, %top : tensor<4x32xf32>, tensor<4xf32>) outs(%init : tensor<4x32xi8>) {
  ^bb0(%a: f32, %m: f32, %old: i8):
    %difference = arith.subf %a, %m : f32
    %power = math.exp %difference : f32
    %rounded = math.roundeven %power : f32
    %low = arith.maximumf %rounded, %least : f32
    %high = arith.minimumf %low, %most : f32
    %result = arith.fptosi %high : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x32xi8>
  return %powers : tensor<4x32xi8>
}

// The requantization of a sum is exact: it stays as it is.
// CHECK-LABEL: @requantized
// CHECK-NOT:   f16
// CHECK:       return
func.func @requantized(%x: tensor<4x32xi32>, %init: tensor<4x32xi8>) -> tensor<4x32xi8> {
  %scale = arith.constant 0.01 : f32
  %offset = arith.constant 3.0 : f32
  %least = arith.constant -128.0 : f32
  %most = arith.constant 127.0 : f32
  %bytes = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<4x32xi32>) outs(%init : tensor<4x32xi8>) {
  ^bb0(%a: i32, %old: i8):
    %wide = arith.sitofp %a : i32 to f32
    %scaled = arith.mulf %wide, %scale : f32
    %rounded = math.roundeven %scaled : f32
    %moved = arith.addf %rounded, %offset : f32
    %low = arith.maximumf %moved, %least : f32
    %high = arith.minimumf %low, %most : f32
    %result = arith.fptosi %high : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x32xi8>
  return %bytes : tensor<4x32xi8>
}

// Factors that are no constants may be beyond the range of f16: nothing is narrowed.
// CHECK-LABEL: @factors
// CHECK-NOT:   f16
// CHECK:       return
func.func @factors(%x: tensor<4x32xf32>, %by: tensor<32xf32>, %init: tensor<4x32xi8>) -> tensor<4x32xi8> {
  %bytes = linalg.generic {indexing_maps = [#all, #columns, #all], iterator_types = ["parallel", "parallel"]}
      ins(%x, %by : tensor<4x32xf32>, tensor<32xf32>) outs(%init : tensor<4x32xi8>) {
  ^bb0(%a: f32, %factor: f32, %old: i8):
    %half = arith.addf %a, %a : f32
    %scaled = arith.mulf %half, %factor : f32
    %rounded = math.roundeven %scaled : f32
    %result = arith.fptosi %rounded : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x32xi8>
  return %bytes : tensor<4x32xi8>
}

// Sums of 16 products of two bytes are at most 16 · 2^14 < 2^24, and so are the constants: f32 has them, so that they are added
// as floats, in one operation less. Neither sums nor factors are narrowed for that: the sums are beyond the range of f16.
// CHECK-LABEL: @sum_of_floats
// CHECK:         linalg.yield %{{.*}} : i32
// CHECK:       ^bb0(%[[A:.*]]: i32, %[[C:.*]]: i32, %{{.*}}: i8):
// CHECK-DAG:     %[[FA:.*]] = arith.sitofp %[[A]] : i32 to f32
// CHECK-DAG:     %[[FC:.*]] = arith.sitofp %[[C]] : i32 to f32
// CHECK:         %[[S:.*]] = arith.addf %[[FA]], %[[FC]] : f32
// CHECK-NEXT:    arith.mulf %[[S]], %{{.*}} : f32
func.func @sum_of_floats(%x: tensor<4x16xi8>, %w: tensor<16x2xi8>,
                         %c: tensor<2xi32> {npu.value = dense<[16777216, -5]> : tensor<2xi32>}, %init: tensor<4x2xi8>) -> tensor<4x2xi8> {
  %scale = arith.constant 0.01 : f32
  %zero = arith.constant 0 : i32
  %empty = tensor.empty() : tensor<4x2xi32>
  %start = linalg.fill ins(%zero : i32) outs(%empty : tensor<4x2xi32>) -> tensor<4x2xi32>
  %sums = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<4x16xi8>, tensor<16x2xi8>) outs(%start : tensor<4x2xi32>) {
  ^bb0(%a: i8, %b: i8, %old: i32):
    %wide = arith.extsi %a : i8 to i32
    %other = arith.extsi %b : i8 to i32
    %product = arith.muli %wide, %other : i32
    %sum = arith.addi %old, %product : i32
    linalg.yield %sum : i32
  } -> tensor<4x2xi32>
  %bytes = linalg.generic {indexing_maps = [#all, #columns, #all], iterator_types = ["parallel", "parallel"]}
      ins(%sums, %c : tensor<4x2xi32>, tensor<2xi32>) outs(%init : tensor<4x2xi8>) {
  ^bb0(%a: i32, %b: i32, %old: i8):
    %sum = arith.addi %a, %b : i32
    %real = arith.sitofp %sum : i32 to f32
    %scaled = arith.mulf %real, %scale : f32
    %rounded = math.roundeven %scaled : f32
    %result = arith.fptosi %rounded : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x2xi8>
  return %bytes : tensor<4x2xi8>
}

// Of a constant that f32 does not have, the sum may be another one.
// CHECK-LABEL: @sum_of_integers
// CHECK:         %[[S:.*]] = arith.addi
// CHECK-NEXT:    arith.sitofp %[[S]]
func.func @sum_of_integers(%c: tensor<2xi32> {npu.value = dense<[16777217, -5]> : tensor<2xi32>},
                           %d: tensor<2xi32> {npu.value = dense<[1, 2]> : tensor<2xi32>}, %init: tensor<2xf32>) -> tensor<2xf32> {
  %sums = linalg.generic {indexing_maps = [#one, #one, #one], iterator_types = ["parallel"]}
      ins(%c, %d : tensor<2xi32>, tensor<2xi32>) outs(%init : tensor<2xf32>) {
  ^bb0(%a: i32, %b: i32, %old: f32):
    %sum = arith.addi %a, %b : i32
    %real = arith.sitofp %sum : i32 to f32
    linalg.yield %real : f32
  } -> tensor<2xf32>
  return %sums : tensor<2xf32>
}

// Scores of 8-bit integers, whose mask leaves them or puts them out of reach, are kept in 16 bits, and so are the greatest of a row and what is
// subtracted; the mask's numbers leave room for a score. 32 · 2^14 / 2^10 = 512 is the greatest score.
// CHECK-LABEL: @scores
// CHECK:       arith.select %{{.*}}, %{{.*}}, %[[HIDDEN:.*]] : f32
// CHECK:       %[[S:.*]] = linalg.generic {{.*}}outs({{.*}} : tensor<4x32xf16>)
// CHECK:         %[[SUM:.*]] = arith.addf %{{.*}}, %{{.*}} : f32
// CHECK-NEXT:    arith.truncf %[[SUM]] : f32 to f16
// CHECK:       %[[G:.*]] = linalg.generic {{.*}}ins(%[[S]] : tensor<4x32xf16>) outs({{.*}} : tensor<4xf16>)
// CHECK:         arith.maximumf %{{.*}}, %{{.*}} : f16
// CHECK:       %[[B:.*]] = linalg.generic {{.*}}ins(%[[G]] : tensor<4xf16>) outs({{.*}} : tensor<4xf16>)
// CHECK:       linalg.generic {{.*}}ins(%[[S]], %[[B]] : tensor<4x32xf16>, tensor<4xf16>)
// CHECK:         %[[D:.*]] = arith.subf %{{.*}}, %{{.*}} : f16
// CHECK-NEXT:    math.exp %[[D]] : f16
// SAME-LABEL: @scores
// SAME-NOT:   f16
// SAME:       return
func.func @scores(%q: tensor<4x32xi8>, %k: tensor<32x32xi8>, %seen: tensor<32xi1>, %init: tensor<4x32xi8>) -> tensor<4x32xi8> {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  %hidden = arith.constant -3.0e+38 : f32
  %none = arith.constant 0xFF800000 : f32
  %scale = arith.constant 9.765625e-4 : f32
  %shift = arith.constant 4.84375 : f32
  %least = arith.constant -128.0 : f32
  %most = arith.constant 127.0 : f32
  %e0 = tensor.empty() : tensor<4x32xi32>
  %f0 = linalg.fill ins(%c0 : i32) outs(%e0 : tensor<4x32xi32>) -> tensor<4x32xi32>
  %sums = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%q, %k : tensor<4x32xi8>, tensor<32x32xi8>) outs(%f0 : tensor<4x32xi32>) {
  ^bb0(%a: i8, %b: i8, %old: i32):
    %x = arith.extsi %a : i8 to i32
    %y = arith.extsi %b : i8 to i32
    %xy = arith.muli %x, %y : i32
    %sum = arith.addi %old, %xy : i32
    linalg.yield %sum : i32
  } -> tensor<4x32xi32>
  %em = tensor.empty() : tensor<32xf32>
  %mask = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]}
      ins(%seen : tensor<32xi1>) outs(%em : tensor<32xf32>) {
  ^bb0(%s: i1, %old: f32):
    %m = arith.select %s, %zero, %hidden : f32
    linalg.yield %m : f32
  } -> tensor<32xf32>
  %e1 = tensor.empty() : tensor<4x32xf32>
  %scores = linalg.generic {indexing_maps = [#all, #columns, #all], iterator_types = ["parallel", "parallel"]}
      ins(%sums, %mask : tensor<4x32xi32>, tensor<32xf32>) outs(%e1 : tensor<4x32xf32>) {
  ^bb0(%a: i32, %m: f32, %old: f32):
    %real = arith.sitofp %a : i32 to f32
    %scaled = arith.mulf %real, %scale : f32
    %masked = arith.addf %scaled, %m : f32
    linalg.yield %masked : f32
  } -> tensor<4x32xf32>
  %e2 = tensor.empty() : tensor<4xf32>
  %f2 = linalg.fill ins(%none : f32) outs(%e2 : tensor<4xf32>) -> tensor<4xf32>
  %greatest = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]}
      ins(%scores : tensor<4x32xf32>) outs(%f2 : tensor<4xf32>) {
  ^bb0(%a: f32, %old: f32):
    %g = arith.maximumf %old, %a : f32
    linalg.yield %g : f32
  } -> tensor<4xf32>
  %base = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]}
      ins(%greatest : tensor<4xf32>) outs(%e2 : tensor<4xf32>) {
  ^bb0(%a: f32, %old: f32):
    %d = arith.subf %a, %shift : f32
    linalg.yield %d : f32
  } -> tensor<4xf32>
  %weights = linalg.generic {indexing_maps = [#all, #rows, #all], iterator_types = ["parallel", "parallel"]}
      ins(%scores, %base : tensor<4x32xf32>, tensor<4xf32>) outs(%init : tensor<4x32xi8>) {
  ^bb0(%a: f32, %m: f32, %old: i8):
    %difference = arith.subf %a, %m : f32
    %power = math.exp %difference : f32
    %rounded = math.roundeven %power : f32
    %low = arith.maximumf %rounded, %least : f32
    %high = arith.minimumf %low, %most : f32
    %result = arith.fptosi %high : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x32xi8>
  return %weights : tensor<4x32xi8>
}

// What adds any number to scores may make them large, and a float of 16 bits off by as much as scores are apart.
// CHECK-LABEL: @biased
// CHECK-NOT:   tensor<4x32xf16>
// CHECK:       return
func.func @biased(%q: tensor<4x32xi8>, %k: tensor<32x32xi8>, %mask: tensor<32xf32>, %init: tensor<4x32xi8>) -> tensor<4x32xi8> {
  %c0 = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  %hidden = arith.constant -3.0e+38 : f32
  %none = arith.constant 0xFF800000 : f32
  %scale = arith.constant 9.765625e-4 : f32
  %shift = arith.constant 4.84375 : f32
  %least = arith.constant -128.0 : f32
  %most = arith.constant 127.0 : f32
  %e0 = tensor.empty() : tensor<4x32xi32>
  %f0 = linalg.fill ins(%c0 : i32) outs(%e0 : tensor<4x32xi32>) -> tensor<4x32xi32>
  %sums = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%q, %k : tensor<4x32xi8>, tensor<32x32xi8>) outs(%f0 : tensor<4x32xi32>) {
  ^bb0(%a: i8, %b: i8, %old: i32):
    %x = arith.extsi %a : i8 to i32
    %y = arith.extsi %b : i8 to i32
    %xy = arith.muli %x, %y : i32
    %sum = arith.addi %old, %xy : i32
    linalg.yield %sum : i32
  } -> tensor<4x32xi32>
  %e1 = tensor.empty() : tensor<4x32xf32>
  %scores = linalg.generic {indexing_maps = [#all, #columns, #all], iterator_types = ["parallel", "parallel"]}
      ins(%sums, %mask : tensor<4x32xi32>, tensor<32xf32>) outs(%e1 : tensor<4x32xf32>) {
  ^bb0(%a: i32, %m: f32, %old: f32):
    %real = arith.sitofp %a : i32 to f32
    %scaled = arith.mulf %real, %scale : f32
    %masked = arith.addf %scaled, %m : f32
    linalg.yield %masked : f32
  } -> tensor<4x32xf32>
  %e2 = tensor.empty() : tensor<4xf32>
  %f2 = linalg.fill ins(%none : f32) outs(%e2 : tensor<4xf32>) -> tensor<4xf32>
  %greatest = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]}
      ins(%scores : tensor<4x32xf32>) outs(%f2 : tensor<4xf32>) {
  ^bb0(%a: f32, %old: f32):
    %g = arith.maximumf %old, %a : f32
    linalg.yield %g : f32
  } -> tensor<4xf32>
  %base = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]}
      ins(%greatest : tensor<4xf32>) outs(%e2 : tensor<4xf32>) {
  ^bb0(%a: f32, %old: f32):
    %d = arith.subf %a, %shift : f32
    linalg.yield %d : f32
  } -> tensor<4xf32>
  %weights = linalg.generic {indexing_maps = [#all, #rows, #all], iterator_types = ["parallel", "parallel"]}
      ins(%scores, %base : tensor<4x32xf32>, tensor<4xf32>) outs(%init : tensor<4x32xi8>) {
  ^bb0(%a: f32, %m: f32, %old: i8):
    %difference = arith.subf %a, %m : f32
    %power = math.exp %difference : f32
    %rounded = math.roundeven %power : f32
    %low = arith.maximumf %rounded, %least : f32
    %high = arith.minimumf %low, %most : f32
    %result = arith.fptosi %high : f32 to i8
    linalg.yield %result : i8
  } -> tensor<4x32xi8>
  return %weights : tensor<4x32xi8>
}
