# SPDX-License-Identifier: MIT
"""`unproxy health`: asks at the admin address, says nothing if all is well, and never takes long."""

import contextlib
import json
import signal
import socket
import subprocess
import time

import pytest

from daemon import BINARY, listener_config
from limits import CLOCK_MS, DEADLINE
from peer import Backend, split
from processes import free_port, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_READY = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\r\n"
             b'{"ready":false}')


@pytest.fixture
def health():
    """Start `unproxy health`."""
    with contextlib.ExitStack() as ends:
        def start(*arguments, **options):
            process = ends.enter_context(subprocess.Popen(
                [BINARY, "health", *map(str, arguments)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options))
            ends.callback(process.kill)
            return process

        yield start


def outcome(process):
    """(exit status, standard output, standard error)"""
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def answer(server, *pieces):
    """Play the admin server for one request. Returns the request."""
    peer = server.accept()
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += peer.receive(1)
    for piece in pieces:
        peer.send(piece)
    peer.close()
    return request


def written(tmp_path, **settings):
    path = tmp_path / "unproxy.json"
    path.write_text(json.dumps({"listeners": [listener_config("127.0.0.1:9")], **settings}))
    return path


@pytest.mark.parametrize("options, page", [([], b"/healthz"), (["--ready"], b"/readyz")])
def test_healthy_is_silent(health, backend, options, page):
    process = health(*options, backend.address)
    assert answer(backend, OK).startswith(b"GET " + page + b" HTTP/1.")
    assert outcome(process) == (0, "", "")


def test_unix_socket(health, closing, socket_path):
    server = closing(Backend(f"unix:{socket_path}"))
    process = health(server.address)
    answer(server, OK)
    assert outcome(process) == (0, "", "")


def test_name(health, backend):
    process = health(f"localhost:{split(backend.address)[1]}")
    answer(backend, OK)
    assert outcome(process) == (0, "", "")


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "[::]"])
def test_listening_everywhere_is_asked_on_loopback(health, closing, everywhere):
    server = closing(Backend(f"{everywhere}:0"))
    process = health(server.address)
    answer(server, OK)
    assert outcome(process) == (0, "", "")


def test_answer_may_come_in_pieces(health, backend):
    process = health(backend.address)
    answer(backend, *(bytes([byte]) for byte in OK))
    assert outcome(process) == (0, "", "")


def test_not_ready_shows_why(health, backend):
    process = health("--ready", backend.address)
    answer(backend, NOT_READY)
    status, out, err = outcome(process)
    assert (status, out) == (1, '{"ready":false}\n')
    assert err == f"unproxy: {backend.address}: /readyz: status 503; the answer says why\n"


def test_another_server_is_not_taken_for_ours(health, backend):
    process = health(backend.address)
    answer(backend, b"HTTP/1.1 404 Not Found\r\n\r\n")
    status, out, err = outcome(process)
    assert (status, out) == (1, "")
    assert "status 404; give the address of `admin.listen`" in err


@pytest.mark.parametrize("garbage", [
    b"", b"\0", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2OO OK\r\n",
    b"HTTP/2.0 200 OK\r\n", b"http/1.1 200 OK\r\n", b"x" * 100_000,
], ids=lambda garbage: repr(garbage[:12]))
def test_no_http(health, backend, garbage):
    process = health(backend.address)
    peer = backend.accept()
    peer.offer(garbage)
    with contextlib.suppress(OSError):  # it may have seen enough, and reset the connection
        peer.finish()
    status, out, err = outcome(process)
    assert (status, out) == (1, "")
    assert "the answer is not HTTP" in err


def test_endless_answer_is_cut(health, backend):
    """A megabyte is more than the buffers of both sockets take without a reader."""
    process = health(backend.address)
    peer = backend.accept()
    peer.offer(NOT_READY + b"x" * (1 << 20))
    status, out, _ = outcome(process)
    assert status == 1
    assert len(out) < 65536 + 2


def test_reset(health, backend):
    process = health(backend.address)
    backend.accept().reset()
    status, out, err = outcome(process)
    assert (status, out) == (1, "")
    assert "onnection reset by peer" in err


def test_nobody_there(health, socket_path):
    for address, words in [(f"127.0.0.1:{free_port()}", "Connection refused; nothing listens there"),
                           (f"unix:{socket_path}", "No such file or directory; check the path")]:
        status, out, err = outcome(health(address))
        assert (status, out) == (1, "")
        assert err.startswith(f"unproxy: {address}: cannot connect: {words}")


@pytest.mark.parametrize("drip", [b"", b"H", OK[:-1]], ids=["silent", "one byte", "no end"])
def test_deadline_is_for_all_of_it(health, backend, drip):
    """Not even who keeps sending can hold it up."""
    start = time.monotonic()
    process = health("--timeout-ms", 200, backend.address)
    peer = backend.accept()
    peer.send(drip)
    status, out, err = outcome(process)
    assert time.monotonic() - start >= 0.2 - CLOCK_MS / 1000
    assert (status, out) == (1, "")
    assert err.startswith(f"unproxy: {backend.address}: no answer within 200 ms; ")


def test_deadline_holds_while_connecting(health):
    """The accept queue is full, so SYNs are dropped. SIGALRM is blocked, as whoever starts us may have it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as ends:
        for _ in range(3):
            waiting = ends.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        status, _, err = outcome(health(
            "--timeout-ms", 100, f"127.0.0.1:{server.getsockname()[1]}",
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])))
    assert status == 1
    assert "no answer within 100 ms" in err


@pytest.mark.parametrize("arguments, words", [
    ([], "whom to ask? give HOST:PORT, or the configuration"),
    (["-c"], "-c needs a value"),
    (["-c", "x", "-c", "y"], "-c is given twice"),
    (["-c", "x", "127.0.0.1:80"], "both given"),
    (["127.0.0.1:80", "127.0.0.1:81"], 'unexpected argument "127.0.0.1:81"'),
    (["127.0.0.1"], '"127.0.0.1": '),
    (["--readyz"], "unknown option --readyz"),
    (["--timeout-ms", "0", "127.0.0.1:80"], '--timeout-ms "0": 1 to 600000'),
    (["--timeout-ms", "-1", "127.0.0.1:80"], '--timeout-ms "-1": 1 to 600000'),
    (["--timeout-ms", "1s", "127.0.0.1:80"], '--timeout-ms "1s": 1 to 600000'),
    (["--timeout-ms", "", "127.0.0.1:80"], '--timeout-ms "": 1 to 600000'),
    (["--timeout-ms", "99999999999999999999", "127.0.0.1:80"], "1 to 600000"),
])
def test_mistakes_are_named(health, arguments, words):
    status, out, err = outcome(health(*arguments))
    assert (status, out) == (2, "")
    assert err.startswith("unproxy health: ")
    assert words in err


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "[::]"])
def test_address_from_the_configuration(health, closing, tmp_path, listen):
    server = closing(Backend(f"{listen}:0"))
    config = written(tmp_path, admin={"listen": server.address})
    for arguments, environment in [(["-c", config], {}),
                                   ([], {"UNPROXY_CONFIG": config.read_text()})]:
        process = health(*arguments, env=environment)
        answer(server, OK)
        assert outcome(process) == (0, "", "")


def test_argument_is_stronger_than_the_environment(health, backend):
    """An image may have both."""
    process = health(backend.address, env={"UNPROXY_CONFIG": "{"})
    answer(backend, OK)
    assert outcome(process) == (0, "", "")


def test_asks_the_real_one(health, unproxy, tmp_path):
    """Alive, and ready only when its application is."""
    port, admin = free_port(), f"[::]:{free_port()}"
    unproxy(f"127.0.0.1:{port}", settings={"admin": {"listen": admin}},
            upstream_check={"interval_ms": 50})
    config = tmp_path / "unproxy.json"
    assert outcome(health("-c", config)) == (0, "", "")
    status, out, err = outcome(health("-c", config, "--ready"))
    assert (status, "status 503" in err) == (1, True)
    assert json.loads(out)
    with socket.create_server(("127.0.0.1", port)):
        wait_until(lambda: outcome(health("-c", config, "--ready")) == (0, "", ""), "readiness")


def test_configuration_without_an_admin_address(health, tmp_path):
    status, out, err = outcome(health("-c", written(tmp_path)))
    assert (status, out) == (2, "")
    assert "the configuration has no `admin.listen`" in err
