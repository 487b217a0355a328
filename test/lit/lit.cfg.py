"""Text tests: each file says in RUN lines what to do and in CHECK lines what must come out.

Tools by name: npu-opt, npuc, npurun and whatever else the build has; FileCheck, not. %models is the folder of exported graphs.
The scripts of tools/ by name: %model, %arrays, %fails, %interrupt; %python; %generate-docs is docs/generate.py.
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
config.substitutions.append(("%examples", os.path.join(config.npuc_source, "examples")))
config.substitutions.append(("%build", os.path.dirname(config.npuc_tools)))
config.substitutions.append(("%cxx", config.npuc_cxx))
config.substitutions.append(("%sanitize", f"-fsanitize={config.npuc_sanitize}" if config.npuc_sanitize else "''"))
cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
python = os.path.join(cache, "npuc", "venv", "bin", "python")  # made by ./dev setup
for script in ("model", "arrays", "fails", "interrupt"):
    substitution = f"{python} {os.path.join(config.test_source_root, 'tools', script + '.py')}"
    config.substitutions.append((f"%{script}\\b", substitution))
config.substitutions.append((r"%python\b", python))
config.substitutions.append((r"%generate-docs\b", f"{python} {os.path.join(config.npuc_source, 'docs', 'generate.py')} {config.npuc_tools}"))
config.environment["NPUC_LLVM"] = os.path.dirname(config.llvm_tools)
config.excludes = ["Inputs", "tools"]
if not config.npuc_compiler:  # Then no tool reads MLIR, and there is no npuc.
    config.suffixes = [".test"]
    config.excludes.append("npuc")
