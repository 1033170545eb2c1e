#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The man page and the completions have all that the program has:
command_docs.py UNPROXY MANPAGE OUTCOME_H COMPLETION…

The commands and the options are those of `unproxy help`. In the man page, every key of the configuration
stands as an item with its default and its range, and every outcome of src/obs/outcome.h as an item.
Prints what is missing, and what is there and should not be; exits 1 if anything is."""

import re
import subprocess
import sys
from pathlib import Path

from config_docs import facts_of, keys_of


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def help_of(program):
    """({command}, {option}) of what `unproxy help` says."""
    overview = output_of(program, "help")
    commands = set(re.findall(r"^  ([a-z]+) ", overview, re.M))
    texts = [overview, *(output_of(program, "help", command) for command in commands)]
    return commands, {option for text in texts for option in options_of(text)}


def options_of(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", text))


def items_of(page, macro):
    """{tag: its text} of the items of a page's lists that begin with @macro."""
    items = {}
    for item in re.split(r"^\.It ", page, flags=re.M)[1:]:
        tags, _, text = item.partition("\n")
        if tags.startswith(f"{macro} "):
            for tag in tags.removeprefix(f"{macro} ").split(" , "):
                items[tag] = re.split(r"^\.El", text, flags=re.M)[0]
    return items


def wrong_in_page(page, commands, options, keys, outcomes):
    sections = set(re.findall(r"^\.Ss unproxy ([a-z]+)$", page, re.M))
    yield from (f"command {name}" for name in commands ^ sections)
    flags = " ".join(re.findall(r"^\..*?\bFl (.*)", page, re.M))
    found = set(re.findall(r"(?<![\w-])-([a-z][a-z0-9-]*)", flags))
    yield from (f"option --{name}" for name in options ^ found)
    yield from (f"outcome {name}" for name in outcomes ^ set(items_of(page, "Sy")))
    items = items_of(page, "Cm")
    for path, default, form, *_ in keys:
        name = path.removeprefix("listeners[].")
        if not any(item == name or item.startswith(f"{name}.") for item in items):
            yield f"key {path}"
        for fact in facts_of(default, form):
            if name in items and not re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", items[name]):
                yield f"key {path}: {fact}"


def wrong_in_completion(text, commands, options):
    """bash and zsh have "--name", fish has "complete … -l name"."""
    words = set(re.findall(r"[\w-]+", text))
    found = options_of(text) | set(re.findall(r"^complete .* -l ([a-z0-9-]+)", text, re.M))
    yield from (f"command {name}" for name in commands - words)
    yield from (f"option --{name}" for name in options ^ found)


def main():
    program, page, outcome_h, *completions = sys.argv[1:]
    commands, options = help_of(program)
    keys = keys_of(program)
    outcomes = set(re.findall(r"^\tX\((\w+), [01]\)", Path(outcome_h).read_text(), re.M))
    wrong = [f"{page}: {what}" for what in
             wrong_in_page(Path(page).read_text(), commands, options, keys, outcomes)]
    wrong += [f"{path}: {what}" for path in completions
              for what in wrong_in_completion(Path(path).read_text(), commands, options)]
    for what in wrong:
        print(what)
    empty = not (commands and options and keys and outcomes and completions)
    if empty:
        print("nothing to compare with")
    return 1 if wrong or empty else 0


if __name__ == "__main__":
    sys.exit(main())
