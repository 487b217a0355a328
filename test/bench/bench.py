#!/usr/bin/env python3
"""Measures the matrix model × target × precision, and prints what it takes to compile and to simulate, how near the numbers are to
onnxruntime's, and the simulated time with its efficiency. A hole in the matrix says its reason, in the compiler's words.

Usage: ./dev bench [--models=FOLDER]… [--target=NAME]… [--precision=TYPE]… [--jobs=N] [--json=FILE] [--with=FILE] [--docs] [FILTER]

Measured are the models of test/models, at the largest of their recorded sizes; those of each FOLDER; and those of the folder `models` in the
cache (${XDG_CACHE_HOME:-~/.cache}/npuc/bench), which is where large models stay. A subfolder NAME has model.onnx with its weights
or a weights.json to make them from, and inputs_K.npz: one row of the matrix for each K. FILTER keeps the models whose name contains it.
--jobs measures N rows at a time: the seconds that it prints are then those of a busy machine. --with takes what another run wrote with --json for
rows that this one does not measure, so that a long matrix can be measured in parts. --docs writes docs/models.md.
"""
import argparse
import concurrent.futures
import json
import pathlib
import sys

import cases
import measure
import report

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PRECISIONS = ["fp16", "bf16", "int8"]


def simulatorSpeed(build):
    """What the micro-benchmarks count a second, by name; nothing if they are not built."""
    program = build / "tests" / "bench" / "npuc_bench"
    if not program.exists():
        return {}
    done = measure.Process([program, "--benchmark_format=json", "--benchmark_min_time=0.2"])
    if done.status != 0:
        sys.exit(f"{program} failed: {measure.reason(done)}")
    speeds = {}
    for entry in json.loads(done.out)["benchmarks"]:
        for counter in ("simulated cycles", "multiply-adds"):
            if counter in entry:
                speeds[entry["name"]] = (entry[counter], counter + " a second")
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="keeps prepared models and onnxruntime's outputs")
    parser.add_argument("--models", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--target", action="append")
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--with", dest="earlier", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--docs", nargs="?", type=pathlib.Path, const=ROOT / "docs" / "models.md")
    parser.add_argument("filter", nargs="?", default="")
    args = parser.parse_args()
    build = args.build.resolve()
    kept = args.cache / "models"
    found = cases.cases(args.models + ([kept] if kept.is_dir() else []), args.cache, args.filter)
    wanted = [(case, target, precision) for case in found for target in args.target or cases.TARGETS
              for precision in args.precision or PRECISIONS]

    def row(place):
        measured = measure.measure(*place, build / "bin")
        done = measured.get("hole") or f"{measured['simulated_ms']:.4f} ms"
        print(f"{measured['model']} {measured['target']} {measured['precision']}: {done}", file=sys.stderr, flush=True)
        return measured

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as workers:
        rows = list(workers.map(row, wanted))
    if not rows:
        sys.exit("no model was measured")
    assumed, speed = report.assumedFields(rows), simulatorSpeed(build)
    for file in args.earlier:
        known = {(row["model"], row["target"], row["precision"]) for row in rows}
        earlier = json.loads(file.read_text())
        rows += [row for row in earlier["rows"] if (row["model"], row["target"], row["precision"]) not in known]
        assumed = earlier["assumed"] | assumed
    place = {target: at for at, target in enumerate(cases.TARGETS)}
    rows.sort(key=lambda row: (row["model"], place.get(row["target"], len(place)), PRECISIONS.index(row["precision"])))
    assumed = dict(sorted(assumed.items()))
    print(report.text(rows, assumed, speed), end="")
    if args.json:
        args.json.write_text(json.dumps({"schema_version": 1, "rows": rows, "assumed": assumed, "simulator": speed}, indent=1) + "\n")
    if args.docs:
        args.docs.write_text(report.page(rows, assumed))
    # A row that did not run is a bug, unlike one that does not compile.
    return 1 if any(row.get("hole", "").startswith("simulation: ") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
