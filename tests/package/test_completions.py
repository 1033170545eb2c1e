# SPDX-License-Identifier: MIT
"""The shells complete: a tab is pressed in a real one."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from limits import DEADLINE

ROOT = Path(__file__).parents[2]
COMPLETIONS = ROOT / "src/data/completions"

# (what is typed, what stands there after a tab)
SINGLE = [
    ("unproxy rou", "unproxy routes "),
    ("unproxy hea", "unproxy health "),
    ("unproxy --ver", "unproxy --version "),
    ("unproxy check --no", "unproxy check --no-probe "),
    ("unproxy run --tran", "unproxy run --transparent "),
    ("unproxy routes st", "unproxy routes status "),
    ("unproxy routes up --dr", "unproxy routes up --dry-run "),
    ("unproxy send --crc", "unproxy send --crc32c "),
    ("unproxy demo --on", "unproxy demo --once "),
    ("unproxy help dem", "unproxy help demo "),
    ("unproxy -c src/data/unproxy.8", "unproxy -c src/data/unproxy.8.in "),
    ("unproxy run -c src/data/unproxy.8", "unproxy run -c src/data/unproxy.8.in "),
    ("unproxy parse src/data/unproxy.8", "unproxy parse src/data/unproxy.8.in "),
]


class Terminal:
    """A shell at a terminal that is wide and knows nothing."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvpe(command[0], command, {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": "/nonexistent",
                                             "COLUMNS": "200", "PS1": "ready> "})
        self.shown = ""

    def wait_for(self, text):
        end = time.monotonic() + DEADLINE
        while text not in self.shown:
            assert select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], \
                f"{text!r} is not in {self.shown!r}"
            self.shown += os.read(self.fd, 4096).decode(errors="replace")

    def type(self, text):
        self.shown = ""
        os.write(self.fd, text.encode())

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request):
    if request.param == "bash":
        terminal = Terminal("bash", "--norc", "--noprofile", "-i")
        setup = f"bind 'set bell-style none'; source {COMPLETIONS}/unproxy.bash"
    else:
        terminal = Terminal("zsh", "-f", "-i")
        setup = f"fpath=({COMPLETIONS} $fpath); autoload -U compinit; compinit -D -u; unsetopt beep"
    with contextlib.closing(terminal):
        terminal.wait_for("ready> ")
        terminal.type(f"{setup}; echo set''up\n")
        terminal.wait_for("setup")
        yield terminal


@pytest.mark.parametrize("typed, completed", SINGLE, ids=[typed for typed, _ in SINGLE])
def test_tab_completes(shell, typed, completed):
    shell.type(f"{typed}\t")
    try:
        shell.wait_for(completed)
    finally:
        shell.type("\x15\n")  # an empty line instead
        shell.wait_for("ready> ")


@pytest.mark.parametrize("typed, completed", SINGLE, ids=[typed for typed, _ in SINGLE])
def test_fish_completes(typed, completed):
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'source {COMPLETIONS}/unproxy.fish; complete -C "$argv"', typed],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=DEADLINE)
    words = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert words == [completed.split()[-1]]
