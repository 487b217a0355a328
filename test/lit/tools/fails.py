#!/usr/bin/env python3
"""Run a command that must fail by exit code 1, as a user's mistake does, and leave no file; print what it says.

Usage: fails.py [--status=N] [--no-file=PATH]… COMMAND…
"""
import os
import re
import subprocess
import sys

status, absent, command = 1, [], sys.argv[1:]
while command[0].startswith("--"):
    option, value = command.pop(0).split("=", 1)
    if option == "--status":
        status = int(value)
    else:
        absent.append(value)
for path in absent:  # From an earlier run of the test.
    if os.path.isfile(path):
        os.remove(path)
done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120)
print(done.stdout, end="")
if done.returncode != status:
    sys.exit(f"exit status {done.returncode}, not {status}")
for path in absent:
    if os.path.exists(path):
        sys.exit(f"{path} was left behind")
if re.search(r"PLEASE submit a bug|Stack dump|#0 0x|terminate called|Assertion", done.stdout):
    sys.exit("it died")
