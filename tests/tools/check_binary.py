"""A program is small enough and needs no other shared libraries than it may.

usage: check_binary.py PROGRAM --most-bytes N --needs libc libm ...

The size is that after `strip`; a program built with a sanitizer is not weighed.
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
parser.add_argument("--needs", nargs="*", default=[], help="names of libraries without .so")
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    stripped = os.path.join(folder, "stripped")
    subprocess.run(["strip", "-o", stripped, arguments.program], check=True)
    size = os.path.getsize(stripped)

dynamic = subprocess.run(["readelf", "-d", arguments.program], check=True, capture_output=True, text=True).stdout
needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
sanitized = any(re.match(r"lib(a|ub)san\.so", library) for library in needed)
allowed = {*arguments.needs, "ld-linux-x86-64"} | ({"libasan", "libubsan"} if sanitized else set())
foreign = [library for library in needed if library.split(".so")[0] not in allowed]
too_large = size > arguments.most_bytes and not sanitized

print(f"{os.path.basename(arguments.program)}: {size} bytes stripped, most {arguments.most_bytes}; needs {', '.join(needed)}")
if foreign:
    print(f"it must not need {', '.join(foreign)}")
if too_large:
    print("it is larger than it may be")
sys.exit(bool(foreign) or too_large)
