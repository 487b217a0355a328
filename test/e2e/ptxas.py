"""PTX of models through ptxas, NVIDIA's assembler: it takes all kernels, what multiplies keeps its sums in registers, and the artifact has
what ptxas says.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# Kernels for a GPU run on newer ones, for which the driver compiles their PTX.
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100"]
# Bytes stored to and loaded from memory for want of registers. For sm_90 and sm_100 ptxas spills one word in kernels that take 72 of the 255
# registers: none of the sums, of which each thread has 16 at least.
GREATEST_SPILL = 4


def find():
    """That of the environment of oracles; or of an installed toolkit."""
    for site in sys.path:
        own = pathlib.Path(site) / "nvidia" / "cu13" / "bin" / "ptxas"
        if own.exists():
            return own
    return shutil.which("ptxas")


def multiplying(ptx):
    """The kernels that have instructions of tensor cores: contractions and attention."""
    bodies = re.split(r"\.visible \.entry (\w+)\(", ptx)
    return {name for name, body in zip(bodies[1::2], bodies[2::2]) if "mma.sync" in body}


def told(text):
    """Registers, spilled bytes and static shared memory by kernel."""
    parts = re.split(r"Compiling entry function '(\w+)'", text)
    number = lambda pattern, part: int((re.findall(pattern, part) or [0])[0])
    return {name: (number(r"Used (\d+) registers", part), number(r"(\d+) bytes spill stores", part) + number(r"(\d+) bytes spill loads", part),
                   number(r"(\d+) bytes smem", part)) for name, part in zip(parts[1::2], parts[2::2])}


def assemble(ptxas, file, architecture, artifact=None):
    """Why the file is not as it should be, or nothing. `artifact`: the command that tells what is in that of the architecture."""
    done = subprocess.run([ptxas, "-v", f"-arch={architecture}", file, "-o", "/dev/null"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode != 0:
        return done.stdout[-2000:]
    if artifact:
        kernels = json.loads(subprocess.run(artifact, stdout=subprocess.PIPE, check=True).stdout)["kernels"]
        held = {k["kernel"]: (k["registers"], k["spilled_bytes"], k["static_shared_bytes"]) for k in kernels}
        if held != told(done.stdout):
            return f"the artifact holds {held}, ptxas says {told(done.stdout)}"
    wanted = multiplying(file.read_text())
    said = re.findall(r"Function properties for (\w+)\s+\d+ bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", done.stdout)
    spilling = [name for name, stores, loads in said if name in wanted and max(int(stores), int(loads)) > GREATEST_SPILL]
    unknown = wanted - {name for name, _, _ in said}
    return "\n".join([f"{name} spills registers" for name in spilling] + [f"ptxas says nothing of {name}" for name in sorted(unknown)])


def case(name, file, target, inspect):
    """The PTX of a program for `target`, by its architecture and newer ones. `inspect`: the command that tells what is in its artifact."""
    ptxas = find()
    if not ptxas:
        return name, False, "there is no ptxas: ./dev setup installs one"
    architectures = ARCHITECTURES[ARCHITECTURES.index(target.removeprefix("cuda:")):]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda architecture: assemble(ptxas, file, architecture, inspect if architecture == architectures[0] else None), architectures)
        faults = [f"{architecture}: {why}" for architecture, why in zip(architectures, found) if why]
    return name, not faults, "\n".join(faults)
