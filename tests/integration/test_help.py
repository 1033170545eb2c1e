# SPDX-License-Identifier: MIT
"""Finding one's way: help, suggestions, and starting under odd circumstances."""

import os
import re
import subprocess

import pytest

from daemon import BINARY
from limits import DEADLINE

COMMANDS = ["run", "check", "routes", "health", "send", "parse", "demo", "help"]


def unproxy(*arguments, **options):
    return subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=DEADLINE, **options)


def test_overview_lists_every_command():
    for arguments in (["help"], ["--help"], ["-h"]):
        done = unproxy(*arguments)
        assert done.returncode == 0
        assert re.findall(r"^  ([a-z]+) ", done.stdout, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(command):
    done = unproxy("help", command)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: unproxy {command} ")
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_every_command_knows_its_help(command):
    assert unproxy(command, "--help").stdout == unproxy("help", command).stdout


@pytest.mark.parametrize("typed, meant", [
    ("rnu", "run"), ("chekc", "check"), ("route", "routes"), ("helath", "health"), ("sedn", "send"),
    ("pasre", "parse"), ("demos", "demo"), ("hlep", "help"),
])
def test_unknown_command_names_the_nearest(typed, meant):
    done = unproxy(typed)
    assert done.returncode == 2
    assert f'unknown command "{typed}"; did you mean "{meant}"?' in done.stderr


@pytest.mark.parametrize("arguments", [
    [], [""], ["xyzzy"], ["--frobnicate"], ["help", "xyzzy"], ["help", "run", "send"],
    ["x" * 1000],
], ids=lambda arguments: " ".join(arguments)[:20] or "none")
def test_other_mistakes_point_to_the_help(arguments):
    done = unproxy(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("unproxy")
    assert "did you mean" not in done.stderr
    assert 'See "unproxy help' in done.stderr


def test_no_connection_becomes_a_standard_descriptor(backend):
    """Started without them, `send` would read its input from its own socket."""
    with subprocess.Popen([BINARY, "send", "--v1", "--unknown", backend.address],
                          preexec_fn=lambda: os.closerange(0, 3)) as process:
        try:
            application = backend.accept()
            assert application.receive_rest() == b"PROXY UNKNOWN\r\n"
            application.close()
            process.wait(DEADLINE)
        finally:
            process.kill()  # or a failed test would wait for it
