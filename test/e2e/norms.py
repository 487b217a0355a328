"""Products whose whole rows are normalized, on ptx-sim: one kernel where a row fits a block and the time that the compiler predicts says so, and
otherwise a kernel for each. References are onnxruntime's.
"""
import json
import pathlib
import subprocess

import numpy as np
import onnx
from onnx import helper, numpy_helper

import counts
import models
import ptxas
import quantized


def model(kind, rows, columns, k, sums=False, second=0):
    """kind(x · w + bias (+ r)) of `rows` rows and `columns` columns, and inputs for it. `sums`: r is added, and what is normalized is an output
    too; `second`: columns of a product of the result, which is then the output."""
    random = np.random.default_rng(columns)
    numbers = lambda *shape: random.standard_normal(shape).astype(np.float16).astype(np.float32)  # Targets keep floats in 16 bits.
    inputs, constants = {"x": numbers(rows, k)}, {"w": numbers(k, columns) / np.float32(k ** 0.5), "bias": numbers(columns)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", ["product", "bias"], ["biased"], name="product")]
    outputs = {"y": np.empty((rows, columns), np.float32)}
    if kind != "softmax":
        inputs["r"] = numbers(rows, columns)
        nodes.append(helper.make_node("Add", ["biased", "r"], ["sums"], name="residual"))
        constants["scale"] = 1 + numbers(columns) / 4
    if kind == "layer":
        constants["shift"] = numbers(columns)
        nodes.append(helper.make_node("LayerNormalization", ["sums", "scale", "shift"], ["y"], axis=-1, name="norm"))
    elif kind == "rms":
        constants |= {"two": np.float32(2), "epsilon": np.float32(1e-5), "axes": np.array([-1])}
        nodes += [helper.make_node("Pow", ["sums", "two"], ["squares"]), helper.make_node("ReduceMean", ["squares", "axes"], ["mean"]),
                  helper.make_node("Add", ["mean", "epsilon"], ["more"]), helper.make_node("Sqrt", ["more"], ["root"]),
                  helper.make_node("Div", ["sums", "root"], ["normal"]), helper.make_node("Mul", ["normal", "scale"], ["y"], name="norm")]
    else:
        nodes.append(helper.make_node("Softmax", ["biased"], ["y"], axis=-1, name="norm"))
    if sums:
        outputs["sums"] = outputs["y"]
    if second:
        constants["v"] = numbers(columns, second) / np.float32(columns ** 0.5)
        nodes.append(helper.make_node("MatMul", ["y", "v"], ["z"], name="second"))
        outputs["z"] = np.empty((rows, second), np.float32)
    return models.onnx_model(nodes, inputs, outputs, [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]), inputs


# On 108 cores and on 10; whether the product and what reduces its rows are one kernel. Rows that are no multiple of a tile's 16, 32 or 64, columns
# that are none of 64, k that is none of a step's 32.
CASES = {
    "layer-384": ("cuda:sm_80", ("layer", 1000, 384, 64), True),
    "layer-100": ("cuda:sm_86", ("layer", 203, 100, 72), True),
    "layer-768": ("cuda:sm_86", ("layer", 150, 768, 64), True),
    "rms-256-sums": ("cuda:sm_86", ("rms", 330, 256, 96, True), True),
    "softmax-1000": ("cuda:sm_80", ("softmax", 1500, 1000, 64), True),
    # Two steps of operands, (16 + 1024) · 64 · 2 bytes, are more than the 99 KB of a block; a thread would have more than 64 sums.
    "layer-1024-large": ("cuda:sm_86", ("layer", 100, 1024, 64), False),
    "layer-4096-large": ("cuda:sm_80", ("layer", 500, 4096, 64), False),
    # Four blocks would read all of the second operand, each alone.
    "layer-1024-few": ("cuda:sm_80", ("layer", 64, 1024, 1024), False),
}


def cases(build, scratch):
    tools, folder = pathlib.Path(build) / "bin", pathlib.Path(scratch) / "norms"
    folder.mkdir()
    file, inputs, expected = (folder / name for name in ("model.onnx", "inputs.npz", "expected.npz"))
    artifact, levels, outputs, interpreted = (folder / name for name in ("model.npa", "levels", "outputs.npz", "interpreted.npz"))

    def run(target, *options):
        return [[tools / "npuc", "compile", file, f"--target={target}", f"--ptxas={ptxas.find() or 'none'}", *options, f"--dump-dir={levels}", "-o", artifact],
                [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}", "--device=ptx-sim"]]

    def make(*sizes):
        made, arrays = model(*sizes)
        onnx.save(made, file)
        np.savez(inputs, **arrays)
        quantized.reference(file, inputs, expected)

    inspect, simulate = [tools / "npuc", "inspect", artifact, "--json"], [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}", "--device=ptx-sim", "--json"]

    def checked(name, target, joined):
        """The kernels, what ptxas says of them, what the compiler counted, and what the simulator did."""
        launches = json.loads(subprocess.run(inspect, stdout=subprocess.PIPE, check=True).stdout)["launches"]
        nodes = [launch["nodes"] for launch in launches]
        yield f"{name}/kernels", any("product" in of and "norm" in of for of in nodes) == joined, f"{nodes}"
        yield ptxas.case(f"{name}/ptxas", levels / "6-ptx.txt", target, inspect)
        yield counts.case(f"{name}/counts", inspect, simulate)
        counters = json.loads(subprocess.run(simulate, stdout=subprocess.PIPE, check=True, timeout=300).stdout)["counters"]
        shared = counters["shared"]
        yield f"{name}/banks", shared["wavefronts"] == shared["least_wavefronts"], f"{shared}"

    for name, (target, sizes, joined) in CASES.items():
        make(*sizes)
        yield f"norms/{name}", *models.judge(run(target), outputs, expected, 2e-3)
        yield from checked(f"norms/{name}", target, joined)
    # The norm's result leaves as floats and as integers for the next product, from the same kernel as the product before it.
    make("layer", 203, 384, 64, False, 64)
    options = ["--precision=int8", f"--calibration={inputs}", "--max-loss=1"]
    yield "norms/int8", *models.judge(run("cuda:sm_86", *options), outputs, expected, quantized.INT8)
    yield from checked("norms/int8", "cuda:sm_86", True)
    launches = json.loads(subprocess.run(inspect, stdout=subprocess.PIPE, check=True).stdout)["launches"]
    yield "norms/int8/requantized", any(all(node in launch["nodes"] for node in ("product", "norm", "second")) for launch in launches), f"{[launch['nodes'] for launch in launches]}"
    interpret = [tools / "npuc", "run", file, "--device=interpreter", "--target=cuda:sm_86", *options, f"--inputs={inputs}", f"--outputs={interpreted}"]
    # A norm's sums are in another order, so some integer may be the next one.
    yield "norms/int8/interpreter", *models.judge([interpret], outputs, interpreted, 5e-3)
