#!/usr/bin/env python3
"""Write the PTX of kernels.cu, calls.cu and kernels.py for sm_80 beside this file. The tests run what is committed, so only who changes a
kernel needs what this needs: nvcc of CUDA 12 or later on the PATH, and the packages triton and torch (no GPU).

Usage: generate.py
"""
import pathlib
import re
import subprocess

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import kernels

FOLDER = pathlib.Path(__file__).resolve().parent
FP32, FP16, INT = "*fp32", "*fp16", "i32"
# name: types of the arguments in order, constants, options. Multiples of 16 are known to be so (divisibility): the names in `aligned`.
TRITON = {
    "vector_add": (dict(a=FP32, b=FP32, c=FP32, n=INT), dict(BLOCK=256), dict(num_warps=2)),
    "softmax": (dict(x=FP32, y=FP32, columns=INT), dict(BLOCK=512), dict(num_warps=4)),
    "layer_norm": (dict(x=FP32, scale=FP32, shift=FP32, y=FP32, columns=INT, epsilon="fp32"), dict(BLOCK=512), dict(num_warps=4)),
    "matmul": (dict(a=FP16, b=FP16, c=FP16, m=INT, n=INT, k=INT), dict(BM=64, BN=64, BK=32), dict(num_warps=4, num_stages=3)),
}


def without_debug(ptx):
    """Without sections, files and locations of debug information, which name this machine's folders."""
    ptx = re.sub(r"\t\.section\t\.debug.*?\n\t}\n", "", ptx, flags=re.S)
    lines = [line for line in ptx.split("\n") if not re.match(r"\s*(\.loc|\.file|\.section|//.*(\.py|\.cu))\b", line)]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def main():
    for name, (signature, constants, options) in TRITON.items():
        function = getattr(kernels, name)
        attributes = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t.startswith("*") or name == "matmul"}
        source = ASTSource(function, {**signature, **{c: "constexpr" for c in constants}}, constants, attributes)
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        head = f"// {name} of kernels.py: {options['num_warps']} warps, {compiled.metadata.shared} bytes of shared memory.\n"
        (FOLDER / f"triton_{name}.ptx").write_text(head + without_debug(compiled.asm["ptx"]))
    for source in ("kernels", "calls"):
        path = FOLDER / f"nvcc_{source}.ptx"
        subprocess.run(["nvcc", "-ptx", "-arch=sm_80", "-O3", FOLDER / f"{source}.cu", "-o", path], check=True)
        path.write_text(f"// {source}.cu\n" + without_debug(path.read_text()))


if __name__ == "__main__":
    main()
