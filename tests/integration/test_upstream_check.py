# SPDX-License-Identifier: MIT
"""Applications that come and go: /readyz and the metrics know, and so do TCP health checks if that is configured."""

import contextlib
import json
import os
import random
import socket

import pytest

import admin
import applications
import header
from daemon import listener_config
from peer import split
from processes import free_port, wait_until

pytestmark = pytest.mark.threads

CHECK = {"interval_ms": 20}
CLOSING = {**CHECK, "close_listener": True}

# How often the application is restarted.
TIMES = 3

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


class Application:
    """Redis, at a port of its own, whether it runs or not."""

    def __init__(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.running = contextlib.ExitStack()

    def start(self):
        self.running.enter_context(applications.redis(self.port))

    def stop(self):
        self.running.close()


@pytest.fixture
def application(unproxy):
    app = Application()
    app.start()
    yield app
    app.stop()


@pytest.fixture
def start(launch, tmp_path):
    """Start a daemon with an admin endpoint."""
    def started(*listeners, **settings):
        config = tmp_path / "unproxy.json"
        config.write_text(json.dumps({**admin.ANYWHERE, "workers": 2, "user": "root", **settings,
                                      "listeners": listeners}))
        return launch("run", "-c", config, listeners=len(listeners))

    return started


def accepts(address):
    """Would a TCP health check pass?"""
    try:
        socket.create_connection(split(address)).close()
        return True
    except ConnectionRefusedError:
        return False


def accepts_always(address):
    return all(accepts(address) for _ in range(20))  # whichever worker it is


def ping(connect, address):
    client = connect(address)
    client.send(header.v2() + b"PING\r\n")
    assert client.receive(7) == b"+PONG\r\n"
    return client


def readiness(daemon):
    answer = admin.get(daemon, "/readyz")
    return answer.status, answer.json()


def is_ready(daemon):
    return readiness(daemon)[0] == 200


def test_a_health_check_fails_while_the_application_is_down(start, connect, application, echo):
    daemon = start(listener_config(application.address, name="closing", upstream_check=CLOSING),
                   listener_config(echo.address, name="other", upstream_check=CLOSING))
    closing, other = daemon.addresses
    undisturbed = connect(other)
    undisturbed.send(header.v2())
    for _ in range(TIMES):
        ping(connect, closing)
        application.stop()
        wait_until(lambda: not accepts(closing), "it refuses connections")
        assert accepts_always(other)
        undisturbed.exchange(b"hello")
        application.start()
        wait_until(lambda: accepts(closing), "it accepts connections")
        wait_until(lambda: accepts_always(closing), "all workers do")
    ping(connect, closing)
    lines = [line["message"] for line in daemon.find(event="upstream")]
    assert len(lines) == 2 * TIMES
    assert lines[0] == (f"closing: the upstream is down: {application.address}: connection refused; "
                        "refusing connections until it accepts them")
    assert lines[1] == "closing: the upstream is up; accepting connections again"


def test_without_closing_clients_are_told_by_a_reset(start, connect, application):
    daemon = start(listener_config(application.address, upstream_check=CHECK))
    application.stop()
    wait_until(lambda: not is_ready(daemon), "it is seen")
    client = connect(daemon)
    client.send(header.v2())
    assert client.was_reset()
    assert daemon.connection(client)["outcome"] == "upstream_refused"


def test_readiness_and_metrics_follow_the_application(start, application, echo):
    daemon = start(listener_config(application.address, name="closing", upstream_check=CLOSING),
                   listener_config(echo.address, name="unchecked"))
    wait_until(lambda: is_ready(daemon), "ready")
    application.stop()
    wait_until(lambda: not is_ready(daemon), "unready")
    status, page = readiness(daemon)
    assert (status, page["status"]) == (503, "unready")
    assert page["reasons"] == [{"listener": "closing",
                                "reason": f"{application.address}: connection refused"}]
    metrics = admin.metrics(daemon)
    assert metrics.by("listener", "unproxy_upstream_up") == {"closing": 0}
    assert metrics.by("listener", "unproxy_listener_open") == {"closing": 0, "unchecked": 1}
    application.start()
    wait_until(lambda: is_ready(daemon), "ready again")
    metrics = admin.metrics(daemon)
    assert metrics.by("listener", "unproxy_upstream_up") == {"closing": 1}
    assert metrics.by("listener", "unproxy_listener_open") == {"closing": 1, "unchecked": 1}


def test_an_application_that_is_not_there_yet_is_waited_for(start, connect, application):
    application.stop()
    daemon = start(listener_config(application.address, upstream_check=CLOSING))
    wait_until(lambda: not accepts(daemon.address), "it refuses connections")
    application.start()
    wait_until(lambda: accepts(daemon.address), "it accepts connections")
    ping(connect, daemon.address)


def low_port():
    while True:
        port = random.randrange(600, 1024)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@needs_root
def test_a_port_below_1024_is_opened_again_without_the_right_to(start, connect, application):
    daemon = start(listener_config(application.address, listen=f"127.0.0.1:{low_port()}",
                                   upstream_check=CLOSING), user="nobody")
    application.stop()
    wait_until(lambda: not accepts(daemon.address), "it refuses connections")
    application.start()
    wait_until(lambda: accepts(daemon.address), "it accepts connections")
    ping(connect, daemon.address)
