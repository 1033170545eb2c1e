# SPDX-License-Identifier: MIT
"""Bytes between client and application: all of them, in order, with every way to end."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import header
import transfer
from limits import BULK_MIB, SLOW
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


@pytest.fixture(params=["client-first", "application-first"])
def ordered(request):
    """Two things, the client's and the application's, in the order in which they act."""
    def pair(client, application):
        return (client, application) if request.param == "client-first" else (application, client)

    return pair


def test_bulk_data_both_ways_at_once_arrives_unharmed(converse, any_backend):
    daemon, client, application = converse(any_backend)
    transfer.check_bulk((client, application), (application, client), size=BULK)
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["bytes_in"] == line["bytes_out"] == BULK


def test_one_end_may_finish_first_and_receive_a_long_reply(converse, any_backend, ordered):
    daemon, client, application = converse(any_backend)
    first, second = ordered(client, application)
    first.send(b"request")
    first.finish()
    assert second.receive_rest() == b"request"
    transfer.check_bulk((second, first), size=REPLY)
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert sorted((line["bytes_in"], line["bytes_out"])) == [len(b"request"), REPLY]


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


def test_reset_by_one_end_reaches_the_other(converse, backend, ordered):
    daemon, client, application = converse(backend)
    first, second = ordered(client, application)
    first.send(b"request")
    assert second.receive(7) == b"request"
    first.reset()
    assert second.was_reset()
    assert daemon.connection(client)["outcome"] == ordered("client_reset", "upstream_reset")[0]


def test_reset_after_an_orderly_end_reaches_the_other_end(converse, backend, ordered):
    daemon, client, application = converse(backend)
    first, second = ordered(client, application)
    first.finish()
    assert second.ended()
    second.send(b"reply")
    assert first.receive(5) == b"reply"
    first.reset()
    assert second.was_reset_after_its_end()
    assert daemon.connection(client)["outcome"] == ordered("client_reset", "upstream_reset")[0]


def test_reset_in_the_middle_of_bulk_data_reaches_the_other_end(converse, backend, ordered):
    daemon, client, application = converse(backend)
    first, second = ordered(client, application)
    transfer.send_until_stopped([first], quiet=0.1)
    second.receive(100000)
    first.reset()
    assert second.was_reset()
    assert daemon.connection(client)["outcome"] == ordered("client_reset", "upstream_reset")[0]


def test_answer_of_an_application_that_refuses_the_rest_is_delivered(converse, any_backend):
    """Closed with bytes unread, its socket resets the connection right behind the answer."""
    daemon, client, application = converse(any_backend)
    transfer.send_until_stopped([client], quiet=0.1)
    application.receive(1000)
    application.send(b"413 enough")
    application.close()
    assert client.receive(10) == b"413 enough"
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


@pytest.fixture
def stalled(relay, connect, closing, choose_path, ordered):
    """Pairs of ends: one that will send, and one that will not read."""
    backend = closing(Backend(receive_buffer=SMALL_BUFFER))
    daemon = relay(backend.address)
    pairs = []
    for _ in range(STALLED_CONNECTIONS):
        client = connect(daemon, receive_buffer=SMALL_BUFFER)
        client.send(header.v2())
        pairs.append(ordered(client, backend.accept()))
    choose_path(daemon)
    return daemon, pairs


def test_stalled_reader_stops_the_sender_in_bounded_memory(stalled):
    daemon, pairs = stalled
    before = daemon.memory()
    taken = transfer.send_until_stopped([sender for sender, _ in pairs])
    assert daemon.memory() - before < STALLED_CONNECTIONS * STALLED_MEMORY * SLOW
    for (sender, reader), size in zip(pairs, taken):
        sender.finish()
        assert transfer.receive_bulk(reader, seed=size) == transfer.pool_digest(size)


def test_payload_waits_in_order_for_an_application_slow_to_accept(relay, connect, closing,
                                                                  socket_path, catch_up):
    for address in ("127.0.0.1:0", f"unix:{socket_path}"):
        backend = closing(Backend(address, backlog=0))
        daemon = relay(backend.address, workers=1)
        connect(backend.address)  # fills the backlog
        client = connect(daemon)
        client.send(header.v2() + b"first ")
        catch_up(daemon)
        with ThreadPoolExecutor(1) as thread:
            sent = thread.submit(transfer.send_bulk, client, REPLY, seed=5)
            backend.accept().close()
            application = backend.accept()
            assert application.receive(6) == b"first "
            assert transfer.receive_bulk(application, seed=6) == sent.result()
