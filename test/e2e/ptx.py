"""Kernels of test/ptx, as nvcc and Triton compiled them, run by npurun ptx, against numpy."""
import pathlib
import subprocess

import numpy as np

KERNELS = pathlib.Path(__file__).resolve().parent.parent / "ptx"
ROWS, COLUMNS, M, N, K = 5, 300, 128, 192, 96


def numbers(seed, *shape, dtype=np.float32):
    return (np.random.default_rng(seed).integers(-32, 33, shape) / 16).astype(dtype)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, scale, shift):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


X, SCALE, SHIFT = numbers(1, ROWS, COLUMNS), numbers(2, COLUMNS), numbers(3, COLUMNS)
A, B, BYTES = numbers(4, M, K, dtype=np.float16), numbers(5, K, N, dtype=np.float16), np.random.default_rng(6).integers(0, 256, 5000).astype(np.uint8)
NORMED, PRODUCT = layer_norm(X.astype(np.float64), SCALE, SHIFT), A.astype(np.float64) @ B.astype(np.float64)
UNUSED = ["0:u64", "0:u64"]  # of Triton's kernels

# file, kernel, grid, block, bytes of shared memory, arguments, the file that is written, what it holds, and how far off it may be:
# sums of fp32 in another order, and at the end of Triton's product half an ulp of fp16 below 128.
CASES = [
    ("nvcc_kernels", "vector_add", "2", "256", 0, [SCALE, SHIFT, "f32[300]", "300:i32"], "vector_add_param_2", SCALE + SHIFT, 0),
    ("nvcc_kernels", "softmax", "5", "64", 0, [X, "f32[5x300]", "300:i32"], "softmax_param_1", softmax(X.astype(np.float64)), 2e-8),
    ("nvcc_kernels", "layer_norm", "5", "32", 0, [X, SCALE, SHIFT, "f32[5x300]", "300:i32", "1e-5:f32"], "layer_norm_param_3", NORMED, 4e-6),
    ("nvcc_kernels", "matmul", "3,2", "128", 0, [A, np.ascontiguousarray(B.T), "f32[128x192]", "128:i32", "192:i32", "96:i32"], "matmul_param_2", PRODUCT, 0),
    ("nvcc_kernels", "histogram", "3", "128", 0, [BYTES, np.zeros(256, np.uint32), "5000:i32"], "a1", np.bincount(BYTES, minlength=256), 0),
    ("triton_vector_add", "vector_add", "2", "64", 0, [SCALE, SHIFT, "f32[300]", "300:i32", *UNUSED], "vector_add_param_2", SCALE + SHIFT, 0),
    ("triton_softmax", "softmax", "5", "128", 16, [X, "f32[5x300]", "300:i32", *UNUSED], "softmax_param_1", softmax(X.astype(np.float64)), 2e-8),
    ("triton_layer_norm", "layer_norm", "5", "128", 2048, [X, SCALE, SHIFT, "f32[5x300]", "300:i32", "1e-5:f32", *UNUSED], "layer_norm_param_3", NORMED, 2e-6),
    ("triton_matmul", "matmul", "2,3", "128", 16384, [A, B, "f16[128x192]", "128:i32", "192:i32", "96:i32", *UNUSED], "matmul_param_2", PRODUCT, 0.03125),
]


def cases(build, scratch):
    folder = pathlib.Path(scratch) / "ptx"
    for file, kernel, grid, block, shared, arguments, written, expected, limit in CASES:
        outputs = folder / f"{file}-{kernel}"
        outputs.mkdir(parents=True)
        command = [pathlib.Path(build) / "bin" / "npurun", "ptx", KERNELS / f"{file}.ptx", f"--kernel={kernel}", f"--grid={grid}", f"--block={block}",
                   f"--shared={shared}", f"--outputs={outputs}"]
        for index, argument in enumerate(arguments):
            if isinstance(argument, np.ndarray):
                np.save(folder / f"a{index}.npy", argument)
                argument = f"@{folder / f'a{index}.npy'}"
            command.append(f"--arg={argument}")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        error = np.inf
        if done.returncode == 0:
            error = np.abs(np.load(outputs / f"{written}.npy").astype(np.float64) - expected).max()
        yield f"ptx/{file}/{kernel}", error <= limit, f"off by {error}, {limit} is allowed\n{done.stdout}"
