#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The layout of src/README.md holds: no include points upwards, no two files share a name, and
files and functions stay short enough to be read at once.

Prints each offence as file:line: what; exits 1 if there is one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Which layers, and which libraries, the files of a layer may include. main.c, on top, may include
# everything.
LAYERS = {
    "base": ({"base"}, set()),
    "wire": ({"base", "wire"}, set()),
    "obs": ({"base", "wire", "obs"}, set()),
    "admin": ({"base", "wire", "obs", "admin"}, {"uv"}),
    "conf": ({"base", "conf"}, {"cjson"}),
    "route": ({"base", "route"}, {"mnl"}),
    "session": ({"base", "wire", "obs", "conf", "session"}, {"uv"}),
    "server": ({"base", "wire", "obs", "admin", "conf", "route", "session", "server"}, {"uv"}),
    "cli": ({"base", "wire", "obs", "admin", "conf", "route", "session", "server", "cli"}, {"uv"}),
}
LIBRARIES = {"uv.h": "uv", "cjson/cJSON.h": "cjson", "libmnl/libmnl.h": "mnl"}

FILE_MAX = 600
FUNCTION_MAX = 80


def check_includes(path, lines):
    layer = path.relative_to(ROOT / "src").parts[0]
    if layer == "main.c":
        return
    if layer not in LAYERS:
        yield 1, f'"{layer}" is no layer of tests/checks/layers.py'
        return
    layers, libraries = LAYERS[layer]
    for number, line in enumerate(lines, 1):
        own = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        system = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
        if own and own[1].split("/")[0] not in layers:
            yield number, f'{layer} may not include "{own[1]}"'
        if system and LIBRARIES.get(system[1], None) not in libraries | {None}:
            yield number, f"{layer} may not include <{system[1]}>"


def check_functions(lines):
    """clang-format puts the braces of a function, and of nothing else, alone into column 1."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start + 1 > FUNCTION_MAX:
                yield start, f"a function of {number - start + 1} lines; {FUNCTION_MAX} are allowed"
            start = None


def check_file(path):
    lines = path.read_text().split("\n")
    if len(lines) - 1 > FILE_MAX:
        yield 1, f"{len(lines) - 1} lines; {FILE_MAX} are allowed"
    if path.suffix in {".c", ".h"}:
        yield from check_functions(lines)
        if path.is_relative_to(ROOT / "src"):
            yield from check_includes(path, lines)


def check_names(paths):
    seen = {}
    for path in paths:
        if path.name in seen:
            yield path, 1, f"there is a {seen[path.name].relative_to(ROOT)} already"
        seen[path.name] = path


def main():
    listed = subprocess.run(
        ["git", "ls-files", "src/*.c", "src/*.h", "tests/*.c", "tests/*.h", "tests/*.py"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    paths = [ROOT / name for name in listed.stdout.split()]
    offences = [(path, *offence) for path in paths for offence in check_file(path)]
    offences += check_names(paths)
    for path, number, what in offences:
        print(f"{path.relative_to(ROOT)}:{number}: {what}")
    if not paths:
        print("no files: is this a git checkout?")
    return 1 if offences or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
