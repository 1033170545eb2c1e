# SPDX-License-Identifier: MIT
"""Applications that are down, slow, dead, or not there yet."""

import pytest

import header
from limits import CLOCK_MS, DEADLINE
from peer import Backend
from processes import free_port


@pytest.fixture
def refused(connect):
    """Connect a client, have it reset, and return its access line."""
    def line(daemon):
        client = connect(daemon)
        client.send(header.v2() + b"hello")
        assert client.was_reset()
        line = daemon.connection(client)
        assert line["level"] == "warn"
        return line

    return line


@pytest.fixture
def full_backend(closing, connect, socket_path, request):
    """An application that accepts nobody: its backlog is full."""
    backend = closing(Backend("127.0.0.1:0" if request.param == "tcp" else f"unix:{socket_path}",
                              backlog=0))
    connect(backend.address)
    return backend


def test_closed_port_is_refused_at_once(unproxy, refused):
    address = f"127.0.0.1:{free_port()}"
    daemon = unproxy(address, connect_timeout_ms=600000)
    line = refused(daemon)
    assert line["outcome"] == "upstream_refused"
    assert line["upstream"] == address
    assert line["client"] == header.CLIENT


def test_missing_unix_socket_is_refused_at_once(unproxy, refused, socket_path):
    daemon = unproxy(f"unix:{socket_path}", connect_timeout_ms=600000)
    assert refused(daemon)["outcome"] in ("upstream_refused", "upstream_error")


def test_unix_socket_that_nobody_listens_on_is_refused_at_once(unproxy, refused, socket_path):
    Backend(f"unix:{socket_path}").close()
    assert socket_path.exists()
    daemon = unproxy(f"unix:{socket_path}", connect_timeout_ms=600000)
    assert refused(daemon)["outcome"] == "upstream_refused"


@pytest.mark.parametrize("full_backend", ["tcp", "unix"], indirect=True)
def test_application_that_does_not_accept_times_out(unproxy, refused, full_backend):
    daemon = unproxy(full_backend.address, connect_timeout_ms=300)
    line = refused(daemon)
    assert line["outcome"] == "upstream_timeout"
    assert 300 - CLOCK_MS <= line["duration_ms"] < DEADLINE * 1000


@pytest.mark.parametrize("full_backend", ["tcp", "unix"], indirect=True)
def test_client_that_leaves_while_the_application_does_not_accept_is_let_go(
        unproxy, connect, full_backend, catch_up):
    daemon = unproxy(full_backend.address, settings={"workers": 1}, connect_timeout_ms=600000)
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    catch_up(daemon)
    client.reset()
    assert daemon.connection(client)["outcome"] == "client_reset"


@pytest.mark.parametrize("full_backend", ["tcp", "unix"], indirect=True)
def test_client_that_leaves_together_with_its_header_is_let_go(
        unproxy, connect, full_backend, catch_up):
    """The header and the reset are one event, and there will be no other."""
    daemon = unproxy(full_backend.address, settings={"workers": 1}, connect_timeout_ms=600000)
    client = connect(daemon)
    catch_up(daemon)
    with daemon.paused():
        client.send(header.v2() + b"hello")
        client.reset()
    assert daemon.connection(client)["outcome"] == "client_reset"


def test_silence_of_both_sides_ends_at_the_idle_timeout(unproxy, connect, any_backend):
    daemon = unproxy(any_backend.address, idle_timeout_ms=300)
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    application = any_backend.accept()
    assert application.receive(5) == b"hello"
    client.wait_for_end()
    application.wait_for_end()
    line = daemon.connection(client)
    assert line["outcome"] == "idle_timeout"
    assert line["duration_ms"] >= 300 - CLOCK_MS


@pytest.mark.parametrize("talker", ["client", "application"])
def test_one_side_that_talks_keeps_the_connection_from_idling(unproxy, connect, backend, talker):
    daemon = unproxy(backend.address, idle_timeout_ms=600)
    client = connect(daemon)
    client.send(header.v2())
    application = backend.accept()
    speaker, listener = (client, application) if talker == "client" else (application, client)
    listener.socket.settimeout(0.1)  # the pace: well within the idle timeout
    for _ in range(15):
        with pytest.raises(TimeoutError):
            listener.receive(1)
        speaker.send(b"x")
        assert listener.receive(1) == b"x"
    assert not daemon.find(event="connection")


def test_timeout_zero_never_idles(unproxy, connect, backend):
    """The other timeouts have long passed by then: none of them applies to relaying."""
    daemon = unproxy(backend.address, header_timeout_ms=100, connect_timeout_ms=100)
    client = connect(daemon)
    client.send(header.v2())
    application = backend.accept()
    application.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        application.receive(1)
    application.socket.settimeout(DEADLINE)
    client.send(b"late")
    assert application.receive(4) == b"late"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_application_may_start_after_a_failure(unproxy, connect, closing, refused, host):
    port = free_port()
    daemon = unproxy(f"{host}:{port}")
    assert refused(daemon)["outcome"] == "upstream_refused"
    backend = closing(Backend(f"127.0.0.1:{port}"))
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    assert backend.accept().receive(5) == b"hello"


def test_host_name_is_resolved(unproxy, connect, backend):
    daemon = unproxy(backend.address.replace("127.0.0.1", "localhost"))
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    application = backend.accept()
    assert application.receive(5) == b"hello"
    application.close()
    client.close()
    assert daemon.connection(client)["upstream"] == backend.address


def test_upstream_pair_is_chosen_by_the_family_of_the_client(unproxy, connect, closing):
    ipv4, ipv6 = closing(Backend("127.0.0.1:0")), closing(Backend("[::1]:0"))
    daemon = unproxy({"ipv4": ipv4.address, "ipv6": ipv6.address})
    for source, destination, backend in (
            ("203.0.113.7:40001", "198.51.100.1:443", ipv4),
            ("[2001:db8::7]:40001", "[2001:db8::1]:443", ipv6)):
        client = connect(daemon)
        client.send(header.v2(source, destination) + b"hello")
        assert backend.accept().receive(5) == b"hello"


def test_failing_upstream_does_not_disturb_other_connections(unproxy, connect, closing, refused):
    port = free_port()
    backend = closing(Backend(f"127.0.0.1:{port}"))
    daemon = unproxy(f"127.0.0.1:{port}")
    steady = connect(daemon)
    steady.send(header.v2())
    application = backend.accept()
    backend.listener.close()
    for _ in range(20):
        assert refused(daemon)["outcome"] == "upstream_refused"
    steady.send(b"undisturbed")
    assert application.receive(11) == b"undisturbed"
