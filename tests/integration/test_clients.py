# SPDX-License-Identifier: MIT
"""Who is let in, how often and how fast, by the address that the header names."""

import contextlib
import itertools
import json
import signal
import socket
import time
from collections import deque

import pytest

import header
from limits import DEADLINE, SLOW, descriptors_allowed
from peer import open_peer, split
from processes import free_port, wait_until

# The fewest clients that a listener can be told to remember.
TRACKED_MIN = 1024

# How many addresses an attacker has; a million of them are tests/unit/test_client_table_room.c's.
ADDRESSES = 100_000 // SLOW**2

# How many of them are under way at a time: the daemon always has something to do.
UNDER_WAY = 50

# What they may leave behind: far less than 40 bytes for each [bytes].
LEFT_BEHIND = 512 * 1024

# Several connections of one client, and one of somebody else.
ONE_CLIENT = {
    "ipv4-address": (
        [header.v2(f"203.0.113.7:{port}") for port in range(40000, 40010)],
        header.v2("203.0.113.8:40000")),
    "ipv6-network": (
        [header.v2(f"[2001:db8:0:1:{n:x}::{n:x}]:40000", "[2001:db8::1]:443")
         for n in range(0, 0x10000, 0x1C71)],
        header.v2("[2001:db8:0:2::]:40000", "[2001:db8::1]:443")),
    "v1": (
        [header.v1(f"203.0.113.7:{port}") for port in range(40000, 40010)],
        header.v1("203.0.113.8:40000")),
    "ipv4-in-ipv6": (
        [header.v2("203.0.113.7:40000"), header.v1("203.0.113.7:40001")] +
        [header.v2(f"[::ffff:203.0.113.7]:{port}", "[::ffff:198.51.100.1]:443")
         for port in range(40000, 40008)],
        header.v2("[::ffff:203.0.113.8]:40000", "[::ffff:198.51.100.1]:443")),
    "local": ([header.v2_local()] * 10, header.v2()),
}

one_client = pytest.mark.parametrize("headers, stranger", ONE_CLIENT.values(), ids=ONE_CLIENT.keys())


@pytest.fixture
def greeted(connect):
    """Connect a client that is known to be served."""
    def client(daemon, its_header):
        peer = connect(daemon)
        peer.send(its_header)
        peer.exchange(b"hello")
        return peer

    return client


@pytest.fixture
def refused(connect):
    """Connect a client that is refused, and return its access line."""
    def client(daemon, its_header):
        peer = connect(daemon)
        peer.offer(its_header + b"hello")
        assert peer.was_reset()
        line = daemon.connection(peer)
        assert line["level"] == "warn"
        assert line["bytes_in"] == line["bytes_out"] == 0
        return line

    return client


@pytest.fixture
def reload(tmp_path):
    """Change keys of a daemon's listener, or add some."""
    def change(daemon, **listener):
        path = tmp_path / "unproxy.json"
        config = json.loads(path.read_text())
        config["listeners"][0].update(listener)
        path.write_text(json.dumps(config))
        before = len(daemon.find(event="reload", level="info"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_records(before + 1, event="reload", level="info")

    return change


@pytest.fixture
def at_once(connect):
    """Connect clients that the daemon meets at the same time; one worker does in this order. Who is served?"""
    def clients(daemon, headers):
        with daemon.paused():
            peers = [connect(daemon) for _ in headers]
            for peer, its_header in zip(peers, headers):
                peer.send(its_header + b"hello")
        return [is_answered(peer) for peer in peers]

    return clients


def is_answered(peer):
    """By an application that echoes."""
    try:
        return peer.receive(5) == b"hello"
    except ConnectionResetError:
        return False


def is_served(daemon, its_header):
    """Does such a client get through now?"""
    with contextlib.closing(open_peer(daemon.address)) as peer:
        peer.offer(its_header + b"hello")
        return is_answered(peer)


def sample(admin, name):
    """A value that Prometheus would read at the unix socket @admin."""
    with contextlib.closing(open_peer(f"unix:{admin}")) as peer:
        peer.send(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        lines = peer.receive_rest().decode().splitlines()
    values = [line.removeprefix(name) for line in lines if line.startswith(name)]
    assert len(values) == 1, f"{len(values)} lines begin with {name}"
    return int(values[0])


# --- how many at a time ---


@one_client
def test_a_client_has_so_many_connections_and_not_one_more(
        unproxy, greeted, refused, echo, headers, stranger):
    daemon = unproxy(echo.address, max_connections_per_client=3)
    steady = [greeted(daemon, its_header) for its_header in headers[:3]]
    for its_header in headers[3:]:
        assert refused(daemon, its_header)["outcome"] == "client_limit"
    for _ in range(3):
        greeted(daemon, stranger)
    for peer in steady:
        peer.exchange(b"undisturbed")


def test_a_refusal_names_the_client_and_the_limit(unproxy, greeted, refused, echo):
    daemon = unproxy(echo.address, max_connections_per_client=1)
    greeted(daemon, header.v2("203.0.113.7:1"))
    line = refused(daemon, header.v2("203.0.113.7:2"))
    assert line["client"] == "203.0.113.7:2"
    assert line["reason"] == "too many connections of this client are open"
    assert "max_connections_per_client" in line["hint"]


@one_client
def test_a_connection_that_ends_makes_room_for_another(
        unproxy, greeted, refused, echo, headers, stranger):
    daemon = unproxy(echo.address, max_connections_per_client=1)
    for its_header, surplus in itertools.pairwise(headers):
        client = greeted(daemon, its_header)
        refused(daemon, surplus)
        client.close()
        assert daemon.connection(client)["outcome"] == "finished"


def test_whatever_ends_a_connection_makes_room(unproxy, greeted, connect, backend):
    """Also when there never was an upstream."""
    daemon = unproxy({"ipv4": backend.address, "ipv6": f"[::1]:{free_port()}"},
                     max_connections_per_client=1, idle_timeout_ms=50)
    for end in ["reset", "idle", "upstream"] * 3:
        client = connect(daemon)
        client.send(header.v2())
        application = backend.accept()
        if end == "reset":
            client.reset()
        elif end == "upstream":
            application.reset()
        daemon.wait_for_records(1, event="connection", peer=client.address)
    for _ in range(5):
        client = connect(daemon)
        client.offer(header.v2("[2001:db8::2]:1", "[2001:db8::1]:443"))
        assert client.was_reset()
        assert daemon.connection(client)["outcome"] == "upstream_refused"


@pytest.mark.threads
@one_client
def test_workers_count_together(unproxy, connect, echo, headers, stranger):
    daemon = unproxy(echo.address, settings={"workers": 2}, max_connections_per_client=10)
    clients = [connect(daemon) for _ in range(40)]
    for client, its_header in zip(clients, itertools.cycle(headers)):
        client.offer(its_header + b"hello")
    assert sum(is_answered(client) for client in clients) == 10
    daemon.wait_for_records(30, event="connection", outcome="client_limit")
    assert is_served(daemon, stranger)


# --- how fast ---


@one_client
def test_a_burst_and_not_one_more(unproxy, at_once, echo, headers, stranger):
    daemon = unproxy(echo.address, settings={"workers": 1},
                     connection_rate_per_client={"per_second": 1, "burst": 5})
    assert at_once(daemon, [*headers, stranger]) == [True] * 5 + [False] * 5 + [True]
    lines = daemon.wait_for_records(5, event="connection", outcome="client_limit")
    assert {line["reason"] for line in lines} == {"this client connects too often"}
    assert "connection_rate_per_client" in lines[0]["hint"]


def test_the_next_one_is_let_in_when_it_is_due(unproxy, at_once, echo):
    daemon = unproxy(echo.address, connection_rate_per_client={"per_second": 1, "burst": 5})
    start = time.monotonic()
    assert sum(at_once(daemon, [header.v2()] * 6)) == 5
    wait_until(lambda: is_served(daemon, header.v2()), "a client is served again")
    assert 1 <= time.monotonic() - start < 5 * SLOW


@pytest.mark.threads
def test_workers_hand_out_one_burst(unproxy, at_once, echo):
    daemon = unproxy(echo.address, settings={"workers": 2},
                     connection_rate_per_client={"per_second": 1, "burst": 10})
    assert sum(at_once(daemon, [header.v2()] * 40)) == 10


# --- who ---

DENIED = "the client is in clients.deny"
NOT_ALLOWED = "the client is not in clients.allow"
NO_ENDPOINT = "the header names no VPC endpoint"
NOT_LISTED = "the VPC endpoint is not in clients.vpc_endpoints"

OTHER_ENDPOINT = header.v2(tlvs=header.tlv(header.AWS, b"\x01vpce-0000000000000000"))

# What is configured, and what becomes of whom: served (None), or refused for a reason.
LISTS = {
    "deny": ({"deny": ["203.0.113.0/24", "2001:db8:1::/48"]}, [
        (header.v2("203.0.113.255:1"), DENIED),
        (header.v1("203.0.113.0:1"), DENIED),
        (header.v2("[2001:db8:1::7]:1", "[2001:db8::1]:443"), DENIED),
        (header.v2("[::ffff:203.0.113.1]:1", "[2001:db8::1]:443"), DENIED),
        (header.v2("203.0.114.0:1"), None),
        (header.v2("[2001:db8:2::7]:1", "[2001:db8::1]:443"), None),
        (header.v2_local(), None),
    ]),
    "allow": ({"allow": ["203.0.113.0/24"]}, [
        (header.v2("203.0.113.255:1"), None),
        (header.v2("203.0.114.0:1"), NOT_ALLOWED),
        (header.v2("[2001:db8::7]:1", "[2001:db8::1]:443"), NOT_ALLOWED),
        (header.v2_local(), NOT_ALLOWED),
    ]),
    "deny-and-allow": ({"deny": ["203.0.113.7"], "allow": ["203.0.113.0/24"]}, [
        (header.v2("203.0.113.6:1"), None),
        (header.v2("203.0.113.7:1"), DENIED),
        (header.v2("203.0.114.7:1"), NOT_ALLOWED),
    ]),
    "load-balancer": ({"deny": ["127.0.0.0/8"]}, [
        (header.v2(), None),
        (header.v2_local(), DENIED),
    ]),
    "vpc-endpoints": ({"vpc_endpoints": ["vpce-1", header.VPC_ENDPOINT]}, [
        (header.nlb_privatelink(), None),
        (header.v2(tlvs=header.tlv(header.AWS, b"\x01vpce-1")), None),
        (OTHER_ENDPOINT, NOT_LISTED),
        (header.v2(), NO_ENDPOINT),
        (header.v1(), NO_ENDPOINT),
        (header.NLB_HEALTH_CHECK, NO_ENDPOINT),
        (b"no header", NO_ENDPOINT),
    ]),
    "endpoint-and-address": ({"vpc_endpoints": [header.VPC_ENDPOINT], "deny": ["203.0.113.7"]}, [
        (header.nlb_privatelink("203.0.113.8:1"), None),
        (header.nlb_privatelink("203.0.113.7:1"), DENIED),
        (header.v2("203.0.113.7:1", tlvs=header.tlv(header.AWS, b"\x01vpce-1")), DENIED),
    ]),
}


@pytest.mark.parametrize("clients, cases", LISTS.values(), ids=LISTS.keys())
def test_who_is_let_in(unproxy, connect, refused, backend, clients, cases):
    daemon = unproxy(backend.address, header="optional", clients=clients)
    for its_header, reason in cases:
        if reason:
            line = refused(daemon, its_header)
            assert (line["outcome"], line["reason"]) == ("client_denied", reason)
            assert not backend.was_reached()
        else:
            peer = connect(daemon)
            peer.send(its_header + b"hello")
            application = backend.accept()
            assert application.receive(5) == b"hello"
            application.send(b"welcome")
            assert peer.receive(7) == b"welcome"


def test_health_checks_without_an_endpoint_are_told_where_to_go(unproxy, refused, backend):
    daemon = unproxy(backend.address, clients={"vpc_endpoints": [header.VPC_ENDPOINT]})
    line = refused(daemon, header.NLB_HEALTH_CHECK)
    assert line["command"] == "LOCAL"
    assert "/readyz" in line["hint"]


def test_an_endpoint_that_is_refused_is_in_the_log(unproxy, refused, backend):
    daemon = unproxy(backend.address, clients={"vpc_endpoints": ["vpce-1"]})
    line = refused(daemon, header.nlb_privatelink())
    assert line["tlv"]["aws_vpce_id"] == header.VPC_ENDPOINT


def test_who_is_refused_costs_a_client_nothing(unproxy, greeted, refused, echo):
    """Neither a connection nor a token."""
    daemon = unproxy(echo.address, max_connections_per_client=1,
                     connection_rate_per_client={"per_second": 1, "burst": 1},
                     clients={"vpc_endpoints": [header.VPC_ENDPOINT]})
    for _ in range(3):
        assert refused(daemon, OTHER_ENDPOINT)["outcome"] == "client_denied"
    greeted(daemon, header.nlb_privatelink())
    assert refused(daemon, header.nlb_privatelink())["outcome"] == "client_limit"


# --- what a reload changes ---


@pytest.mark.threads
def test_other_limits_are_those_of_new_connections(unproxy, reload, greeted, refused, echo):
    """Connections that were there before count."""
    daemon = unproxy(echo.address, max_connections_per_client=1)
    steady = [greeted(daemon, header.v2())]
    refused(daemon, header.v2())
    reload(daemon, max_connections_per_client=3)
    steady += [greeted(daemon, header.v2()) for _ in range(2)]
    refused(daemon, header.v2())
    reload(daemon, max_connections_per_client=2)
    steady.pop().close()
    daemon.wait_for_records(1, event="connection", outcome="finished")
    refused(daemon, header.v2())
    for peer in steady:
        peer.exchange(b"undisturbed")


@pytest.mark.threads
def test_other_lists_are_those_of_new_connections(unproxy, reload, greeted, refused, echo):
    daemon = unproxy(echo.address)
    steady = greeted(daemon, header.v2("203.0.113.7:1"))
    reload(daemon, clients={"deny": ["203.0.113.7"]})
    assert refused(daemon, header.v2("203.0.113.7:2"))["reason"] == DENIED
    greeted(daemon, header.v2("203.0.113.8:1"))
    reload(daemon, clients={"allow": ["203.0.113.7"]})
    assert refused(daemon, header.v2("203.0.113.8:2"))["reason"] == NOT_ALLOWED
    greeted(daemon, header.v2("203.0.113.7:3"))
    reload(daemon, clients={})
    greeted(daemon, header.v2("203.0.113.8:3"))
    steady.exchange(b"undisturbed")


# --- more than can be remembered ---

UNTRACKED = 'unproxy_clients_untracked_total{listener="test"} '
UPSTREAM_REFUSED = 'unproxy_connections_total{listener="test",reason="upstream_refused"} '


@pytest.mark.skipif(descriptors_allowed() < 4 * TRACKED_MIN,
                    reason=f"needs {4 * TRACKED_MIN} file descriptors")
def test_a_table_full_of_connections_locks_nobody_out(
        unproxy, socket_path, greeted, refused, echo):
    daemon = unproxy(echo.address, settings={"admin": {"listen": f"unix:{socket_path}"}},
                     max_connections_per_client=1, max_tracked_clients=TRACKED_MIN)
    for number in range(TRACKED_MIN):
        greeted(daemon, header.v2(f"198.18.{number // 256}.{number % 256}:1"))
    assert sample(socket_path, UNTRACKED) == 0
    for _ in range(3):
        greeted(daemon, header.v2("203.0.113.7:1"))
    assert sample(socket_path, UNTRACKED) == 3
    for number in range(0, TRACKED_MIN, 100):
        refused(daemon, header.v2(f"198.18.{number // 256}.{number % 256}:2"))


def was_reset(sock):
    """And close it: that leaves no port in TIME_WAIT, so the kernel has enough of them."""
    with contextlib.closing(sock):
        try:
            return sock.recv(1) is None
        except ConnectionResetError:
            return True


def attack(daemon, addresses):
    """Connect from each of @addresses, which are numbers of IPv6 networks, to where nobody listens."""
    target = split(daemon.address)
    under_way = deque()
    for number in addresses:
        if len(under_way) == UNDER_WAY:
            assert was_reset(under_way.popleft())
        sock = socket.create_connection(target, DEADLINE)
        under_way.append(sock)
        network = bytes.fromhex("20010db8") + number.to_bytes(4, "big")
        sock.send(header.v2_raw(0x21, 0x21, network + bytes(28)))
    assert all(was_reset(sock) for sock in under_way)


@pytest.mark.threads
def test_an_attacker_with_many_addresses_takes_nothing_from_others(
        unproxy, socket_path, greeted, echo):
    """Nor memory: what he leaves behind is bounded."""
    daemon = unproxy({"ipv4": echo.address, "ipv6": f"[::1]:{free_port()}"},
                     settings={"log": {"access": False},
                               "admin": {"listen": f"unix:{socket_path}"}},
                     max_connections_per_client=2, max_tracked_clients=TRACKED_MIN,
                     connection_rate_per_client={"per_second": 1, "burst": 1000})
    steady = [greeted(daemon, header.v2(f"203.0.113.7:{port}")) for port in (1, 2)]
    attack(daemon, range(5 * TRACKED_MIN))
    before = daemon.memory()
    attack(daemon, range(5 * TRACKED_MIN, ADDRESSES))
    assert SLOW > 1 or daemon.memory() - before < LEFT_BEHIND  # sanitizers keep what was freed
    assert sample(socket_path, UPSTREAM_REFUSED) == ADDRESSES
    assert sample(socket_path, UNTRACKED) == 0
    assert not is_served(daemon, header.v2("203.0.113.7:3"))
    for peer in steady:
        peer.exchange(b"undisturbed")
