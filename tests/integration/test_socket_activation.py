# SPDX-License-Identifier: MIT
"""Listening sockets that systemd holds: they are used in place of our own, and outlive us."""

import json
import os
import socket
import subprocess

import pytest

import admin
import header
from activation import passing
from daemon import BINARY, listener_config
from limits import DEADLINE
from peer import join
from processes import free_port, is_listening, wait_until

SOMEBODY_ELSE = "1"


@pytest.fixture
def listening(closing):
    """Open a socket as systemd does: with a port of the kernel's choice, or shared with others."""
    def opened(port=0, shared=False):
        sock = closing(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(128)
        return sock

    return opened


@pytest.fixture
def listening_unix(closing, socket_path):
    sock = closing(socket.socket(socket.AF_UNIX))
    sock.bind(str(socket_path))
    sock.listen(128)
    return sock


def place_of(sock):
    return join(sock.getsockname())


def serve_client(connect, backend, target):
    client = connect(target)
    client.send(header.v2() + b"hello")
    served = backend.accept()
    assert served.receive(5) == b"hello"
    return client, served


def test_a_socket_that_was_passed_is_used(unproxy, connect, backend, listening):
    sock = listening()
    daemon = unproxy(backend.address, listen=place_of(sock), options=passing(sock))
    assert daemon.address == place_of(sock)
    serve_client(connect, backend, daemon)


def test_clients_that_came_before_us_are_served(unproxy, connect, backend, listening):
    sock = listening()
    client = connect(place_of(sock))
    client.send(header.v2() + b"hello")
    unproxy(backend.address, listen=place_of(sock), options=passing(sock))
    assert backend.accept().receive(5) == b"hello"


def test_nobody_is_refused_while_we_are_restarted(unproxy, connect, backend, listening):
    sock = listening()
    for _ in range(3):
        daemon = unproxy(backend.address, listen=place_of(sock), options=passing(sock))
        client, served = serve_client(connect, backend, daemon)
        client.close()
        served.close()
        daemon.terminate()
        assert daemon.wait() == 0
        client = connect(place_of(sock))
        client.send(header.v2() + b"early")
        daemon = unproxy(backend.address, listen=place_of(sock), options=passing(sock))
        served = backend.accept()
        assert served.receive(5) == b"early"
        served.close()
        client.close()
        daemon.terminate()
        assert daemon.wait() == 0


@pytest.mark.threads
@pytest.mark.parametrize("sockets, workers", [(1, 3), (3, 2), (2, 2)])
def test_any_number_of_workers_shares_any_number_of_sockets(unproxy, connect, backend, listening,
                                                            sockets, workers):
    first = listening(shared=True)
    others = [listening(port=first.getsockname()[1], shared=True) for _ in range(sockets - 1)]
    daemon = unproxy(backend.address, listen=place_of(first), settings={"workers": workers},
                     options=passing(first, *others))
    for sock in [first, *others]:
        sock.close()  # the daemon's are the last
    for _ in range(20):
        serve_client(connect, backend, daemon)


def test_a_listener_without_a_socket_opens_its_own(launch, tmp_path, connect, backend, listening):
    sock = listening()
    config = tmp_path / "unproxy.json"
    config.write_text(json.dumps({"listeners": [
        listener_config(backend.address, name="own"),
        listener_config(backend.address, name="passed", listen=place_of(sock)),
    ]}))
    daemon = launch("run", "-c", config, listeners=2, **passing(sock))
    assert daemon.addresses[1] == place_of(sock)
    assert daemon.addresses[0] != place_of(sock)  # though any port would do
    for address in daemon.addresses:
        serve_client(connect, backend, address)


def test_sockets_that_nobody_asked_for_are_named_and_closed(unproxy, backend, listening):
    wanted, unwanted = listening(), listening()
    daemon = unproxy(backend.address, listen=place_of(wanted),
                     options=passing(wanted, unwanted, names=["web", "old"]))
    line = daemon.wait_for_records(1, event="inherited_socket")[0]
    assert line["level"] == "warn"
    assert f"the socket at {place_of(unwanted)} (old)" in line["message"]
    assert len(daemon.find(event="inherited_socket")) == 1
    port = unwanted.getsockname()[1]
    unwanted.close()
    assert not is_listening(port)


def test_what_is_no_listening_socket_is_named(unproxy, backend, listening, closing):
    sock = listening()
    datagrams = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagrams.bind(("127.0.0.1", 0))
    daemon = unproxy(backend.address, listen=place_of(sock), options=passing(datagrams, sock))
    line = daemon.wait_for_records(1, event="inherited_socket")[0]
    assert "descriptor 3 () of LISTEN_FDS is of no use: it is no stream socket" in line["message"]


def test_the_file_of_a_unix_socket_outlives_us(unproxy, connect, backend, listening_unix,
                                               socket_path):
    daemon = unproxy(backend.address, listen=f"unix:{socket_path}", trusted_proxies=["unix:"],
                     options=passing(listening_unix))
    client, served = serve_client(connect, backend, daemon)
    client.close()
    served.close()
    daemon.terminate()
    assert daemon.wait() == 0
    assert socket_path.exists()
    connect(f"unix:{socket_path}")


def test_a_socket_that_refuses_connections_listens_when_we_have_ended(unproxy, listening):
    """systemd takes one that does not for broken, and closes it."""
    sock = listening(port=free_port())
    daemon = unproxy(f"127.0.0.1:{free_port()}", listen=place_of(sock), options=passing(sock),
                     upstream_check={"interval_ms": 20, "close_listener": True})
    wait_until(lambda: not is_listening(daemon.port), "it refuses connections")
    daemon.terminate()
    assert daemon.wait() == 0
    assert is_listening(daemon.port)


def test_the_admin_endpoint_can_be_passed_as_well(unproxy, backend, listening):
    sock = listening()
    daemon = unproxy(backend.address, settings={"admin": {"listen": place_of(sock)}},
                     options=passing(sock))
    assert admin.address_of(daemon) == place_of(sock)
    assert admin.get(daemon, "/healthz").status == 200


def test_variables_for_somebody_else_are_ignored(unproxy, connect, backend):
    daemon = unproxy(backend.address, options={
        "environment": {"LISTEN_PID": SOMEBODY_ELSE, "LISTEN_FDS": "1"}})
    serve_client(connect, backend, daemon)
    assert not daemon.find(event="inherited_socket")


def test_variables_that_make_no_sense_are_an_error(tmp_path, backend):
    config = tmp_path / "unproxy.json"
    config.write_text(json.dumps({"listeners": [listener_config(backend.address)]}))
    done = subprocess.run([BINARY, "run", "-c", config], capture_output=True, text=True,
                          timeout=DEADLINE,
                          env={**os.environ, "LISTEN_PID": "me", "LISTEN_FDS": "1"})
    assert done.returncode == 1
    assert done.stderr.startswith('unproxy: the environment variable LISTEN_PID is "me", but')


def test_with_systemds_own_tool(unproxy, connect, backend):
    """It waits for the first client, and then becomes the daemon."""
    place = f"127.0.0.1:{free_port()}"
    daemon = unproxy(backend.address, listen=place, options={
        "prefix": ["systemd-socket-activate", "-l", place, "--fdname=web"],
        "listeners": 0, "plain_text": True})
    daemon.wait_for_output("Listening on")
    serve_client(connect, backend, place)
    line = daemon.wait_for_records(1, event="listening")[0]
    assert line["message"] == f"test: listening on {place}, upstream {backend.address}"
