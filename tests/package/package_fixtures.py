# SPDX-License-Identifier: MIT
"""Fixtures: the package, and machines to install it on."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import load
from machine import machine
from netns import network_of
from processes import directory, free_port, listening_on, running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def deb():
    """The package, as `make deb` builds it."""
    subprocess.run(["make", "deb"], cwd=ROOT, check=True)
    built, = (path for path in (ROOT / "build-deb").glob("*.deb") if "dbgsym" not in path.name)
    return built


@pytest.fixture(scope="session")
def next_deb(deb):
    """The same as another version, which only its file and what it says of itself tell apart."""
    with directory() as folder:
        tree = folder / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace("Version: 0.", "Version: 9."))
        program = tree / "usr/bin/unproxy"
        old = program.read_bytes()
        assert b"unproxy 0." in old
        program.write_bytes(old.replace(b"unproxy 0.", b"unproxy 9."))
        (tree / "DEBIAN/md5sums").unlink()
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, folder / "next.deb"],
                       check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(tree)
        yield folder / "next.deb"


@pytest.fixture
def empty_machine():
    if os.geteuid() != 0:
        pytest.skip("a machine of its own needs root")
    with machine() as m:
        yield m


@pytest.fixture
def installed(empty_machine, deb):
    """A machine with the package; what the test opens is on its network.

    A system call that the service's filter does not allow is its end there, so no test passes because an
    error was ignored."""
    empty_machine.write("/etc/systemd/system/unproxy.service.d/strict.conf",
                        "[Service]\nSystemCallErrorNumber=kill\n")
    empty_machine.install(deb)
    with network_of(empty_machine.init):
        yield empty_machine


@pytest.fixture
def application(installed):
    """The address of one on that machine, which echoes."""
    port = free_port()
    with running([load.TOOLS / "bench_backend", port, 1], listening_on(port)):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def start_load(installed):
    """Short connections to a port of that machine: start_load(PORT) is a load.Load."""
    with contextlib.ExitStack() as ends:
        def start(port):
            started = load.Load(port)
            ends.callback(started.close)
            return started

        yield start
