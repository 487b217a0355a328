"""Integer models on simulated targets, as a user compiles them: float models that npuc quantizes, models that onnxruntime quantized, and models
that npuc quantizes for others. Errors are as in models.py; a model quantized by onnxruntime is held against onnxruntime running that model, to
its last integer step.
"""
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

import models

sys.path.insert(0, str(models.MODELS))
import quantize  # noqa: E402

# A step of 8 bits is 1/255 of a tensor's range; a dozen tensors of two layers in a row, of which most steps average out.
INT8 = 0.1
TARGETS = ["atom", "sapeon-x220", "sapeon-x330", "warboy", "warboy-2pe", "rngd", "toy"]
FLOAT = ["bert-tiny-cls-ts", "bert-tiny-cls-dynamo23", "gpt2-tiny-ts"]
# Other formats of operators.
FORMATS = {"gpt2-tiny-ts": [*(("int8-token", target) for target in ("atom", "sapeon-x220", "warboy", "rngd")), ("int4-32", "atom"),
                            ("int4-64a-token", "rngd"), ("int4-32a", "warboy"), ("int4-32-float", "atom"), ("fp8", "rngd"), ("fp8", "sapeon-x330")]}

# Models that onnxruntime quantizes: variants for the interpreter, and those among them for each target. Those that differ in how sums become
# integers run on a target for each way to requantize. Integers of 16 bits are multiplied as floats of 16, whose steps are much greater;
# weights in blocks are for the interpreter.
OTHERS = {"bert-tiny-cls-ts": list(quantize.VARIANTS), "vit-tiny-ts": ["qdq-u8-channel", "operators-multiplied"],
          "gpt2-tiny-ts": ["qdq-all", "operators-channel", "dynamic", "eight-bits-16-asymmetric"]}
FEW = ["qdq-u8", "qdq-i8-channel", "qdq-all-channel"]
ON = {"bert-tiny-cls-ts": {"atom": [v for v in quantize.VARIANTS if v != "qdq-all-16"],
                           "sapeon-x220": FEW, "warboy": FEW, "rngd": FEW},
      "vit-tiny-ts": {"atom": OTHERS["vit-tiny-ts"]}}
# Of the elements of each output, so many lie within one step of onnxruntime's, graph optimization off.
WITHIN = 0.999
# Exported models, and what of each stays in floats.
EXPORTED = {"bert-tiny-cls-ts": 0, "bert-tiny-cls-eager-ts11": 0, "vit-tiny-ts": 0, "vit-tiny-dynamo": 0, "gpt2-tiny-ts": 0}


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


def steps(model, expected):
    """What an integer step of each output is worth: the scale of the integers that it comes from, or where it is computed in floats after the
    last integers 1/255 of its range."""
    graph = onnx.load(model, load_external_data=False).graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    result = {}
    for name, array in np.load(expected).items():
        node = producers[name]
        while node.op_type in ("Reshape", "Transpose", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity"):
            node = producers[node.input[0]]
        result[name] = max(float(np.ptp(array)) / 255, 1e-30)
        if node.op_type == "DequantizeLinear" and node.input[1] in constants:
            result[name] = float(onnx.numpy_helper.to_array(constants[node.input[1]]).max())
    return result


def within_a_step(commands, outputs, expected, step):
    for command in commands:
        status, text = models.call(command)
        if status != 0:
            return False, f"{' '.join(map(str, command))}\nexit status {status}\n{text}"
    got, want = np.load(outputs), np.load(expected)
    if sorted(got) != sorted(want):
        return False, f"outputs are {sorted(got)}, not {sorted(want)}"
    worst, detail = 1.0, []
    for name in want:
        apart = np.abs(got[name].astype(np.float64) - want[name])
        share = float(np.mean(apart <= step[name] * 1.001))  # A step in f32 is not exactly one.
        worst = min(worst, share)
        detail.append(f"{name}: {100 * share:.2f} % within a step of {step[name]:.3g}, farthest {apart.max() / step[name]:.2f} steps")
    return worst >= WITHIN, "; ".join(detail)


def others(tools, scratch):
    for name, variants in OTHERS.items():
        folder = prepared(name, scratch)
        inputs, outputs = models.MODELS / name / "inputs_0.npz", folder / "outputs.npz"
        for variant in variants:
            model, expected = folder / f"{variant}.onnx", folder / "expected.npz"
            quantize.quantize(folder / "model.onnx", inputs, model, variant)
            reference(model, inputs, expected)
            interpret = [[tools / "npuc", "run", model, f"--inputs={inputs}", f"--outputs={outputs}"]]
            yield f"{name}/{variant}/interpreter", *models.judge(interpret, outputs, expected, models.INTERPRETER)
            for target in [target for target, few in ON.get(name, {}).items() if variant in few]:
                commands = run(tools, model, inputs, outputs, target)
                yield f"{name}/{variant}/{target}", *within_a_step(commands, outputs, expected, steps(model, expected))


def product(a, b, scales, zeros):
    """QLinearMatMul of two arrays, the second of which is weights if it has two dimensions; scales and zero points of both and the result."""
    made, parts = [], []
    for name, scale, zero, type_ in zip("abc", scales, zeros, (a.dtype, b.dtype, a.dtype)):
        made += [onnx.numpy_helper.from_array(np.asarray(scale, np.float32), name + "_scale"),
                 onnx.numpy_helper.from_array(np.asarray(zero, type_), name + "_zero")]
        parts += [name, name + "_scale", name + "_zero"]
    if b.ndim == 2:
        made.append(onnx.numpy_helper.from_array(b, "b"))
    node = onnx.helper.make_node("QLinearMatMul", parts[:6] + parts[7:], ["c"], name="product")
    inputs = {"a": a} | ({"b": b} if b.ndim > 2 else {})
    return models.onnx_model([node], inputs, {"c": np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)}, made), inputs


def products(tools, scratch):
    """Sums of integers are onnxruntime's to the last integer on the host, and within a step of it on a target."""
    random = np.random.default_rng(0)
    integers = lambda type_, *shape: random.integers(np.iinfo(type_).min, np.iinfo(type_).max + 1, shape).astype(type_)
    columns = random.uniform(0.001, 0.02, 90)
    cases = {
        "columns": product(integers(np.uint8, 48, 700), integers(np.int8, 700, 90), (0.02, columns, 0.7), (119, np.zeros(90), 131)),
        "zeros": product(integers(np.int8, 48, 300), integers(np.int8, 300, 90), (0.02, 0.003, 0.1), (-7, 5, 3)),
        "batches": product(integers(np.uint8, 3, 40, 64), integers(np.uint8, 3, 64, 50), (0.02, 0.01, 0.2), (119, 140, 131)),
    }
    folder = scratch / "products"
    folder.mkdir(exist_ok=True)
    model, inputs, expected, outputs = (folder / name for name in ("model.onnx", "inputs.npz", "expected.npz", "outputs.npz"))
    for name, (made, arrays) in cases.items():
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        reference(model, inputs, expected)
        interpret = [[tools / "npuc", "run", model, f"--inputs={inputs}", f"--outputs={outputs}"]]
        yield f"products/{name}/interpreter", *models.judge(interpret, outputs, expected, 0)
        yield f"products/{name}/atom", *within_a_step(run(tools, model, inputs, outputs, "atom"), outputs, expected, {"c": 1})


def exported(tools, scratch):
    for name, in_floats in EXPORTED.items():
        folder = prepared(name, scratch)
        inputs, outputs, model = models.MODELS / name / "inputs_0.npz", folder / "outputs.npz", folder / "exported.onnx"
        command = [tools / "npuc", "quantize", folder / "model.onnx", f"--calibration={inputs}", *shapes_of(inputs), "-o", model]
        status, text = models.call(command)
        if status != 0:
            yield f"{name}/exported", False, text
            continue
        onnx.checker.check_model(str(model), full_check=True)
        before, after = (onnx.load(path, load_external_data=False) for path in (folder / "model.onnx", model))
        same = before.graph.input == after.graph.input and before.graph.output == after.graph.output
        domains = sorted({node.domain for node in after.graph.node} - {node.domain for node in before.graph.node})
        outside = [any(tensor.data_location for tensor in one.graph.initializer) for one in (before, after)]
        left = text.count("in floats:")
        yield (f"{name}/exported", same and not domains and outside[0] == outside[1] and left == in_floats,
               f"inputs and outputs are{'' if same else ' not'} kept, new domains {domains}, external data {outside}\n{text}")
        reference(model, inputs, outputs)
        error, why = models.error_of(outputs, models.MODELS / name / "expected_0.npz")
        yield f"{name}/exported/onnxruntime", error <= INT8, why or f"relative error {error:.2e}, allowed {INT8:.0e}"
        expected = folder / "expected.npz"
        os.replace(outputs, expected)
        interpret = [[tools / "npuc", "run", model, f"--inputs={inputs}", f"--outputs={outputs}"]]
        yield f"{name}/exported/interpreter", *within_a_step(interpret, outputs, expected, steps(model, expected))


def cases(build, scratch):
    tools, scratch = pathlib.Path(build) / "bin", pathlib.Path(scratch)
    for name in FLOAT:
        folder = prepared(name, scratch)
        inputs, outputs = models.MODELS / name / "inputs_0.npz", folder / "outputs.npz"
        for target in TARGETS:
            commands = run(tools, folder / "model.onnx", inputs, outputs, target, "--precision=int8", f"--calibration={inputs}")
            yield f"{name}/int8/{target}", *models.judge(commands, outputs, models.MODELS / name / "expected_0.npz", INT8)
        for format, target in FORMATS.get(name, []):
            commands = run(tools, folder / "model.onnx", inputs, outputs, target, f"--precision={format}", f"--calibration={inputs}")
            yield f"{name}/{format}/{target}", *models.judge(commands, outputs, models.MODELS / name / "expected_0.npz", INT8)
    yield from others(tools, scratch)
    yield from products(tools, scratch)
    yield from exported(tools, scratch)
