# SPDX-License-Identifier: MIT
"""Fixtures. Whatever a test starts through them has ended when the test has.

`unproxy` is set up first and torn down last, so that every client and application is gone by the
time the daemon is told to end."""

import contextlib
import json

import pytest

import admin
import applications
import certificates
import limits
from daemon import BINARY, Daemon, listener_config
from peer import Backend, Echo, open_peer
from processes import directory


def pytest_configure(config):
    limits.allow_many_descriptors()
    limits.adopt_orphans()


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not there: build it, or set UNPROXY", returncode=1)


@pytest.fixture
def launch():
    """Start `unproxy` with any command line: launch("run", "-c", …) is a Daemon."""
    daemons = []

    def start(*arguments, **options):
        daemons.append(Daemon(*arguments, **options))
        return daemons[-1]

    with contextlib.ExitStack() as ends:
        ends.callback(lambda: [ends.callback(daemon.finish) for daemon in daemons])
        yield start


@pytest.fixture
def unproxy(launch, tmp_path):
    """Start a daemon with one listener: unproxy("127.0.0.1:5432", header_timeout_ms=100).

    @settings holds the keys beside `listeners`, @options what Daemon takes."""
    def start(upstream, settings=None, options=None, **listener):
        config = tmp_path / "unproxy.json"
        config.write_text(json.dumps({
            "shutdown_timeout_ms": 5000,
            "user": "root",  # if we are: its sockets and files are in directories of ours
            **(settings or {}),
            "listeners": [listener_config(upstream, **listener)],
        }))
        return launch("run", "-c", config, **(options or {}))

    return start


@pytest.fixture
def closing(unproxy):
    """For what has close(): returns its argument, and closes it when the test ends."""
    with contextlib.ExitStack() as ends:
        def closed_later(resource):
            ends.callback(resource.close)
            return resource

        yield closed_later


@pytest.fixture
def connect(closing):
    """Open a client's connection: to a daemon, or to an address."""
    def connection(target, **options):
        return closing(open_peer(getattr(target, "address", target), **options))

    return connection


@pytest.fixture
def catch_up(connect):
    """Wait until a daemon of one worker has met everybody who came before: it takes them in turn."""
    def wait(daemon):
        refused = connect(daemon)
        refused.send(b"no header")
        assert refused.was_reset()

    return wait


@pytest.fixture
def socket_path():
    """For a unix socket: pytest's own directories can be too deep for one."""
    with directory() as path:
        yield path / "socket"


@pytest.fixture
def backend(closing):
    """An application played by the test."""
    return closing(Backend())


@pytest.fixture(params=["tcp", "unix"])
def any_backend(request, closing, socket_path):
    """The same behind a TCP port and behind a unix socket."""
    return closing(Backend("127.0.0.1:0" if request.param == "tcp" else f"unix:{socket_path}"))


@pytest.fixture
def echo(closing):
    """An application that echoes, for any number of clients."""
    return closing(Echo())


@pytest.fixture
def sender(unproxy):
    """Start a load balancer: sender(senders.haproxy, daemon.address, …)."""
    with contextlib.ExitStack() as running:
        yield lambda start, *arguments, **options: running.enter_context(
            start(*arguments, **options))


@pytest.fixture
def scrape():
    """What Prometheus would get from a daemon whose settings have admin.ANYWHERE, as text."""
    return lambda daemon: admin.get(daemon, "/metrics").text


@pytest.fixture(scope="session")
def pki():
    with directory() as path:
        yield certificates.create(path)


def application(name):
    """A fixture that runs one application for all tests that use it."""
    @pytest.fixture(scope="session", name=name)
    def run():
        with getattr(applications, name)() as server:
            yield server

    return run


postgresql = application("postgresql")
redis = application("redis")
nginx = application("nginx")
sshd = application("sshd")
