"""Whole models against onnxruntime's outputs, through the tools as a user calls them: those recorded in test/models
(expected_K.npz), or, where they are too large to keep, onnxruntime's own in this run.

A case is one set of inputs of one graph on one device: the interpreter, or a compiled artifact on the simulator. The error of an
output is max |y - r| / max |r|, and a case's is the worst of its outputs.
"""
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
from onnx import helper

import counts
import ptxas

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"

# fp32 on the host; its sums are in another order than onnxruntime's.
INTERPRETER = 1e-4
# What each target stores floats in, and the error it is allowed: a few roundings of 2^-11 (fp16) or 2^-8 (bf16) in a row.
TARGETS = {"atom": 4e-3, "sapeon-x330": 4e-3, "toy": 4e-3, "rngd": 3e-2, "cuda:sm_80": 4e-3}
# A GPU's programs run on ptx-sim, of each model with one set of inputs and of decoders also with one of cached positions; ptxas tries
# the kernels. Programs for newer GPUs differ little: one model does for them.
GPU, GPU_INPUTS = "cuda:sm_80", ["0", "3"]
NEWER_GPUS = {"llama-tiny-ts/0": ["cuda:sm_86", "cuda:sm_89", "cuda:sm_90", "cuda:sm_100"]}
COMPILED = ["bert-tiny-cls-dynamo23", "bert-tiny-cls-eager-ts11", "bert-tiny-cls-ts", "clip-text-tiny-dynamo",
            "gemma2-tiny-eager-ts", "gpt2-tiny-dynamo", "gpt2-tiny-ts", "llama-tiny-dynamo", "llama-tiny-dynamo23",
            "llama-tiny-ts", "qwen2-tiny-onnxruntime", "roberta-tiny-ts", "t5-tiny-decoder-with-past-ts",
            "t5-tiny-encoder-ts", "vit-tiny-dynamo", "vit-tiny-ts", "wav2vec2-tiny-dynamo", "whisper-tiny-encoder-ts"]
# Models without recorded inputs, and the sizes of seeded ones.
SEEDED = {"whisper-tiny-encoder-ts": {"input_features": [1, 80, 3000]}}
# Multiplied as integers, calibrated on the very inputs: a decoder with cached positions, an encoder of images and one of speech, on three
# ways to requantize. Steps are 1/127 to 1/255 of a range; the greatest errors of a few thousand sums are a few steps.
INTEGERS = {"llama-tiny-ts": ["0", "3"], "vit-tiny-ts": ["0"], "whisper-tiny-encoder-ts": ["0"]}
INTEGER_TARGETS = {"atom": 5e-2, "sapeon-x220": 5e-2, "warboy": 5e-2, "rngd": 5e-2}
# Of real dimensions, which on 2 cores of 4 by 4 multipliers, or as each thread of a GPU, are minutes of simulation.
LARGE = ["whisper-tiny-encoder-ts"]
LARGE_FOR = ["toy", GPU]


def call(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300)
    return done.returncode, done.stdout[-2000:]


def onnx_model(nodes, inputs, outputs, constants=()):
    """A model of `nodes`. `inputs` and `outputs` are arrays of their types and shapes by name, `constants` its initializers."""
    value = lambda name, array: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
    graph = helper.make_graph(nodes, "main", [value(*one) for one in inputs.items()], [value(*one) for one in outputs.items()], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def error_of(outputs, expected):
    got, want = np.load(outputs), np.load(expected)
    if sorted(got) != sorted(want):
        return float("inf"), f"outputs are {sorted(got)}, not {sorted(want)}"
    worst = 0.0
    for name in want:
        if got[name].shape != want[name].shape or got[name].dtype != want[name].dtype:
            return float("inf"), f"{name} is {got[name].dtype}{got[name].shape}, not {want[name].dtype}{want[name].shape}"
        difference = np.abs(got[name].astype(np.float64) - want[name]).max(initial=0)
        error = difference / max(np.abs(want[name].astype(np.float64)).max(initial=0), 1e-30)
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst, ""


def judge(commands, outputs, expected, limit):
    """Run the commands; the case passes if all succeed and the outputs are near enough."""
    for command in commands:
        status, text = call(command)
        if status != 0:
            return False, f"{' '.join(map(str, command))}\nexit status {status}\n{text}"
    error, why = error_of(outputs, expected)
    return error <= limit, why or f"relative error {error:.2e}, allowed {limit:.0e}"


def record(model, sizes):
    """Seeded inputs and onnxruntime's outputs, as files beside the model."""
    random = np.random.default_rng(0)
    inputs = {name: random.standard_normal(shape, np.float32) for name, shape in sizes.items()}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(model / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    np.savez(model / "inputs_0.npz", **inputs)
    np.savez(model / "expected_0.npz", **dict(zip(names, session.run(names, inputs))))


def cases(build, scratch):
    tools, scratch = pathlib.Path(build) / "bin", pathlib.Path(scratch)
    for fixture in sorted(p for p in MODELS.iterdir() if (p / "expected_0.npz").exists() or p.name in SEEDED):
        model = scratch / fixture.name
        subprocess.run([sys.executable, MODELS / "prepare.py", fixture, model], check=True)
        recorded = fixture
        if fixture.name in SEEDED:
            record(model, SEEDED[fixture.name])
            recorded = model
        outputs = model / "outputs.npz"
        for inputs in sorted(recorded.glob("inputs_*.npz")):
            number = inputs.stem.split("_")[1]
            expected = recorded / f"expected_{number}.npz"
            run = [tools / "npuc", "run", model / "model.onnx", f"--inputs={inputs}", f"--outputs={outputs}"]
            yield (f"{fixture.name}/{number}/interpreter", *judge([run], outputs, expected, INTERPRETER))
            if fixture.name not in COMPILED:
                continue
            shapes = [f"--shape={name}={'x'.join(map(str, array.shape))}" for name, array in np.load(inputs).items()]
            devices = [(target, limit, []) for target, limit in TARGETS.items() if target not in LARGE_FOR or fixture.name not in LARGE]
            if number not in GPU_INPUTS:
                devices = [device for device in devices if device[0] != GPU]
            devices += [(target, TARGETS[GPU], []) for target in NEWER_GPUS.get(f"{fixture.name}/{number}", [])]
            if number in INTEGERS.get(fixture.name, []):
                devices += [(target, limit, ["--precision=int8", f"--calibration={inputs}"]) for target, limit in INTEGER_TARGETS.items()]
            for target, limit, options in devices:
                artifact, levels = model / "model.npa", model / "levels"
                compile_ = [tools / "npuc", "compile", model / "model.onnx", *shapes, f"--target={target}", *options, "-o", artifact]
                simulate = [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}"]
                is_gpu = target.startswith("cuda:")
                if is_gpu:
                    compile_ += [f"--dump-dir={levels}", f"--ptxas={ptxas.find() or 'none'}"]
                    simulate.append("--device=ptx-sim")
                name = f"{fixture.name}/{number}/{target}{'/int8' if options else ''}"
                yield (name, *judge([compile_, simulate], outputs, expected, limit))
                if is_gpu:
                    inspect = [tools / "npuc", "inspect", artifact, "--json"]
                    yield ptxas.case(f"{name}/ptxas", levels / "6-ptx.txt", target, inspect)
                    yield counts.case(f"{name}/counts", inspect, [*simulate, "--json"])
                for file in (artifact, outputs):
                    if os.path.exists(file):
                        os.remove(file)
