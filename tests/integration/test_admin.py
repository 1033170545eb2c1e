# SPDX-License-Identifier: MIT
"""The admin endpoint: what its pages say, and that its clients, however they behave, are bounded and in nobody's way."""

import contextlib
import json
import signal
import socket
import statistics
import time

import pytest

import admin
import header
from limits import DEADLINE, SLOW, descriptors_allowed
from peer import open_peer, split
from processes import wait_until

# What the header of src/admin/admin_server.h promises.
REQUESTS_MAX = 64
PATIENCE = 5  # [s]

# Connections of a hostile crowd.
CROWD = 1000

# What they may cost: 64 times 10 KiB, answers, and what malloc() keeps, which is much under ASan [bytes].
CROWD_MEMORY = (2 << 20) * SLOW**2

# Round trips through the data path, for a median and a 99th percentile; the best of some, for the machine has other work.
ROUND_TRIPS = 1000 // SLOW
ROUNDS = 6


@pytest.fixture
def daemon(unproxy, echo):
    return unproxy(echo.address, settings=admin.ANYWHERE)


@pytest.fixture
def address(daemon):
    return admin.address_of(daemon)


def check_works(address):
    assert admin.exchange(address, admin.request("/healthz")).json() == {"status": "ok"}


# --- requests ---


@pytest.mark.parametrize("before", [
    b"", header.v1(), header.v2(), header.v2_local(), header.NLB_HEALTH_CHECK,
    header.nlb_privatelink(), b"PROXY UNKNOWN\r\n", header.v2("[2001:db8::7]:1", "[2001:db8::1]:2"),
], ids=["none", "v1", "v2", "local", "nlb-check", "privatelink", "unknown", "ipv6"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_with_and_without_a_proxy_header(address, before, version):
    answer = admin.exchange(address, before + admin.request("/healthz", version=version))
    assert answer.status == 200
    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/connections"])
def test_head_is_get_without_the_body(address, path):
    whole = admin.exchange(address, admin.request(path))
    head = admin.exchange(address, admin.request(path, "HEAD"))
    assert whole.status == head.status == 200
    assert len(whole.body) == int(whole.headers["Content-Length"])
    assert head.body == b""
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert head.headers["Connection"] == "close"
    assert head.headers["Cache-Control"] == "no-store"
    assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("data, status", [
    (admin.request("/nothing"), 404),
    (admin.request("/metrics/"), 404),
    (admin.request("/%6detrics"), 404),
    (admin.request("/" + "x" * 4000), 404),
    (admin.request("/metrics", "POST"), 405),
    (admin.request("/", "DELETE"), 405),
    (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", 413),
    (b"GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
    (b"GET /" + b"x" * 9000, 414),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, 431),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    (b"PROXY TCP4 nonsense\r\n" + admin.request("/"), 400),
    (header.v2() + header.v2() + admin.request("/"), 400),
    (bytes(100), 400),
])
def test_what_is_no_request_for_a_page_is_refused(address, data, status):
    answer = admin.exchange(address, data)
    assert answer.status == status
    assert answer.text.startswith(f"{status} ")
    assert ("Allow" in answer.headers) == (status == 405)


def test_a_megabyte_of_request_line_gets_its_answer(address):
    """In order, although nobody read most of it."""
    assert admin.exchange(address, b"GET /" + b"x" * (1 << 20)).status == 414


def test_pipelined_requests_get_one_answer(address):
    answer = admin.exchange(address, admin.request("/healthz") * 100)
    assert answer.json() == {"status": "ok"}


def test_it_listens_on_a_unix_socket(unproxy, echo, socket_path):
    path = f"unix:{socket_path}"
    daemon = unproxy(echo.address, settings={"admin": {"listen": path}})
    check_works(path)
    daemon.terminate()
    assert daemon.wait() == 0
    assert not socket_path.exists()


def test_without_the_key_nothing_listens(unproxy, echo):
    daemon = unproxy(echo.address)
    assert not daemon.find(event="admin")


# --- pages ---


def test_the_index_names_the_pages(address):
    text = admin.exchange(address, admin.request("/")).text
    for path in ("/metrics", "/healthz", "/readyz", "/connections"):
        assert f"\n{path} " in text


@pytest.mark.threads
def test_connections_of_all_workers_are_listed(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={**admin.ANYWHERE, "workers": 4})
    clients = [connect(daemon) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(header.v2(f"203.0.113.7:{1000 + number}"))
        client.exchange(b"hello")
    page = admin.get(daemon, "/connections").json()
    assert page["total"] == len(clients)
    assert page["truncated"] is False
    found = {line["peer"]: line for line in page["connections"]}
    assert len({line["id"] for line in page["connections"]}) == len(clients)
    for number, client in enumerate(clients):
        line = found[client.address]
        assert line["client"] == f"203.0.113.7:{1000 + number}"
        assert line["duration_ms"] > 0
        for key, value in {"listener": "test", "state": "relay", "destination": header.DESTINATION,
                           "command": "PROXY", "version": 2, "upstream": echo.address,
                           "transparent": False, "bytes_in": 5, "bytes_out": 5}.items():
            assert line[key] == value
        client.close()
    wait_until(lambda: admin.get(daemon, "/connections").json()["total"] == 0, "all have ended")


def test_a_page_of_very_many_connections_says_that_it_is_not_complete(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={**admin.ANYWHERE, "workers": 1})
    clients = [connect(daemon) for _ in range(1100)]
    for client in clients:
        client.send(header.v2())
    for client in clients:
        client.exchange(b"hello")
    page = admin.get(daemon, "/connections").json()
    assert page["total"] == 1100
    assert page["truncated"] is True
    assert len(page["connections"]) == 1000
    assert page["connections"][0]["peer"] == clients[0].address  # the oldest ones


def test_readiness_ends_with_the_signal_to_end(daemon, connect):
    client = connect(daemon)
    client.send(header.v2())
    client.exchange(b"hello")
    address = admin.address_of(daemon)
    wait_until(lambda: admin.get(daemon, "/readyz").status == 200, "ready")
    assert admin.get(daemon, "/readyz").json() == {"status": "ready"}
    daemon.terminate()
    wait_until(lambda: admin.exchange(address, admin.request("/readyz")).status == 503, "draining")
    page = admin.exchange(address, admin.request("/readyz")).json()
    assert page["status"] == "unready"
    assert "draining" in page["reasons"][0]["reason"]
    check_works(address)  # the process is fine
    text = admin.exchange(address, admin.request("/metrics")).text
    assert admin.Metrics(text).value("unproxy_draining") == 1
    client.close()
    assert daemon.wait() == 0


# --- reloads ---


def rewrite(tmp_path, settings):
    """Change the settings beside the listeners, for the next SIGHUP."""
    path = tmp_path / "unproxy.json"
    config = json.loads(path.read_text())
    config.pop("admin", None)
    path.write_text(json.dumps({**config, **settings}))


def reload(daemon, count):
    daemon.signal(signal.SIGHUP)
    return daemon.wait_for_records(count, event="reload")[-1]


def test_a_reload_moves_it(daemon, tmp_path):
    before = admin.address_of(daemon)
    rewrite(tmp_path, {"admin": {"listen": "127.0.0.2:0"}})
    assert reload(daemon, 1)["level"] == "info"
    daemon.wait_for_records(2, event="admin")
    after = admin.address_of(daemon)
    assert after.startswith("127.0.0.2:")
    check_works(after)
    with pytest.raises(ConnectionRefusedError):
        open_peer(before)
    rewrite(tmp_path, {})
    reload(daemon, 2)
    with pytest.raises(ConnectionRefusedError):
        open_peer(after)
    rewrite(tmp_path, admin.ANYWHERE)
    reload(daemon, 3)
    daemon.wait_for_records(4, event="admin")
    check_works(admin.address_of(daemon))


def test_a_reload_without_a_change_keeps_its_connections(daemon, connect):
    address = admin.address_of(daemon)
    client = connect(address)
    client.send(b"GET /healthz")
    reload(daemon, 1)
    client.send(b" HTTP/1.0\r\n\r\n")
    assert admin.parse_answer(client.receive_rest()).status == 200


def test_a_reload_to_a_port_that_is_taken_is_refused(daemon, tmp_path, backend):
    before = admin.address_of(daemon)
    rewrite(tmp_path, {"admin": {"listen": backend.address}})
    line = reload(daemon, 1)
    assert line["level"] == "error"
    assert f"admin: cannot listen on {backend.address}" in line["message"]
    check_works(before)


def test_a_port_that_is_taken_is_told_at_the_start(launch, tmp_path, backend, capfd):
    config = tmp_path / "unproxy.json"
    config.write_text(json.dumps({
        "listeners": [{"listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "trusted_proxies": ["::1"]}],
        "admin": {"listen": backend.address}}))
    daemon = launch("run", "-c", config, listeners=0, plain_text=True)
    assert daemon.wait() == 1
    assert f"unproxy: admin: cannot listen on {backend.address}: " in daemon.other[0]


# --- hostile clients ---


class Hostile:
    """Connections that do something and then nothing; closed ones are not opened again."""

    def __init__(self, address, size, data=b""):
        self.sockets = []
        target = split(address)
        for _ in range(size):
            sock = socket.create_connection(target, DEADLINE)
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.send(data)
            self.sockets.append(sock)

    def drip(self, byte):
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.send(byte)

    def open(self):
        """How many the daemon has not closed."""
        return sum(self._is_open(sock) for sock in self.sockets)

    @staticmethod
    def _is_open(sock):
        try:
            while sock.recv(65536):
                pass
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self):
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def hostile(closing):
    return lambda *arguments: closing(Hostile(*arguments))


def test_slow_clients_are_closed_in_time(address, hostile):
    """Whether they say nothing, too little, a byte at a time, or do not listen."""
    crowds = [hostile(address, 5), hostile(address, 5, b"GET /"), hostile(address, 5, header.v2()[:20]),
              hostile(address, 5, admin.request("/metrics"))]
    dripping = hostile(address, 5)
    start = time.monotonic()

    def all_closed():
        dripping.drip(b"x")
        return not any(crowd.open() for crowd in [*crowds[:3], dripping])

    wait_until(all_closed, "all are closed", PATIENCE + DEADLINE)
    assert time.monotonic() - start > PATIENCE - 1
    check_works(address)


def test_a_crowd_is_kept_to_its_size(address, hostile):
    crowd = hostile(address, 300)
    wait_until(lambda: crowd.open() <= REQUESTS_MAX, "the oldest are closed")
    assert crowd.open() == REQUESTS_MAX
    check_works(address)
    assert crowd.open() == REQUESTS_MAX - 1  # it made room


def round_trips(client):
    """Median and 99th percentile, in ms."""
    times = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        client.exchange(b"x" * 64)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), sorted(times)[len(times) * 99 // 100]


def best_round_trips(client):
    rounds = [round_trips(client) for _ in range(ROUNDS)]
    return tuple(min(column) for column in zip(*rounds))


CROWDS = {
    "silent": b"",
    "half-a-request": b"GET /metrics HTTP/1.1\r\nHost: ",
    "answers-not-taken": admin.request("/metrics"),
    "header": header.v2(tlvs=header.tlv(header.NOOP, bytes(4000)))[:-1],
}


@pytest.mark.skipif(descriptors_allowed() < 2 * CROWD, reason=f"needs {2 * CROWD} file descriptors")
@pytest.mark.parametrize("data", CROWDS.values(), ids=CROWDS.keys())
def test_a_crowd_costs_little_memory_and_the_data_path_nothing(daemon, address, hostile, connect, data):
    client = connect(daemon)
    client.send(header.v2())
    before = best_round_trips(client)
    memory = daemon.memory()
    hostile(address, CROWD, data)
    meanwhile = best_round_trips(client)
    grown = daemon.memory() - memory
    print(f"median and p99 before {before}, meanwhile {meanwhile} ms; {grown} bytes more")
    assert grown < CROWD_MEMORY
    assert meanwhile[0] < 2 * before[0] + 0.1 * SLOW
    assert meanwhile[1] < 3 * before[1] + 1 * SLOW
    check_works(address)
