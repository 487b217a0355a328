#!/usr/bin/env python3
"""Quantize a prepared model as users do, with onnxruntime's static quantizer: quantize.py MODEL INPUTS.npz OUT.onnx [per-channel]

OUT.onnx has QuantizeLinear and DequantizeLinear around each MatMul and Gemm, with ranges from the given inputs: activations uint8
with a zero point, weights int8, one scale for each or for each output channel. Needs onnxruntime and onnx.
"""
import sys

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Once(CalibrationDataReader):
    def __init__(self, inputs):
        self.left = [dict(inputs)]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantize(model, inputs, out, per_channel):
    quantize_static(str(model), str(out), Once(np.load(inputs)), quant_format=QuantFormat.QDQ, op_types_to_quantize=["MatMul", "Gemm"],
                    per_channel=per_channel, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    quantize(sys.argv[1], sys.argv[2], sys.argv[3], "per-channel" in sys.argv[4:])
