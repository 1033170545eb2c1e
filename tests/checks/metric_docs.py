#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The README lists every metric with its labels, and no other: metric_docs.py UNPROXY README.

Runs the program and asks it. Metrics of the process, process_*, need not be listed. Prints what differs; exits 1
if anything does."""

import json
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path


def scrape(program):
    """What /metrics says; the port that it listens on is of no interest, nor is the application."""
    with tempfile.TemporaryDirectory(prefix="unproxy-") as directory:
        path = f"{directory}/admin"
        config = {"user": "root", "admin": {"listen": f"unix:{path}"}, "listeners": [{
            "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "trusted_proxies": ["127.0.0.1"]}]}
        with subprocess.Popen([program, "run", "-c", "-"], stdin=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE) as process:
            process.stdin.write(json.dumps(config))
            process.stdin.close()
            lines = []
            for line in process.stderr:
                lines.append(line)
                if '"event":"admin"' in line:
                    break
            else:
                sys.exit("".join(lines))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                text = client.makefile().read()
            process.terminate()
            process.stderr.read()
    return text


def metrics_of(text):
    """Family to its labels, or to None if there is no sample that would show them."""
    found = {}
    for name in re.findall(r"^# TYPE (\S+)", text, re.M):
        samples = re.findall(rf"^{name}(?:_count)?(?:{{(.*)}})? ", text, re.M)
        found[name] = set(re.findall(r'(\w+)="', samples[0])) if samples else None
    return {name: labels for name, labels in found.items() if not name.startswith("process_")}


def rows_of(readme):
    """The same, from the tables whose rows begin with names of metrics."""
    first_columns = re.findall(r"^\|([^|]*)\|", readme, re.M)
    names = [re.fullmatch(r"(unproxy_\w+)(?:\{(.*)\})?", name)
             for column in first_columns for name in re.findall(r"`([^`]+)`", column)]
    return {match[1]: set(filter(None, (match[2] or "").split(","))) for match in names if match}


def differences(offered, listed):
    for name, labels in offered.items():
        if name not in listed:
            yield f"{name}: not in the README"
        elif labels is not None and labels != listed[name]:
            yield f"{name}: has labels {sorted(labels)}, in the README {sorted(listed[name])}"
    for name in listed.keys() - offered.keys():
        yield f"{name}: in the README, but there is no such metric"


def main():
    program, readme = sys.argv[1:]
    offered = metrics_of(scrape(program))
    found = list(differences(offered, rows_of(Path(readme).read_text())))
    for what in found:
        print(what)
    if not offered:
        print(f"{program} offers no metrics")
    return 1 if found or not offered else 0


if __name__ == "__main__":
    sys.exit(main())
