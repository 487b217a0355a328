#!/usr/bin/env python3
"""Quantize a prepared model as users do, with onnxruntime's quantizers: quantize.py MODEL INPUTS.npz OUT.onnx VARIANT

Ranges come from the given inputs. VARIANT is one of those below, or "all" to write each to OUT.onnx with its name before the suffix. Needs
onnxruntime and onnx.
"""
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

U8, I8, U16, I16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16, QuantType.QInt16
MULTIPLIED = ["MatMul", "Gemm", "Conv"]
# All that have a quantized operator but Gemm: of equal biases the quantizer would make one, and give it the type of either use.
OPERATED = ["MatMul", "Conv", "Add", "Mul", "Softmax", "Sigmoid", "LeakyRelu", "Concat", "Where", "Gather", "Reshape", "Transpose", "Squeeze", "Unsqueeze"]


class Once(CalibrationDataReader):
    def __init__(self, inputs):
        self.left = [dict(inputs)]

    def get_next(self):
        return self.left.pop() if self.left else None


def with_mild_masks(model):
    """Numbers that say that a score does not count, small enough for a scale that tells scores apart."""
    constants = list(model.graph.initializer) + [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in constants:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.any(onnx.numpy_helper.to_array(tensor) < -1e30):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.maximum(onnx.numpy_helper.to_array(tensor), np.float32(-20)), tensor.name))
    return model


def static(form, activations, weights, operators=MULTIPLIED, per_channel=False, reduce_range=False, mild_masks=False, **extra):
    def write(model, inputs, out):
        with tempfile.TemporaryDirectory() as scratch:
            whole, ready = os.path.join(scratch, "whole.onnx"), os.path.join(scratch, "ready.onnx")
            loaded = onnx.load(str(model))
            onnx.save(with_mild_masks(loaded) if mild_masks else loaded, whole)
            quant_pre_process(whole, ready, skip_symbolic_shape=True)
            quantize_static(ready, str(out), Once(np.load(inputs)), quant_format=form, op_types_to_quantize=operators, per_channel=per_channel,
                            reduce_range=reduce_range, activation_type=activations, weight_type=weights, extra_options=extra)
    return write


def dynamic(weights, per_channel):
    return lambda model, inputs, out: quantize_dynamic(str(model), str(out), weight_type=weights, per_channel=per_channel)


def few_bits(block, symmetric, form="MatMulNBits", bits=4):
    """As onnxruntime's MatMulNBitsQuantizer, which is not in every installation: weights of [k, n] in blocks of `block` along k."""
    def write(model, inputs, out):
        loaded = onnx.load(str(model))
        if form == "blocks":
            loaded = onnx.version_converter.convert_version(loaded, 21)
        weights = {tensor.name: tensor for tensor in loaded.graph.initializer}
        nodes = []
        for node in loaded.graph.node:
            weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
            if weight is None or len(weight.dims) != 2:
                nodes.append(node)
                continue
            nodes += with_few_bits(loaded.graph, node, onnx.numpy_helper.to_array(weight), block, symmetric, form, bits)
        del loaded.graph.node[:]
        loaded.graph.node.extend(nodes)
        if form == "MatMulNBits":
            loaded.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        onnx.save(loaded, str(out))
    return write


def packed(numbers, bits):
    """Along the last dimension, an even number for 4 bits."""
    return numbers if bits == 8 else numbers[..., 0::2] | numbers[..., 1::2] << 4


def with_few_bits(graph, node, weight, block, symmetric, form, bits):
    k, n = weight.shape
    most, middle = 2**bits - 1, 2 ** (bits - 1)
    blocks = -(-k // block)
    rows = np.zeros((n, blocks * block), np.float32)
    rows[:, :k] = weight.T
    parts = rows.reshape(n, blocks, block)
    if symmetric:
        extreme = np.take_along_axis(parts, np.abs(parts).argmax(2)[:, :, None], 2)[:, :, 0]
        scale, zero = extreme / -middle, np.full((n, blocks), middle)
    else:
        low, high = np.minimum(parts.min(2), 0), np.maximum(parts.max(2), 0)
        scale = (high - low) / most
        zero = np.clip(np.round(-low / np.where(scale == 0, 1, scale)), 0, most)
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    q = np.clip(np.round(parts / scale[:, :, None]) + zero[:, :, None], 0, most).astype(np.uint8)
    name = node.input[1]

    def constant(suffix, array):
        graph.initializer.append(onnx.numpy_helper.from_array(array, name + suffix))
        return name + suffix

    if form == "MatMulNBits":
        inputs = [node.input[0], constant("_q", packed(q, bits)), constant("_scale", scale)]
        if not symmetric:
            padded = np.zeros((n, blocks + blocks % 2 if bits == 4 else blocks), np.uint8)
            padded[:, :blocks] = zero
            inputs.append(constant("_zero", packed(padded, bits)))
        return [onnx.helper.make_node("MatMulNBits", inputs, node.output, node.name, domain="com.microsoft", K=k, N=n, bits=bits, block_size=block)]
    # Blocks of DequantizeLinear, of signed integers along k.
    signed = (q.reshape(n, blocks * block)[:, :k].T.astype(np.int8) - 8).astype(np.int8)
    graph.initializer.append(onnx.helper.make_tensor(name + "_q4", onnx.TensorProto.INT4, [k, n], signed.flatten()))
    dequantize = onnx.helper.make_node("DequantizeLinear", [name + "_q4", constant("_scale", np.ascontiguousarray(scale.T))], [name + "_real"],
                                       name + "_dequantize", axis=0, block_size=block)
    return [dequantize, onnx.helper.make_node("MatMul", [node.input[0], name + "_real"], node.output, node.name)]


QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
VARIANTS = {
    # Only what is multiplied; activations with a zero point unless they are symmetric.
    "qdq-u8": static(QDQ, U8, I8),
    "qdq-u8-channel": static(QDQ, U8, I8, per_channel=True),
    "qdq-i8-channel": static(QDQ, I8, I8, per_channel=True),
    "qdq-symmetric": static(QDQ, I8, I8, per_channel=True, ActivationSymmetric=True),
    "qdq-u8-weights": static(QDQ, U8, U8),
    "qdq-i8-asymmetric-weights": static(QDQ, I8, I8, WeightSymmetric=False),
    "qdq-u8-reduced": static(QDQ, U8, I8, per_channel=True, reduce_range=True),
    # Every operator that the quantizer knows.
    "qdq-all": static(QDQ, U8, I8, None),
    "qdq-all-channel": static(QDQ, I8, I8, None, per_channel=True),
    "qdq-all-16": static(QDQ, U16, I8, None, per_channel=True),
    "operators": static(OPERATORS, U8, I8, OPERATED),
    "operators-channel": static(OPERATORS, I8, I8, OPERATED, per_channel=True, mild_masks=True),
    "operators-u8-weights": static(OPERATORS, U8, U8, OPERATED, per_channel=True, reduce_range=True),
    "operators-multiplied": static(OPERATORS, U8, I8, ["MatMul", "Conv"], per_channel=True),
    "dynamic": dynamic(I8, False),
    "dynamic-channel": dynamic(U8, True),
    "four-bits-32": few_bits(32, True),
    "four-bits-16-asymmetric": few_bits(16, False),
    "four-bits-qdq": few_bits(32, True, "blocks"),
    "eight-bits-32": few_bits(32, True, bits=8),
    "eight-bits-16-asymmetric": few_bits(16, False, bits=8),
}


def quantize(model, inputs, out, variant):
    VARIANTS[variant](model, inputs, out)


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[4] not in [*VARIANTS, "all"]:
        sys.exit(__doc__ + "\n".join(VARIANTS))
    for name in VARIANTS if sys.argv[4] == "all" else [sys.argv[4]]:
        to = pathlib.Path(sys.argv[3])
        quantize(sys.argv[1], sys.argv[2], to.with_name(f"{to.stem}-{name}{to.suffix}") if sys.argv[4] == "all" else to, name)
