#!/usr/bin/env python3
"""ONNX's operator tests through the compiler and the simulator, as a user calls them.

A test is a folder with model.onnx and test_data_set_0/{input_I.pb,output_I.pb}. Shapes are bound from the inputs. A model whose
shapes depend on the values of integer inputs (a reshape's shape, say) is compiled with these inputs as constants.

Floats are stored in 16 bits, so an output passes if max |y - r| <= 1e-2 max |r|, with infinities and NaN where they are expected;
integers and bools must be equal. Tests that do not pass stand in compiled-failures.txt with the reason; a test that starts to pass
must leave the list. Tests that the interpreter's list (expected-failures.txt) names are not run.
"""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-2


def read_list(name):
    lines = (HERE / name).read_text().splitlines() if (HERE / name).exists() else []
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#") and ": " in line)


def read_tensors(folder, prefix, values):
    """Arrays by name of the tensors in `folder`; None where one is no tensor."""
    arrays = {}
    for i, value in enumerate(values):
        path = folder / f"{prefix}_{i}.pb"
        if not path.exists() or not value.name:
            continue
        tensor = onnx.TensorProto()
        tensor.ParseFromString(path.read_bytes())
        arrays[value.name] = numpy_helper.to_array(tensor)
    return arrays


def difference(got, want):
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"is {got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    if want.dtype.kind not in "fV":
        return "" if np.array_equal(got, want) else f"{np.count_nonzero(got != want)} of {want.size} elements differ"
    got, want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(np.isfinite(got), finite) or not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return "infinities or NaN stand elsewhere"
    worst = np.abs(got[finite] - want[finite]).max(initial=0)
    limit = TOLERANCE * np.abs(want[finite]).max(initial=0)
    return "" if worst <= limit else f"error {worst:.2e}, allowed {limit:.2e}"


def call(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        return "takes longer than a minute"
    if done.returncode == 0:
        return ""
    lines = done.stdout.strip().splitlines()
    return (f"crashes ({done.returncode}): " if done.returncode not in (1, 2) else "") + (lines[0] if lines else "no message")


def run_set(folder, tools, target, constant_integers, scratch):
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    inputs, outputs = read_tensors(data, "input", model.graph.input), read_tensors(data, "output", model.graph.output)
    if constant_integers:
        constants = {name: array for name, array in inputs.items() if array.dtype.kind in "iu"}
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
        kept = [value for value in model.graph.input if value.name not in constants]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        inputs = {name: array for name, array in inputs.items() if name not in constants}
    onnx.save(model, scratch / "model.onnx")
    np.savez(scratch / "inputs.npz", **inputs)
    shapes = [f"--shape={name}={'x'.join(map(str, array.shape))}" for name, array in inputs.items() if array.ndim]
    why = call([tools / "npuc", "compile", scratch / "model.onnx", *shapes, f"--target={target}", "-o", scratch / "model.npa"])
    why = why or call([tools / "npurun", scratch / "model.npa", f"--inputs={scratch / 'inputs.npz'}",
                       f"--outputs={scratch / 'outputs.npz'}"])
    if why:
        return why
    got = np.load(scratch / "outputs.npz")
    for name, want in outputs.items():
        if what := difference(got[name], want):
            return f"output {name}: {what}"
    return ""


def run(folder, tools, target):
    """Why the test does not pass; empty if it does."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            why = run_set(folder, tools, target, False, pathlib.Path(scratch))
            return run_set(folder, tools, target, True, pathlib.Path(scratch)) if "must be known" in why else why
        except Exception as error:  # The test's data is not what a .npz holds.
            return f"{type(error).__name__}: {error}"


def cases(build, target="atom", matching="", workers=2):
    tools = pathlib.Path(build) / "bin"
    cache = pathlib.Path((pathlib.Path(build) / "CMakeCache.txt").read_text().split("NPUC_ONNX_PREFIX:PATH=")[1].splitlines()[0])
    skipped, known = read_list("expected-failures.txt"), read_list("compiled-failures.txt")
    folders = [p for p in sorted((cache / "share/onnx-test-data/node").iterdir()) if p.name not in skipped and matching in p.name]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for folder, why in zip(folders, pool.map(lambda p: run(p, tools, target), folders)):
            yield folder.name, why, known.get(folder.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="atom")
    parser.add_argument("--print-failures", action="store_true", help="print each failing test as a line for the list")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("filter", nargs="?", default="")
    arguments = parser.parse_args()
    passed = listed = bad = 0
    for name, why, known in cases(arguments.build, arguments.target, arguments.filter, arguments.workers):
        passed += not why
        listed += bool(why and known)
        if bool(why) != bool(known):
            bad += 1
            print(f"{name}: {why or 'passes: remove it from the list'}", flush=True)
        elif why and arguments.print_failures:
            print(f"{name}: {known}", flush=True)
    print(f"{passed} passed, {listed} known not to, {bad} unexpected", file=sys.stderr)
    sys.exit(bad != 0)
