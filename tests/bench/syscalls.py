"""System calls a short connection, as `strace -c -f` counts them on the running peer."""

import signal
import subprocess
from pathlib import Path

from stage import Failure, Stage, sockets_in_use, wait_for


def count(settings, *stage_args):
    """{system call: calls a connection}, at 64 connections at once."""
    with Stage(*stage_args) as stage:
        table = Path(stage.folder.name) / "strace"
        attach = [word for pid in stage.pids for word in ("-p", pid)]
        strace = stage.start("load", ["strace", "-c", "-f", "-o", table, *attach],
                             stderr=subprocess.PIPE, text=True)
        for _ in stage.pids:
            line = strace.stderr.readline()
            if "attached" not in line:
                raise Failure(f"strace: {line.strip()}")
        before = sockets_in_use()
        connections = settings.traced_connections
        stage.load("short", header="v2", connections=64, warmup=1, measure=connections - 1)
        wait_for("the last connections to close", lambda: sockets_in_use() <= before)
        strace.send_signal(signal.SIGINT)
        strace.communicate()
        return {name: calls / connections for name, calls in parse(table.read_text())}


def parse(text):
    # % time, seconds, usecs/call, calls, errors (may be empty), syscall
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
            yield words[-1], int(words[3])
