# SPDX-License-Identifier: MIT
"""SIGHUP: what has changed in the configuration is taken over, and nobody who is served notices; or nothing is."""

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import header
from daemon import BINARY, listener_config
from load import RATE, Load, application
from netns import Namespace
from peer import open_peer
from processes import directory, output_of, wait_until
from service import Service
from transfer import POOL, receive_bulk

pytestmark = pytest.mark.threads

STRANGERS = ["192.0.2.0/24"]

# Reloads during a transfer, and, at least, under load.
RELOADS_DURING_TRANSFER = 20
RELOADS_UNDER_LOAD = 50

# The load lasts at least so long [s].
LOAD_SECONDS = 2

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@pytest.fixture
def serve(launch, tmp_path):
    return lambda *listeners, **options: Service(launch, tmp_path / "unproxy.json", listeners,
                                                 **options)


@pytest.fixture
def converse(connect, backend):
    """A client and the application that serves it."""
    def connected(address):
        client = connect(address)
        client.send(header.v2())
        return client, backend.accept()

    return connected


def exchange(client, served):
    client.send(b"question")
    assert served.receive(8) == b"question"
    served.send(b"answer")
    assert client.receive(6) == b"answer"


def hang_up(client, served):
    client.close()
    assert served.ended()
    served.close()


# --- what goes on ---

def test_trust_lists_apply_to_new_connections_alone(serve, connect, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    established = converse(service.daemon.address)
    message = service.reload_to({**plain, "trusted_proxies": STRANGERS})
    assert message == "SIGHUP: 1 listener kept, 0 added, 0 removed"
    for _ in range(8):  # both workers
        assert connect(service.daemon).was_reset()
    exchange(*established)
    service.reload_to(plain)
    exchange(*converse(service.daemon.address))
    exchange(*established)


def test_timeouts_apply_to_new_connections_alone(serve, connect, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    in_header = connect(service.daemon)
    in_header.send(header.v2()[:10])
    established = converse(service.daemon.address)
    service.reload_to({**plain, "header_timeout_ms": 50, "idle_timeout_ms": 50})
    late = connect(service.daemon)
    assert late.was_reset()
    assert service.daemon.connection(late)["outcome"] == "header_timeout"
    silent, _ = converse(service.daemon.address)
    assert silent.was_reset()
    assert service.daemon.connection(silent)["outcome"] == "idle_timeout"
    exchange(*established)
    in_header.send(header.v2()[10:])
    exchange(in_header, backend.accept())


def test_limits_apply_to_new_connections_at_once(serve, connect, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    established = [converse(service.daemon.address) for _ in range(3)]
    service.reload_to({**plain, "max_connections": 3})
    assert connect(service.daemon).was_reset()
    for pair in established:
        exchange(*pair)
    service.reload_to({**plain, "max_connections": 4})
    exchange(*converse(service.daemon.address))


def test_lists_in_files_are_read_again(serve, connect, converse, backend, tmp_path):
    trusted = tmp_path / "trusted.json"
    trusted.write_text('["127.0.0.1"]')
    service = serve(listener_config(backend.address, trusted_proxies=["balancers"]),
                    proxy_lists={"balancers": {"file": "trusted.json"}})
    converse(service.daemon.address)
    trusted.write_text(json.dumps(STRANGERS))
    service.reload()
    assert connect(service.daemon).was_reset()


def send_until(event, peer):
    """Send all the while, then end. Returns the digest of it."""
    digest = hashlib.sha256()
    while not event.is_set():
        peer.send(POOL)
        digest.update(POOL)
    peer.finish()
    return digest.hexdigest()


def test_a_long_transfer_stays_intact(serve, converse, backend):
    plain = listener_config(backend.address)
    other = listener_config(backend.address, name="other")
    service = serve(plain)
    client, served = converse(service.daemon.address)
    reloaded = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(send_until, reloaded, peer) for peer in (client, served)]
        received = [threads.submit(receive_bulk, peer, 7700) for peer in (served, client)]
        try:
            for number in range(RELOADS_DURING_TRANSFER):
                service.reload_to({**plain, "idle_timeout_ms": 50 * (number % 2)},
                                  *[other] * (number % 2))
        finally:
            reloaded.set()
    assert [digest.result() for digest in sent] == [digest.result() for digest in received]


def test_who_waits_to_be_accepted_is_served(serve, connect, backend):
    plain = listener_config(backend.address)
    other = listener_config(backend.address, name="other")
    service = serve(plain, other)
    addresses = service.daemon.addresses
    service.configure([{**plain, "max_connections": 1000},
                       listener_config(backend.address, name="new")])
    with service.daemon.paused():
        clients = [connect(address) for address in addresses for _ in range(20)]
        for client in clients:
            client.send(header.v2() + b"hello")
            client.finish()
        service.daemon.signal(signal.SIGHUP)
    for _ in clients:
        served = backend.accept()
        assert served.receive_rest() == b"hello"
        served.close()
    service.daemon.wait_for_records(1, event="reload", level="info")
    with pytest.raises(ConnectionRefusedError):
        open_peer(addresses[1])
    exchange_with = connect(service.address_of("new"))
    exchange_with.send(header.v2())
    exchange(exchange_with, backend.accept())


def test_port_0_is_the_same_port_afterwards(serve, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    service.reload_to({**plain, "max_header_bytes": 200}, listener_config(backend.address, name="b"))
    assert len(service.daemon.find(event="listening")) == 2
    exchange(*converse(service.daemon.address))
    exchange(*converse(service.address_of("b")))


def test_unix_sockets(serve, converse, backend, socket_path):
    plain = listener_config(backend.address)
    local = listener_config(backend.address, name="local", listen=f"unix:{socket_path}",
                            trusted_proxies=["unix:"])
    service = serve(plain)
    service.reload_to(plain, local)
    number = socket_path.stat().st_ino
    established = converse(f"unix:{socket_path}")
    service.reload_to(local, plain)
    assert socket_path.stat().st_ino == number
    exchange(*converse(f"unix:{socket_path}"))
    service.reload_to(plain)
    assert not socket_path.exists()
    exchange(*established)


def test_many_signals_are_one_or_two_reloads(serve, converse, backend):
    service = serve(listener_config(backend.address))
    established = converse(service.daemon.address)
    with service.daemon.paused():
        for _ in range(20):
            service.daemon.signal(signal.SIGHUP)
    service.daemon.wait_for_records(1, event="reload", level="info")
    exchange(*established)
    assert len(service.daemon.find(event="reload")) <= 2


# --- under load ---

def test_reload_under_load(serve, closing, tmp_path):
    """Not one connection to a listener that stays is lost."""
    with application() as port:
        plain = listener_config(f"127.0.0.1:{port}")
        changes = [
            [plain],
            [listener_config("127.0.0.1:9", name="first"), plain],
            [{**plain, "trusted_proxies": ["127.0.0.0/8", *STRANGERS], "max_connections": 10000}],
            [{**plain, "upstream": f"localhost:{port}"},
             listener_config("127.0.0.1:9", name="last")],
        ]
        service = serve(plain, log={"access": False})
        descriptors = service.daemon.open_descriptors()
        load = closing(Load(service.daemon.port))
        end = time.monotonic() + LOAD_SECONDS
        reloads = 0
        while reloads < RELOADS_UNDER_LOAD or time.monotonic() < end:
            service.reload_to(*changes[reloads % len(changes)], log={"access": False})
            load.assert_undisturbed()
            reloads += 1
        _, rate = load.stop()
        service.reload_to(plain, log={"access": False})
        wait_until(lambda: service.daemon.open_descriptors() == descriptors,
                   "nothing is left open but what was")
    assert rate >= RATE


# --- the log ---

def test_the_level_of_the_log(serve, connect, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    service.reload_to(plain, log={"level": "debug"})
    connect(service.daemon).close()
    service.daemon.wait_for_records(1, event="connection", outcome="probe", level="debug")


def test_the_access_log_can_be_switched_off(serve, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    silent = service.reload_to(plain, log={"access": False})
    assert silent == "SIGHUP: 1 listener kept, 0 added, 0 removed"
    unlogged, served = converse(service.daemon.address)
    hang_up(unlogged, served)
    service.reload_to(plain)
    logged, served = converse(service.daemon.address)
    hang_up(logged, served)
    service.daemon.connection(logged)
    assert not service.daemon.find(event="connection", peer=unlogged.address)


def test_the_format_of_the_log(serve, backend):
    plain = listener_config(backend.address)
    service = serve(plain, options={"plain_text": True})
    service.configure([plain], log={"format": "text"})
    service.daemon.signal(signal.SIGHUP)
    assert "1 listener kept" in service.daemon.wait_for_output("SIGHUP: ")


def test_the_output_of_the_log(serve, converse, backend, tmp_path):
    plain = listener_config(backend.address)
    log = tmp_path / "unproxy.log"
    service = serve(plain)
    service.configure([plain], log={"output": str(log)})
    service.daemon.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "1 listener kept" in log.read_text(), "the line in the file")
    client, served = converse(service.daemon.address)
    hang_up(client, served)
    wait_until(lambda: client.address in log.read_text(), "the access line in the file")
    assert not service.daemon.find(event="connection")
    service.reload_to(plain)


# --- what is refused ---

def broken_json(service, plain, tmp_path):
    service.file.write_text('{"listeners": [')
    return f"{service.file}:1:16: "


def empty_file(service, plain, tmp_path):
    service.file.write_text("")
    return f"{service.file}:1:1: "


def no_file(service, plain, tmp_path):
    service.file.unlink()
    return "No such file or directory"


def unknown_key(service, plain, tmp_path):
    service.configure([{**plain, "idle_timeout": 5}])
    return 'idle_timeout: unknown key; did you mean "idle_timeout_ms"?'


def number_out_of_range(service, plain, tmp_path):
    service.configure([{**plain, "max_header_bytes": 1}])
    return "listeners[0].max_header_bytes"


def name_twice(service, plain, tmp_path):
    service.configure([plain, {**plain, "listen": "127.0.0.2:0"}])
    return "listeners[1].name"


def no_trust(service, plain, tmp_path):
    service.configure([{**plain, "trusted_proxies": []}])
    return "listeners[0].trusted_proxies"


def list_that_is_missing(service, plain, tmp_path):
    service.configure([{**plain, "trusted_proxies": ["lost"]}],
                      proxy_lists={"lost": {"file": "lost.json"}})
    return "lost.json: No such file or directory"


def list_that_is_broken(service, plain, tmp_path):
    (tmp_path / "list.json").write_text('["10.0.0.0/33"]')
    service.configure([{**plain, "trusted_proxies": ["list"]}],
                      proxy_lists={"list": {"file": "list.json"}})
    return "10.0.0.0/33"


def list_that_is_a_pipe(service, plain, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    service.configure([{**plain, "trusted_proxies": ["list"]}],
                      proxy_lists={"list": {"file": "pipe"}})
    return "is a pipe, and a reload reads it again; use a file"


def port_in_use(service, plain, tmp_path):
    service.configure([plain, {**plain, "name": "b", "listen": plain["upstream"]}])
    return f'listener "b": cannot listen on {plain["upstream"]}: Address already in use; '


def no_such_address(service, plain, tmp_path):
    service.configure([plain, {**plain, "name": "b", "listen": "192.0.2.1:8080"}])
    return 'listener "b": cannot listen on 192.0.2.1:8080: Cannot assign requested address; '


def no_such_folder(service, plain, tmp_path):
    service.configure([plain, {**plain, "name": "b", "listen": "unix:/nowhere/socket",
                               "trusted_proxies": ["unix:"]}])
    return "the folder does not exist"


def log_that_cannot_be_written(service, plain, tmp_path):
    service.configure([plain], log={"output": str(tmp_path)})
    return f"log.output: {tmp_path}: Is a directory"


@pytest.mark.parametrize("break_it", [
    broken_json, empty_file, no_file, unknown_key, number_out_of_range, name_twice, no_trust,
    list_that_is_missing, list_that_is_broken, list_that_is_a_pipe, port_in_use, no_such_address,
    no_such_folder, log_that_cannot_be_written])
def test_a_broken_reload_changes_nothing(serve, converse, backend, tmp_path, break_it):
    plain = listener_config(backend.address)
    service = serve(plain)
    established = converse(service.daemon.address)
    reason = break_it(service, plain, tmp_path)
    descriptors = service.daemon.open_descriptors()
    for _ in range(2):
        assert reason in service.refuse()
    assert service.daemon.open_descriptors() == descriptors
    exchange(*established)
    exchange(*converse(service.daemon.address))
    service.reload_to(plain)  # put right


def test_workers_stay_as_many_as_they_are(serve, converse, backend):
    plain = listener_config(backend.address)
    service = serve(plain)
    tasks = len(os.listdir(f"/proc/{service.daemon.pid}/task"))
    service.reload_to(plain, workers=4)
    warning = service.daemon.find(event="reload", level="warn")[0]["message"]
    assert warning == "`workers` takes a restart (or SIGUSR2) to change: 2 stay"
    assert len(os.listdir(f"/proc/{service.daemon.pid}/task")) == tasks
    exchange(*converse(service.daemon.address))


# --- where the configuration comes from ---

def send_hangup(daemon, level):
    daemon.signal(signal.SIGHUP)
    return daemon.wait_for_records(1, event="reload", level=level)[0]["message"]


def test_standard_input_cannot_be_read_again(launch, converse, backend):
    config = json.dumps({"user": "root", "listeners": [listener_config(backend.address)]})
    daemon = launch("run", "-c", "-", stdin=config.encode())
    assert "standard input, which cannot be read again; give it as -c FILE" in \
        send_hangup(daemon, "error")
    exchange(*converse(daemon.address))


def test_a_pipe_cannot_be_read_again(launch, converse, backend, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    config = json.dumps({"user": "root", "listeners": [listener_config(backend.address)]})
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pipe.write_text, config)
        daemon = launch("run", "-c", pipe)
    assert "a pipe, which cannot be read again; give it as -c FILE" in send_hangup(daemon, "error")
    exchange(*converse(daemon.address))


def test_the_environment_is_the_same_but_lists_are_read_again(launch, connect, converse, backend,
                                                              tmp_path):
    trusted = tmp_path / "trusted.json"
    trusted.write_text('["127.0.0.1"]')
    daemon = launch("run", environment={"UNPROXY_CONFIG": json.dumps({
        "user": "root", "proxy_lists": {"balancers": {"file": str(trusted)}},
        "listeners": [listener_config(backend.address, trusted_proxies=["balancers"])]})})
    exchange(*converse(daemon.address))
    trusted.write_text(json.dumps(STRANGERS))
    send_hangup(daemon, "info")
    assert connect(daemon).was_reset()


def test_flags_are_the_same(launch, converse, backend):
    daemon = launch("run", "--listen", "127.0.0.1:0", "--upstream", backend.address, "--trust",
                    "127.0.0.1")
    established = converse(daemon.address)
    assert send_hangup(daemon, "info") == "SIGHUP: 1 listener kept, 0 added, 0 removed"
    exchange(*established)


# --- without the privileges of the start ---

@pytest.fixture
def serve_as_nobody(launch):
    """In a namespace of its own, for ports below 1024."""
    with contextlib.closing(Namespace()) as namespace, namespace.entered(), directory() as path:
        path.chmod(0o755)
        output_of([BINARY, "routes", "up"])
        yield lambda *listeners: Service(launch, path / "unproxy.json", listeners, user="nobody")


@needs_root
def test_a_file_that_only_root_can_read(serve_as_nobody):
    service = serve_as_nobody(listener_config("127.0.0.1:9"))
    service.file.chmod(0o600)
    message = service.refuse()
    assert "Permission denied; unproxy runs as nobody since its start: make the file readable" in \
        message
    service.file.chmod(0o644)
    service.reload()


@needs_root
def test_a_port_below_1024(serve_as_nobody):
    plain = listener_config("127.0.0.1:9", listen="127.0.0.1:80")
    service = serve_as_nobody(plain)
    service.configure([plain, {**plain, "name": "b", "listen": "127.0.0.1:81"}])
    message = service.refuse()
    assert 'listener "b": cannot listen on 127.0.0.1:81: Permission denied; ' in message
    assert "let systemd open the socket, or lower net.ipv4.ip_unprivileged_port_start" in message
    service.reload_to({**plain, "name": "renamed"})  # it keeps the socket of the start


@needs_root
def test_a_listener_that_is_to_become_transparent(serve_as_nobody):
    plain = listener_config("127.0.0.1:9")
    service = serve_as_nobody(plain)
    service.configure([{**plain, "transparent": True}])
    assert "CAP_NET_RAW, which is given up at the start if no listener is transparent; restart" in \
        service.refuse()


@needs_root
def test_transparent_listeners_that_come_and_go(serve_as_nobody):
    plain = listener_config("127.0.0.1:9")
    service = serve_as_nobody({**plain, "transparent": True})
    service.reload_to({**plain, "transparent": True}, {**plain, "name": "b", "transparent": True})
    service.reload_to(plain)
    service.reload_to({**plain, "transparent": True})
