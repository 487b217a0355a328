"""One case on one target: compiled, simulated with numbers and for its time alone, and compared."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import numpy as np


class Process:
    """A finished command: its status and text, seconds by the clock and of processors, and the most anonymous memory (not of files) it
    had, in MiB."""

    def __init__(self, command, limit=900):
        start = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err)
            self.anonymous = 0.0
            watch = threading.Thread(target=self._watch, args=(child.pid,), daemon=True)
            watch.start()
            timer = threading.Timer(limit, child.kill)
            timer.start()
            # Not Popen.wait: the processor time of this child alone is asked for.
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            late = not timer.is_alive()
            timer.cancel()
            self.seconds, self.processor = time.monotonic() - start, usage.ru_utime + usage.ru_stime
            watch.join()
            self.status, self.out, self.err = child.returncode, read(out), read(err)
            if late:
                self.err += f"error: took more than {limit} s\n"

    def _watch(self, pid):
        # A sample each 5 ms: a peak shorter than that may be missed.
        while True:
            try:
                with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                    found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
            except OSError:
                return
            if not found:  # A process that has ended has no memory.
                return
            self.anonymous = max(self.anonymous, int(found[1]) / 1024)
            time.sleep(0.005)


def read(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def reason(process):
    """Why a command failed: its first error, and how many more there are."""
    errors = [line.strip() for line in process.err.splitlines() if "error" in line]
    if not errors:
        lines = [line.strip() for line in process.err.splitlines() if line.strip()]
        return lines[0] if lines else f"exit status {process.status}"
    first = re.sub(r"^(error: )+", "", errors[0])
    return first + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def compare(case, outputs):
    """Relative error max |y - r| / max |r| and least cosine, each the worst of the outputs; of a sentence encoder, the cosines of
    its embeddings."""
    got, want, result = np.load(outputs), np.load(case.expected), {}
    errors, cosines = [], []
    for name in want:
        y, r = got[name].astype(np.float64), want[name].astype(np.float64)
        if r.size == 0:
            continue
        errors.append(np.abs(y - r).max() / max(np.abs(r).max(), 1e-30))
        cosines.append((y * r).sum() / max(np.sqrt((y * y).sum() * (r * r).sum()), 1e-30))
    result["relative_error"], result["cosine"] = float(max(errors)), float(min(cosines))
    if case.embeds:
        mask = np.load(case.inputs)["attention_mask"][..., None]
        each = [unit((data["last_hidden_state"].astype(np.float64) * mask).sum(axis=1)) for data in (got, want)]
        sentences = (each[0] * each[1]).sum(axis=1)
        result["sentence_cosines"] = {"least": float(sentences.min()), "mean": float(sentences.mean())}
    return result


def measure(case, target, precision, tools):
    """A row of the matrix; one with "hole" says why there is nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        return measureIn(pathlib.Path(scratch), case, target, precision, tools)


def measureIn(scratch, case, target, precision, tools):
    row = {"model": case.name, "target": target, "precision": precision}
    artifact, outputs = scratch / "model.npa", scratch / "outputs.npz"
    compile_ = [tools / "npuc", "compile", case.graph, f"--target={target}", f"--precision={precision}", "-o", artifact]
    compile_ += [f"--shape={name}={shape}" for name, shape in case.shapes.items()]
    if precision == "int8":
        compile_.append(f"--calibration={case.calibration}")
    done = Process(compile_)
    if done.status != 0:
        return row | {"hole": reason(done)}
    row |= {"compile_seconds": done.seconds, "compile_processor_seconds": done.processor, "compile_anonymous_mib": done.anonymous}
    run = [tools / "npurun", artifact, f"--inputs={case.inputs}", f"--outputs={outputs}", "--json"]
    done = Process(run)
    if done.status != 0:
        return row | {"hole": "simulation: " + reason(done)}
    row |= {"run_seconds": done.seconds, "run_processor_seconds": done.processor}
    report = json.loads(done.out)
    alone = Process([tools / "npurun", artifact, "--timing-only", "--json"])
    row |= {"timing_seconds": alone.seconds}
    for key in ("simulated_cycles", "simulated_ms", "lower_bound_cycles", "efficiency", "bounds", "dram_bytes", "int8_share",
                "energy_joules", "peak_scratchpad_bytes", "assumed"):
        row[key] = report[key]
    # Bytes moved over those that no program can do without.
    row["dram_ratio"] = report["dram_bytes"]["bandwidth_share"] * report["simulated_cycles"] / report["bounds"]["dram_cycles"]
    return row | compare(case, outputs)
