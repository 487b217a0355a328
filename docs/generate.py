#!/usr/bin/env python3
"""Write the references that are generated, from a build's tools and the sources, or check that they are current.

Usage: generate.py BIN [--check]     (BIN: build/PRESET/bin; mlir-tblgen must be on the PATH or in $NPUC_LLVM/bin)

    operators.md            npuc ops --markdown
    command-line.md         --help of every tool and subcommand
    target-description.md   npuc targets --schema: the fields of a target's description
    dialect-nn.md, …        mlir-tblgen of the dialects
    passes.md               mlir-tblgen of every Passes.td

With --check nothing is written: each file that differs is named with its first difference, and the exit status is 1.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LLVM = pathlib.Path(os.environ.get("NPUC_LLVM", "/usr/lib/llvm-22"))
HEAD = "<!-- Written by docs/generate.py; `./dev docs` writes it anew. -->\n"


def output(*command):
    # Help is wrapped to the terminal's width otherwise.
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "120"}).stdout


def tblgen(generator, source, *arguments):
    return output(LLVM / "bin" / "mlir-tblgen", generator, f"-I{ROOT}", f"-I{LLVM / 'include'}", ROOT / source, *arguments)


def command_line(tools):
    text = HEAD + "# Command line\n\nExit codes: 0 done, 1 the user's mistake, 2 wrong usage, 70 a bug of ours.\n"
    for tool in ("npuc", "npurun"):
        help = output(tools / tool, "--help")
        text += f"\n## {tool}\n\n```\n{help.strip()}\n```\n"
        listed = help.split("Subcommands:", 1)[1] if "Subcommands:" in help else ""
        for name in re.findall(r"^  (\S+)", listed, re.M):
            text += f"\n### {tool} {name}\n\n```\n{output(tools / tool, name, '--help').strip()}\n```\n"
    return text


def dialect(name, source):
    return HEAD + tblgen("-gen-dialect-doc", source, f"-dialect={name}")


def passes():
    text = HEAD + "# Passes\n"
    for source in sorted(ROOT.glob("**/Passes.td")):
        folder = source.relative_to(ROOT).parent
        if folder.parts[0] != "build":
            text += f"\n## {folder}\n\n" + tblgen("-gen-pass-doc", source.relative_to(ROOT)).replace("\n### ", "\n#### ").replace("\n## ", "\n### ")
    return text


def references(tools):
    yield "operators.md", output(tools / "npuc", "ops", "--markdown")
    yield "command-line.md", command_line(tools)
    yield "target-description.md", HEAD + "# Fields of a target's description\n\n" + output(tools / "npuc", "targets", "--schema")
    yield "dialect-nn.md", dialect("nn", "dialects/nn/IR/NNOps.td")
    yield "dialect-npu.md", dialect("npu", "dialects/npu/IR/NpuOps.td")
    yield "passes.md", passes()


def difference(old, new):
    old, new = old.splitlines(), new.splitlines()
    for number, (a, b) in enumerate(zip(old, new), 1):
        if a != b:
            return f"line {number} is\n  {a}\nand should be\n  {b}"
    return f"it has {len(old)} lines and should have {len(new)}"


def main():
    tools, check = pathlib.Path(sys.argv[1]).resolve(), "--check" in sys.argv
    stale = 0
    for name, text in references(tools):
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        file = ROOT / "docs" / name
        old = file.read_text() if file.exists() else ""
        if old == text:
            continue
        stale += 1
        if check:
            print(f"docs/{name} is not current (./dev docs writes it): {difference(old, text)}")
        else:
            file.write_text(text)
            print(f"docs/{name}")
    return check and stale > 0


if __name__ == "__main__":
    sys.exit(main())
