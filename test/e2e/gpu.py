"""Kernels for a GPU, by ptx-sim. A large product of floats moves no byte that its tiles do not ask for. Products of integers are onnxruntime's
to the last integer. Attention is one kernel: of integers that npuc chose, and what it gives is what the interpreter gives, bit for bit, as each
float of it is a function of integers; of models that come quantized; and of floats where the weights are more than a softmax. Weights of 4 bits are multiplied as
they lie in memory, by integers and by floats. A model compiled again is the same bytes.
"""
import json
import pathlib
import subprocess

import numpy as np
import onnx
from onnx import helper

import counts
import models
import ptxas
import quantized

GPU = "cuda:sm_80"


def products():
    """Weights, and second operands whose rows are steps of k: some in runs of 16 bytes, which are transposed on their way to tensor cores, and
    some not."""
    random = np.random.default_rng(0)
    integers = lambda type_, *shape: random.integers(np.iinfo(type_).min, np.iinfo(type_).max + 1, shape).astype(type_)
    scales = (0.02, 0.01, 0.9)
    return {
        "weights": quantized.product(integers(np.int8, 48, 704), integers(np.int8, 704, 90), scales, (0, 0, 0)),
        "columns-32": quantized.product(integers(np.int8, 3, 40, 64), integers(np.int8, 3, 64, 32), scales, (0, 0, 0)),
        "columns-80": quantized.product(integers(np.int8, 2, 100, 208), integers(np.int8, 2, 208, 80), scales, (0, 0, 0)),
        "columns-256": quantized.product(integers(np.int8, 1, 130, 48), integers(np.int8, 1, 48, 256), scales, (0, 0, 0)),
        "columns-50": quantized.product(integers(np.int8, 3, 40, 64), integers(np.int8, 3, 64, 50), scales, (0, 0, 0)),
        "unsigned": quantized.product(integers(np.uint8, 2, 64, 96), integers(np.uint8, 2, 96, 64), scales, (0, 0, 0)),
    }


def large(m, n, k):
    """A product of fp16, and inputs for it."""
    random = np.random.default_rng(0)
    inputs = {"a": random.standard_normal((m, k)).astype(np.float16), "b": random.standard_normal((k, n)).astype(np.float16)}
    return models.onnx_model([helper.make_node("MatMul", ["a", "b"], ["c"])], inputs, {"c": np.empty((m, n), np.float16)}), inputs


def multiplied(m, n, k):
    """x w + b, and inputs for it. Bytes of x lose little beside the weights' 4 bits."""
    random = np.random.default_rng(m + n)
    inputs = {"x": random.standard_normal((m, k)).astype(np.float16).astype(np.float32)}
    constants = {"w": random.standard_normal((k, n)).astype(np.float32) * k ** -0.5, "b": random.standard_normal(n).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"], name="result")]
    return models.onnx_model(nodes, inputs, {"y": np.empty((m, n), np.float32)},
                             [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]), inputs


def four_bits(m, n, k, block, zeros):
    """A product by weights of 4 bits in blocks with scales, and zero points or (8) none, and inputs for it."""
    random = np.random.default_rng(m + n + block)
    bytes_ = lambda *shape: random.integers(0, 256, shape, np.uint8)
    blocks = -(-k // block)
    inputs = {"x": random.standard_normal((m, k)).astype(np.float16).astype(np.float32)}
    constants = {"w": bytes_(n, blocks, block // 2), "s": random.uniform(0.01, 0.02, (n * blocks)).astype(np.float32)}
    if zeros:
        constants["z"] = bytes_(n * -(-blocks // 2))
    node = helper.make_node("MatMulNBits", ["x", *constants], ["p"], name="result", domain="com.microsoft", N=n, K=k, bits=4, block_size=block,
                            accuracy_level=1)
    model = models.onnx_model([node, helper.make_node("Relu", ["p"], ["y"])], inputs, {"y": np.empty((m, n), np.float32)},
                              [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model, inputs


def attention(heads, rows, keys, size, masked, dropped=False):
    """softmax(q kᵀ / √size + mask) v, and inputs for it. `dropped`: weights are zero or doubled at random."""
    random = np.random.default_rng(keys)
    numbers = lambda *shape: random.standard_normal(shape).astype(np.float16).astype(np.float32)  # Targets keep floats in 16 bits.
    inputs = {"q": numbers(1, heads, rows, size), "k": numbers(1, heads, keys, size), "v": numbers(1, heads, keys, size)}
    nodes = [helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "t"], ["products"], name="products"),
             helper.make_node("Mul", ["products", "scale"], ["scores"])]
    if masked:
        inputs["mask"] = np.where(random.random((1, 1, rows, keys)) < 0.3, -10000, 0).astype(np.float32)
        nodes.append(helper.make_node("Add", ["scores", "mask"], ["masked"]))
    nodes.append(helper.make_node("Softmax", [nodes[-1].output[0]], ["weights"], name="weights", axis=-1))
    if dropped:
        inputs["drop"] = np.where(random.random((1, heads, rows, keys)) < 0.5, 0, 2).astype(np.float32)
        nodes.append(helper.make_node("Mul", ["weights", "drop"], ["dropped"]))
    nodes.append(helper.make_node("MatMul", [nodes[-1].output[0], "v"], ["y"], name="result"))
    scale = onnx.numpy_helper.from_array(np.array(size ** -0.5, np.float32), "scale")
    return models.onnx_model(nodes, inputs, {"y": inputs["q"]}, [scale]), inputs


# Rows, columns, k and the tiles that a block computes: as many as fill half of the cores. Of a feed-forward layer of BERT-large, a quarter of k.
LARGE = {"rows-384": (384, 4096, 256, 128, 128)}
# Instructions of an mma of 16 x 8 x 16, with what begins and ends a kernel: as many as these few steps of k cost.
INSTRUCTIONS = 4.5

# Whole blocks of 64 keys, one and a quarter, and fewer than one; rows as keys and not; heads of each width that a tile has.
ATTENTIONS = {"128x32": (3, 128, 128, 32, True), "80x64": (2, 40, 80, 64, True), "12x16": (2, 12, 12, 16, False),
              "200x48": (1, 70, 200, 48, False), "64x128": (1, 16, 64, 128, True), "96x256": (1, 20, 96, 256, False)}
# Attention that comes quantized: the probabilities are rounded, not powers. By onnxruntime's quantizers, with zero points and without; keys a
# whole block or some, few, and odd numbers; more keys than a thread holds the scores of. What is before attention: integers of q, k and v, and sums of them for zero points.
QUANTIZED = {"qdq-u8": ATTENTIONS["128x32"], "qdq-symmetric": ATTENTIONS["200x48"], "operators-multiplied": ATTENTIONS["80x64"],
             "qdq-i8-channel": (2, 33, 77, 32, True), "qdq-u8-channel": (1, 70, 201, 32, True), "npuc": ATTENTIONS["12x16"]}
DROPPED = {"80x64": (2, 40, 80, 64, True, True), "77x32": (3, 33, 77, 32, False, True)}
# Models that are the same bytes by each process, with any number of threads, and whose kernels' registers are estimated where ptxas was not
# asked. Of each kernel so many more or fewer, the step in which threads get them, or this share of what ptxas says; and of so many kernels: what
# ptxas loads early in a short loop is not known.
AGAIN = ["bert-tiny-cls-ts", "llama-tiny-ts", "vit-tiny-ts"]
REGISTERS_APART, REGISTERS_SHARE, KERNELS = 8, 0.25, 0.95


def again(tools, folder):
    artifact = folder / "model.npa"

    def compiled(*command):
        subprocess.run([*command, "-o", artifact], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
        return artifact.read_bytes()

    def registers(*command):
        compiled(*command)
        launches = json.loads(subprocess.run([tools / "npuc", "inspect", artifact, "--json"], stdout=subprocess.PIPE, check=True).stdout)["launches"]
        return {launch["kernel"]: launch["predicted"]["registers"] for launch in launches}

    for name in AGAIN:
        prepared, inputs = quantized.prepared(name, folder), models.MODELS / name / "inputs_0.npz"
        for precision, options in (("fp16", []), ("int8", ["--precision=int8", f"--calibration={inputs}"])):
            command = [tools / "npuc", "compile", prepared / "model.onnx", *quantized.shapes_of(inputs), f"--target={GPU}", *options]
            made = [compiled(*command, "--ptxas=none", f"--threads={threads}") for threads in (1, 1, 2, 3)]
            yield f"gpu/again/{name}/{precision}", len(set(made)) == 1, f"{len(set(made))} artifacts of {len(made)} compilations"
            told, estimated = (registers(*command, f"--ptxas={assembler}") for assembler in (ptxas.find(), "none"))
            apart = {kernel: (estimated.get(kernel, 0), told[kernel]) for kernel in told
                     if abs(estimated.get(kernel, 0) - told[kernel]) > max(REGISTERS_APART, REGISTERS_SHARE * told[kernel])}
            yield f"gpu/registers/{name}/{precision}", len(apart) <= (1 - KERNELS) * len(told), f"of {len(told)} kernels, estimated and by ptxas: {apart}"

# Products by weights of 4 bits: rows, columns, k. One row and as many as a tile of 16 has, which read each weight once, and 128; columns and k
# that fill tiles up, and not.
MULTIPLIED = {"1": (1, 576, 1536), "5x50": (5, 50, 160), "16": (16, 192, 576), "128": (128, 384, 384)}
# Those that npuc quantizes, of floats or integers of 8 bits by groups of 32 to 128, with and without zero points. Against the interpreter:
# sums of groups are exact, and are added in another order. Floats are of 16 bits, and so are the interpreter's weights.
FOUR_BITS = {"int4-32": 1e-6, "int4-32a": 1e-6, "int4-64": 1e-6, "int4-128a": 1e-6, "int4-32-float": 1e-3, "int4-128a-float": 1e-3}
# Those of a model: block, zero points.
BLOCKS = {"16": (16, False), "32": (32, False), "32-zeros": (32, True), "128-zeros": (128, True)}


def moved_by_four_bits(m, n, k, each, more, element):
    """Bytes that tiles of 16 or 32 rows by 32 columns ask for: weights once for each of their rows, with a scale and `more` bytes for each group
    and column; activations once for each tile's columns; before that they become `element` bytes each; and results."""
    rows = -(-m // (16 if m <= 16 else 32))
    return rows * n * (k / 2 + -(-k // each) * (4 + more)) + n / 32 * m * k * element + m * k * (4 + element) + 4 * (m + 1) * n


def cases(build, scratch):
    tools, folder = pathlib.Path(build) / "bin", pathlib.Path(scratch) / "gpu"
    folder.mkdir()
    model, inputs, expected = (folder / name for name in ("model.onnx", "inputs.npz", "expected.npz"))
    artifact, levels, outputs, interpreted = (folder / name for name in ("model.npa", "levels", "outputs.npz", "interpreted.npz"))

    def commands(*options):
        return [[tools / "npuc", "compile", model, f"--target={GPU}", f"--ptxas={ptxas.find() or 'none'}", *options, f"--dump-dir={levels}", "-o", artifact],
                [tools / "npurun", artifact, f"--inputs={inputs}", f"--outputs={outputs}", "--device=ptx-sim"]]

    def counted():
        """Launches, and the counters."""
        done = subprocess.run([tools / "npurun", artifact, "--timing-only", "--json", "--device=ptx-sim"], stdout=subprocess.PIPE, check=True, timeout=300)
        told = json.loads(done.stdout)
        return len(told["kernels"]), told["counters"]

    def one_kernel():
        """Whether both products of attention are in one launch."""
        launches = json.loads(subprocess.run([tools / "npuc", "inspect", artifact, "--json"], stdout=subprocess.PIPE, check=True).stdout)["launches"]
        multiplying = [launch["nodes"] for launch in launches if launch["predicted"]["tensor_multiply_adds"] > 0]
        return len(multiplying) == 1 and "products" in multiplying[0] and "result" in multiplying[0], f"kernels that multiply: {multiplying}"

    for name, (m, n, k, tile_m, tile_n) in LARGE.items():
        made, arrays = large(m, n, k)
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        np.savez(expected, c=(arrays["a"].astype(np.float32) @ arrays["b"].astype(np.float32)).astype(np.float16))
        yield f"gpu/large/{name}", *models.judge(commands(), outputs, expected, 1e-3)
        launches, counters = counted()
        memory, shared = counters["global"], counters["shared"]
        moved, asked = 32 * memory["sectors"], 2 * (m * n * k * (1 / tile_m + 1 / tile_n) + m * n)
        instructions = counters["instructions"]["all"]["warps"] / (m * n * k / (16 * 8 * 16))
        yield (f"gpu/large/{name}/counters",
               launches == 1 and counters["tensor_share"] == 1 and moved <= 1.05 * asked and memory["sectors"] <= 1.05 * memory["least_sectors"] and
               shared["wavefronts"] == shared["least_wavefronts"] and instructions <= INSTRUCTIONS,
               f"{moved} bytes moved, {asked:.0f} asked for; {memory}, {shared}, {instructions:.2f} instructions for an mma")
    for name, (made, arrays) in products().items():
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        quantized.reference(model, inputs, expected)
        yield f"gpu/product/{name}", *models.judge(commands(), outputs, expected, 0)
        _, counters = counted()
        yield f"gpu/product/{name}/tensor-cores", counters["tensor_share"] == 1, f"{counters['tensor_share']} of the multiply-adds by tensor cores"
    for name, sizes in MULTIPLIED.items():
        made, arrays = multiplied(*sizes)
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        for precision, limit in FOUR_BITS.items():
            case, integers = f"gpu/four-bits/{name}/{precision}", not precision.endswith("float")
            options = [f"--precision={precision}", f"--calibration={inputs}", "--max-loss=1"]
            interpret = [tools / "npuc", "run", model, "--device=interpreter", f"--target={GPU}", *options, f"--inputs={inputs}", f"--outputs={expected}"]
            yield case, *models.judge([interpret, *commands(*options)], outputs, expected, limit)
            launches, counters = counted()
            each, more = int(precision.split("-")[1].rstrip("a")), (4 if integers else 0) + ("a" in precision.split("-")[1])
            moved, asked = 32 * counters["global"]["sectors"], moved_by_four_bits(*sizes, each, more, 1 if integers else 2)
            # Activations are rounded before; where k is filled up to whole groups, that is more than one kernel. Sectors of tiles that are
            # not filled up are not counted here.
            whole = sizes[1] % 32 == 0 and sizes[2] % each == 0
            yield (f"{case}/kernels", launches <= 2 + 2 * (sizes[2] % each > 0) and counters["tensor_share"] == 1 and (moved <= 1.1 * asked or not whole),
                   f"{launches} launches, {counters['tensor_share']} of the multiply-adds by tensor cores, {moved} bytes moved, {asked:.0f} asked for")
            inspect = [tools / "npuc", "inspect", artifact, "--json"]
            yield counts.case(f"{case}/counts", inspect, [tools / "npurun", artifact, "--timing-only", "--json", "--device=ptx-sim"])
            if name == "128":
                yield ptxas.case(f"{case}/ptxas", levels / "6-ptx.txt", GPU, inspect)
        for blocks, (block, zeros) in BLOCKS.items():
            made, arrays = four_bits(*sizes, block, zeros)
            onnx.save(made, model)
            np.savez(inputs, **arrays)
            quantized.reference(model, inputs, expected)
            case = f"gpu/four-bits/{name}/blocks-{blocks}"
            yield case, *models.judge(commands(), outputs, expected, 1e-3)
            launches, counters = counted()
            yield (f"{case}/kernels", launches <= 2 + 2 * (sizes[2] % block > 0) and counters["tensor_share"] == 1,
                   f"{launches} launches, {counters['tensor_share']} of the multiply-adds by tensor cores")
    for name, sizes in ATTENTIONS.items():
        made, arrays = attention(*sizes)
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        quantized.reference(model, inputs, expected)
        options = ["--precision=int8", f"--calibration={inputs}"]
        interpret = [tools / "npuc", "run", model, "--device=interpreter", f"--target={GPU}", *options, f"--inputs={inputs}", f"--outputs={interpreted}"]
        yield f"gpu/attention/{name}/interpreter", *models.judge([interpret], interpreted, expected, quantized.INT8)
        yield f"gpu/attention/{name}", *models.judge(commands(*options), outputs, interpreted, 0)
        yield ptxas.case(f"gpu/attention/{name}/ptxas", levels / "6-ptx.txt", GPU, [tools / "npuc", "inspect", artifact, "--json"])
        launches, counters = counted()
        # Before it one kernel makes integers of each of q, k and v.
        yield f"gpu/attention/{name}/kernels", launches <= 4 and counters["tensor_share"] == 1, f"{launches} launches, {counters['tensor_share']} of the multiply-adds by tensor cores"
    for name, sizes in QUANTIZED.items():
        made, arrays = attention(*sizes)
        onnx.save(made, folder / "float.onnx")
        np.savez(inputs, **arrays)
        if name == "npuc":
            subprocess.run([tools / "npuc", "quantize", folder / "float.onnx", f"--calibration={inputs}", "-o", model], check=True, stdout=subprocess.PIPE)
        else:
            quantized.quantize.quantize(folder / "float.onnx", inputs, model, name)
        quantized.reference(model, inputs, expected)
        yield f"gpu/quantized/{name}", *quantized.within_a_step(commands(), outputs, expected, quantized.steps(model, expected))
        yield f"gpu/quantized/{name}/kernels", *one_kernel()
        yield counts.case(f"gpu/quantized/{name}/counts", [tools / "npuc", "inspect", artifact, "--json"],
                          [tools / "npurun", artifact, "--timing-only", "--json", "--device=ptx-sim"])
        yield ptxas.case(f"gpu/quantized/{name}/ptxas", levels / "6-ptx.txt", GPU, [tools / "npuc", "inspect", artifact, "--json"])
    for name, sizes in DROPPED.items():
        made, arrays = attention(*sizes)
        onnx.save(made, model)
        np.savez(inputs, **arrays)
        quantized.reference(model, inputs, expected)
        yield f"gpu/dropped/{name}", *models.judge(commands(), outputs, expected, models.TARGETS[GPU])
        yield f"gpu/dropped/{name}/kernels", *one_kernel()
    yield from again(tools, folder)
