# SPDX-License-Identifier: MIT
"""Transparent mode: what the application sees of the client, in namespaces of clients, load balancer and
application."""

import contextlib
import os
import re

import pytest

import applications
import header
import senders
from daemon import BINARY
from limits import SLOW
from netns import Network
from peer import Backend, Echo, join, open_peer, split
from processes import knowing_hosts, output_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

CLIENTS = [Network.CLIENT, Network.CLIENT6]

# Each is an IPv4 and an IPv6 address that an application listens on, and a pair that reaches it.
PLACES = {
    "loopback": (("127.0.0.1", "::1"), ("127.0.0.1", "::1")),
    "everywhere": (("0.0.0.0", "::"), ("127.0.0.1", "::1")),
    "everywhere-by-interface": (("0.0.0.0", "::"), (Network.APP, Network.APP6)),
    "interface": ((Network.APP, Network.APP6), (Network.APP, Network.APP6)),
}

each_place = pytest.mark.parametrize("place", PLACES)


@pytest.fixture(autouse=True)
def network():
    """Three namespaces. The test itself runs in the application's, with the routes in place."""
    with contextlib.closing(Network()) as made, made.app.entered():
        output_of([BINARY, "routes", "up"])
        yield made


@pytest.fixture
def transparent(network, unproxy):
    """Start a transparent daemon in front of an application: of an address, or of a port in a place."""
    def start(upstream, place="loopback", **listener):
        if isinstance(upstream, int):
            ipv4, ipv6 = (join((host, upstream)) for host in PLACES[place][1])
            upstream = {"ipv4": ipv4, "ipv6": ipv6}
        return unproxy(upstream, **{
            "listen": "[::]:0",
            "transparent": True,
            "trusted_proxies": [Network.BALANCER, Network.BALANCER6, "127.0.0.1"],
            **listener,
        })

    return start


@pytest.fixture
def balanced(network, transparent, sender):
    """The same behind HAProxy: a function that says where a client of an address goes to."""
    def start(upstream, place="loopback", server_options="send-proxy-v2"):
        daemon = transparent(upstream, place)
        with network.lb.entered():
            front = sender(senders.haproxy, join((Network.APP, daemon.port)), server_options,
                           hosts=list(Network.FRONT.values()))
        port = split(front.address)[1]
        return lambda client: join((Network.FRONT[client], port))

    return start


@pytest.fixture
def client_connects(network, connect):
    """A client's own connection, through HAProxy."""
    def open_there(address):
        with network.clients.entered():
            return connect(address)

    return open_there


@pytest.fixture
def balancer_connects(network, connect):
    """A connection that the test plays the load balancer of."""
    def open_there(daemon, data=b""):
        with network.lb.entered():
            peer = connect(join((Network.APP, daemon.port)))
        peer.send(data)
        return peer

    return open_there


# --- real applications see the real client ---


def http_get(network, address):
    """(what the application answers, the client's own address)"""
    output = network.clients.run("curl", "--silent", "--show-error", "--fail", "--max-time", "10",
                                 "--write-out", "%{local_ip} %{local_port}", f"http://{address}/")
    seen, own = output.splitlines()
    host, port = own.split()
    return seen, join((host, port))


@each_place
def test_nginx(network, balanced, place):
    with applications.nginx(PLACES[place][0], "$remote_addr $remote_port") as nginx:
        front = balanced(nginx.port, place)
        for client in CLIENTS:
            seen, own = http_get(network, front(client))
            assert join(seen.split()) == own
            assert split(own)[0] == client


HBA = f"""
local all all trust
host all all {Network.CLIENT}/24 trust
host all all {Network.CLIENT6}/64 trust
host all all {Network.OTHER_CLIENT}/24 reject
"""


@pytest.mark.parametrize("place", ["loopback", "everywhere-by-interface", "interface"])
def test_postgresql(network, balanced, place):
    with applications.postgresql(hosts=PLACES[place][0], hba=HBA) as postgresql:
        front = balanced(postgresql.port, place)

        def psql(client):
            host, port = split(front(client))
            return network.clients.run("psql", "--no-psqlrc", "-h", host, "-p", port, "-U", "test",
                                       "-d", "postgres", "-At", "-c", "SELECT inet_client_addr()")

        for client in CLIENTS:
            assert psql(client).strip() == client
        with pytest.raises(AssertionError) as refused:
            psql(Network.OTHER_CLIENT)
        assert f'pg_hba.conf rejects connection for host "{Network.OTHER_CLIENT}"' \
            in str(refused.value)


@each_place
def test_redis(network, balanced, place):
    # Its protected mode refuses whoever is not local, which is the point here.
    with applications.redis(hosts=PLACES[place][0], options=["--protected-mode", "no"]) as redis:
        front = balanced(redis.port, place)
        for client in CLIENTS:
            host, port = split(front(client))
            listed = network.clients.run("redis-cli", "-h", host, "-p", port, "CLIENT", "LIST")
            [seen] = re.findall(r" addr=(\S+)", listed)
            assert split(seen)[0] == client


@each_place
def test_sshd(network, balanced, place):
    with applications.sshd(hosts=PLACES[place][0]) as sshd:
        front = balanced(sshd.port, place)
        for client in CLIENTS:
            host, port = split(front(client))
            login = sshd.command(f"Port={port}", "echo $SSH_CONNECTION")
            login[login.index("-o"):] = ["-o", f"HostName={host}", *login[login.index("-o"):]]
            seen = network.clients.run(*login).split()
            assert seen[0] == client


def test_the_port_is_the_clients_too(balanced, client_connects, backend):
    front = balanced(backend.address)
    client = client_connects(front(Network.CLIENT))
    client.send(b"hello")
    seen = backend.accept()
    assert seen.receive(5) == b"hello"
    assert join(seen.socket.getpeername()) == client.address


def test_health_checks_come_from_the_load_balancer(transparent, balancer_connects, backend):
    daemon = transparent(backend.address)
    balancer = balancer_connects(daemon, header.NLB_HEALTH_CHECK + b"ping")
    seen = backend.accept()
    assert seen.receive(4) == b"ping"
    assert join(seen.socket.getpeername()) == balancer.address


def test_haproxys_health_checks_come_from_it(balanced, backend):
    balanced(backend.address, server_options="send-proxy-v2 check check-send-proxy inter 100ms")
    check, (address, _) = backend.listener.accept()
    check.close()
    assert address == Network.BALANCER


@pytest.mark.parametrize("data", [b"PROXY UNKNOWN\r\n", header.v2_raw(0x21, 0x00, b""), b""],
                         ids=["v1-unknown", "v2-unspec", "no-header"])
def test_without_addresses_the_peer_is_the_client(transparent, balancer_connects, backend, data):
    daemon = transparent(backend.address, header="optional")
    balancer = balancer_connects(daemon, data + b"hello, I am a client")
    seen = backend.accept()
    assert seen.receive(5) == b"hello"
    assert join(seen.socket.getpeername()) == balancer.address


def test_untrusted_peers_that_are_passed_are_themselves(transparent, balancer_connects, backend):
    daemon = transparent(backend.address, trusted_proxies=["192.0.2.1"], untrusted="pass")
    stranger = balancer_connects(daemon, header.v2())
    seen = backend.accept()
    assert seen.receive(12) == header.SIGNATURE
    assert join(seen.socket.getpeername()) == stranger.address


def test_a_mapped_address_is_the_ipv4_client(transparent, balancer_connects, backend):
    daemon = transparent(backend.address)
    balancer_connects(daemon, b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:203.0.113.8 40001 80\r\n")
    assert join(backend.accept().socket.getpeername()) == "203.0.113.7:40001"


def test_the_access_line_says_so(transparent, balancer_connects, backend):
    daemon = transparent(backend.address)
    client = balancer_connects(daemon, header.v2())
    backend.accept().close()
    client.finish()
    line = daemon.connection(client)
    assert line["transparent"] is True
    assert line["client"] == header.CLIENT
    assert "reason" not in line


# --- a load balancer on the same host ---


def test_a_load_balancer_on_this_host_is_itself(transparent, connect, backend):
    """Not forged: it is the peer. Its port is in use here, by its connection to us."""
    daemon = transparent(backend.address)
    balancer = connect(f"127.0.0.1:{daemon.port}")
    balancer.send(header.v2_local() + b"hello")
    seen = backend.accept()
    assert seen.receive(5) == b"hello"
    assert seen.socket.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("upstream", ["127.0.0.1", Network.APP])
def test_loopback_clients_if_allowed(transparent, balancer_connects, closing, upstream):
    backend = closing(Backend(f"{upstream}:0"))
    daemon = transparent(backend.address, allow_loopback_clients=True)
    balancer_connects(daemon, header.v2("127.0.0.1:40001"))
    assert join(backend.accept().socket.getpeername()) == "127.0.0.1:40001"


# --- sources that are refused ---


@pytest.mark.parametrize("source, why", [
    ("127.0.0.1:5000", "loopback"),
    ("127.255.255.255:5000", "loopback"),
    ("0.0.0.0:5000", "unspecified"),
    ("224.0.0.1:5000", "multicast"),
    ("239.255.255.255:5000", "multicast"),
    ("255.255.255.255:5000", "broadcast"),
    ("10.9.0.255:5000", "broadcast"),
    ("[::1]:5000", "loopback"),
    ("[::]:5000", "unspecified"),
    ("[ff02::1]:5000", "multicast"),
    ("[fe80::1]:5000", "link-local"),
])
def test_sources_that_no_client_has(transparent, balancer_connects, closing, source, why):
    backend = closing(Backend("[::1]:0" if "[" in source else "127.0.0.1:0"))
    daemon = transparent(backend.address)
    client = balancer_connects(daemon, header.v2(source, source))
    assert client.was_reset()
    line = daemon.connection(client)
    assert line["outcome"] == "client_address"
    assert why in line["reason"]
    assert line["hint"]
    assert not backend.was_reached()


def test_a_broadcast_address_that_came_later(network, transparent, balancer_connects, backend):
    """The kernel would make 127.0.0.1 of it."""
    daemon = transparent(backend.address)
    network.app.add_address("app", "10.9.8.1", 24)
    client = balancer_connects(daemon, header.v2("10.9.8.255:5000") + b"harmful")
    assert client.was_reset()
    line = daemon.connection(client)
    assert line["outcome"] == "bind_failed"
    assert "replaced" in line["reason"]
    if backend.was_reached():  # it is reset before a byte is sent
        assert backend.accepted[0].was_reset()


def test_a_listener_is_no_client(transparent, balancer_connects, backend):
    port = 30999
    daemon = transparent(backend.address, listen=f"[::]:{port}")
    client = balancer_connects(daemon, header.v2(f"{Network.APP}:{port}"))
    assert client.was_reset()
    line = daemon.connection(client)
    assert line["outcome"] == "client_address"
    assert "listener" in line["reason"]
    balancer_connects(daemon, header.v2(f"203.0.113.7:{port}"))  # a client may have that port
    assert backend.accept().socket.getpeername()[0] == "203.0.113.7"


def test_a_socket_does_not_connect_to_itself(transparent, balancer_connects):
    """An application that is down, and a header that claims to come from it."""
    with contextlib.closing(Backend()) as gone:
        address = gone.address
    daemon = transparent(address, allow_loopback_clients=True)
    client = balancer_connects(daemon, header.v2(address) + b"echo?")
    assert client.was_reset()
    assert daemon.connection(client)["outcome"] == "upstream_refused"


# --- families ---


@pytest.mark.parametrize("upstream, client", [("127.0.0.1:0", "[2001:db8::7]:40001"),
                                              ("[::1]:0", header.CLIENT)], ids=["ipv6", "ipv4"])
def test_a_family_that_the_application_does_not_have(transparent, balancer_connects, closing,
                                                     upstream, client):
    backend = closing(Backend(upstream))
    daemon = transparent(backend.address)
    balancer = balancer_connects(daemon, header.v2(client, client))
    assert balancer.was_reset()
    line = daemon.connection(balancer)
    assert line["outcome"] == "family_mismatch"
    assert '{"ipv4": …, "ipv6": …}' in line["hint"]
    assert not backend.was_reached()


@pytest.mark.parametrize("host, client", [("127.0.0.1", header.CLIENT),
                                          ("::1", "[2001:db8::7]:40001")])
def test_a_name_is_used_by_the_clients_family(transparent, balancer_connects, closing, tmp_path,
                                              host, client):
    backend = closing(Backend(join((host, 0))))
    prefix = knowing_hosts(tmp_path, "127.0.0.1 both\n::1 both\n")
    daemon = transparent(f"both:{split(backend.address)[1]}", options={"prefix": prefix})
    balancer_connects(daemon, header.v2(client, client))
    assert join(backend.accept().socket.getpeername()[:2]) == client


def test_a_name_without_the_clients_family(transparent, balancer_connects, tmp_path):
    prefix = knowing_hosts(tmp_path, "127.0.0.1 old\n")
    daemon = transparent("old:1", options={"prefix": prefix})
    balancer = balancer_connects(daemon, header.v2("[2001:db8::7]:40001", "[2001:db8::8]:40001"))
    assert balancer.was_reset()
    assert daemon.connection(balancer)["outcome"] == "family_mismatch"


# --- ports ---


def test_the_same_port_while_the_old_connection_lives(transparent, balancer_connects, backend):
    daemon = transparent(backend.address)
    balancer_connects(daemon, header.v2() + b"first")
    first = backend.accept()
    second_client = balancer_connects(daemon, header.v2() + b"second")
    second = backend.accept()
    assert join(first.socket.getpeername()) == header.CLIENT
    address, port = second.socket.getpeername()
    assert address == split(header.CLIENT)[0]
    assert port != split(header.CLIENT)[1]
    assert first.receive(5) == b"first"
    assert second.receive(6) == b"second"
    second.close()
    second_client.finish()
    assert daemon.connection(second_client)["reason"] == \
        "the client's port was taken; another was used"


@pytest.mark.parametrize("host", ["127.0.0.1", Network.APP])
@pytest.mark.parametrize("first_to_close", ["client", "application"])
def test_the_same_port_while_the_old_connection_is_in_time_wait(transparent, balancer_connects,
                                                                closing, host, first_to_close):
    backend = closing(Backend(f"{host}:0"))
    daemon = transparent(backend.address)
    for _ in range(3):
        client = balancer_connects(daemon, header.v2())
        application = backend.accept()
        assert application.socket.getpeername()[0] == split(header.CLIENT)[0]
        ends = [client.finish, application.close]
        for end in ends if first_to_close == "client" else reversed(ends):
            end()
        assert client.receive_rest() == b""
        assert daemon.connection(client)["outcome"] == "finished"


def test_a_port_that_a_local_program_listens_on(transparent, balancer_connects, closing, backend):
    listening = closing(Backend("0.0.0.0:0"))
    port = split(listening.address)[1]
    daemon = transparent(backend.address)
    balancer_connects(daemon, header.v2(f"203.0.113.7:{port}"))
    address, other_port = backend.accept().socket.getpeername()
    assert address == "203.0.113.7"
    assert other_port != port


def test_port_0_is_no_conflict(transparent, balancer_connects, backend):
    daemon = transparent(backend.address)
    client = balancer_connects(daemon, header.v2("203.0.113.7:0"))
    application = backend.accept()
    assert application.socket.getpeername()[0] == "203.0.113.7"
    application.close()
    client.finish()
    assert "reason" not in daemon.connection(client)


# --- the application is down ---


@pytest.mark.parametrize("host", ["127.0.0.1", Network.APP, "::1", Network.APP6])
def test_an_application_that_is_down_refuses_at_once(transparent, balancer_connects, host):
    with contextlib.closing(Backend(join((host, 0)))) as gone:
        address = gone.address
    daemon = transparent(address)
    source = "[2001:db8::7]:40001" if ":" in host else header.CLIENT
    client = balancer_connects(daemon, header.v2(source, source))
    assert client.was_reset()
    line = daemon.connection(client)
    assert line["outcome"] == "upstream_refused"
    assert line["duration_ms"] < 1000 * SLOW


# --- the kernel's settings ---


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_reverse_path_filter(network, balanced, client_connects, mode):
    for interface in ("all", "lo", "app"):
        network.app.set(f"net.ipv4.conf.{interface}.rp_filter", mode)
    for host in ("127.0.0.1", Network.APP):
        with contextlib.closing(Backend(f"{host}:0")) as backend:
            client = client_connects(balanced(backend.address)(Network.CLIENT))
            client.send(b"hello")
            application = backend.accept()
            assert application.receive(5) == b"hello"
            assert join(application.socket.getpeername()) == client.address
            application.send(b"hello yourself")
            assert client.receive(14) == b"hello yourself"


def test_direct_clients_of_the_application_are_left_alone(network, transparent, closing, connect):
    backend = closing(Backend("0.0.0.0:0"))
    transparent(f"127.0.0.1:{split(backend.address)[1]}")
    with network.lb.entered():
        direct = connect(join((Network.APP, split(backend.address)[1])))
    assert join(backend.accept().socket.getpeername()) == direct.address


# --- many ---


def established(port):
    """Sockets that this namespace still holds connected to a port of the application."""
    listed = output_of(["ss", "-Htn", "state", "established", "state", "close-wait", "state",
                        "fin-wait-1", "state", "fin-wait-2", f"( dport = :{port} or sport = :{port} )"])
    return listed.decode().splitlines()


def client_number(number):
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:{10000 + number % 50000}"


def test_many_clients_one_after_the_other(network, transparent, closing):
    count = 20000 // SLOW ** 2
    backend = closing(Backend())
    daemon = transparent(backend.address, connect_timeout_ms=60000)
    before = daemon.open_descriptors()
    target = join((Network.APP, daemon.port))
    with network.lb.entered():
        for number in range(count):
            with contextlib.closing(open_peer(target)) as client:
                client.send(header.v2(client_number(number)) + b"?")
                sock, address = backend.listener.accept()
                with sock:
                    assert join(address) == client_number(number)
                    sock.sendall(b"!")
                    assert client.receive(1) == b"!"
                    client.finish()
                    assert sock.recv(10) == b"?"
                    assert sock.recv(10) == b""
                assert client.ended()
    daemon.wait_for_records(count, event="connection", outcome="finished")
    assert not established(split(backend.address)[1])
    assert len(daemon.open_descriptors()) <= len(before)


def test_many_clients_at_once(network, transparent, closing):
    count = 5000 // SLOW
    echo = closing(Echo())
    daemon = transparent(echo.address, connect_timeout_ms=60000)
    before = daemon.open_descriptors()
    target = join((Network.APP, daemon.port))
    with network.lb.entered():
        clients = [closing(open_peer(target)) for _ in range(count)]
    for number, client in enumerate(clients):
        client.send(header.v2(client_number(number)) + b"hello")
    for client in clients:
        assert client.receive(5) == b"hello"
    assert len(established(split(echo.address)[1])) == 2 * count
    for client in clients:
        client.finish()
    for client in clients:
        assert client.ended()
    daemon.wait_for_records(count, event="connection", outcome="finished")
    assert not established(split(echo.address)[1])
    assert len(daemon.open_descriptors()) <= len(before)
