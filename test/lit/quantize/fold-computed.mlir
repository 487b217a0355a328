// RUN: npu-opt %s --npuc-fold-quantization | FileCheck %s
// RUN: npu-opt %s --npuc-fold-quantization --npuc-fold-quantization | FileCheck %s

// A scale for each row: the sums are exact, then come the columns' scales, the rows' and the bias, in f32.
// CHECK-LABEL: @rows
// CHECK-DAG: %[[B:.*]] = nn.constant dense<[1.000000e+00, -1.000000e+00]>
// CHECK-DAG: %[[T:.*]] = nn.constant dense<[5.000000e-01, 2.500000e-01]>
// CHECK-DAG: %[[V:.*]] = nn.constant dense<{{.*}}> : tensor<3x2xi8>
// CHECK: %[[SUMS:.*]] = nn.linear %arg0, %[[V]] : (tensor<2x3xi8>, tensor<3x2xi8>) -> tensor<2x2xi32>
// CHECK: %[[COLUMNS:.*]] = nn.dequantize %[[SUMS]], %[[T]] {axis = 1 : i64, nn.in_f32} : {{.*}} -> tensor<2x2xf32>
// CHECK: %[[ROWS:.*]] = nn.mul %[[COLUMNS]], %arg1 {nn.in_f32} : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x2xf32>
// CHECK: %[[Y:.*]] = nn.add %[[ROWS]], %[[B]] {nn.in_f32}
// CHECK: return %[[Y]]
func.func @rows(%q: tensor<2x3xi8>, %s: tensor<2x1xf32>) -> tensor<2x2xf32> {
  %v = nn.constant dense<[[1, 2], [3, 4], [5, 6]]> : tensor<3x2xi8>
  %t = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %b = nn.constant dense<[1.0, -1.0]> : tensor<2xf32>
  %x = nn.dequantize %q, %s {axis = 1 : i64, block_size = 3 : i64} : (tensor<2x3xi8>, tensor<2x1xf32>) -> tensor<2x3xf32>
  %w = nn.dequantize %v, %t {axis = 1 : i64} : (tensor<3x2xi8>, tensor<2xf32>) -> tensor<3x2xf32>
  %y = nn.linear %x, %w, %b : (tensor<2x3xf32>, tensor<3x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// DynamicQuantizeLinear's scale and zero point: the columns of the weights sum to 1 + 3 + 5 = 9 and 2 + 4 + 6 = 12, times the zero
// point; both scales are multiplied first, as onnxruntime does.
// CHECK-LABEL: @dynamic
// CHECK-DAG: %[[SUMW:.*]] = nn.constant dense<{{\[}}[9, 12]]> : tensor<1x2xi32>
// CHECK-DAG: %[[T:.*]] = nn.constant dense<2.500000e-01> : tensor<f32>
// CHECK-DAG: %[[V:.*]] = nn.constant dense<{{.*}}> : tensor<3x2xi8>
// CHECK: %[[WIDE:.*]] = nn.cast %arg2 : (tensor<ui8>) -> tensor<i32>
// CHECK: %[[ZERO:.*]] = nn.reshape %[[WIDE]] : (tensor<i32>) -> tensor<1x1xi32>
// CHECK: %[[SUMS:.*]] = nn.linear %arg0, %[[V]] : (tensor<2x3xui8>, tensor<3x2xi8>) -> tensor<2x2xi32>
// CHECK: %[[LESS:.*]] = nn.mul %[[ZERO]], %[[SUMW]]
// CHECK: %[[CENTRED:.*]] = nn.sub %[[SUMS]], %[[LESS]]
// CHECK: %[[SCALE:.*]] = nn.mul %arg1, %[[T]] {nn.in_f32} : (tensor<f32>, tensor<f32>) -> tensor<f32>
// CHECK: %[[Y:.*]] = nn.dequantize %[[CENTRED]], %[[SCALE]] {nn.in_f32}
// CHECK: return %[[Y]]
func.func @dynamic(%q: tensor<2x3xui8>, %s: tensor<f32>, %z: tensor<ui8>) -> tensor<2x2xf32> {
  %v = nn.constant dense<[[1, 2], [3, 4], [5, 6]]> : tensor<3x2xi8>
  %t = nn.constant dense<0.25> : tensor<f32>
  %x = nn.dequantize %q, %s, %z : (tensor<2x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x3xf32>
  %w = nn.dequantize %v, %t : (tensor<3x2xi8>, tensor<f32>) -> tensor<3x2xf32>
  %y = nn.linear %x, %w : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// MatMulInteger: Σ (a - za)(b - zb) = Σ ab - za Σb - zb Σa + 3 za zb, with zb for each column.
// CHECK-LABEL: @centred
// CHECK-DAG: %[[COUNT:.*]] = nn.constant dense<3> : tensor<1xi32>
// CHECK-DAG: %[[ZA:.*]] = nn.reshape %{{.*}} : (tensor<i32>) -> tensor<1x1xi32>
// CHECK-DAG: %[[ZB:.*]] = nn.reshape %{{.*}} : (tensor<2xi32>) -> tensor<1x2xi32>
// CHECK: %[[AB:.*]] = nn.matmul %arg0, %arg2 : (tensor<2x3xui8>, tensor<3x2xi8>) -> tensor<2x2xi32>
// CHECK: %[[B:.*]] = nn.reduce sum %{{.*}} {axes = array<i64: 0>, keep} : (tensor<3x2xi32>) -> tensor<1x2xi32>
// CHECK: %[[ZAB:.*]] = nn.mul %[[B]], %[[ZA]]
// CHECK: %[[FIRST:.*]] = nn.sub %[[AB]], %[[ZAB]]
// CHECK: %[[A:.*]] = nn.reduce sum %{{.*}} {axes = array<i64: 1>, keep} : (tensor<2x3xi32>) -> tensor<2x1xi32>
// CHECK: %[[ZBA:.*]] = nn.mul %[[A]], %[[ZB]]
// CHECK: %[[SECOND:.*]] = nn.sub %[[FIRST]], %[[ZBA]]
// CHECK: %[[ZZ:.*]] = nn.mul %[[ZA]], %[[ZB]]
// CHECK: %[[KZZ:.*]] = nn.mul %[[ZZ]], %[[COUNT]]
// CHECK: %[[Y:.*]] = nn.add %[[SECOND]], %[[KZZ]]
// CHECK: return %[[Y]]
func.func @centred(%a: tensor<2x3xui8>, %za: tensor<ui8>, %b: tensor<3x2xi8>, %zb: tensor<2xi8>) -> tensor<2x2xi32> {
  %aw = nn.cast %a : (tensor<2x3xui8>) -> tensor<2x3xi32>
  %zaw = nn.cast %za : (tensor<ui8>) -> tensor<i32>
  %ac = nn.sub %aw, %zaw : (tensor<2x3xi32>, tensor<i32>) -> tensor<2x3xi32>
  %bw = nn.cast %b : (tensor<3x2xi8>) -> tensor<3x2xi32>
  %zbw = nn.cast %zb : (tensor<2xi8>) -> tensor<2xi32>
  %bc = nn.sub %bw, %zbw : (tensor<3x2xi32>, tensor<2xi32>) -> tensor<3x2xi32>
  %y = nn.matmul %ac, %bc : (tensor<2x3xi32>, tensor<3x2xi32>) -> tensor<2x2xi32>
  return %y : tensor<2x2xi32>
}

// Weights from which a zero point of 100 was subtracted lie in [-100, 155]: as i8 they are 28 less, which their zero point
// of -28 gives back, so 28 times the row's sum is added.
// CHECK-LABEL: @constant
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[}}[-128], [127]]> : tensor<2x1xi8>
// CHECK-DAG: %[[ZW:.*]] = nn.constant dense<-28> : tensor<1x1xi32>
// CHECK: %[[SUMS:.*]] = nn.linear %arg0, %[[W]] : (tensor<2x2xui8>, tensor<2x1xi8>) -> tensor<2x1xi32>
// CHECK: %[[ROWS:.*]] = nn.reduce sum
// CHECK: %[[LESS:.*]] = nn.mul %[[ROWS]], %[[ZW]]
// CHECK: nn.sub %[[SUMS]], %[[LESS]]
func.func @constant(%a: tensor<2x2xui8>) -> tensor<2x1xi32> {
  %w = nn.constant dense<[[-100], [155]]> : tensor<2x1xi32>
  %aw = nn.cast %a : (tensor<2x2xui8>) -> tensor<2x2xi32>
  %y = nn.linear %aw, %w : (tensor<2x2xi32>, tensor<2x1xi32>) -> tensor<2x1xi32>
  return %y : tensor<2x1xi32>
}

// Zero points that differ by column: the first column's numbers, from -130, are 2 more as i8, from -128; the
// second's, from -10, 118 less.
// CHECK-LABEL: @columns
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[}}[-128, -128], [122, 82]]> : tensor<2x2xi8>
// CHECK-DAG: %[[ZW:.*]] = nn.constant dense<{{\[}}[2, -118]]> : tensor<1x2xi32>
// CHECK: nn.linear %arg0, %[[W]]
// CHECK: nn.mul %{{.*}}, %[[ZW]]
func.func @columns(%a: tensor<2x2xui8>) -> tensor<2x2xi32> {
  %w = nn.constant dense<[[-130, -10], [120, 200]]> : tensor<2x2xi32>
  %aw = nn.cast %a : (tensor<2x2xui8>) -> tensor<2x2xi32>
  %y = nn.linear %aw, %w : (tensor<2x2xi32>, tensor<2x2xi32>) -> tensor<2x2xi32>
  return %y : tensor<2x2xi32>
}

// ConvInteger: outside of the input is 0, which is the zero point; Σ w = 1 + 2 + 3 = 6.
// CHECK-LABEL: @conv
// CHECK-DAG: %[[SUMW:.*]] = nn.constant dense<6> : tensor<1x1x1xi32>
// CHECK: %[[ZERO:.*]] = nn.reshape %{{.*}} : (tensor<i32>) -> tensor<1x1x1xi32>
// CHECK: %[[PADDED:.*]] = nn.pad constant %arg0, %{{.*}} {high = array<i64: 0, 0, 2>, low = array<i64: 0, 0, 1>} : (tensor<1x1x8xui8>, tensor<ui8>) -> tensor<1x1x11xui8>
// CHECK: %[[SUMS:.*]] = nn.conv %[[PADDED]], {{.*}}pads = array<i64: 0, 0>{{.*}} (tensor<1x1x11xui8>, tensor<1x1x3xi8>) -> tensor<1x1x9xi32>
// CHECK: %[[LESS:.*]] = nn.mul %[[ZERO]], %[[SUMW]]
// CHECK: nn.sub %[[SUMS]], %[[LESS]]
func.func @conv(%q: tensor<1x1x8xui8>, %z: tensor<ui8>) -> tensor<1x1x9xi32> {
  %v = nn.constant dense<[[[1, 2, 3]]]> : tensor<1x1x3xi8>
  %x = nn.cast %q : (tensor<1x1x8xui8>) -> tensor<1x1x8xi32>
  %zw = nn.cast %z : (tensor<ui8>) -> tensor<i32>
  %c = nn.sub %x, %zw : (tensor<1x1x8xi32>, tensor<i32>) -> tensor<1x1x8xi32>
  %w = nn.cast %v : (tensor<1x1x3xi8>) -> tensor<1x1x3xi32>
  %y = nn.conv %c, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 1, 2>} : (tensor<1x1x8xi32>, tensor<1x1x3xi32>) -> tensor<1x1x9xi32>
  return %y : tensor<1x1x9xi32>
}

// A zero point for each image: elements outside of the input would need each its own.
// CHECK-LABEL: @images
// CHECK: nn.conv {{.*}} (tensor<2x1x8xi32>, tensor<1x1x3xi32>)
func.func @images(%q: tensor<2x1x8xui8>, %z: tensor<2x1x1xi32>, %w: tensor<1x1x3xi8>) -> tensor<2x1x8xi32> {
  %x = nn.cast %q : (tensor<2x1x8xui8>) -> tensor<2x1x8xi32>
  %c = nn.sub %x, %z : (tensor<2x1x8xi32>, tensor<2x1x1xi32>) -> tensor<2x1x8xi32>
  %v = nn.cast %w : (tensor<1x1x3xi8>) -> tensor<1x1x3xi32>
  %y = nn.conv %c, %v {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 1, 1>} : (tensor<2x1x8xi32>, tensor<1x1x3xi32>) -> tensor<2x1x8xi32>
  return %y : tensor<2x1x8xi32>
}
