"""Whole models against onnxruntime's outputs (expected_K.npz of test/models), through the tools as a user calls them.

A case is one set of inputs of one graph on one device: the interpreter, or a compiled artifact on the simulator. The error of an
output is max |y - r| / max |r|, and a case's is the worst of its outputs.
"""
import os
import pathlib
import subprocess
import sys

import numpy as np

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"

# fp32 on the host; its sums are in another order than onnxruntime's.
INTERPRETER = 1e-4
# What each target stores floats in, and the error it is allowed: a few roundings of 2^-11 (fp16) or 2^-8 (bf16) in a row.
TARGETS = {"atom": 1e-2, "sapeon-x330": 1e-2, "toy": 1e-2, "rngd": 5e-2}
COMPILED = ["bert-tiny-cls-eager-ts11", "bert-tiny-cls-ts", "bert-tiny-cls-dynamo23", "gpt2-tiny-dynamo", "gpt2-tiny-ts",
            "llama-tiny-dynamo", "llama-tiny-dynamo23", "llama-tiny-ts", "t5-tiny-decoder-with-past-ts",
            "t5-tiny-encoder-ts"]


def call(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300)
    return done.returncode, done.stdout[-2000:]


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


def cases(build, scratch):
    tools, scratch = pathlib.Path(build) / "bin", pathlib.Path(scratch)
    for fixture in sorted(p for p in MODELS.iterdir() if (p / "expected_0.npz").exists()):
        model = scratch / fixture.name
        subprocess.run([sys.executable, MODELS / "prepare.py", fixture, model], check=True)
        outputs = model / "outputs.npz"
        for inputs in sorted(fixture.glob("inputs_*.npz")):
            number = inputs.stem.split("_")[1]
            expected = fixture / f"expected_{number}.npz"
            run = [tools / "npuc", "run", model / "model.onnx", f"--inputs={inputs}", f"--outputs={outputs}"]
            yield (f"{fixture.name}/{number}/interpreter", *judge([run], outputs, expected, INTERPRETER))
            if fixture.name not in COMPILED:
                continue
            shapes = [f"--shape={name}={'x'.join(map(str, array.shape))}" for name, array in np.load(inputs).items()]
            for target, limit in TARGETS.items():
                artifact = model / "model.npa"
                compile_ = [tools / "npuc", "compile", model / "model.onnx", *shapes, f"--target={target}", "-o", artifact]
                simulate = [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}"]
                yield (f"{fixture.name}/{number}/{target}", *judge([compile_, simulate], outputs, expected, limit))
                for file in (artifact, outputs):
                    if os.path.exists(file):
                        os.remove(file)
