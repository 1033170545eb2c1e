# SPDX-License-Identifier: MIT
"""Where clients come in: addresses of every kind, and several listeners in one daemon."""

import json

import pytest

import header
from daemon import listener_config
from peer import Backend


@pytest.mark.parametrize("listen, trusted, host", [
    ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
    ("0.0.0.0:0", "127.0.0.0/8", "127.0.0.1"),
    ("[::1]:0", "::1", "[::1]"),
    ("[::]:0", "::1", "[::1]"),
    ("[::]:0", "127.0.0.0/8", "127.0.0.1"),
], ids=["ipv4", "any-ipv4", "ipv6", "any-ipv6", "any-ipv6-takes-ipv4"])
def test_tcp_listener(unproxy, connect, backend, listen, trusted, host):
    daemon = unproxy(backend.address, listen=listen, trusted_proxies=[trusted])
    client = connect(f"{host}:{daemon.port}")
    client.send(header.v2() + b"hello")
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == b"hello"
    application.close()
    line = daemon.connection(client)
    assert line["client"] == header.CLIENT
    assert line["outcome"] == "finished"


def test_unix_listener(unproxy, connect, backend, socket_path):
    daemon = unproxy(backend.address, listen=f"unix:{socket_path}", trusted_proxies=["unix:"])
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == b"hello"
    application.close()
    assert daemon.connection(client)["client"] == header.CLIENT


def test_listeners_keep_apart(launch, connect, closing):
    """Each has its own application, its own trust, its own limit and its own name in the log."""
    backends = [closing(Backend()), closing(Backend())]
    config = {"listeners": [
        listener_config(backends[0].address, name="one", max_connections=1),
        listener_config(backends[1].address, name="two", versions=[1]),
    ]}
    daemon = launch("run", "-c", "-", stdin=json.dumps(config).encode(), listeners=2)
    for address, backend in zip(daemon.addresses, backends):
        client = connect(address)
        client.send(header.v1() + b"hello")
        assert backend.accept().receive(5) == b"hello"

    beyond_the_limit = connect(daemon.addresses[0])
    assert beyond_the_limit.was_reset()
    line = daemon.connection(beyond_the_limit)
    assert (line["listener"], line["outcome"]) == ("one", "listener_limit")

    wrong_version = connect(daemon.addresses[1])
    wrong_version.send(header.v2())
    assert wrong_version.was_reset()
    line = daemon.connection(wrong_version)
    assert (line["listener"], line["outcome"]) == ("two", "header_version")
