"""All C++ is as clang-format 22 leaves it with the repository's .clang-format.

usage: check_style.py ROOT [--fix]

Exits 77 (skipped) where clang-format 22 is not installed: other versions format differently.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from sources import files

root = pathlib.Path(sys.argv[1])
fix = "--fix" in sys.argv[2:]


def find_formatter():
    for name in ("clang-format-22", "clang-format"):
        program = shutil.which(name)
        if not program:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        if re.search(r"version 22\.", version):
            return program
    return None


program = find_formatter()
if not program:
    print("skipped: clang-format 22 is not installed (tools/setup installs it)")
    sys.exit(77)

mode = ["-i"] if fix else ["--dry-run", "--Werror"]
sources = files(root, {".h", ".cpp"})


def check(path):
    run = subprocess.run([program, "--style=file", *mode, str(path)], cwd=root, capture_output=True, text=True)
    return path, run


with ThreadPoolExecutor(os.cpu_count()) as pool:
    bad = [(path, run.stderr) for path, run in pool.map(check, sources) if run.returncode]
for path, message in bad:
    print(f"{path}: {message.splitlines()[0] if message else 'not formatted'}")
if bad:
    print(f"{len(bad)} files differ; run: python3 tests/tools/check_style.py . --fix")
print(f"{len(sources)} files checked")
sys.exit(1 if bad or not sources else 0)
