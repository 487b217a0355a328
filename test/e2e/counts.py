"""What the compiler counts of a GPU's kernels, for the time that it predicts, against the PTX simulator's counters."""
import json
import subprocess

# Of a program, the compiler's figure over the simulator's. Sectors that lanes read at indices from memory it does not know; PTX has some
# instructions more and fewer than LLVM has.
GREATEST_APART = {"bytes of global memory": 0.1, "instructions": 0.25}


def read(command):
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout)


def case(name, inspect, simulate):
    """`inspect` tells what is in the artifact, `simulate` what its kernels did, both as JSON. Multiply-adds of tensor cores, with what fills
    up tiles, are equal for each launch."""
    launches, kernels = read(inspect)["launches"], read(simulate)["kernels"]
    faults, sums = [], {what: [0, 0] for what in GREATEST_APART}
    for launch, kernel in zip(launches, kernels, strict=True):
        counted, counters = launch["predicted"], kernel["counters"]
        multiplied = round(counters["multiply_adds"] * counters["tensor_share"])
        if counted["tensor_multiply_adds"] != multiplied:
            faults.append(f"{launch['kernel']}: {counted['tensor_multiply_adds']} multiply-adds of tensor cores, on ptx-sim {multiplied}")
        for what, pair in (("bytes of global memory", (counted["l2_bytes"], 32 * counters["global"]["sectors"])),
                           ("instructions", (counted["instructions"], counters["instructions"]["all"]["warps"]))):
            sums[what] = [a + b for a, b in zip(sums[what], pair)]
    for what, (counted, happened) in sums.items():
        if abs(counted / happened - 1) > GREATEST_APART[what]:
            faults.append(f"{counted} {what}, on ptx-sim {happened}")
    return name, not faults, "\n".join(faults)
