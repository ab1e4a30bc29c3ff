"""No source is longer than can be held in the head.

usage: check_sizes.py ROOT [--most-lines N]
"""

import argparse
import pathlib
import sys

from sources import files

parser = argparse.ArgumentParser()
parser.add_argument("root", type=pathlib.Path)
parser.add_argument("--most-lines", type=int, default=1200)
arguments = parser.parse_args()

lines = {}
for path in files(arguments.root, {".h", ".cpp", ".td", ".py", ".cmake", ".def", ".txt"}):
    lines[path] = len((arguments.root / path).read_text().splitlines())
too_long = [path for path, count in lines.items() if count > arguments.most_lines]
for path in too_long:
    print(f"{path}: {lines[path]} lines, most {arguments.most_lines}: split it at a seam")
print(f"{len(lines)} files checked, the longest has {max(lines.values(), default=0)} lines")
sys.exit(1 if too_long or not lines else 0)
