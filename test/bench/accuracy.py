#!/usr/bin/env python3
"""How near quantized models are to floats: formats of npuc, run by the interpreter, and int8 also compiled for each target and
simulated, beside onnxruntime's own quantizers.

Usage: ./dev bench --accuracy [--sentences=FOLDER] [--text=FILE.npz] [--format=NAME]… [--target=NAME]… [--threads=N]

The sentence encoder (the folder minilm of the cache's models, or made there): cosine of embeddings to floats over test sentences,
mean and worst, each graph that it was exported to, and for a target the share of multiply-adds of int8 by int8. Ranges, factors and
roundings come from other sentences. FOLDER has both sets as token ids, calibration.npz and test.npz; without it the project's own few
sentences are measured. --target is a simulated NPU, or interpreter: all formats given (or int8) are then measured there.
The language model (the folder smollm2-135m-ts): perplexity on test_ids of FILE.npz in windows of 512 tokens; calibrated on
calibration_ids. Its weights lie on an asymmetric 4-bit grid of blocks of 32 already, so that those formats find less to lose than
they would in weights as they were trained.
"""
import argparse
import json
import logging
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.shape_inference import quant_pre_process

import cases

sys.path.append(str(cases.FIXTURES))
import quantize  # noqa: E402  (of test/models)

FORMATS = ["int8", "int8-token", "int4-32", "int4-128", "fp8"]
INTERPRETER = "interpreter"
WINDOW = 512
# Rows that a program for a target takes at once.
BATCH = 8


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def embeddings(hidden, mask):
    """Means of the positions that count, of length 1."""
    sums = (hidden.astype(np.float64) * mask[..., None]).sum(axis=1)
    return sums / np.linalg.norm(sums, axis=-1, keepdims=True)


class Quantizers:
    """onnxruntime's, each MODEL (prepared as its guide says: constants folded), OUT and rows to calibrate on."""

    @staticmethod
    def staticQdq(model, out, rows):
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self):
                count = len(next(iter(rows.values())))
                self.left = [{name: array[i:i + 1] for name, array in rows.items()} for i in range(count)]

            def get_next(self):
                return self.left.pop() if self.left else None

        quantize_static(str(model), str(out), Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, per_channel=True)

    @staticmethod
    def dynamic(model, out, rows):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(str(model), str(out), per_channel=True, weight_type=QuantType.QInt8)

    @staticmethod
    def fourBits(model, out, rows):
        quantize.VARIANTS["four-bits-32"](model, None, out)


ORT = {"static QDQ, per channel": Quantizers.staticQdq, "dynamic, per channel": Quantizers.dynamic,
       "4-bit weights, blocks of 32": Quantizers.fourBits}


def sentences(folder, prepared):
    """Token ids, (calibration, test)."""
    if folder:
        return tuple(dict(np.load(folder / name)) for name in ("calibration.npz", "test.npz"))
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(prepared / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=128)

    def arrays(texts):
        encoded = tokenizer.encode_batch(texts)
        return {"input_ids": np.array([e.ids for e in encoded], np.int64),
                "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
                "token_type_ids": np.array([e.type_ids for e in encoded], np.int64)}

    return arrays(cases.CALIBRATION), arrays(cases.TEST)


def interpret(npuc, graph, form, calibration, inputs, scratch, threads):
    """Outputs of the graph in a format of npuc's, or why there are none; and seconds."""
    np.savez(scratch / "calibration.npz", **calibration)
    np.savez(scratch / "inputs.npz", **inputs)
    start = time.monotonic()
    done = subprocess.run([npuc, "run", graph, "--device=interpreter", f"--precision={form}", f"--threads={threads}",
                           f"--calibration={scratch / 'calibration.npz'}", f"--inputs={scratch / 'inputs.npz'}",
                           f"--outputs={scratch / 'outputs.npz'}"], capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[0], 0
    return dict(np.load(scratch / "outputs.npz")), time.monotonic() - start


def simulate(npuc, graph, form, target, calibration, inputs, scratch):
    """As interpret, compiled for a target and simulated BATCH rows at a time; and the share of int8."""
    count = len(next(iter(inputs.values())))
    np.savez(scratch / "calibration.npz", **calibration)
    start = time.monotonic()
    program = scratch / "program.npa"
    done = subprocess.run([npuc, "compile", graph, f"--target={target}", f"--precision={form}", "-o", program,
                           f"--calibration={scratch / 'calibration.npz'}"] +
                          [f"--shape={name}={'x'.join(map(str, (BATCH, *array.shape[1:])))}" for name, array in inputs.items()],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[0], 0, None
    parts = []
    for first in range(0, count, BATCH):
        np.savez(scratch / "inputs.npz", **{name: np.resize(array[first:first + BATCH], (BATCH, *array.shape[1:]))
                                            for name, array in inputs.items()})
        done = subprocess.run([npuc.with_name("npurun"), program, f"--inputs={scratch / 'inputs.npz'}", "--json",
                               f"--outputs={scratch / 'outputs.npz'}"], capture_output=True, text=True)
        if done.returncode != 0:
            return done.stderr.strip().splitlines()[0], 0, None
        parts.append(dict(np.load(scratch / "outputs.npz")))
    outputs = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
    return outputs, time.monotonic() - start, json.loads(done.stdout)["int8_share"]


def whole(arrays, rows):
    """So many rows that samples of ROWS rows take each: the first of them again where they do not divide."""
    count = len(next(iter(arrays.values())))
    return {name: np.resize(array, (-(-count // rows) * rows, *array.shape[1:])) for name, array in arrays.items()}


def encoder(args, npuc, prepared, scratch):
    calibration, test = sentences(args.sentences, prepared)
    rows, mask = len(test["input_ids"]), test["attention_mask"]
    if args.target:
        runs = [(form, target) for form in args.format or ["int8"] for target in args.target]
    else:
        runs = [(form, INTERPRETER) for form in args.format or FORMATS] + [(form, target) for form in args.format or ["int8"]
                                                                          for target in cases.TARGETS]
    for graph in sorted(prepared.glob("*.onnx")):
        wanted = embeddings(session(graph).run(["last_hidden_state"], test)[0], mask)

        def report(name, place, hidden, seconds, share=None):
            cosines = (embeddings(hidden, mask) * wanted).sum(axis=1)
            print(f"| {graph.stem} | {name} | {place} | {cosines.mean():.5f} | {cosines.min():.5f} | "
                  f"{'' if share is None else f'{100 * share:.1f} %'} | {seconds:.0f} |", flush=True)

        for form, place in runs:
            share = None
            if place == INTERPRETER:
                outputs, seconds = interpret(npuc, graph, form, whole(calibration, rows), test, scratch, args.threads)
            else:
                outputs, seconds, share = simulate(npuc, graph, form, place, whole(calibration, BATCH), test, scratch)
            if isinstance(outputs, str):
                print(f"| {graph.stem} | {form} | {place} | {outputs} | | | |", flush=True)
            else:
                report(form, place, outputs["last_hidden_state"], seconds, share)
        if args.format or args.target:
            continue
        ready = scratch / "ready.onnx"
        onnx.save(onnx.load(str(graph)), str(scratch / "whole.onnx"))  # Its loader wants weights in places of its own.
        quant_pre_process(str(scratch / "whole.onnx"), str(ready), skip_symbolic_shape=True)
        for name, quantizer in ORT.items():
            start = time.monotonic()
            quantizer(ready, scratch / "quantized.onnx", calibration)
            runner = session(scratch / "quantized.onnx")
            # One at a time: its dynamic ranges are those of all rows that run together.
            hidden = [runner.run(["last_hidden_state"], {key: array[i:i + 1] for key, array in test.items()})[0] for i in range(rows)]
            report(name, "onnxruntime", np.concatenate(hidden), time.monotonic() - start)


def windows(ids, names):
    """Token ids as inputs of a decoder without past."""
    ids = ids[:len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids),
              "position_ids": np.broadcast_to(np.arange(WINDOW, dtype=np.int64), ids.shape).copy()}
    for name, shape in names.items():
        if name not in arrays:
            arrays[name] = np.zeros((len(ids), shape[1], 0, shape[3]), np.float32)
    return arrays


def negativeLogLikelihood(logits, ids):
    logits = logits[:, :-1].astype(np.float64)
    most = logits.max(axis=-1, keepdims=True)
    sums = np.log(np.exp(logits - most).sum(axis=-1)) + most[..., 0]
    return sums - np.take_along_axis(logits, ids[:, 1:, None], axis=-1)[..., 0]


def decoder(args, npuc, prepared, scratch):
    text = np.load(args.text)
    graph = prepared / "model.onnx"
    runner = session(graph)
    names = {given.name: given.shape for given in runner.get_inputs()}
    calibration, test = (windows(text[name], names) for name in ("calibration_ids", "test_ids"))

    def rows(arrays, first, count):
        return {name: array[first:first + count] for name, array in arrays.items()}

    together, count = 4, len(test["input_ids"])

    def perplexity(run):
        losses = []
        for first in range(0, count, together):
            part = rows(test, first, together)
            outputs = run(part)
            if isinstance(outputs, str):
                return outputs
            losses.append(negativeLogLikelihood(outputs, part["input_ids"]).ravel())
        return float(np.exp(np.concatenate(losses).mean()))

    floats = perplexity(lambda part: runner.run(["logits"], part)[0])
    print(f"| {prepared.name} | floats | onnxruntime | {floats:.3f} | | | |", flush=True)

    def ours(form):
        def run(part):
            outputs, _ = interpret(npuc, graph, form, calibration, part, scratch, args.threads)
            return outputs if isinstance(outputs, str) else outputs["logits"]
        return run

    for form in args.format or FORMATS:
        start, reached = time.monotonic(), perplexity(ours(form))
        if isinstance(reached, str):
            print(f"| {prepared.name} | {form} | {INTERPRETER} | {reached} | | | |", flush=True)
        else:
            print(f"| {prepared.name} | {form} | {INTERPRETER} | {reached:.3f} | {100 * (reached / floats - 1):+.2f} % | | "
                  f"{time.monotonic() - start:.0f} |", flush=True)


def main():
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's quantizers say much
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--models", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--sentences", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--format", action="append")
    parser.add_argument("--target", action="append")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    npuc, kept = args.build.resolve() / "bin" / "npuc", args.cache / "models"
    found = cases.folders(args.models + ([kept] if kept.is_dir() else []) + [cases.FIXTURES])
    with tempfile.TemporaryDirectory() as scratch:
        print("| model | format | run by | mean cosine, or perplexity | worst, or more than floats | int8 | seconds |\n"
              "| --- | --- | --- | --- | --- | --- | --- |")
        if prepared := "minilm" in found and cases.prepare(found["minilm"], args.cache):
            encoder(args, npuc, prepared, pathlib.Path(scratch))
        if args.text and "smollm2-135m-ts" in found:
            decoder(args, npuc, cases.prepare(found["smollm2-135m-ts"], args.cache), pathlib.Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
