# SPDX-License-Identifier: MIT
"""Short connections without a pause, and not one of them may be lost: the benchmark's load generator, as a test."""

import contextlib
import json
import os
import subprocess

from daemon import BINARY
from limits import DEADLINE, SLOW
from netns import Namespace
from processes import free_port, listening_on, running, supervised

TOOLS = BINARY.parent / "tests/bench"

# Connections at a time.
CONNECTIONS = 16

# What each of them sends, and gets back [bytes].
MESSAGE = 64

# Connections before the time is taken.
WARMUP = 1

# What a load is worth the name [connections per second].
RATE = 2000 / SLOW


@contextlib.contextmanager
def uncrowded():
    """Where nothing is left of the connections of others, nor will be of ours: in a minute they fill the tables of this
    host, for connections that were closed and, with a firewall, for those it tracks."""
    if os.geteuid() != 0:
        yield
        return
    with contextlib.closing(Namespace()) as namespace, namespace.entered():
        yield


@contextlib.contextmanager
def application():
    """The port of an application that echoes, quick enough for any load. What is started in the block can reach it."""
    with uncrowded():
        port = free_port()
        with running([TOOLS / "bench_backend", port, 1], listening_on(port)):
            yield port


class Load:
    """Connects to @port of this machine, sends a header and a message, waits for the echo and closes; again and again,
    until stop(). Anything else than the echo ends it, and fails the test."""

    def __init__(self, port, connections=CONNECTIONS, header="v2"):
        self.process = subprocess.Popen(
            supervised([TOOLS / "bench_load", "--port", port, "--workload", "short",
                        "--header", header, "--connections", connections, "--message", MESSAGE,
                        "--warmup", WARMUP, "--measure", 0]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def assert_undisturbed(self):
        """So far."""
        if self.process.poll() is not None:
            raise AssertionError(self.process.communicate()[1].decode())

    def stop(self):
        """How many connections were served, and how many a second."""
        output, errors = self.process.communicate(timeout=DEADLINE)  # closes its stdin
        assert self.process.returncode == 0, errors.decode()
        report = json.loads(output)
        return WARMUP + report["operations"], report["operations"] / report["seconds"]

    def close(self):
        self.process.kill()
        self.process.communicate()
