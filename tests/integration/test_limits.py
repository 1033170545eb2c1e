# SPDX-License-Identifier: MIT
"""More connections than there is room for: some are refused, the others do not notice, and room
that becomes free is used."""

import pytest

import header
from peer import open_peer
from processes import wait_until


@pytest.fixture
def greeted(connect):
    """Connect a client that is known to be served."""
    def client(daemon):
        peer = connect(daemon)
        peer.send(header.v2())
        peer.exchange(b"hello")
        return peer

    return client


def is_served(daemon):
    """Does a new client get through?"""
    client = open_peer(daemon.address)
    try:
        client.send(header.v2())
        client.exchange(b"hello")
        return True
    except (OSError, AssertionError):
        return False
    finally:
        client.close()


def test_listener_limit_refuses_the_next_connection(unproxy, greeted, connect, echo):
    daemon = unproxy(echo.address, max_connections=2)
    first, second = greeted(daemon), greeted(daemon)
    refused = connect(daemon)
    assert refused.was_reset()
    line = daemon.connection(refused)
    assert line["outcome"] == "listener_limit"
    assert line["level"] == "warn"
    first.exchange(b"undisturbed")
    second.exchange(b"undisturbed")


def test_connection_that_ends_makes_room_for_another(unproxy, greeted, connect, echo):
    daemon = unproxy(echo.address, max_connections=1)
    for _ in range(3):
        client = greeted(daemon)
        assert connect(daemon).was_reset()
        client.close()
        assert daemon.connection(client)["outcome"] == "finished"


@pytest.mark.threads
def test_limit_holds_for_all_workers_together(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={"workers": 4}, max_connections=10)
    clients = [connect(daemon) for _ in range(40)]
    for client in clients:
        client.offer(header.v2())
    refused = daemon.wait_for_records(30, event="connection", outcome="listener_limit")
    served = {client.address for client in clients} - {line["peer"] for line in refused}
    assert len(refused) == 30
    for client in clients:
        if client.address in served:
            client.exchange(b"hello")


def test_descriptor_limit_is_raised_at_start(unproxy, backend):
    daemon = unproxy(backend.address, options={"descriptors": "64:512"})
    assert daemon.soft_descriptor_limit() == 512


@pytest.mark.threads
def test_exhausted_descriptors_recover(unproxy, greeted, connect, echo):
    daemon = unproxy(echo.address, settings={"workers": 2}, max_connections=1000)
    steady = greeted(daemon)
    daemon.allow_more_descriptors(20)
    crowd = [connect(daemon) for _ in range(100)]
    daemon.wait_for_records(1, event="accept", level="error")
    steady.exchange(b"undisturbed")
    for client in crowd:
        client.offer(header.v2())
    steady.exchange(b"undisturbed")
    for client in crowd:
        client.close()
    wait_until(lambda: is_served(daemon), "new clients are served again")
    steady.exchange(b"undisturbed")


def test_descriptors_set_the_limit_when_none_is_configured(unproxy, greeted, connect, echo):
    """With max_connections 0 the surplus is refused in order, and nothing runs out."""
    daemon = unproxy(echo.address, options={"descriptors": "80:80"})
    steady = greeted(daemon)
    crowd = [connect(daemon) for _ in range(100)]
    for client in crowd:
        client.offer(header.v2())
    daemon.connection(outcome="listener_limit")
    steady.exchange(b"undisturbed")
    assert not daemon.find(event="connection", outcome="upstream_error")
    for client in crowd:
        client.close()
    wait_until(lambda: is_served(daemon), "new clients are served again")
