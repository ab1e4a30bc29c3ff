"""Who may include whom: the arrows between the layers, and no others.

usage: check_layers.py ROOT

Prints each include that breaks the rule as file:line and exits 1 if there is one.
"""

import pathlib
import re
import sys

from sources import files

ROOT = pathlib.Path(sys.argv[1])
LLVM = ("mlir/", "llvm/", "mlir-c/", "llvm-c/")

# Folder -> prefixes of what its files may include in quotes or angle brackets of ours and of LLVM's. The longest matching
# folder counts; standard and third-party headers are free unless they are LLVM's.
RULES = {
    "runtime": ("runtime/",),
    "compiler": ("compiler/", "runtime/compiled_kernel.h", *LLVM),
    "compiler/layout": ("compiler/layout/",),
    "compiler/target": ("compiler/target/", "compiler/program.h", "runtime/compiled_kernel.h"),
    "compiler/dialect": (
        "compiler/dialect/",
        "compiler/layout/",
        "compiler/target/",
        "compiler/program",
        "runtime/compiled_kernel.h",
        *LLVM,
    ),
    "compiler/passes": (
        "compiler/passes/",
        "compiler/dialect/",
        "compiler/layout/",
        "compiler/target/",
        "compiler/program",
        "runtime/compiled_kernel.h",
        *LLVM,
    ),
    "dsl": ("dsl/", "compiler/", "runtime/", *LLVM),
    "lib": ("lib/", "dsl/"),
}
OURS = ("compiler/", "runtime/", "dsl/", "lib/", "tools/", "tests/")
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')


def rule_for(path):
    folders = [folder for folder in RULES if path.is_relative_to(folder)]
    return max(folders, key=len) if folders else None


def main():
    broken = 0
    checked = 0
    for path in files(ROOT, {".h", ".cpp", ".inc", ".def"}):
        folder = rule_for(path)
        if folder is None:
            continue
        checked += 1
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            if target.startswith("."):
                print(f"{path}:{number}: includes {target}: headers are named from the repository's root")
                broken += 1
            elif target.startswith(OURS + LLVM) and not target.startswith(RULES[folder]):
                print(f"{path}:{number}: {folder}/ may not include {target}")
                broken += 1
    print(f"{checked} files checked, {broken} includes that break the layers")
    return 1 if broken or not checked else 0


sys.exit(main())
