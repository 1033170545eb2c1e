# SPDX-License-Identifier: MIT
"""/metrics says what happened: for every outcome, and to the byte."""

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import admin
import header
from daemon import BINARY
from limits import SLOW
from netns import Network
from peer import Backend
from processes import free_port, is_listening, output_of, wait_until

# How often each outcome is provoked.
TIMES = 3

OUTCOMES = Path(__file__).parents[2] / "src/obs/outcome.h"


@pytest.fixture
def counted(unproxy):
    """Start a daemon that can be scraped."""
    return lambda upstream, settings=None, **keys: unproxy(
        upstream, settings={**admin.ANYWHERE, **(settings or {})}, **keys)


@pytest.fixture
def greeted(connect):
    """Connect a client that is known to be served by an application that echoes."""
    def client(daemon):
        peer = connect(daemon)
        peer.send(header.v2())
        peer.exchange(b"hello")
        return peer

    return client


def ends(daemon):
    """Outcome to count, without those that did not occur."""
    found = admin.metrics(daemon).by("reason", "unproxy_connections_total", listener="test")
    return {reason: count for reason, count in found.items() if count}


def active(metrics):
    return metrics.by("state", "unproxy_connections_active", listener="test")


IDLE = {"header": 0, "connect": 0, "relay": 0}


def check(daemon, accepted, **expected):
    """These are the ends there were, and nothing is open."""
    wait_until(lambda: ends(daemon) == expected, f"{expected} are counted; {ends(daemon)}")
    found = admin.metrics(daemon)
    assert found.value("unproxy_connections_accepted_total", listener="test") == accepted
    assert active(found) == IDLE


# --- refusals: keys of the listener, and what is sent ---

REFUSALS = {
    "untrusted_source": ({"trusted_proxies": ["127.0.0.2"]}, b""),
    "header_timeout": ({"header_timeout_ms": 50}, b"PROXY "),
    "header_missing": ({}, b"\x00"),
    "header_malformed": ({}, b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"),
    "header_too_long": ({"max_header_bytes": 107},
                        header.v2(tlvs=header.tlv(header.NOOP, bytes(200)))),
    "header_crc": ({}, header.v2(tlvs=header.tlv(header.CRC32C, bytes(4)))),
    "header_version": ({"versions": [1]}, header.v2()),
    "client_address": ({}, header.v2("127.0.0.1:40001")),
    "client_denied": ({"clients": {"deny": ["203.0.113.0/24"]}}, header.v2()),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals_are_counted(counted, connect, backend, reason):
    keys, sent = REFUSALS[reason]
    daemon = counted(backend.address, **keys)
    for _ in range(TIMES):
        client = connect(daemon)
        client.offer(sent)
        assert client.was_reset()
    check(daemon, TIMES, **{reason: TIMES})


@pytest.mark.parametrize("reason, keys", [("listener_limit", {"max_connections": 1}),
                                          ("client_limit", {"max_connections_per_client": 1})])
def test_limits_are_counted(counted, connect, greeted, echo, reason, keys):
    daemon = counted(echo.address, **keys)
    served = greeted(daemon)
    for _ in range(TIMES):
        client = connect(daemon)
        client.offer(header.v2())
        assert client.was_reset()
    assert active(admin.metrics(daemon)) == {**IDLE, "relay": 1}
    served.close()
    check(daemon, TIMES + 1, finished=1, **{reason: TIMES})


def test_clients_that_end_before_the_header_is_whole_are_counted(counted, connect, backend):
    daemon = counted(backend.address)
    for _ in range(TIMES):
        connect(daemon).close()
        client = connect(daemon)
        client.send(b"PROXY ")
        client.close()
    check(daemon, 2 * TIMES, probe=TIMES, closed_in_header=TIMES)


# --- upstreams ---


def check_failing_upstream(daemon, connect, reason):
    for _ in range(TIMES):
        client = connect(daemon)
        client.send(header.v2() + b"hello")
        assert client.was_reset()
    check(daemon, TIMES, **{reason: TIMES})


def test_upstreams_that_refuse_are_counted(counted, connect):
    check_failing_upstream(counted(f"127.0.0.1:{free_port()}"), connect, "upstream_refused")


def test_upstreams_that_do_not_answer_are_counted(counted, connect, closing):
    mute = closing(Backend(backlog=0))
    connect(mute.address)
    daemon = counted(mute.address, connect_timeout_ms=100, upstream_check={"interval_ms": 0})
    check_failing_upstream(daemon, connect, "upstream_timeout")


def test_upstreams_that_cannot_be_asked_are_counted(counted, connect, tmp_path):
    no_folder = tmp_path / "file"
    no_folder.touch()
    check_failing_upstream(counted(f"unix:{no_folder}/socket"), connect, "upstream_error")


# --- relayed connections ---


def test_ends_of_relayed_connections_are_counted(counted, connect, greeted, backend, echo):
    daemon = counted(echo.address)
    for _ in range(TIMES):
        greeted(daemon).close()
        greeted(daemon).reset()
    check(daemon, 2 * TIMES, finished=TIMES, client_reset=TIMES)


def test_resets_by_the_application_are_counted(counted, connect, backend):
    daemon = counted(backend.address, upstream_check={"interval_ms": 0})
    for _ in range(TIMES):
        client = connect(daemon)
        client.send(header.v2() + b"x")
        application = backend.accept()
        application.receive(1)  # otherwise the reset may come while we connect, and be an upstream_error
        application.reset()
        assert client.was_reset()
    check(daemon, TIMES, upstream_reset=TIMES)


def test_idle_timeouts_are_counted(counted, greeted, echo):
    daemon = counted(echo.address, idle_timeout_ms=50)
    for _ in range(TIMES):
        greeted(daemon).wait_for_end()
    check(daemon, TIMES, idle_timeout=TIMES)


# --- transparent mode ---


@pytest.fixture
def network():
    """The test runs where the application does."""
    with contextlib.closing(Network()) as made, made.app.entered():
        output_of([BINARY, "routes", "up"])
        yield made


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@needs_root
def test_transparent_connections_that_fail_are_counted(network, counted, connect, closing):
    backend = closing(Backend())
    daemon = counted(backend.address, transparent=True)
    network.app.add_address("app", "10.9.8.1", 24)
    for _ in range(TIMES):
        for source in ("[2001:db8::7]:5000", "10.9.8.255:5000"):
            client = connect(daemon)
            client.offer(header.v2(source, source))
            assert client.was_reset()
    check(daemon, 2 * TIMES, family_mismatch=TIMES, bind_failed=TIMES)


@needs_root
def test_ports_that_are_taken_are_counted(network, counted, connect, echo):
    daemon = counted(echo.address, transparent=True)
    for _ in range(1 + TIMES):  # all say that they are the same client
        client = connect(daemon)
        client.send(header.v2())
        client.exchange(b"hello")
    found = admin.metrics(daemon)
    assert found.value("unproxy_port_conflicts_total", listener="test") == TIMES


# --- everything else ---


def test_no_outcome_is_forgotten():
    """All are provoked above but the last, which nobody can scrape: the process ends with it."""
    *outcomes, last = re.findall(r"X\((\w+), [01]\)", OUTCOMES.read_text())
    source = Path(__file__).read_text()
    assert last == "shutdown"
    assert len(outcomes) > 20
    assert [name for name in outcomes if f'"{name}"' not in source and f"{name}=" not in source] == []


def check_bytes(daemon, expected):
    """A worker counts what it has sent: right after we have it."""
    def counted():
        return admin.metrics(daemon).by("direction", "unproxy_bytes_total", listener="test")

    wait_until(lambda: counted() == expected, f"{expected} are counted; {counted()}")


@pytest.mark.threads
def test_bytes_are_counted_to_the_byte(counted, connect, backend):
    daemon = counted(backend.address, settings={"workers": 2}, upstream_check={"interval_ms": 0})
    client = connect(daemon)
    client.send(header.v2() + b"question")
    application = backend.accept()
    assert application.receive(8) == b"question"
    check_bytes(daemon, {"in": 8, "out": 0})
    application.send(bytes(1 << 20))
    client.receive(1 << 20)
    check_bytes(daemon, {"in": 8, "out": 1 << 20})


def test_headers_are_counted_by_version_and_command(counted, connect, echo):
    daemon = counted(echo.address, header="optional")
    kinds = {("1", "PROXY"): header.v1(), ("1", "UNKNOWN"): b"PROXY UNKNOWN\r\n",
             ("2", "PROXY"): header.v2(), ("2", "LOCAL"): header.v2_local(), ("0", "NONE"): b""}
    for times, sent in enumerate(kinds.values(), 1):
        for _ in range(times):
            client = connect(daemon)
            client.send(sent)
            client.exchange(b"hello")
    found = admin.metrics(daemon)
    for times, (version, command) in enumerate(kinds, 1):
        assert found.value("unproxy_headers_total", listener="test", version=version,
                           command=command) == times


def test_states_are_counted_while_they_last(counted, connect, greeted, echo):
    daemon = counted(echo.address)
    waiting = [connect(daemon) for _ in range(2)]
    relayed = [greeted(daemon) for _ in range(3)]
    wait_until(lambda: active(admin.metrics(daemon)) == {"header": 2, "connect": 0, "relay": 3},
               "all are counted")
    for client in waiting + relayed:
        client.close()
    check(daemon, 5, probe=2, finished=3)


def test_histograms_hold_every_connection_at_its_time(counted, connect, echo):
    daemon = counted(echo.address)
    for _ in range(TIMES):
        client = connect(daemon)
        client.send(header.v2())
        client.exchange(b"hello")
    late = connect(daemon)
    late.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        late.receive(1)
    late.send(header.v2())
    late.exchange(b"hello")
    found = admin.metrics(daemon)
    for name in ("unproxy_header_seconds", "unproxy_connect_seconds"):
        buckets = found.by("le", name + "_bucket", listener="test")
        in_order = [buckets[le] for le in sorted(buckets, key=float)]
        assert in_order == sorted(in_order)
        assert in_order[-1] == found.value(name + "_count", listener="test") == TIMES + 1
    buckets = found.by("le", "unproxy_header_seconds_bucket", listener="test")
    assert buckets["0.25"] == TIMES
    assert found.value("unproxy_header_seconds_sum", listener="test") >= 0.3


@pytest.mark.threads
def test_counts_are_those_of_all_workers(counted, connect, echo):
    daemon = counted(echo.address, settings={"workers": 4})
    for number in range(100):
        client = connect(daemon)
        client.send(header.v2() if number % 2 else b"no header")
        if number % 2:
            client.exchange(b"hello")
            client.close()
        else:
            assert client.was_reset()
    check(daemon, 100, finished=50, header_missing=50)
    assert admin.metrics(daemon).value("unproxy_workers") == 4


def test_listeners_are_told_apart_whatever_their_names(launch, connect, echo, tmp_path):
    """The name is the user's, and promtool reads what we make of it."""
    names = ['"quoted" \\ back', "línea €", "a,b={c} d"]
    config = tmp_path / "unproxy.json"
    listeners = [{"name": name, "listen": "127.0.0.1:0", "upstream": echo.address,
                  "trusted_proxies": ["127.0.0.1"]} for name in names]
    config.write_text(json.dumps({**admin.ANYWHERE, "user": "root", "listeners": listeners}))
    daemon = launch("run", "-c", config, listeners=3)
    for times, address in enumerate(daemon.addresses, 1):
        for _ in range(times):
            client = connect(address)
            client.send(header.v2())
            client.exchange(b"hello")
    text = admin.get(daemon, "/metrics").text
    found = admin.Metrics(text).by("listener", "unproxy_connections_accepted_total")
    assert found == dict(zip(names, (1, 2, 3)))
    promtool(text)


def promtool(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(),
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_has_nothing_to_say(counted, connect, echo):
    daemon = counted(echo.address)
    client = connect(daemon)
    client.send(header.v2())
    client.exchange(b"hello")
    answer = admin.get(daemon, "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    promtool(answer.text)


def test_log_lines_that_are_lost_are_counted(counted, connect, echo, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    ports = [free_port(), free_port()]
    try:
        daemon = counted(echo.address, listen=f"127.0.0.1:{ports[0]}",
                         settings={"log": {"output": str(fifo)},
                                   "admin": {"listen": f"127.0.0.1:{ports[1]}"}},
                         options={"listeners": 0})
        target = f"127.0.0.1:{ports[0]}"

        def dropped():
            text = admin.exchange(f"127.0.0.1:{ports[1]}", admin.request("/metrics")).text
            return admin.Metrics(text).value("unproxy_log_dropped_total")

        wait_until(lambda: is_listening(ports[1]), "unproxy listens")
        assert dropped() == 0
        for _ in range(3000):
            client = connect(target)
            client.send(header.v2())
            client.exchange(b"hello")
            client.close()
        assert 0 < dropped() < 3000
        daemon.terminate()
        assert daemon.wait() == 0
    finally:
        os.close(reader)


def test_the_process_is_described(counted, echo, connect):
    daemon = counted(echo.address)
    before = admin.metrics(daemon)
    clients = [connect(daemon) for _ in range(10)]
    wait_until(lambda: active(admin.metrics(daemon))["header"] == 10, "they are accepted")
    after = admin.metrics(daemon)
    assert after.value("process_open_fds") == before.value("process_open_fds") + len(clients)
    assert after.value("process_max_fds") == daemon.soft_descriptor_limit()
    assert after.value("process_cpu_seconds_total") >= before.value("process_cpu_seconds_total") > 0
    assert 1 << 20 < after.value("process_resident_memory_bytes") < 1 << 30 * SLOW
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert after.value("process_threads") == int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1])


def test_reloads_are_counted(counted, echo, tmp_path):
    daemon = counted(echo.address)
    config = tmp_path / "unproxy.json"
    good = config.read_text()
    config.write_text("{")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_records(1, event="reload")
    found = admin.metrics(daemon)
    assert found.by("result", "unproxy_config_reloads_total") == {"success": 0, "failure": 1}
    assert found.value("unproxy_config_last_reload_success") == 0
    config.write_text(good)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_records(2, event="reload")
    found = admin.metrics(daemon)
    assert found.by("result", "unproxy_config_reloads_total") == {"success": 1, "failure": 1}
    assert found.value("unproxy_config_last_reload_success") == 1
