#!/usr/bin/env python3
"""Run every test layer against a build and end with one line "N passed, N failed".

Usage: run.py --build build/release [--sanitized build/asan-quick]... [--layer unit] [FILTER]

A layer is a function that yields (name, passed, detail). FILTER keeps the tests whose name contains it. A runner that dies
or reports no test is itself a failure. Exit status: 0 if nothing failed and something passed.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LLVM = os.environ.get("NPUC_LLVM", "/usr/lib/llvm-22")
SYMBOLIZER = f"external_symbolizer_path={LLVM}/bin/llvm-symbolizer"
# For builds with sanitizers. LLVM's libraries are not instrumented: what its inline allocators poison in our code, they read.
SANITIZERS = {
    "ASAN_OPTIONS": f"detect_leaks=1:detect_stack_use_after_return=1:allow_user_poisoning=0:{SYMBOLIZER}",
    "UBSAN_OPTIONS": f"print_stacktrace=1:{SYMBOLIZER}",
    "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:{SYMBOLIZER}",
}


def junit(layer, command, report):
    """Run COMMAND, which writes a JUnit file REPORT, and yield what it says."""
    if os.path.exists(report):
        os.remove(report)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        cases = list(xml.parse(report).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        cases = []
    failures = 0
    for case in cases:
        if case.find("skipped") is not None:
            continue
        bad = [e for kind in ("failure", "error") for e in case.findall(kind)]
        failures += bool(bad)
        name = f"{layer}/{case.get('classname', '')}/{case.get('name', '')}"
        yield name, not bad, "\n".join(filter(None, ((e.get("message") or "") + "\n" + (e.text or "") for e in bad)))
    if not cases or (done.returncode != 0 and not failures):
        yield f"{layer}/{os.path.basename(command[0])}", False, f"exit status {done.returncode}\n{done.stdout[-4000:]}"


def unit(build, scratch):
    folder = os.path.join(build, "tests", "unit")
    for name in sorted(os.listdir(folder)):
        report = os.path.join(scratch, name + ".xml")
        yield from junit("unit", [os.path.join(folder, name), "-r", "junit", "-o", report], report)


def sanitized(build, scratch):
    """The unit tests of a build with sanitizers, but those of speed and the hidden ones: what sanitizers find ends a test."""
    layer, folder = os.path.basename(build), os.path.join(build, "tests", "unit")

    def run(name):
        report = os.path.join(scratch, f"{layer}-{name}.xml")
        command = [os.path.join(folder, name), "~[speed]~[.]", "-r", "junit", "-o", report]
        return list(junit(layer, command, report))

    with ThreadPoolExecutor(2) as pool:
        for cases in pool.map(run, sorted(os.listdir(folder))):
            yield from cases


def conformance(build, scratch):
    """ONNX's operator tests on the interpreter, and compiled for a target with fp16, one with bf16, and a GPU."""
    program = os.path.join(build, "tests", "conformance", "npuc_conformance")
    for device in ("interpreter", "atom", "rngd", "cuda:sm_80") if os.path.exists(program) else ():
        report = os.path.join(scratch, f"conformance-{device.replace(':', '-')}.xml")
        target = [] if device == "interpreter" else [f"--target={device}"]
        yield from junit(f"conformance/{device}", [program, "--junit", report] + target, report)


def lit(build, scratch):
    """The text tests of test/lit, whose configuration CMake wrote into the build."""
    report = os.path.join(scratch, "lit.xml")
    runner = os.path.join(LLVM, "bin", "lit")
    yield from junit("lit", [runner, "-q", "-j2", "--xunit-xml-output", report, os.path.join(build, "test", "lit")], report)


def e2e(build, scratch):
    sys.path.insert(0, os.path.join(ROOT, "test", "e2e"))
    import contributed
    import faults
    import gpu
    import models
    import operators
    import ptx
    import quantized

    for cases in (contributed.cases, models.cases, operators.cases, ptx.cases, quantized.cases, gpu.cases, faults.cases):
        for name, ok, detail in cases(build, scratch):
            yield f"e2e/{name}", ok, detail


LAYERS = {"unit": unit, "lit": lit, "conformance": conformance, "e2e": e2e}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitized", action="append", default=[], help="a build with sanitizers, to run unit tests of")
    parser.add_argument("--layer", choices=LAYERS, action="append")
    parser.add_argument("filter", nargs="?", default="")
    args = parser.parse_args()
    os.environ.update(SANITIZERS)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        runs = [(layer, LAYERS[layer], args.build) for layer in args.layer or LAYERS]
        runs += [(os.path.basename(build), sanitized, build) for build in args.sanitized]
        for layer, run, build in runs:
            before = passed, failed
            for name, ok, detail in run(os.path.abspath(build), scratch):
                if args.filter not in name:
                    continue
                passed, failed = passed + ok, failed + (not ok)
                if not ok:
                    print(f"FAILED {name}\n{detail}", flush=True)
            print(f"{layer}: {passed - before[0]} passed, {failed - before[1]} failed", file=sys.stderr, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
