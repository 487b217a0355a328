// RUN: npu-opt %s --nn-recover-activations --canonicalize | FileCheck %s
// RUN: npu-opt %s --nn-recover-activations --nn-recover-activations --canonicalize | FileCheck %s

// CHECK-LABEL: @gelu_erf
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %arg0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @gelu_erf(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %root = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.div %x, %root : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %1 = nn.erf %0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = nn.add %1, %one : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %3 = nn.mul %x, %2 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = nn.mul %3, %half : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  return %4 : tensor<2x8xf32>
}

// The half inside the sum: x · (½ erf(x · √½) + ½); x is a product itself.
// CHECK-LABEL: @gelu_erf_half_inside
// CHECK: %[[P:.*]] = nn.mul
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %[[P]] :
// CHECK-NEXT: return %[[Y]]
func.func @gelu_erf_half_inside(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<8xf32> {
  %root = nn.constant dense<0.707106769> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %x = nn.mul %a, %b : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %0 = nn.mul %root, %x : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = nn.erf %0 : (tensor<8xf32>) -> tensor<8xf32>
  %2 = nn.mul %half, %1 : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %3 = nn.add %half, %2 : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %4 = nn.mul %3, %x : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %4 : tensor<8xf32>
}

// GPT-2 and T5: x³ as a power.
// CHECK-LABEL: @gelu_tanh
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %arg0 {tanh} : (tensor<2x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @gelu_tanh(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %three = nn.constant dense<3.0> : tensor<f32>
  %cubic = nn.constant dense<0.044715> : tensor<f32>
  %outer = nn.constant dense<0.797884583> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.mul %x, %half : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %1 = nn.pow %x, %three : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %2 = nn.mul %1, %cubic : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %3 = nn.add %x, %2 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = nn.mul %3, %outer : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %5 = nn.tanh %4 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %6 = nn.add %5, %one : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %7 = nn.mul %0, %6 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %7 : tensor<2x8xf32>
}

// "Fast" gelu: x · √(2/π) · (1 + 0.044715 · x · x), factored.
// CHECK-LABEL: @gelu_tanh_factored
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %arg0 {tanh}
// CHECK-NEXT: return %[[Y]]
func.func @gelu_tanh_factored(%x: tensor<8xf32>) -> tensor<8xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %cubic = nn.constant dense<0.044715> : tensor<f32>
  %outer = nn.constant dense<0.797884583> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.mul %cubic, %x : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = nn.mul %0, %x : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %2 = nn.add %1, %one : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %3 = nn.mul %x, %outer : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %4 = nn.mul %3, %2 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %5 = nn.tanh %4 : (tensor<8xf32>) -> tensor<8xf32>
  %6 = nn.add %one, %5 : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  %7 = nn.mul %x, %6 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %8 = nn.mul %half, %7 : (tensor<f32>, tensor<8xf32>) -> tensor<8xf32>
  return %8 : tensor<8xf32>
}

// CHECK-LABEL: @silu
// CHECK-NEXT: %[[A:.*]] = nn.silu %arg0
// CHECK-NEXT: %[[B:.*]] = nn.silu %arg0
// CHECK-NEXT: return %[[A]], %[[B]]
func.func @silu(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.sigmoid %x : (tensor<8xf32>) -> tensor<8xf32>
  %1 = nn.mul %0, %x : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %2 = nn.neg %x : (tensor<8xf32>) -> tensor<8xf32>
  %3 = nn.exp %2 : (tensor<8xf32>) -> tensor<8xf32>
  %4 = nn.add %3, %one : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %5 = nn.div %x, %4 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %1, %5 : tensor<8xf32>, tensor<8xf32>
}

// Another constant (x/2 · (1 + erf(x))), and an erf that is also used elsewhere, are no gelu.
// CHECK-LABEL: @no_gelu
// CHECK-NOT: nn.gelu
func.func @no_gelu(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  %root = nn.constant dense<0.707106769> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.erf %x : (tensor<8xf32>) -> tensor<8xf32>
  %1 = nn.add %0, %one : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %2 = nn.mul %x, %1 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %3 = nn.mul %2, %half : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %4 = nn.mul %x, %root : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %5 = nn.erf %4 : (tensor<8xf32>) -> tensor<8xf32>
  %6 = nn.add %5, %one : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  %7 = nn.mul %x, %6 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %8 = nn.mul %7, %half : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
  return %3, %5, %8 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}
