# SPDX-License-Identifier: MIT
"""A day's work on a proxy that is in use: not one of thousands of connections a second may notice, and the numbers
must add up."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import admin
import header
from daemon import listener_config
from limits import BULK_MIB
from load import MESSAGE, RATE, TOOLS, Load, application
from peer import open_peer
from processes import free_port, running, wait_until
from service import Service
from transfer import POOL, receive_bulk

STRANGERS = ["192.0.2.0/24"]

# A load lasts at least so long [s].
LOAD_SECONDS = 2

# How often each is done under load, at least.
RELOADS = 50
HAND_OVERS = 10
RESTARTS = 20

# What a long transfer is, each way [bytes].
LONG = min(BULK_MIB, 100) << 20


@pytest.fixture
def echo_port():
    with application() as port:
        yield port


@pytest.fixture
def serve(launch, tmp_path):
    """Start a daemon with an admin endpoint: serve(listener, …) is a Service."""
    def start(*listeners, **settings):
        return Service(launch, tmp_path / "unproxy.json", listeners, log={"access": False},
                       **admin.ANYWHERE, **settings)

    return start


# --- numbers ---


class Scraper(threading.Thread):
    """Reads /metrics and /connections of @daemon without a pause until close(). Counters of @listener, which stays,
    never go down."""

    def __init__(self, daemon, listener):
        super().__init__()
        self.scraped = daemon
        self.listener = listener
        self.rounds = 0
        self.error = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        before = {}
        try:
            while not self._stopping.is_set():
                before = self._look_at_metrics(before)
                self._look_at_connections()
                self.rounds += 1
        except (OSError, ValueError, AssertionError) as error:
            self.error = error

    def _look_at_metrics(self, before):
        metrics = admin.metrics(self.scraped)
        now = {key: value for key, value in metrics.samples.items()
               if ("listener", self.listener) in key[1] and is_counter(metrics, key[0])}
        for key, value in before.items():
            assert now[key] >= value, f"{key} has gone down from {value}"
        return now

    def _look_at_connections(self):
        page = admin.get(self.scraped, "/connections").json()
        assert page["total"] == len(page["connections"])
        assert all(connection["listener"] == self.listener for connection in page["connections"])

    def close(self):
        self._stopping.set()
        self.join()

    def stop(self):
        """Returns how often all went well."""
        self.close()
        if self.error:
            raise self.error
        return self.rounds


def is_counter(metrics, name):
    """Or a part of a histogram."""
    return metrics.types.get(name) != "gauge"


def is_idle(daemon):
    """Nobody is served."""
    open_now = admin.metrics(daemon).by("state", "unproxy_connections_active", listener="test")
    return not any(open_now.values())


@pytest.mark.threads
def test_metrics_are_what_clients_counted(serve, closing, echo_port):
    """While the configuration changes all the time, and somebody reads them all the time."""
    plain = listener_config(f"127.0.0.1:{echo_port}")
    other = listener_config("127.0.0.1:9", name="other")
    changes = [
        [plain, other],
        [{**plain, "max_connections": 1000, "trusted_proxies": ["127.0.0.0/8", *STRANGERS]}],
        [{**plain, "clients": {"deny": STRANGERS}, "max_connections_per_client": 1000}, other],
        [plain],
    ]
    service = serve(plain)
    scraper = closing(Scraper(service.daemon, "test"))
    loads = [closing(Load(service.daemon.port, 8, kind)) for kind in ("v1", "v2", "v2-nlb")]
    end = time.monotonic() + LOAD_SECONDS
    reloads = 0
    while reloads < RELOADS or time.monotonic() < end:
        service.reload_to(*changes[reloads % len(changes)])
        for load in loads:
            load.assert_undisturbed()
        reloads += 1
    reports = [load.stop() for load in loads]
    served = [count for count, _ in reports]
    assert sum(rate for _, rate in reports) >= RATE
    assert scraper.stop() > 1

    wait_until(lambda: is_idle(service.daemon), "the last connection has ended")
    found = admin.metrics(service.daemon)
    assert found.by("result", "unproxy_config_reloads_total") == {"success": reloads, "failure": 0}
    everybody = sum(served)
    assert found.value("unproxy_connections_accepted_total", listener="test") == everybody
    ends = found.by("reason", "unproxy_connections_total", listener="test")
    assert {reason: count for reason, count in ends.items() if count} == {"finished": everybody}
    assert found.by("direction", "unproxy_bytes_total", listener="test") == {
        "in": everybody * MESSAGE, "out": everybody * MESSAGE}
    assert found.by("version", "unproxy_headers_total", listener="test", command="PROXY") == {
        "1": served[0], "2": served[1] + served[2]}
    for histogram in ("unproxy_header_seconds", "unproxy_connect_seconds"):
        assert found.value(f"{histogram}_count", listener="test") == everybody
        assert found.value(f"{histogram}_bucket", listener="test", le="+Inf") == everybody
        assert found.value(f"{histogram}_sum", listener="test") > 0
    assert found.value("unproxy_accept_errors_total", listener="test") == 0


# --- hand-overs ---


def serves(daemon):
    """Has this process, of those that share the port, been given a connection?"""
    return admin.metrics(daemon).value("unproxy_connections_accepted_total", listener="test") > 0


def sockets_at(port):
    """The inodes of those that listen there."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


@pytest.mark.threads
def test_hand_overs_lose_nothing(serve, closing, echo_port):
    """To as many workers as before, to more and to fewer. Each socket lives on, for with it would go what waits in it."""
    plain = listener_config(f"127.0.0.1:{echo_port}")
    service = serve(plain)
    sockets = sockets_at(service.daemon.port)
    assert len(sockets) == 2
    load = closing(Load(service.daemon.port))
    end = time.monotonic() + LOAD_SECONDS
    hand_overs = 0
    while hand_overs < HAND_OVERS or time.monotonic() < end:
        service.configure([plain], workers=[2, 3, 1][hand_overs % 3])
        service.daemon.hand_over()
        wait_until(lambda: serves(service.daemon), "the new process is given connections")
        load.assert_undisturbed()
        hand_overs += 1
    _, rate = load.stop()
    assert rate >= RATE
    assert sockets_at(service.daemon.port) == sockets


# --- restarts of an application ---


def application_at(port):
    """Starts in the block; when, unproxy knows."""
    return running([TOOLS / "bench_backend", port, 1], lambda output: True)


def readiness(daemon):
    """What is wrong with which listener."""
    page = admin.get(daemon, "/readyz")
    problems = page.json().get("reasons", [])
    assert page.status == (503 if problems else 200)
    return {problem["listener"]: problem["reason"] for problem in problems}


def is_open(listener):
    try:
        open_peer(listener["listen"]).close()
        return True
    except ConnectionRefusedError:
        return False


def check_served(connect, listener):
    client = connect(listener["listen"])
    client.send(header.v2())
    client.exchange(b"echo")
    client.close()


@pytest.mark.threads
def test_restarts_of_one_application_are_nothing_to_another(serve, connect, closing, echo_port):
    """The port of the one refuses while it is down, whichever process serves."""
    port = free_port()
    gated = listener_config(f"127.0.0.1:{port}", name="gated", listen=f"127.0.0.1:{free_port()}",
                            upstream_check={"interval_ms": 20, "close_listener": True})
    service = serve(listener_config(f"127.0.0.1:{echo_port}"), gated)
    daemon = service.daemon
    load = closing(Load(daemon.port))
    for number in range(RESTARTS):
        wait_until(lambda: not is_open(gated), "it refuses connections")
        assert "gated" in readiness(daemon)
        if number % 5 == 0:
            daemon.hand_over()
            wait_until(lambda: "gated" in readiness(daemon) and not is_open(gated),
                       "the new process refuses them")
        with application_at(port):
            wait_until(lambda: is_open(gated), "it accepts connections")
            assert not readiness(daemon)
            check_served(connect, gated)
            if number % 5 == 2:
                daemon.hand_over()
                assert is_open(gated)
                wait_until(lambda: not readiness(daemon), "the new process knows that all is well")
                check_served(connect, gated)
        load.assert_undisturbed()
    _, rate = load.stop()
    assert rate >= RATE


# --- a long transfer ---


def send_until(event, peer, size):
    """Send at least @size bytes and until @event, then end. Returns the digest of it."""
    digest = hashlib.sha256()
    sent = 0
    while sent < size or not event.is_set():
        peer.send(POOL)
        digest.update(POOL)
        sent += len(POOL)
    peer.finish()
    return digest.hexdigest()


@pytest.mark.threads
def test_a_long_transfer_outlives_the_process_that_serves(serve, connect, closing, backend):
    plain = listener_config(backend.address)
    other = listener_config("127.0.0.1:9", name="other")
    service = serve(plain)
    client = connect(service.daemon)
    client.send(header.v2())
    served = backend.accept()
    done = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(send_until, done, peer, LONG) for peer in (client, served)]
        received = [threads.submit(receive_bulk, peer, 7700) for peer in (served, client)]
        try:
            for number in range(6):
                service.reload_to({**plain, "max_connections": number}, *[other] * (number % 2))
            service.daemon.hand_over(wait=False)
            for number in range(6):
                service.reload_to({**plain, "trusted_proxies": STRANGERS}, *[other] * (number % 2))
            assert connect(service.daemon).was_reset()  # by the new process
            assert service.daemon.before[0].poll() is None
        finally:
            done.set()
    assert [digest.result() for digest in sent] == [digest.result() for digest in received]
    client.close()
    served.close()
    assert service.daemon.before[0].wait() == 0
