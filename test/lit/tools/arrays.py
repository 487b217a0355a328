#!/usr/bin/env python3
"""Write a .npz of arrays, each filled with one value.

Usage: arrays.py OUT.npz NAME=TYPE:1x16:VALUE… NAME[5]=VALUE…   (the second form sets one element, counted in row-major order)
"""
import re
import sys

import numpy as np

arrays = {}
for argument in sys.argv[2:]:
    name, value = argument.split("=", 1)
    element = re.fullmatch(r"(.*)\[(\d+)\]", name)
    if element and ":" not in value:
        arrays[element[1]].reshape(-1)[int(element[2])] = float(value)
        continue
    dtype, shape, fill = value.split(":")
    arrays[name] = np.full([int(size) for size in shape.split("x")], float(fill), dtype)
np.savez(sys.argv[1], **arrays)
