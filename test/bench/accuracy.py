#!/usr/bin/env python3
"""How near quantized models are to floats: formats of npuc, run by the interpreter, beside onnxruntime's own quantizers.

Usage: ./dev bench --accuracy [--sentences=FOLDER] [--text=FILE.npz] [--format=NAME]… [--threads=N]

The sentence encoder (the folder minilm of the cache's models, or made there): cosine of embeddings to floats over test sentences,
mean and worst, each graph that it was exported to. Ranges, factors and roundings come from other sentences. FOLDER has both sets
as token ids, calibration.npz and test.npz; without it the project's own few sentences are measured.
The language model (the folder smollm2-135m-ts): perplexity on test_ids of FILE.npz in windows of 512 tokens; calibrated on
calibration_ids. Its weights lie on an asymmetric 4-bit grid of blocks of 32 already, so that those formats find less to lose than
they would in weights as they were trained.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

import cases

FORMATS = ["int8", "int8-token", "int4-32", "int4-128", "fp8"]
WINDOW = 512


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def embeddings(hidden, mask):
    """Means of the positions that count, of length 1."""
    sums = (hidden.astype(np.float64) * mask[..., None]).sum(axis=1)
    return sums / np.linalg.norm(sums, axis=-1, keepdims=True)


class Quantizers:
    """onnxruntime's, each MODEL, OUT and rows to calibrate on."""

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
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
        config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True)
        quantizer = MatMulNBitsQuantizer(onnx.load(str(model)), algo_config=config)
        quantizer.process()
        quantizer.model.save_model_to_file(str(out), False)


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


def encoder(args, npuc, prepared, scratch):
    calibration, test = sentences(args.sentences, prepared)
    rows = len(test["input_ids"])
    # Samples are of the inputs' own shape.
    stacked = len(calibration["input_ids"]) // rows * rows or rows
    several = {name: np.resize(array, (stacked, *array.shape[1:])) for name, array in calibration.items()}
    mask = test["attention_mask"]
    for graph in sorted(prepared.glob("*.onnx")):
        wanted = embeddings(session(graph).run(["last_hidden_state"], test)[0], mask)

        def report(name, hidden, seconds):
            cosines = (embeddings(hidden, mask) * wanted).sum(axis=1)
            print(f"| {graph.stem} | {name} | {cosines.mean():.5f} | {cosines.min():.5f} | {seconds:.0f} |", flush=True)

        for form in args.format or FORMATS:
            outputs, seconds = interpret(npuc, graph, form, several, test, scratch, args.threads)
            if isinstance(outputs, str):
                print(f"| {graph.stem} | {form} | {outputs} | | |", flush=True)
            else:
                report(form, outputs["last_hidden_state"], seconds)
        for name, quantize in ({} if args.format else ORT).items():
            start = time.monotonic()
            quantize(graph, scratch / "quantized.onnx", calibration)
            runner = session(scratch / "quantized.onnx")
            # One at a time: its dynamic ranges are those of all rows that run together.
            hidden = [runner.run(["last_hidden_state"], {key: array[i:i + 1] for key, array in test.items()})[0] for i in range(rows)]
            report("onnxruntime: " + name, np.concatenate(hidden), time.monotonic() - start)


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
    print(f"| {prepared.name} | floats | {floats:.3f} | | |", flush=True)

    def ours(form):
        def run(part):
            outputs, _ = interpret(npuc, graph, form, calibration, part, scratch, args.threads)
            return outputs if isinstance(outputs, str) else outputs["logits"]
        return run

    for form in args.format or FORMATS:
        start, reached = time.monotonic(), perplexity(ours(form))
        if isinstance(reached, str):
            print(f"| {prepared.name} | {form} | {reached} | | |", flush=True)
        else:
            print(f"| {prepared.name} | {form} | {reached:.3f} | {100 * (reached / floats - 1):+.2f} % | "
                  f"{time.monotonic() - start:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--models", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--sentences", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--format", action="append")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    npuc, kept = args.build.resolve() / "bin" / "npuc", args.cache / "models"
    found = cases.folders(args.models + ([kept] if kept.is_dir() else []) + [cases.FIXTURES])
    with tempfile.TemporaryDirectory() as scratch:
        print("| model | format | mean cosine, or perplexity | worst, or more than floats | seconds |\n| --- | --- | --- | --- | --- |")
        if prepared := "minilm" in found and cases.prepare(found["minilm"], args.cache):
            encoder(args, npuc, prepared, pathlib.Path(scratch))
        if args.text and "smollm2-135m-ts" in found:
            decoder(args, npuc, cases.prepare(found["smollm2-135m-ts"], args.cache), pathlib.Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
