# SPDX-License-Identifier: MIT
"""What systemd is told (sd_notify(3)): a real socket in its place hears it."""

import json
import re
import signal
import socket
import subprocess

import pytest

import header
from daemon import BINARY, listener_config
from limits import DEADLINE
from processes import directory

pytestmark = [
    pytest.mark.threads,
    pytest.mark.skipif(b"libsystemd" not in subprocess.run(["ldd", BINARY], capture_output=True).stdout,
                       reason="built without libsystemd"),
]


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(DEADLINE)

    def hear(self):
        """The next message, as a dictionary."""
        text = self.socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def hear_until(self, **wanted):
        """Messages up to the one that says this. Returns them all."""
        heard = [self.hear()]
        while not wanted.items() <= heard[-1].items():
            heard.append(self.hear())
        return heard

    def close(self):
        self.socket.close()


@pytest.fixture
def systemd(closing):
    with directory() as path:
        yield closing(Systemd(path / "notify"))


@pytest.fixture
def serve(unproxy, backend, systemd):
    def served(**environment):
        return unproxy(backend.address, settings={"workers": 2}, options={
            "environment": {"NOTIFY_SOCKET": str(systemd.path), **environment}})

    return served


def test_it_is_told_when_we_serve(serve, systemd):
    serve()
    assert systemd.hear() == {"STATUS": "serving: 1 listener"}
    assert systemd.hear() == {"READY": "1"}


def test_it_is_told_when_we_reload(serve, systemd, tmp_path):
    daemon = serve()
    systemd.hear_until(READY="1")
    daemon.signal(signal.SIGHUP)
    begun, *_, done = systemd.hear_until(READY="1")
    assert begun["RELOADING"] == "1"
    assert re.fullmatch("[0-9]+", begun["MONOTONIC_USEC"])
    (tmp_path / "unproxy.json").write_text("{")
    daemon.signal(signal.SIGHUP)
    begun, status, done = systemd.hear_until(READY="1")
    assert begun["RELOADING"] == "1"
    assert status["STATUS"].startswith("SIGHUP: ")
    assert status["STATUS"].endswith("; the running configuration stays")


def test_it_is_told_when_we_stop(serve, systemd):
    daemon = serve()
    systemd.hear_until(READY="1")
    daemon.terminate()
    assert daemon.wait() == 0
    assert systemd.hear() == {"STOPPING": "1"}


def test_its_watchdog_is_fed_until_the_last_connection_has_ended(serve, systemd, connect, backend):
    daemon = serve(WATCHDOG_USEC="100000")
    for _ in range(3):
        systemd.hear_until(WATCHDOG="1")
    client = connect(daemon)
    client.send(header.v2())
    served = backend.accept()
    daemon.terminate()
    systemd.hear_until(STOPPING="1")
    for _ in range(3):
        systemd.hear_until(WATCHDOG="1")
    client.close()
    served.close()
    assert daemon.wait() == 0


def test_a_start_that_fails_is_not_announced(systemd, tmp_path, backend):
    config = tmp_path / "unproxy.json"
    config.write_text(json.dumps({"listeners": [listener_config(
        backend.address, listen="192.0.2.1:0")]}))
    done = subprocess.run([BINARY, "run", "-c", config], capture_output=True, timeout=DEADLINE,
                          env={"NOTIFY_SOCKET": str(systemd.path)})
    assert done.returncode == 1
    systemd.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.hear()
