#!/usr/bin/env python3
"""End a command at random moments, and check that it leaves its output whole or not at all, and nothing else.

Usage: interrupt.py FOLDER OUTPUT COMMAND…   (OUTPUT is the only file that the command may leave in FOLDER)

The whole output is that of a run that nothing ends.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

folder, output, command = sys.argv[1], sys.argv[2], sys.argv[3:]


def fresh():
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


fresh()
start = time.monotonic()
subprocess.run(command, check=True)
takes = time.monotonic() - start
whole = open(output, "rb").read()
if os.listdir(folder) != [os.path.basename(output)]:
    sys.exit(f"it leaves {os.listdir(folder)}")
random.seed(7)
ended = 0
for number in range(24):
    fresh()
    # Every third time there is an older file, which must stay or be replaced by the whole new one.
    older = b"older" if number % 3 == 0 else None
    if older:
        with open(output, "wb") as file:
            file.write(older)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0, 1.1 * takes))
    process.send_signal((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[number % 3 if number < 12 else 2])
    ended += process.wait(60) < 0
    left = os.listdir(folder)
    if left not in ([], [os.path.basename(output)]):
        sys.exit(f"run {number}: it leaves {left}")
    content = open(output, "rb").read() if left else None
    if content not in (whole, older):
        sys.exit(f"run {number}: the output is neither whole nor what was there before")
if not ended:
    sys.exit("no run was ended early: the test shows nothing")
print(f"{ended} of 24 runs were ended early")
