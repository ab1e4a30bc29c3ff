"""The runtime, all of it in one stripped program, is small and links nothing but the C and C++ libraries.

usage: check_runtime_size.py PROGRAM --most-bytes N
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--most-bytes", type=int, required=True)
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    stripped = os.path.join(folder, "stripped")
    subprocess.run(["strip", "-o", stripped, arguments.program], check=True)
    size = os.path.getsize(stripped)

dynamic = subprocess.run(["readelf", "-d", arguments.program], check=True, capture_output=True, text=True).stdout
needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
allowed = re.compile(r"(libc|libm|libstdc\+\+|libgcc_s|ld-linux-x86-64|libasan|libubsan)\.so")
foreign = [library for library in needed if not allowed.match(library)]

print(f"{size} bytes stripped, most {arguments.most_bytes}; needs {', '.join(needed)}")
if foreign:
    print(f"the runtime must not need {', '.join(foreign)}")
sanitized = any("san.so" in library for library in needed)
if size > arguments.most_bytes and not sanitized:
    print("the runtime is larger than it may be")
    sys.exit(1)
sys.exit(bool(foreign))
