#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The documentation has every key of the configuration: config_docs.py UNPROXY EXAMPLE README.

The program lists its keys; each stands in the example, and in the README in a table's row that
begins with it and has its default and its range. Prints what is missing; exits 1 if anything is."""

import json
import re
import subprocess
import sys
from pathlib import Path


def keys_of(program):
    """(path, default, what a value looks like, help) of every key."""
    listed = subprocess.run([program, "check", "--list-config-keys"], check=True,
                            capture_output=True, text=True)
    return [tuple(line.split("\t")) for line in listed.stdout.splitlines()]


def in_example(path, value):
    """Does "listeners[].name" lead to a value? All elements of an array count together."""
    for name in path.split("."):
        values = value if isinstance(value, list) else [value]
        value = [inner for outer in values if name.removesuffix("[]") in outer
                 for inner in [outer[name.removesuffix("[]")]]]
        if not value:
            return False
        if name.endswith("[]"):
            value = [element for array in value for element in array]
    return True


def rows_of(readme, path):
    """The rows of the README's tables that begin with the key, however it is quoted."""
    name = path.removeprefix("listeners[].")
    return [line for line in readme.splitlines()
            if line.startswith("|") and re.sub(r'["`\s]', "", line.split("|")[1]) == name]


def facts_of(default, form):
    """What a row must mention: the default, and the ends of a range."""
    facts = [default.strip('"')] if default else []
    number = re.search(r"a whole number from (\d+) to (\d+)$", form)
    return facts + (list(number.groups()) if number else [])


def missing(keys, example, readme):
    for path, default, form, _ in keys:
        if not in_example(path, example):
            yield f"{path}: not in the example"
        rows = rows_of(readme, path)
        if not rows:
            yield f"{path}: no row of a table in the README begins with it"
        for fact in facts_of(default, form):
            if rows and not any(re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", row) for row in rows):
                yield f"{path}: the README's row does not mention {fact}"


def main():
    program, example, readme = sys.argv[1:]
    keys = keys_of(program)
    found = list(missing(keys, json.loads(Path(example).read_text()), Path(readme).read_text()))
    for what in found:
        print(what)
    if not keys:
        print(f"{program} lists no keys")
    return 1 if found or not keys else 0


if __name__ == "__main__":
    sys.exit(main())
