# SPDX-License-Identifier: MIT
"""Who is refused before the application hears of him: every one by a reset, with a line that says
why, and with advice where there is some."""

import pytest

import header
from limits import CLOCK_MS, DEADLINE

SECOND_CRC = header.tlv(header.CRC32C, bytes(4))


def with_bad_crc():
    good = header.v2(crc=True)
    return good[:-1] + bytes([good[-1] ^ 1])


def check_refused(daemon, client, outcome):
    """Reset for the peer, and the line of the log, which is returned."""
    assert client.was_reset()
    line = daemon.connection(client)
    assert line["outcome"] == outcome
    assert line["level"] == "warn"
    assert line["listener"] == "test"
    assert "upstream" not in line
    assert line["bytes_in"] == line["bytes_out"] == 0
    return line


@pytest.mark.parametrize("sent, outcome", [
    (b"\x00", "header_missing"),
    (b"proxy TCP4 ", "header_missing"),
    (b"\r\n\r\n\r\n\r\n", "header_missing"),
    (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "header_malformed"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "header_malformed"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "header_malformed"),
    (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "header_malformed"),
    (b"PROXY TCP4 ::1 ::1 1 2\r\n", "header_malformed"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "header_malformed"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "header_malformed"),
    (b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "header_too_long"),
    (header.v2_raw(0x22, 0x11, bytes(12)), "header_malformed"),
    (header.v2_raw(0x21, 0x41, bytes(12)), "header_malformed"),
    (header.v2_raw(0x21, 0x13, bytes(12)), "header_malformed"),
    (header.v2_raw(0x21, 0x11, bytes(11)), "header_malformed"),
    (header.v2_raw(0x21, 0x21, bytes(35)), "header_malformed"),
    (header.v2(tlvs=b"\x01\x00"), "header_malformed"),
    (header.v2(tlvs=b"\x01\x00\x05h2"), "header_malformed"),
    (header.v2(tlvs=header.tlv(header.UNIQUE_ID, bytes(129))), "header_malformed"),
    (header.v2(tlvs=header.tlv(header.SSL, bytes(4))), "header_malformed"),
    (header.v2(tlvs=header.ssl_tlv(1, 0, b"\x21\x00\x09x")), "header_malformed"),
    (header.v2(tlvs=header.tlv(header.NOOP, bytes(4096))), "header_too_long"),
    (with_bad_crc(), "header_crc"),
    (header.v2(tlvs=SECOND_CRC, crc=True), "header_crc"),
    (header.v2(tlvs=header.tlv(header.CRC32C, bytes(3))), "header_crc"),
    (header.v2_raw(0x31, 0x11, bytes(12)), "header_version"),
    (header.v2("127.0.0.1:40001"), "client_address"),
    (header.v2("127.255.255.254:40001"), "client_address"),
    (header.v2("[::1]:40001", "[2001:db8::1]:443"), "client_address"),
    (header.v1("127.0.0.1:40001"), "client_address"),
    (b"PROXY TCP6 ::ffff:127.0.0.1 ::ffff:127.0.0.1 1 2\r\n", "client_address"),
])
def test_bad_header_is_refused(unproxy, connect, backend, sent, outcome):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(sent)
    check_refused(daemon, client, outcome)
    assert not backend.was_reached()


@pytest.mark.parametrize("versions, sent", [([1], header.v2()), ([2], header.v1())])
def test_version_that_is_not_listed_is_refused(unproxy, connect, backend, versions, sent):
    daemon = unproxy(backend.address, versions=versions)
    client = connect(daemon)
    client.send(sent)
    check_refused(daemon, client, "header_version")


def test_header_above_the_limit_is_refused_before_it_has_come(unproxy, connect, backend):
    daemon = unproxy(backend.address, max_header_bytes=107)
    client = connect(daemon)
    client.send(header.v2(tlvs=header.tlv(header.NOOP, bytes(200)))[:16])
    check_refused(daemon, client, "header_too_long")


def test_header_at_the_limit_is_taken(unproxy, connect, backend):
    exact = header.v2(tlvs=header.tlv(header.NOOP, bytes(107 - 16 - 12 - 3)))
    assert len(exact) == 107
    client = connect(unproxy(backend.address, max_header_bytes=107))
    client.send(exact + b"payload")
    assert backend.accept().receive(7) == b"payload"


@pytest.mark.parametrize("sent, advice", [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
    (b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", "HTTP"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    (b"\x00\x01\x02", "this host"),
], ids=["tls", "http", "ssh", "own-host"])
def test_missing_header_comes_with_a_guess_what_the_peer_speaks(unproxy, connect, backend, sent,
                                                               advice):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(sent)
    assert advice in check_refused(daemon, client, "header_missing")["hint"]


def test_silent_peer_is_refused_with_advice_about_the_nlb(unproxy, connect, backend):
    daemon = unproxy(backend.address, header_timeout_ms=200)
    client = connect(daemon)
    line = check_refused(daemon, client, "header_timeout")
    assert "NLB" in line["hint"]
    assert "first payload" in line["hint"]
    assert 200 - CLOCK_MS <= line["duration_ms"] < DEADLINE * 1000


def test_half_a_header_is_refused_without_that_advice(unproxy, connect, backend):
    daemon = unproxy(backend.address, header_timeout_ms=200)
    client = connect(daemon)
    client.send(header.v2()[:20])
    line = check_refused(daemon, client, "header_timeout")
    assert "NLB" not in line.get("hint", "")


def test_deadline_counts_from_accept_however_busy_the_sender(unproxy, connect, backend):
    daemon = unproxy(backend.address, header_timeout_ms=500)
    client = connect(daemon)
    client.socket.settimeout(0.05)  # the pace of sending
    for byte in header.v2(tlvs=header.tlv(header.NOOP, bytes(1000))):
        try:
            client.send(bytes([byte]))
            client.receive(1)
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
    line = daemon.connection(client)
    assert line["outcome"] == "header_timeout"
    assert line["duration_ms"] >= 500 - CLOCK_MS


@pytest.mark.parametrize("sent", [b"PROXY TCP4 192.0", header.v2()[:-1]], ids=["v1", "v2"])
def test_end_within_the_header_is_refused(unproxy, connect, backend, sent):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(sent)
    client.finish()
    check_refused(daemon, client, "closed_in_header")


def test_reset_within_the_header_is_logged_as_such(unproxy, connect, backend):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(b"PROXY ")
    client.reset()
    assert daemon.connection(client)["outcome"] == "closed_in_header"


@pytest.mark.parametrize("end", ["close", "reset"])
def test_connection_without_a_byte_is_a_probe(unproxy, connect, backend, end):
    daemon = unproxy(backend.address, settings={"log": {"level": "debug"}})
    client = connect(daemon)
    getattr(client, end)()
    line = daemon.connection(client)
    assert line["outcome"] == "probe"
    assert line["level"] == "debug"


def test_probe_is_not_logged_at_info(unproxy, connect, backend):
    daemon = unproxy(backend.address, settings={"workers": 1})
    connect(daemon).close()
    later = connect(daemon)
    later.send(b"\x00")
    daemon.connection(later)
    assert not daemon.find(outcome="probe")


def test_untrusted_peer_is_refused(unproxy, connect, backend):
    daemon = unproxy(backend.address, trusted_proxies=["127.0.0.2"])
    refused = connect(daemon)
    assert "hint" not in check_refused(daemon, refused, "untrusted_source")
    trusted = connect(daemon, source="127.0.0.2")
    trusted.send(header.v2() + b"hello")
    assert backend.accept().receive(5) == b"hello"


@pytest.mark.parametrize("sent", [header.v1(), header.v2(), header.nlb_privatelink()])
def test_untrusted_peer_with_a_header_comes_with_advice_about_client_ips(unproxy, connect, backend,
                                                                        sent):
    """Nothing is read from him; the advice is for a header that is there at accept already."""
    daemon = unproxy(backend.address, trusted_proxies=["127.0.0.2"])
    with daemon.paused():
        client = connect(daemon)
        client.offer(sent)
    line = check_refused(daemon, client, "untrusted_source")
    assert "preserve_client_ip" in line["hint"]


def test_untrusted_peer_may_pass_as_its_own_client(unproxy, connect, backend):
    daemon = unproxy(backend.address, trusted_proxies=["127.0.0.2"], untrusted="pass")
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == header.v2() + b"hello"
    application.close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["client"] == client.address
    assert line["command"] == "NONE"
    assert line["version"] == 0


def test_untrusted_peer_that_passes_may_let_the_application_speak_first(unproxy, connect, backend):
    daemon = unproxy(backend.address, trusted_proxies=["127.0.0.2"], untrusted="pass")
    client = connect(daemon)
    application = backend.accept()
    application.send(b"220 welcome\r\n")
    assert client.receive(13) == b"220 welcome\r\n"


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.0\r\n\r\n", b"PROXIED", b"\r\n\r\n!"])
def test_optional_header_may_be_missing(unproxy, connect, backend, sent):
    daemon = unproxy(backend.address, header="optional")
    client = connect(daemon)
    client.send(sent)
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == sent
    application.close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["command"] == "NONE"
    assert line["client"] == client.address


@pytest.mark.parametrize("sent", [header.v1(), header.v2()], ids=["v1", "v2"])
def test_optional_header_is_removed_where_it_is_there(unproxy, connect, backend, sent):
    daemon = unproxy(backend.address, header="optional")
    client = connect(daemon)
    for byte in sent:
        client.send(bytes([byte]))
    client.send(b"payload")
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == b"payload"
    application.close()
    assert daemon.connection(client)["client"] == header.CLIENT


def test_optional_header_that_is_malformed_is_refused(unproxy, connect, backend):
    """A sender that began a header meant one: passing it on would let a client forge it."""
    daemon = unproxy(backend.address, header="optional")
    client = connect(daemon)
    client.send(b"PROXY TCP4 1.2.3.4 nonsense\r\n")
    check_refused(daemon, client, "header_malformed")


def test_loopback_source_is_taken_where_it_is_allowed(unproxy, connect, backend):
    daemon = unproxy(backend.address, allow_loopback_clients=True)
    client = connect(daemon)
    client.send(header.v2("127.0.0.1:40001") + b"hello")
    assert backend.accept().receive(5) == b"hello"
