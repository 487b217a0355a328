"""What is measured: models with inputs, and what onnxruntime says to these."""
import dataclasses
import pathlib
import subprocess
import sys

import numpy as np

from sentences import CALIBRATION, TEST

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "models"
sys.path.insert(0, str(FIXTURES.parent / "e2e"))
from models import SEEDED  # noqa: E402

TARGETS = ["atom", "sapeon-x220", "sapeon-x330", "warboy", "warboy-2pe", "rngd"]
REFERENCE = """
import sys, numpy, onnxruntime
model, inputs, outputs = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
numpy.savez(outputs, **dict(zip(names, session.run(names, dict(numpy.load(inputs))))))
"""


@dataclasses.dataclass
class Case:
    """One graph with one set of input sizes. Inputs, expected outputs and calibration are files."""
    name: str
    graph: pathlib.Path
    inputs: pathlib.Path
    expected: pathlib.Path
    calibration: pathlib.Path
    embeds: bool = False  # last_hidden_state is averaged to embeddings, which are compared one by one

    @property
    def shapes(self):
        return {name: "x".join(map(str, array.shape)) for name, array in np.load(self.inputs).items()}


def folders(roots):
    """Folders of models by name; the first of a name counts."""
    found = {}
    for root in roots:
        for folder in sorted(pathlib.Path(root).iterdir()):
            if any(folder.glob("*.onnx")):
                found.setdefault(folder.name, folder)
    return found


def prepare(folder, cache):
    """The model's graphs beside their weights: where they are, or, made from a seed or fetched, in the cache."""
    if any(folder.glob("*.data")) or any(folder.glob("*.safetensors")):
        return folder
    out = cache / folder.name
    if folder.name != "minilm" and not (folder / "weights.json").exists():
        return None
    subprocess.run([sys.executable, FIXTURES / "prepare.py", folder, out], check=True)
    return out


def recorded(folder):
    """The recorded inputs to measure: of the project's own small models the one of fewest rows, of these the largest; else all."""
    def key(path):
        arrays = [array for array in np.load(path).values() if array.ndim]
        return arrays[0].shape[0], -sum(array.size for array in arrays), path.name
    ordered = sorted(folder.glob("inputs_*.npz"), key=key)
    return ordered[:1] if folder.parent == FIXTURES else ordered


def sizes(inputs):
    """The first input's shape and, of a decoder whose mask covers them, how many positions are cached: 1x1+7."""
    arrays = np.load(inputs)
    shape = next(array.shape for array in arrays.values() if array.ndim)
    past = arrays["attention_mask"].shape[-1] - shape[-1] if "attention_mask" in arrays else 0
    return "x".join(map(str, shape)) + (f"+{past}" if past > 0 else "")


def reference(graph, inputs, out):
    """onnxruntime's outputs, computed once."""
    if not out.exists() or out.stat().st_mtime < inputs.stat().st_mtime:
        subprocess.run([sys.executable, "-c", REFERENCE, graph, inputs, out], check=True)
    return out


def save(path, arrays):
    """Writes only what is new, so that what was computed from it stays."""
    if path.exists() and all(np.array_equal(array, arrays.get(name)) for name, array in np.load(path).items()):
        return path
    np.savez(path, **arrays)
    return path


def sentenceCases(prepared, scratch):
    """The sentence encoder at 128 tokens: one sentence, and all of them at once."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(prepared / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=128)

    def arrays(sentences):
        encoded = tokenizer.encode_batch(sentences)
        return {"input_ids": np.array([e.ids for e in encoded], np.int64),
                "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
                "token_type_ids": np.array([e.type_ids for e in encoded], np.int64)}

    calibration = save(scratch / "minilm.calibration.npz", arrays(CALIBRATION))
    for rows, sentences in ((1, TEST[:1]), (len(TEST), TEST)):
        inputs = save(scratch / f"minilm.{rows}.npz", arrays(sentences))
        for graph in sorted(prepared.glob("*.onnx")):
            expected = reference(graph, inputs, scratch / f"{graph.stem}.{rows}.expected.npz")
            yield Case(f"minilm/{graph.stem.removeprefix('model-')} {rows}x128", graph, inputs, expected, calibration, embeds=True)


def cases(roots, cache, wanted):
    """Every model of the project and of `roots` whose name contains `wanted`."""
    scratch = cache / "inputs"
    scratch.mkdir(parents=True, exist_ok=True)
    for name, folder in sorted(folders([FIXTURES, *roots]).items()):
        if wanted not in name:
            continue
        prepared = prepare(folder, cache)
        if not prepared:
            print(f"{name}: no weights, and none that can be made", file=sys.stderr)
            continue
        if name == "minilm":
            yield from sentenceCases(prepared, scratch)
            continue
        found = recorded(folder)
        if name in SEEDED:
            random = np.random.default_rng(0)
            found = [save(scratch / f"{name}.npz", {key: random.standard_normal(shape, np.float32)
                                                    for key, shape in SEEDED[name].items()})]
        if not found:
            print(f"{name}: no inputs_*.npz", file=sys.stderr)
        graph = prepared / "model.onnx"
        for inputs in found:
            expected = inputs.with_name(inputs.name.replace("inputs", "expected"))
            if name in SEEDED or not expected.exists():
                expected = reference(graph, inputs, scratch / f"{name}.{inputs.stem}.expected.npz")
            yield Case(f"{name} {sizes(inputs)}", graph, inputs, expected, inputs)
