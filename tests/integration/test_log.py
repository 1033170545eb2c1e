# SPDX-License-Identifier: MIT
"""The log is valid whatever was sent, and its troubles are nobody else's.

That every line is JSON is checked for every daemon of every test; see Daemon.finish()."""

import contextlib
import json
import os
import random
import re
import signal
import threading

import pytest

import header
from processes import free_port, is_listening, wait_until

# More access lines than the pipe and the buffers before it hold.
MANY = 3000


def exchange_once(connect, daemon):
    client = connect(daemon)
    client.send(header.v2())
    client.exchange(b"hello")
    client.close()
    return client


def hostile_tlvs(numbers):
    """Well-formed, and full of what text should not be."""
    def noise():
        return numbers.choice([
            numbers.randbytes(numbers.randrange(1, 60)),
            b'"}\n{"event":"connection"}\n',
            b"\\u0000\\",
            b"\x1b[2J\x00\x7f\x80\xff",
            "\u2028\ud7ff\U0010ffff".encode(),
            b"\xed\xa0\x80\xc0\xaf\xf5\x80\x80\x80",
        ])

    return b"".join([
        header.tlv(header.ALPN, noise()), header.tlv(header.AUTHORITY, noise()),
        header.tlv(header.UNIQUE_ID, noise()), header.tlv(header.NETNS, noise()),
        header.tlv(header.AWS, b"\x01" + noise()), header.tlv(header.AZURE, noise()),
        header.tlv(header.GCP, noise()), header.tlv(numbers.randrange(256 - 32, 256), noise()),
        header.ssl_tlv(numbers.randrange(8), numbers.randrange(2), *(
            header.tlv(part, noise()) for part in range(header.SSL_VERSION, 0x29))),
    ])


def test_hostile_tlvs_are_logged_as_valid_json(unproxy, connect, backend):
    numbers = random.Random(7700)
    daemon = unproxy(backend.address)
    for _ in range(300):
        client = connect(daemon)
        client.send(header.v2(tlvs=hostile_tlvs(numbers)))
        client.finish()
        backend.accept().close()
        line = daemon.connection(client)
        assert line["outcome"] == "finished"
        assert len(line["tlv"]) >= 5
    assert daemon.other == []


def test_line_too_long_for_its_tlvs_says_so(unproxy, connect, backend):
    daemon = unproxy(backend.address, max_header_bytes=65551)
    client = connect(daemon)
    client.send(header.v2(tlvs=header.tlv(0xE8, bytes(60000))))
    client.finish()
    backend.accept().close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["client"] == header.CLIENT
    assert line["tlv_truncated"] is True
    assert "tlv" not in line


def test_time_is_utc_with_milliseconds(unproxy, connect, echo):
    daemon = unproxy(echo.address)
    line = daemon.connection(exchange_once(connect, daemon))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_access_lines_can_be_turned_off(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={"log": {"access": False}})
    exchange_once(connect, daemon)
    daemon.terminate()
    assert daemon.wait() == 0
    assert not daemon.find(event="connection")


def test_level_warn_shows_refusals_only(unproxy, connect, echo):
    port = free_port()
    daemon = unproxy(echo.address, settings={"log": {"level": "warn"}},
                     options={"listeners": 0}, listen=f"127.0.0.1:{port}")
    wait_until(lambda: is_listening(port), "unproxy listens")
    target = f"127.0.0.1:{port}"
    exchange_once(connect, target)
    refused = connect(target)
    refused.send(b"\x00")
    daemon.connection(refused)
    daemon.terminate()
    assert daemon.wait() == 0
    assert {record["level"] for record in daemon.records} == {"warn"}


def test_text_lines_name_the_same_things(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={"log": {"format": "text"}},
                     options={"listeners": 0, "plain_text": True})
    address = re.search(r"listening on (\S+),", daemon.wait_for_output("listening on")).group(1)
    client = connect(address)
    client.send(header.v2(tlvs=header.tlv(header.AUTHORITY, b'two words"\n')))
    client.exchange(b"hello")
    client.close()
    line = daemon.wait_for_output("outcome=finished")
    assert f"peer={client.address}" in line
    assert f"client={header.CLIENT}" in line
    assert " info " in line
    assert daemon.records == []


@pytest.fixture
def listening(unproxy, echo):
    """Start a daemon whose log the test does not see. Returns it and its address."""
    def start(log=None, options=None):
        port = free_port()
        daemon = unproxy(echo.address, settings={"workers": 2, "log": log or {}},
                         options={"listeners": 0, **(options or {})}, listen=f"127.0.0.1:{port}")
        wait_until(lambda: is_listening(port), "unproxy listens")
        return daemon, f"127.0.0.1:{port}"

    return start


def check_service(connect, address):
    for _ in range(MANY):
        exchange_once(connect, address)


@pytest.mark.threads
def test_full_disk_stops_nobody(listening, connect):
    _, address = listening(log={"output": "/dev/full"})
    check_service(connect, address)


@pytest.mark.threads
def test_log_that_nobody_collects_any_more_stops_nobody(listening, connect):
    reader, writer = os.pipe()
    _, address = listening(options={"stderr": writer})
    os.close(writer)
    os.close(reader)
    check_service(connect, address)


@pytest.fixture
def fifo(tmp_path):
    """A log whose reader is there, but reads only when the test does: path and descriptor."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    with contextlib.suppress(OSError):
        os.close(reader)


@pytest.mark.threads
def test_stuck_log_stops_nobody_not_even_the_end(listening, connect, fifo):
    daemon, address = listening(log={"output": str(fifo[0])})
    check_service(connect, address)
    daemon.terminate()
    wait_until(lambda: len(os.listdir(f"/proc/{daemon.pid}/task")) == 2, "only the log is left")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        daemon.signal(number)  # too late for any of them
    assert daemon.wait() == 0


@pytest.mark.threads
def test_lines_that_a_stuck_log_lost_are_counted(listening, connect, fifo):
    """Read again, the log has a whole number of lines: those written and those it says are lost."""
    path, reader = fifo
    daemon, address = listening(log={"output": str(path)})
    check_service(connect, address)
    text = bytearray()

    def collect():
        os.set_blocking(reader, True)
        while piece := os.read(reader, 65536):
            text.extend(piece)

    collector = threading.Thread(target=collect)
    collector.start()
    check_service(connect, address)
    daemon.terminate()
    assert daemon.wait() == 0
    collector.join()

    records = [json.loads(line) for line in text.splitlines()]
    written = [record for record in records if record["event"] == "connection"]
    dropped = [int(match.group(1)) for record in records
               if (match := re.match(r"(\d+) log lines? (was|were) dropped", record["message"]
                                     if "message" in record else ""))]
    assert len(written) + sum(dropped) == 2 * MANY


@pytest.mark.threads
def test_signal_reopens_the_log_file(listening, connect, tmp_path):
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    daemon, address = listening(log={"output": str(path)})
    before = exchange_once(connect, address)
    wait_until(lambda: before.address in path.read_text(), "the first line is written")
    path.rename(rotated)
    daemon.signal(signal.SIGUSR1)
    wait_until(path.exists, "the file is opened again")
    after = exchange_once(connect, address)
    wait_until(lambda: after.address in path.read_text(), "the second line is written")
    assert after.address not in rotated.read_text()
    for line in rotated.read_text().splitlines() + path.read_text().splitlines():
        json.loads(line)


def test_output_may_be_stdout(unproxy, connect, echo):
    with open(os.devnull, "wb") as nowhere:
        daemon = unproxy(echo.address, settings={"log": {"output": "stdout"}},
                         options={"stderr": nowhere})
        exchange_once(connect, daemon)
        daemon.wait_for_records(1, event="connection")
