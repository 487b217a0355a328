// RUN: npu-opt %s -npuc-plan-tiles=target=atom | FileCheck %s

// The sums of a row's powers are a product with ones, and the result is divided by them: all is one group, cut along rows.
// CHECK-LABEL:   @attention
// CHECK-COUNT-4: npu.group = 0
// CHECK-NOT:     npu.group

#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
#row = affine_map<(m, k) -> (m)>
#column = affine_map<(m, k) -> (k)>
#all = affine_map<(m, k) -> (m, k)>
#one = affine_map<(m) -> (m)>

func.func @attention(%p: tensor<128x128xi8> {npu.name = "p", npu.role = "input"}, %v: tensor<128x64xi8> {npu.name = "v", npu.role = "input"},
                     %y: tensor<128x64xi8> {npu.name = "y", npu.role = "output"}) -> tensor<128x64xi8> {
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i8
  %top = arith.constant 127.0 : f32
  %ones = tensor.empty() : tensor<128xi8>
  %filled = linalg.fill ins(%one : i8) outs(%ones : tensor<128xi8>) -> tensor<128xi8>
  %e0 = tensor.empty() : tensor<128x64xi32>
  %z0 = linalg.fill ins(%zero : i32) outs(%e0 : tensor<128x64xi32>) -> tensor<128x64xi32>
  %products = linalg.generic {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%p, %v : tensor<128x128xi8>, tensor<128x64xi8>) outs(%z0 : tensor<128x64xi32>) {
  ^bb0(%a: i8, %b: i8, %old: i32):
    %wide = arith.extsi %a : i8 to i32
    %other = arith.extsi %b : i8 to i32
    %product = arith.muli %wide, %other : i32
    %sum = arith.addi %old, %product : i32
    linalg.yield %sum : i32
  } -> tensor<128x64xi32>
  %e1 = tensor.empty() : tensor<128xi32>
  %z1 = linalg.fill ins(%zero : i32) outs(%e1 : tensor<128xi32>) -> tensor<128xi32>
  %sums = linalg.generic {indexing_maps = [#all, #column, #row], iterator_types = ["parallel", "reduction"]}
      ins(%p, %filled : tensor<128x128xi8>, tensor<128xi8>) outs(%z1 : tensor<128xi32>) {
  ^bb0(%a: i8, %b: i8, %old: i32):
    %wide = arith.extsi %a : i8 to i32
    %other = arith.extsi %b : i8 to i32
    %product = arith.muli %wide, %other : i32
    %sum = arith.addi %old, %product : i32
    linalg.yield %sum : i32
  } -> tensor<128xi32>
  %e2 = tensor.empty() : tensor<128xf32>
  %factors = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]}
      ins(%sums : tensor<128xi32>) outs(%e2 : tensor<128xf32>) {
  ^bb0(%s: i32, %old: f32):
    %real = arith.sitofp %s : i32 to f32
    %factor = arith.divf %top, %real : f32
    linalg.yield %factor : f32
  } -> tensor<128xf32>
  %result = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]}
      ins(%products, %factors : tensor<128x64xi32>, tensor<128xf32>) outs(%y : tensor<128x64xi8>) {
  ^bb0(%a: i32, %factor: f32, %old: i8):
    %real = arith.sitofp %a : i32 to f32
    %scaled = arith.mulf %real, %factor : f32
    %byte = arith.fptosi %scaled : f32 to i8
    linalg.yield %byte : i8
  } -> tensor<128x64xi8>
  return %result : tensor<128x64xi8>
}
