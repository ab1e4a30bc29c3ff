"""The files of this repository, as the checks in this folder see them."""

import pathlib
import subprocess

FOLDERS = ("compiler", "runtime", "dsl", "lib", "tools", "tests")


def files(root, suffixes):
    """Paths, relative to root, of all files with one of the suffixes; what git ignores is left out where there is git."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True
    )
    if listed.returncode == 0:
        names = sorted(set(listed.stdout.splitlines()))
    else:
        names = sorted(str(path.relative_to(root)) for folder in FOLDERS for path in (root / folder).rglob("*"))
    paths = (pathlib.PurePosixPath(name) for name in names)
    return [path for path in paths if path.parts[0] in FOLDERS and path.suffix in suffixes and (root / path).is_file()]
