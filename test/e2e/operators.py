"""Operators that are easily got wrong, each as a model of its own, against onnxruntime, on the interpreter, on simulated targets and on a GPU's simulator.

Inputs and weights are multiples of 1/32 up to 1, exact in fp16, so that what differs is how sums are rounded: to f32 on the host
(1e-5), and to fp16, 2^-11 = 4.9e-4 of the greatest output, on the targets (1e-3).
"""
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import models

TARGETS = ["toy", "atom"]
GPU = "cuda:sm_80"


def numbers(seed, shape):
    return (np.random.default_rng(seed).integers(-32, 33, shape) / 32).astype(np.float32)


def graph(nodes, x, constants):
    """A model of `nodes` from input x of shape `x` to output y; `constants` are named arrays."""
    made = helper.make_graph(
        nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()])
    return onnx.shape_inference.infer_shapes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def conv(x, w, bias=True, **attributes):
    constants = {"w": numbers(1, w)} | ({"b": numbers(2, w[:1])} if bias else {})
    return graph([helper.make_node("Conv", ["x", *constants], ["y"], **attributes)], x, constants)


def pool(kind, x, **attributes):
    return graph([helper.make_node(kind, ["x"], ["y"], **attributes)], x, {})


def product(rows, sums, columns, transposed):
    constants = {"w": numbers(1, [columns, sums] if transposed else [sums, columns]), "b": numbers(2, [columns])}
    return graph([helper.make_node("Gemm", ["x", *constants], ["s"], transB=int(transposed)), helper.make_node("Relu", ["s"], ["y"])],
                 [rows, sums], constants)


def convs(x, *layers):
    """Convolutions with a Relu after each: what stands between two needs no transpose; the next reads it padded."""
    nodes, constants, value = [], {}, "x"
    for i, (w, attributes) in enumerate(layers):
        constants |= {f"w{i}": numbers(10 + i, w), f"b{i}": numbers(20 + i, w[:1])}
        nodes += [helper.make_node("Conv", [value, f"w{i}", f"b{i}"], [f"c{i}"], **attributes),
                  helper.make_node("Relu", [f"c{i}"], ["y" if i + 1 == len(layers) else f"r{i}"])]
        value = f"r{i}"
    return graph(nodes, x, constants)


def resize(x, scales=None, sizes=None, **attributes):
    given = {"s": np.array(scales, np.float32)} if scales else {"s": np.array(sizes, np.int64)}
    return graph([helper.make_node("Resize", ["x", "", "s"] if scales else ["x", "", "", "s"], ["y"], **attributes)], x, given)


def network(x):
    """A small image classifier: strided, depthwise and 1x1 convolutions, pooling, a residual, and a last linear layer."""
    c = x[1]
    constants = {"w0": numbers(30, [16, c, 3, 3]), "b0": numbers(31, [16]), "w1": numbers(32, [16, 1, 3, 3]),
                 "w2": numbers(33, [16, 16, 1, 1]), "b2": numbers(34, [16]), "w3": numbers(35, [10, 16]), "b3": numbers(36, [10])}
    nodes = [helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], strides=[2, 2], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["c0"], ["r0"]),
             helper.make_node("MaxPool", ["r0"], ["m0"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
             helper.make_node("Conv", ["m0", "w1"], ["c1"], group=16, pads=[1, 1, 1, 1]),
             helper.make_node("Clip", ["c1", "low", "high"], ["r1"]),
             helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"]),
             helper.make_node("Add", ["c2", "m0"], ["a2"]),
             helper.make_node("GlobalAveragePool", ["a2"], ["p"]),
             helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1)]
    return graph(nodes, x, constants | {"low": np.array(0, np.float32), "high": np.array(6, np.float32)})


OPERATORS = {
    "conv-1d": conv([2, 6, 17], [8, 6, 3], strides=[2], pads=[1, 1]),
    "conv-1d-uneven": conv([1, 5, 19], [7, 5, 4], strides=[3], pads=[3, 0], dilations=[2]),
    "conv-1x1": conv([2, 6, 5, 7], [9, 6, 1, 1], bias=False),
    "conv-1x1-stride": conv([1, 6, 5, 7], [9, 6, 1, 1], strides=[2, 3]),
    "conv-2d-uneven": conv([2, 3, 11, 9], [5, 3, 3, 2], strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 3]),
    "conv-groups": conv([2, 6, 7, 6], [8, 3, 3, 3], group=2, pads=[1, 1, 1, 1]),
    "conv-depthwise": conv([2, 12, 9, 8], [12, 1, 3, 3], group=12, pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv-depthwise-twice": conv([1, 4, 9, 8], [8, 1, 3, 3], group=4),
    "conv-patches": conv([2, 3, 8, 12], [16, 3, 4, 4], strides=[4, 4]),
    # The last two rows and the last column are in no patch.
    "conv-patches-rest": conv([1, 3, 10, 9], [16, 3, 4, 4], strides=[4, 4]),
    "conv-3d": conv([1, 2, 5, 6, 7], [4, 2, 2, 3, 3], pads=[0, 1, 1, 1, 1, 1]),
    # Of 57,600 bytes of weights toy's scratchpad of 32 KiB holds less than a half.
    "conv-blocks": conv([1, 96, 40], [60, 96, 5], pads=[2, 2]),
    "conv-blocks-2d": conv([1, 64, 10, 12], [40, 64, 3, 3], pads=[1, 1, 1, 1], dilations=[1, 2], strides=[2, 1]),
    "conv-same-upper": conv([1, 3, 7, 8], [4, 3, 3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    # As a patch embedding, and as the first layers of a speech encoder: rows of 16-byte chunks, which tensor cores take from where they lie.
    "conv-patches-16": conv([2, 3, 32, 48], [40, 3, 16, 16], strides=[16, 16]),
    "conv-speech": convs([1, 80, 60], ([32, 80, 3], {"pads": [1, 1]}), ([24, 32, 3], {"pads": [1, 1], "strides": [2]})),
    "conv-patches-14": conv([1, 3, 28, 42], [40, 3, 14, 14], strides=[14, 14]),
    "conv-groups-wide": conv([1, 64, 9, 7], [48, 16, 3, 3], group=4, pads=[1, 1, 1, 1]),
    "conv-conv": convs([2, 3, 10, 10], ([8, 3, 3, 3], {"pads": [1, 1, 1, 1]}),
                       ([6, 8, 3, 3], {"pads": [0, 1, 2, 1], "strides": [2, 2]})),
    "conv-network": network([2, 3, 24, 20]),
    "group-norm": graph([helper.make_node("GroupNormalization", ["x", "w", "b"], ["y"], num_groups=3)], [2, 6, 5, 4],
                        {"w": numbers(40, [6]), "b": numbers(41, [6])}),
    "instance-norm": graph([helper.make_node("InstanceNormalization", ["x", "w", "b"], ["y"])], [2, 6, 7],
                           {"w": numbers(40, [6]), "b": numbers(41, [6])}),
    "log-softmax": graph([helper.make_node("LogSoftmax", ["x"], ["y"], axis=1)], [3, 7, 5], {}),
    "max-pool": pool("MaxPool", [2, 5, 9, 8], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max-pool-dilated": pool("MaxPool", [1, 5, 20], kernel_shape=[3], dilations=[4], pads=[1, 2]),
    "max-pool-ceil": pool("MaxPool", [1, 5, 8, 9], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
    "average-pool": pool("AveragePool", [2, 5, 9, 8], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average-pool-padding": pool("AveragePool", [2, 5, 9, 8], kernel_shape=[3, 2], pads=[1, 0, 2, 1], count_include_pad=1),
    "global-average-pool": pool("GlobalAveragePool", [2, 5, 6, 7]),
}

# On a GPU: few rows by long sums, which are cut in parts of equal length, and by uneven ones, of columns that are no multiple of a tile, in each format that is multiplied; a step of 8
# bits is 1/255 of a range. Weights lie along their sums ("t") or across them.
PRODUCTS = {f"product-{rows}x{sums}x{columns}": product(rows, sums, columns, False) for rows, sums, columns in
            [(1, 4096, 72), (3, 1000, 200), (16, 2056, 40), (33, 3000, 64), (5, 576, 201), (7, 577, 33), (100, 4096, 136), (384, 256, 128)]}
PRODUCTS |= {f"product-{rows}x{sums}x{columns}t": product(rows, sums, columns, True) for rows, sums, columns in
             [(1, 4096, 72), (16, 576, 33), (7, 1001, 50)]}
FORMATS = {"fp16": 1e-3, "bf16": 1e-3, "int8": 1e-2, "int4-32": 8e-2, "int4-32-float": 8e-2}

# On the host only.
INTERPRETED = {
    "resize-linear": resize([1, 2, 7], scales=[1, 1, 1.75], mode="linear"),
    "resize-nearest": resize([1, 2, 4, 3], scales=[1, 1, 2, 3], mode="nearest", coordinate_transformation_mode="asymmetric",
                             nearest_mode="floor"),
    # (10/3 in 32 bits) · 3 is a little less than 10, and 10 in 32 bits.
    "resize-thirds": resize([1, 2, 3], scales=[1, 1, 10 / 3], mode="linear"),
    "resize-corners": resize([1, 2, 7], sizes=[1, 2, 4], mode="linear", coordinate_transformation_mode="align_corners"),
    "resize-corners-whole": resize([1, 2, 5], scales=[1, 1, 0.6], mode="linear", coordinate_transformation_mode="align_corners"),
}

# What the importer must say, as other numbers than those meant would be worse.
REFUSED = {
    "resize-corners-fraction": (
        resize([1, 2, 7], scales=[1, 1, 0.6], mode="linear", coordinate_transformation_mode="align_corners"),
        "align_corners with scale 0.6"),
}


def cases(build, scratch):
    tools, scratch = pathlib.Path(build) / "bin", pathlib.Path(scratch)
    file, inputs, expected, outputs, artifact = (
        scratch / name for name in ("operator.onnx", "inputs.npz", "expected.npz", "outputs.npz", "operator.npa"))
    for name, (model, message) in REFUSED.items():
        onnx.save(model, file)
        artifact.unlink(missing_ok=True)
        status, text = models.call([tools / "npuc", "compile", file, "--target=atom", "-o", artifact])
        yield name, status == 1 and message in text and not artifact.exists(), f"exit status {status}\n{text}"
    for name, model in (INTERPRETED | OPERATORS | PRODUCTS).items():
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        onnx.save(model, file)
        np.savez(inputs, x=numbers(0, shape))
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        np.savez(expected, y=session.run(["y"], dict(np.load(inputs)))[0])
        run = [tools / "npuc", "run", file, f"--inputs={inputs}", f"--outputs={outputs}"]
        yield (f"{name}/interpreter", *models.judge([run], outputs, expected, 1e-5))
        for target in [*TARGETS, GPU] if name in OPERATORS else []:
            device = ["--device=ptx-sim"] if target == GPU else []
            commands = [[tools / "npuc", "compile", file, f"--target={target}", "-o", artifact],
                        [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}", *device]]
            yield (f"{name}/{target}", *models.judge(commands, outputs, expected, 1e-3))
        for precision, limit in FORMATS.items() if name in PRODUCTS else []:
            calibration = [] if precision in ("fp16", "bf16") else [f"--calibration={inputs}"]
            commands = [[tools / "npuc", "compile", file, f"--target={GPU}", f"--precision={precision}", *calibration, "-o", artifact],
                        [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}", "--device=ptx-sim"]]
            yield (f"{name}/{GPU}/{precision}", *models.judge(commands, outputs, expected, limit))
