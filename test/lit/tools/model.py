#!/usr/bin/env python3
"""Write the ONNX model that stands as text (onnx.parser) in TEST, behind a line MODEL, to OUT.

Usage: model.py TEST OUT
"""
import sys

import onnx.parser

text = open(sys.argv[1]).read().split("\nMODEL\n", 1)[1]
onnx.save(onnx.parser.parse_model(text), sys.argv[2])
