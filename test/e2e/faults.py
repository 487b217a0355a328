"""Faults planted in the kernels of a product, of attention and of long rows: the simulator finds each, or what it computes or counts tells it.

What orders threads and copies (barriers, waits, groups of copies) is deleted line by line: each is needed, so its loss is a finding, which names
the check, the line and the thread. Addresses, swizzles and
registers are spoilt one at a time.
"""
import json
import pathlib
import re
import subprocess

import numpy as np
import onnx
from onnx import helper

import models
from ptx import softmax

TARGET = "cuda:sm_80"
# Half a unit of fp16's last place for each rounding on the way, of numbers up to 4.
ALLOWED = 4e-3

ORDER = {"bar.sync": {"shared-race", "unfinished-copy", "uninitialized-memory"},
         "cp.async.wait_group": {"unfinished-copy"},
         "cp.async.commit_group": {"unfinished-copy"}}


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def kernels():
    """Nodes, inputs and the output of each: five times four steps of k, each of a warp's own, so that the last are where the first were; four
    blocks of keys, four warps for a row."""
    a, b = numbers(1, 100, 640) / np.float16(8), numbers(2, 640, 96) / np.float16(4)
    q, k, v, x = numbers(3, 1, 2, 100, 64) / np.float16(4), numbers(4, 1, 2, 200, 64), numbers(5, 1, 2, 200, 64), numbers(6, 4, 3000)
    wide = lambda *arrays: [array.astype(np.float64) for array in arrays]
    (a_, b_), (q_, k_, v_) = wide(a, b), wide(q, k, v)
    node = helper.make_node
    yield "product", [node("MatMul", ["a", "b"], ["y"])], {"a": a, "b": b}, a_ @ b_
    yield ("attention", [node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "t"], ["s"]), node("Softmax", ["s"], ["w"], axis=-1),
                         node("MatMul", ["w", "v"], ["y"])], {"q": q, "k": k, "v": v}, softmax(q_ @ k_.swapaxes(-1, -2)) @ v_)
    yield "rows", [node("Softmax", ["x"], ["y"], axis=-1)], {"x": x}, softmax(x.astype(np.float64))


class Kernel:
    """A compiled model of one kernel, and runs of variants of it."""

    def __init__(self, tools, folder, name, nodes, inputs, expected):
        self.tools, self.folder, self.expected = tools, folder / name, expected
        (self.folder / "out").mkdir(parents=True)
        model, artifact = self.folder / "model.onnx", self.folder / "model.npa"
        onnx.save(models.onnx_model(nodes, inputs, {"y": expected.astype(np.float16)}), model)
        subprocess.run([tools / "npuc", "compile", model, f"--target={TARGET}", f"--dump-dir={self.folder}", "-o", artifact], check=True)
        told = json.loads(subprocess.run([tools / "npuc", "inspect", artifact, "--json"], stdout=subprocess.PIPE, check=True).stdout)
        launch, = told["launches"]
        self.sparsely = 1 if told["ptx_bytes"] < 20000 else 5  # Of the places in long kernels every fifth.
        self.lines = (self.folder / "6-ptx.txt").read_text().splitlines()
        arguments = []
        for argument in launch["arguments"]:
            buffer = argument["buffer"]
            arguments.append(f"--arg=f16[{'x'.join(map(str, expected.shape))}]" if buffer == "y" else f"--arg=@{self.folder / buffer}.npy")
            if buffer == "y":
                self.output = self.folder / "out" / f"{launch['kernel']}_param_{len(arguments) - 1}.npy"
        for buffer, array in inputs.items():
            np.save(self.folder / f"{buffer}.npy", array)
        commas = lambda numbers: ",".join(map(str, numbers))
        self.options = [f"--grid={commas(launch['grid'])}", f"--block={commas(launch['block'])}", f"--shared={launch['shared_bytes']}", *arguments,
                        "--max-instructions=1000000", f"--outputs={self.folder / 'out'}", "--json"]

    def run(self, lines):
        """The report of the kernel with these lines, and how far off its output is."""
        file = self.folder / "fault.ptx"
        file.write_text("\n".join(lines) + "\n")
        done = subprocess.run([self.tools / "npurun", "ptx", file, *self.options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if not done.stdout:
            raise RuntimeError(done.stderr.decode())
        error = np.abs(np.load(self.output).astype(np.float64) - self.expected).max()
        return json.loads(done.stdout), error

    def number(self, pattern):
        return [number for number, line in enumerate(self.lines) if re.search(pattern, line)]

    def changed(self, number, line=None):
        """The lines with another at a place, or none there."""
        return self.lines[:number] + ([] if line is None else [line]) + self.lines[number + 1:]


def found(report):
    return {finding["check"] for finding in report["findings"]}


def conflicts(report):
    return {line["line"] for line in report["lines"] if line["wavefronts"] > line["least_wavefronts"]}


# Kinds of faults: each gives places, from 0, with the line that is there instead, and judges the report and how far off the output is.


def disorder(kernel):
    """What orders threads and copies is not there, or waits for one group of copies less."""
    for text, checks in ORDER.items():
        for number in kernel.number(rf"\b{re.escape(text)}\b"):
            yield f"without {text}", number, None, lambda report, error, checks=checks: found(report) & checks
            if "wait" in text:
                later = re.sub(r"\d+;", lambda groups: f"{int(groups[0][:-1]) + 1};", kernel.lines[number])
                yield f"later {text}", number, later, lambda report, error, checks=checks: found(report) & checks


def addresses(kernel):
    """Off by two bytes, an element: not aligned, or beyond what is there, or for single elements wrong. Off by a chunk of 16: told, or wrong."""
    for number in kernel.number(r"\b(ld|st)\.(shared|global)|ldmatrix|cp\.async\.cg")[::kernel.sparsely]:
        line = kernel.lines[number]
        for bytes_ in (2, 16):
            moved = re.sub(r"\[\s*([%\w]+)(?:\+(-?\d+))?\s*\]", lambda at: f"[{at[1]}+{int(at[2] or 0) + bytes_}]", line, count=1)
            wide = bytes_ == 2 and not re.search(r"\.[bu]16", line.replace("shared.b16", ""))
            yield f"address + {bytes_}", number, moved, lambda report, error, wide=wide: found(report) or (not wide and not error <= ALLOWED)


def swizzles(kernel):
    """Chunks are not swizzled where they are written, or where they are read: nothing is where it is read, or lanes meet in a bank; or elements change places."""
    for number in kernel.number(r"^\s*xor\.b32"):
        parts = re.match(r"\s*xor\.b32\s+(%\w+), (%\w+), (%\w+);", kernel.lines[number])
        if parts:
            yield "not swizzled", number, f"mov.b32 {parts[1]}, {parts[2]};", lambda report, error: found(report) or conflicts(report) or not error <= ALLOWED


def registers(kernel):
    """What the first lines compute is not there: registers that nothing has written are used."""
    first = kernel.number(r"^\s*(bra|@|\$)")[0]
    for number in kernel.number(r"^\s*(add|sub|mul|mad|shl|shr|and|or|xor|cvt|ld\.param|setp)\.")[::kernel.sparsely]:
        if number < first:
            yield "register", number, None, lambda report, error: "uninitialized-register" in found(report)


def cases(build, scratch):
    tools, folder = pathlib.Path(build) / "bin", pathlib.Path(scratch) / "faults"
    for name, nodes, inputs, expected in kernels():
        kernel = Kernel(tools, folder, name, nodes, inputs, expected)
        report, error = kernel.run(kernel.lines)
        name = f"faults/{name}"
        yield f"{name}/none", not found(report) and not conflicts(report) and error <= ALLOWED, f"off by {error}, found {report['findings']}"
        for kind in (disorder, addresses, swizzles, registers):
            count = 0
            for what, number, line, tells in kind(kernel):
                report, error = kernel.run(kernel.changed(number, line))
                count += 1
                yield (f"{name}/line {number + 1}, {what}", bool(tells(report, error)),
                       f"{kernel.lines[number]}\nfound {found(report)}, off by {error}, conflicts in lines {conflicts(report)}")
            yield f"{name}/{kind.__name__}", count > 0 or (kind is swizzles and name.endswith("rows")), "the kernel has no such line"
