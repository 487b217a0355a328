"""Operators of domain com.microsoft, each as a model of its own, against onnxruntime on the interpreter, and on a simulated target
where its operands are floats.

Floats are multiples of 1/32 up to 1, exact in fp16. What differs on the host is the order of sums (1e-5; for results in integers, one
step of 127 at a tie), and on the target the rounding to fp16 of each step (5e-3).
"""
import pathlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import helper

import models

DOMAIN = "com.microsoft"


FLAT = np.float32


def numbers(seed, *shape):
    return (np.random.default_rng(seed).integers(-32, 33, shape) / 32).astype(np.float32)


def integers(seed, low, high, *shape, dtype=np.int64):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


class Case:
    """`name` of com.microsoft on `operands` (None: absent), those in `constants` as initializers, the others as inputs."""

    def __init__(self, name, operands, outputs=1, constants=(), limit=1e-5, target=True, **attributes):
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(operands)]
        results = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
        self.inputs = {n: x for i, (n, x) in enumerate(zip(names, operands)) if x is not None and i not in constants}
        self.limit, self.target = limit, target
        node = helper.make_node(name, names, results, domain=DOMAIN, name=name, **attributes)
        value = lambda n, x: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        made = helper.make_graph(
            [node], "main", [value(n, x) for n, x in self.inputs.items()], [onnx.ValueInfoProto(name=r) for r in results if r],
            [onnx.numpy_helper.from_array(operands[i], names[i]) for i in constants])
        # The types of outputs are found by onnxruntime.
        self.model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)],
                                       ir_version=10)


BATCH, QUERIES, HEADS, SIZE = 2, 5, 4, 16
HIDDEN = HEADS * SIZE


def hidden(seed, length=QUERIES, width=HIDDEN):
    return numbers(seed, BATCH, length, width)


def state(seed, length, heads=HEADS):
    return numbers(seed, BATCH, heads, length, SIZE)


def attention(mask=None, past=None, bias=None, **attributes):
    operands = [hidden(1), numbers(2, HIDDEN, 3 * HIDDEN), numbers(3, 3 * HIDDEN), mask, past, bias]
    return Case("Attention", operands, outputs=2 if past is not None else 1, constants=(1, 2), num_heads=HEADS, **attributes)


def multi_head(query, key, value, *rest, outputs=1, **attributes):
    return Case("MultiHeadAttention", [query, key, value, *rest], outputs=outputs, num_heads=HEADS, **attributes)


def grouped(sequence, held, lengths, batch=BATCH, capacity=None, packed=False, rotate=False, groups=2, past=True, **attributes):
    """`lengths` of the sequences after this step, in a cache of `held` positions."""
    query = numbers(1, batch, sequence, (HEADS + (2 * groups if packed else 0)) * SIZE)
    key, value = (None, None) if packed else (numbers(i, batch, sequence, groups * SIZE) for i in (2, 3))
    caches = [numbers(i, batch, groups, held, SIZE) for i in (4, 5)] if past else [None, None]
    angles = np.outer(np.arange(16), 0.5 ** np.arange(8)).astype(np.float32)
    rope = [np.cos(angles), np.sin(angles)] if rotate else []
    total = np.array(capacity or max(lengths), np.int32)
    operands = [query, key, value, *caches, np.array(lengths, np.int32) - 1, total, *rope]
    return Case("GroupQueryAttention", operands, outputs=3, constants=(6,), num_heads=HEADS, kv_num_heads=groups,
                do_rotary=int(rotate), **attributes)


def bytes_(seed, *shape, signed=False):
    return integers(seed, -127 if signed else 0, 128 if signed else 256, *shape, dtype=np.int8 if signed else np.uint8)


def quantized(name, *parts, scale=0.05, zero=120, attributes={}, **others):
    """Operands of u8 with a scale and a zero point each, and these of the result."""
    operands = []
    for i, shape in enumerate(parts):
        operands += [bytes_(i, *shape), np.array(0.02 + 0.01 * i, np.float32), np.array(100 + 10 * i, np.uint8)]
    result = [np.array(scale, np.float32), np.array(zero, np.uint8)]
    operands = result + operands if name == "QLinearConcat" else operands + result
    scalars = [i for i, x in enumerate(operands) if x.ndim == 0]
    return Case(name, operands, constants=scalars, limit=1 / 127, target=False, **attributes, **others)


def n_bits(n, k, block, zeros=False, bits=4, groups=False, **others):
    """zeros: True for integers, "float" for numbers between them. groups: each index of k has the scale of any block."""
    blocks = -(-k // block)
    operands = [numbers(1, 2, 3, k), bytes_(2, n, blocks, block * bits // 8), numbers(3, n, blocks) * 0.1]
    if zeros or groups:
        operands.append(None if not zeros else numbers(4, n, blocks) + FLAT(8.3) if zeros == "float" else bytes_(4, n, -(-blocks * bits // 8)))
    if groups:
        operands.append(integers(5, 0, blocks, k, dtype=np.int32))
    return Case("MatMulNBits", operands, constants=[i for i in range(1, len(operands)) if operands[i] is not None], limit=1e-5, N=n, K=k, bits=bits, block_size=block,
                accuracy_level=1, **others)


def rows(data, indices, scales, zeros=None, **attributes):
    operands = [data, indices, scales] + ([] if zeros is None else [zeros])
    return Case("GatherBlockQuantized", operands, constants=[i for i in range(len(operands)) if i != 1], target=False, **attributes)


def four_bit_rows(seed, *shape):
    return integers(seed, -8, 8, *shape, dtype=np.int8).astype(ml_dtypes.int4)


def q_conv(x, w, *bias, **attributes):
    """Sums of integers, which have one requantization: no limit but none."""
    scales = numbers(5, len(w)) ** 2 * 0.01 + FLAT(0.01)
    operands = [x, FLAT(0.02), np.uint8(110), w, scales, np.zeros(len(w), np.int8), FLAT(0.6), np.uint8(120), *bias]
    return Case("QLinearConv", operands, constants=range(1, len(operands)), limit=0, target=False, **attributes)


PADDED = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
CASES = {
    "attention": attention(),
    "attention-mask": attention(PADDED),
    "attention-lengths": attention(np.array([3, 5], np.int32)),
    "attention-ends-and-starts": attention(np.array([4, 5, 1, 0], np.int32)),
    "attention-mask-of-pairs": attention(np.broadcast_to(PADDED[:, None], (2, 5, 5)).copy()),
    "attention-causal": attention(unidirectional=1),
    "attention-bias": attention(PADDED, bias=numbers(7, 1, HEADS, 5, 5), scale=0.25),
    "attention-past": attention(np.ones((2, 8), np.int32), past=numbers(4, 2, BATCH, HEADS, 3, SIZE), unidirectional=1),
    "attention-sizes": Case("Attention", [hidden(1), numbers(2, HIDDEN, 2 * 16 + 32), numbers(3, 2 * 16 + 32)], constants=(1, 2),
                            num_heads=HEADS, qkv_hidden_sizes=[16, 16, 32]),
    "multi-head": multi_head(hidden(1), hidden(2, 7), hidden(3, 7)),
    "multi-head-bias": multi_head(hidden(1), hidden(2), hidden(3), numbers(4, 3 * HIDDEN), PADDED, numbers(5, 1, HEADS, 5, 5)),
    "multi-head-value-size": multi_head(hidden(1), hidden(2), hidden(3, width=16), numbers(4, 2 * HIDDEN + 16)),
    "multi-head-past": multi_head(hidden(1), hidden(2), hidden(3), None, None, None, state(4, 3), state(5, 3), outputs=3),
    "multi-head-causal": multi_head(hidden(1), hidden(2), hidden(3), unidirectional=1),
    "multi-head-cross": multi_head(hidden(1), state(2, 7), state(3, 7)),
    "multi-head-lengths": multi_head(hidden(1), hidden(2), hidden(3), None, np.array([3, 5], np.int32)),
    "multi-head-pairs": multi_head(hidden(1), hidden(2), hidden(3), None, np.broadcast_to(PADDED[:, None], (2, 5, 5)).copy()),
    "grouped-prompt": grouped(5, 0, [5, 5], past=False),
    "grouped-prompt-rotated": grouped(5, 0, [5, 5], rotate=True),
    "grouped-prompt-into-buffer": grouped(5, 9, [5, 5], rotate=True),
    "grouped-step": grouped(1, 6, [7, 7], rotate=True),
    "grouped-step-of-one": grouped(1, 6, [7], batch=1, rotate=True),
    "grouped-step-uneven": grouped(1, 6, [5, 7], rotate=True),
    "grouped-step-in-buffer": grouped(1, 9, [5, 7], rotate=True, capacity=7),
    "grouped-steps": grouped(3, 4, [7], batch=1, rotate=True),
    "grouped-packed": grouped(1, 6, [7, 6], packed=True, rotate=True),
    "grouped-window": grouped(5, 0, [5, 5], local_window_size=3),
    "grouped-window-step": grouped(1, 6, [7, 5], local_window_size=3),
    "grouped-softcap": grouped(5, 0, [5, 5], softcap=2.0, scale=0.5),
    "rotary": Case("RotaryEmbedding", [hidden(1), np.arange(5)[None].repeat(2, 0), numbers(2, 16, 8), numbers(3, 16, 8)],
                   constants=(2, 3), num_heads=HEADS),
    "rotary-from": Case("RotaryEmbedding", [hidden(1), np.array([3]), numbers(2, 16, 8), numbers(3, 16, 8)], constants=(2, 3)),
    "rotary-interleaved": Case("RotaryEmbedding", [state(1, 5), np.arange(5)[None].repeat(2, 0), numbers(2, 16, 8), numbers(3, 16, 8)],
                               constants=(2, 3), interleaved=1),
    "bias-gelu": Case("BiasGelu", [hidden(1), numbers(2, HIDDEN)]),
    "fast-gelu": Case("FastGelu", [hidden(1), numbers(2, HIDDEN)]),
    "quick-gelu": Case("QuickGelu", [hidden(1)], alpha=1.5),
    "gelu": Case("Gelu", [hidden(1)]),
    "skip-layer-norm": Case("SkipLayerNormalization", [hidden(1), hidden(2), numbers(3, HIDDEN), numbers(4, HIDDEN),
                                                       numbers(5, HIDDEN)], outputs=["y", "", "", "sum"], constants=(2, 3, 4), epsilon=1e-5),
    "skip-rms-norm": Case("SkipSimplifiedLayerNormalization", [hidden(1), hidden(2), numbers(3, HIDDEN)],
                          outputs=["y", "", "", "sum"], constants=(2,), epsilon=1e-5),
    "embed": Case("EmbedLayerNormalization", [integers(1, 0, 9, 2, 5, dtype=np.int32), integers(2, 0, 2, 2, 5, dtype=np.int32),
                                              numbers(3, 9, 16), numbers(4, 8, 16), numbers(5, 2, 16), numbers(6, 16), numbers(7, 16)],
                  outputs=["y", ""], constants=(2, 3, 4, 5, 6), epsilon=1e-5),
    "embed-mask": Case("EmbedLayerNormalization", [integers(1, 0, 9, 2, 5, dtype=np.int32), None, numbers(3, 9, 16), numbers(4, 8, 16), None,
                                                   numbers(6, 16), numbers(7, 16), PADDED],
                       outputs=2, constants=(2, 3, 5, 6), epsilon=1e-5),
    "fused-matmul": Case("FusedMatMul", [numbers(1, 2, 4, 3), numbers(2, 2, 5, 4)], transA=1, transB=1, alpha=0.5),
    "fused-gemm": Case("FusedGemm", [numbers(1, 3, 4), numbers(2, 5, 4), numbers(3, 5)], constants=(1, 2), transB=1,
                       activation="LeakyRelu", activation_alpha=0.25),
    "fused-conv": Case("FusedConv", [numbers(1, 1, 3, 6, 6), numbers(2, 4, 3, 3, 3), numbers(3, 4), numbers(4, 1, 4, 6, 6)],
                       constants=(1, 2), pads=[1, 1, 1, 1], activation="Relu"),
    "q-add": quantized("QLinearAdd", (2, 3, 4), (3, 4)),
    "q-mul": quantized("QLinearMul", (2, 3, 4), (4,)),
    "q-sigmoid": quantized("QLinearSigmoid", (2, 3, 4), scale=1 / 256, zero=0),
    "q-leaky": quantized("QLinearLeakyRelu", (2, 3, 4), attributes={"alpha": 0.1}),
    "q-softmax": quantized("QLinearSoftmax", (2, 3, 4), scale=1 / 256, zero=0, attributes={"axis": -1, "opset": 13}),
    "q-concat": quantized("QLinearConcat", (2, 3), (2, 5), attributes={"axis": 1}),
    "q-average": quantized("QLinearGlobalAveragePool", (1, 3, 4, 4), attributes={"channels_last": 0}),
    "q-average-last": quantized("QLinearGlobalAveragePool", (1, 4, 5, 3), attributes={"channels_last": 1}),
    "q-pool-last": quantized("QLinearAveragePool", (1, 6, 6, 3), attributes={"channels_last": 1, "kernel_shape": [2, 2], "strides": [2, 2]}),
    "q-conv": q_conv(bytes_(1, 1, 3, 6, 6), bytes_(2, 4, 3, 3, 3, signed=True), integers(3, -999, 999, 4, dtype=np.int32), pads=[1, 1, 1, 1]),
    "q-conv-last": q_conv(bytes_(1, 2, 6, 6, 4), bytes_(2, 4, 2, 3, 3, signed=True), channels_last=1, group=2, strides=[2, 2]),
    "q-where": Case("QLinearWhere", [integers(0, 0, 2, 3, 4, dtype=bool), bytes_(1, 2, 3, 4), FLAT(0.02), np.uint8(100), bytes_(2, 4), FLAT(0.03),
                                     np.uint8(110), FLAT(0.05), np.uint8(120)], constants=(2, 3, 5, 6, 7, 8), limit=1 / 127, target=False),
    "q-gemm": Case("QGemm", [bytes_(1, 3, 8), FLAT(0.02), np.uint8(120), bytes_(2, 5, 8, signed=True), numbers(3, 5) ** 2 * 0.01 + FLAT(0.01),
                             np.zeros(5, np.int8), integers(4, -500, 500, 5, dtype=np.int32)], constants=(1, 2, 3, 4, 5, 6),
                   transB=1, target=False),
    "q-gemm-bytes": Case("QGemm", [bytes_(1, 30, 80), FLAT(0.02), np.uint8(120), bytes_(2, 80, 50, signed=True), FLAT(0.01), np.int8(3),
                                   integers(4, -500, 500, 50, dtype=np.int32), FLAT(0.07), np.uint8(90)], constants=range(1, 9), limit=0, alpha=0.5,
                         target=False),
    "q-attention": Case("QAttention", [bytes_(1, 2, 5, HIDDEN), bytes_(2, HIDDEN, 3 * HIDDEN, signed=True), numbers(3, 3 * HIDDEN),
                                       FLAT(0.01), FLAT(0.01), PADDED, np.uint8(128), np.int8(0)], constants=(1, 2, 3, 4, 6, 7),
                        num_heads=HEADS, target=False),
    "dynamic-matmul": Case("DynamicQuantizeMatMul", [numbers(1, 2, 3, 8), bytes_(2, 8, 6, signed=True), FLAT(0.01), np.int8(3),
                                                     numbers(4, 6)], constants=(1, 2, 3, 4), target=False),
    "dynamic-matmul-zeros": Case("DynamicQuantizeMatMul", [np.zeros((3, 8), FLAT), bytes_(2, 8, 6, signed=True), FLAT(0.01),
                                                           np.int8(3), numbers(4, 6)], constants=(1, 2, 3, 4), target=False),
    "integer-matmul": Case("MatMulIntegerToFloat", [bytes_(1, 2, 3, 8), bytes_(2, 8, 6, signed=True), FLAT(0.02),
                                                    numbers(3, 6) ** 2 + FLAT(0.01), np.uint8(7), None, numbers(4, 6)],
                           constants=(1, 2, 3, 4, 6), target=False),
    "4-bits": n_bits(6, 64, 32, target=False),
    "4-bits-zeros": n_bits(6, 96, 32, zeros=True, target=False),
    "4-bits-rest": n_bits(5, 40, 16, zeros=True, target=False),
    "8-bits": n_bits(6, 64, 32, bits=8, zeros=True, target=False),
    "4-bits-float-zeros": n_bits(6, 96, 32, zeros="float", target=False),
    "4-bits-groups": n_bits(6, 80, 32, groups=True, target=False),
    "4-bits-groups-zeros": n_bits(6, 80, 32, zeros="float", groups=True, target=False),
    "rows-4-bits": rows(bytes_(1, 9, 32), integers(2, 0, 9, 2, 3), numbers(3, 9, 4), bits=4, block_size=16),
    "rows-4-bits-zeros": rows(bytes_(1, 9, 24), integers(2, 0, 9, 5), numbers(3, 9, 3), bytes_(4, 9, 2), bits=4, block_size=16),
    "rows-8-bits": rows(bytes_(1, 9, 32), integers(2, 0, 9, 5, dtype=np.int32), numbers(3, 9, 2), bits=8, block_size=16),
    "rows-int4": rows(four_bit_rows(1, 9, 32), integers(2, -9, 9, 2, 3), numbers(3, 9, 2), four_bit_rows(4, 9, 2), block_size=16),
    "columns-int4": rows(four_bit_rows(1, 32, 9), integers(2, 0, 9, 2, 3), numbers(3, 2, 9), four_bit_rows(4, 2, 9), gather_axis=1, quantize_axis=0,
                         block_size=16),
    "blocks-int4": rows(four_bit_rows(1, 32, 9), integers(2, 0, 32, 3), numbers(3, 2, 9), gather_axis=0, quantize_axis=0, block_size=16),
    # The weights are a handle into the file, and so are numbers only when the interpreter reads them.
    "4-bits-large": n_bits(600, 256, 32, target=False),
}

# Where onnxruntime's CPU has no kernel: the formula.
def split_gelu(x, bias):
    from math import erf, sqrt
    left, gate = np.split((x + bias).astype(np.float64), 2, -1)
    return left * gate * 0.5 * (1 + np.vectorize(erf)(gate / sqrt(2)))


FORMULAS = {"bias-split-gelu": (Case("BiasSplitGelu", [hidden(1), numbers(2, HIDDEN)]), split_gelu)}


def reference(case):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, case.inputs)))


def cases(build, scratch):
    tools, folder = pathlib.Path(build) / "bin", pathlib.Path(scratch) / "contributed"
    folder.mkdir(exist_ok=True)
    everything = {name: (case, None) for name, case in CASES.items()} | FORMULAS
    for name, (case, formula) in everything.items():
        model, inputs, expected = folder / "model.onnx", folder / "inputs.npz", folder / "expected.npz"
        wanted = {"y0": formula(*case.inputs.values()).astype(np.float32)} if formula else reference(case)
        for output in case.model.graph.output:
            value = wanted[output.name]
            output.CopyFrom(helper.make_tensor_value_info(output.name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
        onnx.save(case.model, model)
        np.savez(inputs, **case.inputs)
        np.savez(expected, **wanted)
        outputs = folder / "outputs.npz"
        run = [tools / "npuc", "run", model, f"--inputs={inputs}", f"--outputs={outputs}"]
        yield (f"contributed/{name}/interpreter", *models.judge([run], outputs, expected, case.limit))
        if case.target:
            yield (f"contributed/{name}/atom", *models.judge([[*run, "--target=atom"]], outputs, expected, 5e-3))
