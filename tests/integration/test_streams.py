# SPDX-License-Identifier: MIT
"""Bytes between client and application: all of them, in order, with every way to end."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import header
import transfer
from limits import BULK_MIB, DEADLINE, SLOW
from peer import Backend

pytestmark = pytest.mark.threads

BULK = BULK_MIB << 20
REPLY = 8 << 20

# What a stalled connection may cost: 64 KiB a direction, and what the allocator adds.
STALLED_CONNECTIONS = 16
STALLED_MEMORY = 80 << 10

SMALL_BUFFER = 16 << 10


@pytest.fixture
def relay(unproxy):
    """Start a daemon of two workers, if not told otherwise."""
    return lambda upstream, workers=2: unproxy(upstream, settings={"workers": workers})


@pytest.fixture(params=["splice", "copy"])
def choose_path(request):
    """Bulk data goes through a pipe; a daemon that can open none copies it. To be called when the
    connections are open."""
    def chosen(daemon):
        if request.param == "copy":
            daemon.allow_more_descriptors(0)

    return chosen


@pytest.fixture
def converse(relay, connect, choose_path):
    """Connect a client to a backend: returns the daemon and both ends."""
    def connected(backend):
        daemon = relay(backend.address)
        client = connect(daemon)
        client.send(header.v2())
        application = backend.accept()
        choose_path(daemon)
        return daemon, client, application

    return connected


def test_bulk_data_both_ways_at_once_arrives_unharmed(converse, any_backend):
    daemon, client, application = converse(any_backend)
    transfer.check_bulk((client, application), (application, client), size=BULK)
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["bytes_in"] == line["bytes_out"] == BULK


def test_client_may_finish_first_and_receive_a_long_reply(converse, any_backend):
    daemon, client, application = converse(any_backend)
    client.send(b"request")
    client.finish()
    assert application.receive_rest() == b"request"
    transfer.check_bulk((application, client), size=REPLY)
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["bytes_out"] == REPLY


def test_application_may_finish_first_and_receive_a_long_upload(converse, any_backend):
    daemon, client, application = converse(any_backend)
    application.send(b"go ahead")
    application.finish()
    assert client.receive_rest() == b"go ahead"
    transfer.check_bulk((client, application), size=REPLY)
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["bytes_in"] == REPLY


def test_end_that_comes_with_the_last_bytes_is_passed_on(relay, connect, any_backend):
    """Data and FIN in one event is what an edge-triggered loop forgets."""
    daemon = relay(any_backend.address)
    for _ in range(200):
        client = connect(daemon)
        client.send(header.v1() + b"request")
        client.finish()
        application = any_backend.accept()
        assert application.receive_rest() == b"request"
        application.send(b"reply")
        application.close()
        assert client.receive_rest() == b"reply"
        client.close()


def test_reset_by_the_client_reaches_the_application(converse, backend):
    daemon, client, application = converse(backend)
    client.send(b"request")
    assert application.receive(7) == b"request"
    client.reset()
    assert application.was_reset()
    assert daemon.connection(client)["outcome"] == "client_reset"


def test_reset_by_the_application_reaches_the_client(converse, backend):
    daemon, client, application = converse(backend)
    client.send(b"request")
    assert application.receive(7) == b"request"
    application.reset()
    assert client.was_reset()
    assert daemon.connection(client)["outcome"] == "upstream_reset"


def test_reset_by_an_application_behind_a_unix_socket_reaches_the_client(converse, closing,
                                                                         socket_path):
    """A unix socket that is closed with bytes unread resets the connection."""
    daemon, client, application = converse(closing(Backend(f"unix:{socket_path}")))
    client.send(b"request")
    assert application.receive(1) == b"r"
    application.close()
    assert client.was_reset()
    assert daemon.connection(client)["outcome"] == "upstream_reset"


def test_reset_after_the_client_has_finished_reaches_the_application(converse, backend):
    daemon, client, application = converse(backend)
    client.finish()
    assert application.ended()
    application.send(b"reply")
    assert client.receive(5) == b"reply"
    client.reset()
    assert application.was_reset_after_its_end()
    assert daemon.connection(client)["outcome"] == "client_reset"


def test_reset_after_the_application_has_finished_reaches_the_client(converse, backend):
    daemon, client, application = converse(backend)
    application.finish()
    assert client.ended()
    client.send(b"request")
    assert application.receive(7) == b"request"
    application.reset()
    assert client.was_reset_after_its_end()
    assert daemon.connection(client)["outcome"] == "upstream_reset"


def test_reset_in_the_middle_of_bulk_data_is_a_reset(converse, backend):
    daemon, client, application = converse(backend)
    transfer.send_until_stopped([client], quiet=0.1)
    application.receive(100000)
    client.reset()
    assert application.was_reset()
    assert daemon.connection(client)["outcome"] == "client_reset"


@pytest.fixture(params=["client", "application"])
def stalled(request, relay, connect, closing, choose_path):
    """Connections of which one end sends until it cannot, and this end does not read."""
    backend = closing(Backend(receive_buffer=SMALL_BUFFER))
    daemon = relay(backend.address)
    pairs = []
    for _ in range(STALLED_CONNECTIONS):
        client = connect(daemon, receive_buffer=SMALL_BUFFER)
        client.send(header.v2())
        pairs.append((client, backend.accept()))
    choose_path(daemon)
    if request.param == "client":
        pairs = [(application, client) for client, application in pairs]
    return daemon, pairs


def test_stalled_reader_stops_the_sender_in_bounded_memory(stalled):
    daemon, pairs = stalled
    before = daemon.memory()
    taken = transfer.send_until_stopped([sender for sender, _ in pairs])
    assert daemon.memory() - before < STALLED_CONNECTIONS * STALLED_MEMORY * SLOW
    for (sender, reader), size in zip(pairs, taken):
        sender.socket.settimeout(DEADLINE)
        sender.finish()
        assert transfer.receive_bulk(reader, seed=size) == transfer.pool_digest(size)


def test_payload_waits_in_order_for_an_application_slow_to_accept(relay, connect, closing,
                                                                  socket_path):
    for address in ("127.0.0.1:0", f"unix:{socket_path}"):
        backend = closing(Backend(address, backlog=0))
        daemon = relay(backend.address, workers=1)
        connect(backend.address)  # fills the backlog
        client = connect(daemon)
        client.send(header.v2() + b"first ")
        # One worker meets clients in turn, so this one is refused after that one was heard.
        refused = connect(daemon)
        refused.send(b"no header")
        assert refused.was_reset()
        with ThreadPoolExecutor(1) as thread:
            sent = thread.submit(transfer.send_bulk, client, REPLY, seed=5)
            backend.accept().close()
            application = backend.accept()
            assert application.receive(6) == b"first "
            assert transfer.receive_bulk(application, seed=6) == sent.result()
