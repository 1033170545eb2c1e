# SPDX-License-Identifier: MIT
"""The end: what is open may finish, nothing new is taken, and it comes in time."""

import os
import signal
from pathlib import Path

import pytest

import header
from limits import CLOCK_MS
from peer import open_peer
from processes import is_listening, wait_until

pytestmark = pytest.mark.threads


@pytest.fixture
def serve(unproxy, backend):
    """Start a daemon of two workers that gives connections so long to finish."""
    return lambda shutdown_timeout_ms: unproxy(
        backend.address,
        settings={"workers": 2, "shutdown_timeout_ms": shutdown_timeout_ms})


@pytest.fixture
def conversation(connect, backend):
    """Connect a client: returns both ends."""
    def connected(daemon):
        client = connect(daemon)
        client.send(header.v2())
        return client, backend.accept()

    return connected


def stop_listening(daemon, number):
    daemon.signal(number)
    wait_until(lambda: not is_listening(daemon.port), "the port is closed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_open_connection_finishes_while_new_ones_are_refused(serve, conversation, number):
    daemon = serve(600000)
    client, application = conversation(daemon)
    stop_listening(daemon, number)
    with pytest.raises(ConnectionRefusedError):
        open_peer(daemon.address)
    client.send(b"question")
    assert application.receive(8) == b"question"
    application.send(b"answer")
    application.close()
    assert client.receive_rest() == b"answer"
    client.close()
    assert daemon.wait() == 0
    assert daemon.connection(client)["outcome"] == "finished"


def test_header_under_way_is_still_taken(serve, connect, backend):
    daemon = serve(600000)
    client = connect(daemon)
    client.send(header.v2()[:10])
    stop_listening(daemon, signal.SIGTERM)
    client.send(header.v2()[10:] + b"hello")
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == b"hello"
    application.close()
    assert client.ended()
    assert daemon.wait() == 0


def test_connections_that_waited_to_be_accepted_are_still_served(serve, connect, backend):
    daemon = serve(600000)
    with daemon.paused():
        clients = [connect(daemon) for _ in range(20)]
        for client in clients:
            client.send(header.v2() + b"hello")
            client.finish()
        daemon.terminate()
    for _ in clients:
        application = backend.accept()
        assert application.receive_rest() == b"hello"
        application.close()
    assert daemon.wait() == 0


def test_connections_left_at_the_timeout_are_reset(serve, conversation):
    daemon = serve(300)
    client, application = conversation(daemon)
    daemon.terminate()
    assert client.was_reset()
    assert application.was_reset()
    assert daemon.wait() == 0
    line = daemon.connection(client)
    assert line["outcome"] == "shutdown"
    assert line["duration_ms"] >= 300 - CLOCK_MS


def test_timeout_zero_ends_at_once(serve, conversation):
    daemon = serve(0)
    client, _ = conversation(daemon)
    daemon.terminate()
    assert daemon.wait() == 0
    assert daemon.connection(client)["outcome"] == "shutdown"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_second_signal_ends_at_once(serve, conversation, second):
    daemon = serve(600000)
    client, _ = conversation(daemon)
    stop_listening(daemon, signal.SIGTERM)
    daemon.signal(second)
    assert daemon.wait() == 0
    assert client.was_reset()
    assert daemon.connection(client)["outcome"] == "shutdown"


def test_idle_daemon_ends_at_once(serve):
    daemon = serve(600000)
    daemon.terminate()
    assert daemon.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_the_end_does_not_wait_for_a_resolver_that_is_silent(launch, tmp_path):
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.1\n")
    script = ('ip link set lo up; ip route add 192.0.2.1 dev lo; '
              f'mount --bind {resolver} /etc/resolv.conf; exec "$@"')
    daemon = launch("run", "--listen", "127.0.0.1:0", "--upstream", "db.example.test:80",
                    "--trust", "127.0.0.1", listeners=0,
                    prefix=["unshare", "--mount", "--net", "sh", "-ec", script, "sh"])
    sockets = Path(f"/proc/{daemon.pid}/net/udp")
    wait_until(lambda: ":0035 " in sockets.read_text(), "it asks")
    daemon.terminate()
    assert daemon.wait() == 0  # 1: it did not resolve


def test_hangup_disturbs_nobody(serve, conversation):
    daemon = serve(5000)
    client, application = conversation(daemon)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_records(1, event="reload")
    client.send(b"undisturbed")
    assert application.receive(11) == b"undisturbed"
    conversation(daemon)


def test_unix_socket_is_removed_at_the_end_and_may_be_listened_on_again(unproxy, backend,
                                                                         socket_path):
    for _ in range(2):
        daemon = unproxy(backend.address, listen=f"unix:{socket_path}",
                         trusted_proxies=["unix:"])
        assert socket_path.is_socket()
        daemon.terminate()
        assert daemon.wait() == 0
        assert not socket_path.exists()
