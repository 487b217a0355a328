"""Text tests: each file says in RUN lines what to do and in CHECK lines what must come out.

Tools by name: npu-opt, npuc, npurun and whatever else the build has; FileCheck, not. %models is the folder of exported graphs.
"""
import os

import lit.formats

config.name = "npuc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.npuc_lit_build
config.environment["PATH"] = os.pathsep.join([config.npuc_tools, config.llvm_tools, os.environ["PATH"]])
config.substitutions.append(("%models", os.path.join(config.npuc_source, "test", "models")))
config.excludes = ["Inputs"]
if not config.npuc_compiler:  # Without the compiler no tool reads MLIR.
    config.suffixes = [".test"]
