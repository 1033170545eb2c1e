# SPDX-License-Identifier: MIT
"""Programs that a test starts: each has its output kept and is ended whatever happens."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

from limits import DEADLINE

# Debian's service accounts have no shell, but for this one. PostgreSQL refuses to run as root,
# and sshd as root wants a directory in /run.
SERVICE_USER = "postgres" if os.geteuid() == 0 else None


def wait_until(condition, what, timeout=DEADLINE):
    """For what tells nobody that it happened, such as another program's start."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.01)


def free_port():
    """A port for programs that cannot report the one they got.

    Below the range that the kernel gives to connecting sockets, so that none of ours takes it
    before the program does."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_listening(port):
    """Asks the kernel: connecting would show up in the logs that tests look at."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = row.split()
            if local.endswith(wanted) and state == "0A":
                return True
    return False


def supervised(command, user=None, descriptors=None):
    """The command line that ends with us, runs as @user and may open @descriptors files."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    if user:
        prefix += ["--reuid", user, "--regid", user, "--init-groups"]
    if descriptors:
        prefix += ["prlimit", f"--nofile={descriptors}"]
    return [*prefix, *map(str, command)]


def stop(process, how=signal.SIGTERM):
    """End @process in order, or by force when it takes too long. Returns its exit status."""
    process.send_signal(how)
    try:
        return process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@contextlib.contextmanager
def running(command, ready, user=None, stop_signal=signal.SIGTERM):
    """Run @command from when @ready(its output so far) until the end of the block."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(supervised(command, user), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT)

        def text():
            return os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")

        def is_ready():
            assert process.poll() is None, f"{command[0]} ended early:\n{text()}"
            return ready(text())

        try:
            wait_until(is_ready, f"{command[0]} is ready")
            yield process
        finally:
            stop(process, stop_signal)


def listening_on(port):
    """For running(): ready as soon as something listens there."""
    return lambda output: is_listening(port)


@contextlib.contextmanager
def directory(user=None):
    """A directory for @user's program alone, with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="unproxy-", dir="/tmp"))
    try:
        if user:
            own(path, user)
        yield path
    finally:
        shutil.rmtree(path)


def written(path, text):
    """@path, now holding @text without the indentation of the test's source."""
    path.write_text(textwrap.dedent(text))
    return path


def own(path, user):
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def output_of(command, timeout=DEADLINE, **options):
    """What @command prints; it must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=timeout, **options)
    assert done.returncode == 0, \
        f"{command[0]} exited with {done.returncode}: {done.stdout!r} {done.stderr!r}"
    return done.stdout


def knowing_hosts(path, text):
    """A command that runs another with @text for /etc/hosts."""
    hosts = written(path / "hosts", text)
    return ["unshare", "--mount", "sh", "-c", f"mount --bind {hosts} /etc/hosts && exec \"$@\"", "sh"]
