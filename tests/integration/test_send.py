# SPDX-License-Identifier: MIT
"""`unproxy send`: the header first, then whatever comes, both ways, until the peer closes."""

import contextlib
import hashlib
import subprocess
import threading

import pytest

import header
from daemon import BINARY
from limits import DEADLINE
from peer import Backend

MIB = 1 << 20


@pytest.fixture
def send():
    """Start `unproxy send`; its standard streams are pipes."""
    with contextlib.ExitStack() as ends:
        def start(*arguments):
            process = ends.enter_context(subprocess.Popen(
                [BINARY, "send", *map(str, arguments)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            ends.callback(process.kill)
            return process

        yield start


@contextlib.contextmanager
def meanwhile(work, *arguments):
    """Run @work in a thread during the block; what it raised is raised at the end."""
    raised = []

    def run():
        try:
            work(*arguments)
        except Exception as error:  # for the test to see
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert not raised, raised


def feed(process, data):
    process.stdin.write(data)
    process.stdin.close()


def pattern(seed, size):
    block = hashlib.shake_256(seed).digest(MIB - 1)  # no divisor of any buffer
    return (block * (size // len(block) + 1))[:size]


def refused(*arguments):
    done = subprocess.run([BINARY, "send", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=DEADLINE)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


# The header


@pytest.mark.parametrize("options, start", [
    (["--v1"], "PROXY TCP4 {own} 127.0.0.1 {own_port} {port}\r\n"),
    (["--v1", "--src", "203.0.113.7:40001"],
     "PROXY TCP4 203.0.113.7 127.0.0.1 40001 {port}\r\n"),
    (["--v1", "--src", "[2001:db8::7]:1"],
     "PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 1 {port}\r\n"),
])
def test_addresses_not_given_are_those_of_the_connection(send, backend, options, start):
    process = send(*options, backend.address)
    process.stdin.close()
    application = backend.accept()
    own, own_port = application.socket.getpeername()
    port = application.socket.getsockname()[1]
    expected = start.format(own=own, own_port=own_port, port=port).encode()
    assert application.receive_rest() == expected
    application.close()
    assert process.wait(DEADLINE) == 0


def test_header_needs_no_input(send, backend):
    process = send("--src", header.CLIENT, "--dst", header.DESTINATION, backend.address)
    application = backend.accept()
    assert application.receive(len(header.v2())) == header.v2()
    application.close()
    assert process.wait(DEADLINE) == 0


def test_unix_sockets(send, closing, socket_path):
    backend = closing(Backend(f"unix:{socket_path}"))
    process = send("--local", backend.address)
    feed(process, b"question")
    application = backend.accept()
    assert application.receive_rest() == header.v2_local() + b"question"
    application.send(b"answer")
    application.close()
    assert process.stdout.read() == b"answer"
    assert process.wait(DEADLINE) == 0


# The streams


def test_both_directions_flow_at_once(send, backend):
    to_peer = pattern(b"up", 32 * MIB)
    to_us = pattern(b"down", 32 * MIB)
    process = send("--v1", "--unknown", backend.address)
    application = backend.accept()
    assert application.receive(15) == b"PROXY UNKNOWN\r\n"

    def talk():
        application.send(to_us)
        application.finish()

    with meanwhile(feed, process, to_peer), meanwhile(talk):
        received = []
        with meanwhile(lambda: received.append(process.stdout.read())):
            assert application.receive_rest() == to_peer
        assert received[0] == to_us
    application.close()
    assert process.wait(DEADLINE) == 0


def test_output_that_nobody_reads_does_not_hold_up_input(send, backend):
    process = send("--v1", "--unknown", backend.address)
    application = backend.accept()
    answer = pattern(b"down", 8 * MIB)
    with meanwhile(application.send, answer):
        with meanwhile(feed, process, bytes(8 * MIB)):
            assert len(application.receive_rest()) == 15 + 8 * MIB
        assert process.stdout.read(len(answer)) == answer
    application.close()
    assert process.wait(DEADLINE) == 0


def test_input_goes_on_after_the_peers_half_close(send, backend):
    process = send("--v1", "--unknown", backend.address)
    application = backend.accept()
    application.finish()
    with meanwhile(feed, process, bytes(16 * MIB)):
        assert len(application.receive_rest()) == 15 + 16 * MIB
    assert process.wait(DEADLINE) == 0


def test_ends_with_the_peer_though_input_does_not(send, backend):
    process = send("--v1", "--unknown", backend.address)
    application = backend.accept()
    assert application.receive(15)
    application.send(b"bye")
    application.close()
    assert process.wait(DEADLINE) == 0
    assert process.stdout.read() == b"bye"


# What can go wrong


def test_reset_before_any_byte_is_a_refusal(send, backend):
    process = send(backend.address)
    backend.accept().reset()
    assert process.wait(DEADLINE) == 1
    assert process.stderr.read().decode() == (
        f"unproxy: connection reset by {backend.address}: the receiver refused the header or "
        "its sender; see its log\n")


def test_reset_while_sending_is_noticed(send, backend):
    process = send(backend.address)
    with contextlib.suppress(BrokenPipeError):
        with meanwhile(lambda: backend.accept().reset()):
            while True:  # until nobody reads it
                process.stdin.write(bytes(MIB))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    assert process.wait(DEADLINE) == 1
    assert "connection reset by" in process.stderr.read().decode()


def test_reset_after_an_answer_says_how_much_came(send, backend):
    process = send(backend.address)
    application = backend.accept()
    application.send(b"hello")
    assert process.stdout.read(5) == b"hello"
    application.reset()
    assert process.wait(DEADLINE) == 1
    assert process.stderr.read().decode() == (
        f"unproxy: connection reset by {backend.address} after 5 bytes\n")


def test_closed_output_is_an_error(send, backend):
    process = send(backend.address)
    process.stdout.close()
    application = backend.accept()
    application.send(b"hello")
    assert process.wait(DEADLINE) == 1
    assert "cannot write to stdout" in process.stderr.read().decode()


def test_nobody_there(socket_path):
    status, message = refused("--local", f"unix:{socket_path}")
    assert status == 1
    assert message.startswith(f"unproxy: unix:{socket_path}: cannot connect: ")


@pytest.mark.parametrize("arguments, words", [
    ([], "HOST:PORT"),
    (["a:1", "b:1"], '"b:1"'),
    (["127.0.0.1"], "port is missing"),
    (["--foo", "a:1"], "unknown option --foo"),
    (["-x", "a:1"], "unknown option -x"),
    (["a:1", "--src"], "--src needs a value"),
    (["--src", "203.0.113.7", "a:1"], '--src "203.0.113.7"'),
    (["--src", "1.2.3.4:5", "--dst", "[::1]:1", "a:1"], "--src and --dst"),
    (["--src", "1.2.3.4:5", "--local", "a:1"], "LOCAL carries no addresses"),
    (["--dst", "1.2.3.4:5", "--unknown", "a:1"], "UNKNOWN carries no addresses"),
    (["--v1", "--v2", "a:1"], "one version"),
    (["--v1", "--local", "a:1"], "--unknown"),
    (["--v1", "--alpn", "h2", "a:1"], "v1 has no TLVs"),
    (["--v1", "--crc32c", "a:1"], "v1 has no TLVs"),
    (["--alpn", "h2", "--alpn", "h3", "a:1"], "--alpn is given twice"),
    (["--unique-id", "abc", "a:1"], "pairs of hex digits"),
    (["--unique-id", "00" * 129, "a:1"], "at most 128"),
    (["--tlv", "0xe8", "a:1"], "TYPE=HEX"),
    (["--tlv", "256=00", "a:1"], "0 to 255"),
    (["--tlv", "-1=00", "a:1"], "0 to 255"),
    (["--tlv", "0xe8=0g", "a:1"], "pairs of hex digits"),
    (["--tlv", "1=" + "00" * 40000, "--tlv", "2=" + "00" * 40000, "a:1"], "too long"),
    (["unix:/nowhere"], "--src and --dst"),
], ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "")
def test_mistakes_are_named(arguments, words):
    status, message = refused(*arguments)
    assert status == 2
    assert message.startswith("unproxy send: ")
    assert words in message
