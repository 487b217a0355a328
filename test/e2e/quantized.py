"""Integer models on every simulated target: float models that npuc quantizes, and models that onnxruntime quantized, as a user
compiles them. Errors are as in models.py; a model quantized by onnxruntime is held against onnxruntime running that model.
"""
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime

import models

sys.path.insert(0, str(models.MODELS))
import quantize  # noqa: E402

# A step of 8 bits is 1/255 of a tensor's range; a dozen tensors of two layers in a row, of which most steps average out.
INT8 = 0.1
# The same integers, but for floats between them in 16 bits, which move some across a step's border.
SAME = 0.05
TARGETS = ["atom", "sapeon-x220", "sapeon-x330", "warboy", "warboy-2pe", "rngd", "toy"]
FLOAT = ["bert-tiny-cls-ts", "bert-tiny-cls-dynamo23", "gpt2-tiny-ts"]
QUANTIZED = "bert-tiny-cls-ts"
ON = ["atom", "sapeon-x220", "warboy"]


def shapes_of(inputs):
    return [f"--shape={name}={'x'.join(map(str, array.shape))}" for name, array in np.load(inputs).items()]


def run(tools, model, inputs, outputs, target, *options):
    artifact = model.parent / "model.npa"
    return [[tools / "npuc", "compile", model, *shapes_of(inputs), f"--target={target}", *options, "-o", artifact],
            [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}"]]


def reference(model, inputs, expected):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    np.savez(expected, **dict(zip(names, session.run(names, dict(np.load(inputs))))))


def prepared(name, scratch):
    folder = scratch / name
    subprocess.run([sys.executable, models.MODELS / "prepare.py", models.MODELS / name, folder], check=True)
    return folder


def cases(build, scratch):
    tools, scratch = pathlib.Path(build) / "bin", pathlib.Path(scratch)
    for name in FLOAT:
        folder = prepared(name, scratch)
        inputs, outputs = models.MODELS / name / "inputs_0.npz", folder / "outputs.npz"
        for target in TARGETS:
            commands = run(tools, folder / "model.onnx", inputs, outputs, target, "--precision=int8", f"--calibration={inputs}")
            yield f"{name}/int8/{target}", *models.judge(commands, outputs, models.MODELS / name / "expected_0.npz", INT8)

    folder = prepared(QUANTIZED, scratch)
    inputs, outputs = models.MODELS / QUANTIZED / "inputs_0.npz", folder / "outputs.npz"
    for kind in ("per-tensor", "per-channel"):
        model, expected = folder / f"{kind}.onnx", folder / "expected.npz"
        quantize.quantize(folder / "model.onnx", inputs, model, kind == "per-channel")
        reference(model, inputs, expected)
        interpret = [[tools / "npuc", "run", model, f"--inputs={inputs}", f"--outputs={outputs}"]]
        yield f"{QUANTIZED}/qdq/{kind}/interpreter", *models.judge(interpret, outputs, expected, models.INTERPRETER)
        for target in ON:
            yield f"{QUANTIZED}/qdq/{kind}/{target}", *models.judge(run(tools, model, inputs, outputs, target), outputs, expected, SAME)
