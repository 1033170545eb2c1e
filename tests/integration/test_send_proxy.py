# SPDX-License-Identifier: MIT
"""send_proxy: a fresh header for the application, as others read it, and as the next unproxy does."""

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import header
import receivers
import senders
from daemon import BINARY
from netns import Network
from peer import Backend, Echo, join
from processes import output_of

CONNECTIONS = 300

TLVS = (header.tlv(header.ALPN, b"h2") + header.tlv(header.NOOP, bytes(5)) +
        header.tlv(header.UNIQUE_ID, b"\x01\xfe") +
        header.tlv(header.AWS, b"\x01" + header.VPC_ENDPOINT.encode()) +
        header.ssl_tlv(0x01, 1, header.tlv(header.SSL_VERSION, b"TLSv1.3")))
TLVS_LOGGED = {"alpn": "h2", "unique_id": "01fe", "aws_vpce_id": header.VPC_ENDPOINT,
               "ssl": {"version": "TLSv1.3", "client_cert": False, "verified": False}}

each_version = pytest.mark.parametrize("version", ["v1", "v2"])


def addressed(version, source=header.CLIENT, destination=header.DESTINATION):
    return getattr(header, version)(source, destination)


@pytest.fixture
def chain(unproxy):
    """Two daemons in front of an application: what one sends, the other takes off."""
    def start(upstream, version, first=None, **second):
        behind = unproxy(upstream, **second)
        return unproxy(behind.address, send_proxy=version, **(first or {})), behind

    return start


def parsed(data):
    """What `unproxy parse` reads there; it also looks at CRC32C."""
    return json.loads(output_of([BINARY, "parse"], input=data))


# --- what is written ---


@each_version
@pytest.mark.parametrize("sent", ["v1", "v2"])
@pytest.mark.parametrize("source, destination", [
    (header.CLIENT, header.DESTINATION),
    ("[2001:db8::7]:40001", "[2001:db8::1]:443"),
], ids=["ipv4", "ipv6"])
def test_versions_are_converted(unproxy, connect, any_backend, sent, version, source, destination):
    daemon = unproxy(any_backend.address, send_proxy=version)
    client = connect(daemon)
    client.send(addressed(sent, source, destination) + b"hello")
    client.finish()
    application = any_backend.accept()
    assert application.receive_rest() == addressed(version, source, destination) + b"hello"
    application.close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["bytes_in"] == 5


@each_version
def test_header_does_not_wait_for_a_payload(unproxy, connect, backend, version):
    """The application may speak first."""
    client = connect(unproxy(backend.address, send_proxy=version))
    client.send(header.v2())
    application = backend.accept()
    expected = addressed(version)
    assert application.receive(len(expected)) == expected
    application.send(b"220 welcome\r\n")
    assert client.receive(13) == b"220 welcome\r\n"


def test_tlvs_are_carried_on_with_a_crc_of_their_own(unproxy, connect, backend):
    """From a mapped address the header gets shorter, so that the old one would be wrong."""
    client = connect(unproxy(backend.address, send_proxy="v2"))
    client.send(header.v2("[::ffff:203.0.113.7]:40001", "[::ffff:198.51.100.1]:443", TLVS, crc=True))
    client.finish()
    received = backend.accept().receive_rest()
    assert received == header.v2(tlvs=TLVS, crc=True)
    read = parsed(received)
    assert read["source"] == header.CLIENT
    assert read["destination"] == header.DESTINATION


def test_tlvs_are_lost_in_v1(unproxy, connect, backend):
    client = connect(unproxy(backend.address, send_proxy="v1"))
    client.send(header.v2(tlvs=TLVS, crc=True) + b"hello")
    client.finish()
    assert backend.accept().receive_rest() == header.v1() + b"hello"


@pytest.mark.parametrize("sent", [header.v2_local(), header.NLB_HEALTH_CHECK],
                         ids=["local", "nlb-health-check"])
@pytest.mark.parametrize("version, expected", [
    ("v1", b"PROXY UNKNOWN\r\n"), ("v2", header.v2_local()),
], ids=["v1", "v2"])
def test_connections_of_the_sender_stay_its_own(unproxy, connect, backend, sent, version, expected):
    client = connect(unproxy(backend.address, send_proxy=version))
    client.send(sent)
    client.finish()
    assert backend.accept().receive_rest() == expected


@each_version
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"], ids=["ipv4", "ipv6"])
def test_without_a_header_the_peer_is_the_client(unproxy, connect, backend, version, listen):
    daemon = unproxy(backend.address, send_proxy=version, header="optional", listen=listen)
    client = connect(daemon)
    client.send(b"hello")
    client.finish()
    assert backend.accept().receive_rest() == \
        addressed(version, client.address, daemon.address) + b"hello"


# --- others read it ---


@each_version
@pytest.mark.parametrize("receiver, options", [
    ("haproxy", "send-proxy"),
    ("nginx", "set_real_ip_from 127.0.0.1; proxy_protocol on;"),
], ids=["haproxy", "nginx"])
def test_receivers_believe_it(unproxy, connect, backend, version, receiver, options):
    """They pass the client on that they were told."""
    with getattr(receivers, receiver)(backend.address, options) as address:
        client = connect(unproxy(address, send_proxy=version))
        client.send(header.v2(tlvs=TLVS, crc=True))
        application = backend.accept()
        line = b"PROXY TCP4 203.0.113.7 "
        assert application.receive(len(line)) == line
        client.close()
        application.close()


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
@each_version
def test_real_sender_and_real_receiver(unproxy, sender, connect, echo, option, version):
    with receivers.haproxy(echo.address) as address:
        daemon = unproxy(address, send_proxy=version, allow_loopback_clients=True)
        client = connect(sender(senders.haproxy, daemon.address, option))
        client.exchange(b"hello")
        client.close()
        assert daemon.connection(client=client.address)["bytes_in"] == 5


# --- the next unproxy reads it ---


@pytest.mark.parametrize("sent, command, tlvs", [
    (header.v1(), "PROXY", False),
    (header.v2(), "PROXY", False),
    (header.v2(tlvs=TLVS, crc=True), "PROXY", True),
    (header.nlb_privatelink(), "PROXY", True),
], ids=["v1", "v2", "tlvs", "privatelink"])
@each_version
def test_clients_are_known_at_the_end_of_a_chain(chain, connect, backend, version, sent, command,
                                                 tlvs):
    first, second = chain(backend.address, version)
    client = connect(first)
    client.send(sent + b"question")
    application = backend.accept()
    assert application.receive(8) == b"question"
    application.send(b"answer")
    assert client.receive(6) == b"answer"
    client.finish()
    application.close()
    before, after = first.connection(client), second.connection()
    for line in before, after:
        assert line["outcome"] == "finished"
        assert line["client"] == header.CLIENT
        assert line["destination"] == header.DESTINATION
        assert line["command"] == command
        assert line["bytes_in"] == 8
        assert line["bytes_out"] == 6
    assert after["version"] == int(version[1])
    assert ("tlv" in before) == tlvs
    assert after.get("tlv") == (before.get("tlv") if version == "v2" else None)


def test_every_tlv_is_known_at_the_end_of_a_chain(chain, connect, backend):
    first, second = chain(backend.address, "v2", send_proxy="v2")
    client = connect(first)
    client.send(header.v2(tlvs=TLVS, crc=True))
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == header.v2(tlvs=TLVS, crc=True)
    application.close()
    assert second.connection()["tlv"] == TLVS_LOGGED


@pytest.mark.parametrize("sent", [header.v2_local(), b"PROXY UNKNOWN\r\n", header.v2_raw(0x21, 0, b"")],
                         ids=["local", "unknown", "unspec"])
@each_version
def test_a_chain_does_not_make_a_client_up(chain, connect, backend, version, sent):
    first, second = chain(backend.address, version)
    client = connect(first)
    client.send(sent)
    client.finish()
    backend.accept().close()
    assert first.connection(client)["client"] == client.address
    line = second.connection()
    assert line["client"] == line["peer"]


def test_longest_header_passes_a_chain(chain, connect, backend):
    value = (bytes(range(256)) * 256)[:65551 - 16 - 12 - 3]
    longest = header.v2(tlvs=header.tlv(0xE5, value))
    assert len(longest) == 65551
    payload = bytes(range(256)) * 4096
    room = {"max_header_bytes": 65551}
    first, second = chain(backend.address, "v2", first=room, send_proxy="v2", **room)
    client = connect(first)
    client.send(longest + payload)
    client.finish()
    application = backend.accept()
    assert application.receive_rest() == longest + payload
    application.close()
    for daemon in first, second:
        assert daemon.connection()["bytes_in"] == len(payload)


@pytest.mark.threads
def test_everybody_gets_his_own_header(chain, connect, closing):
    first, second = chain(closing(Echo()).address, "v2")

    def converse(number):
        client = connect(first)
        client.send(header.v1(f"203.0.113.7:{1024 + number}"))
        client.exchange(f"this is {number}".encode() * 100)
        client.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(converse, range(CONNECTIONS)))
    lines = second.wait_for_records(CONNECTIONS, event="connection", outcome="finished")
    assert {line["client"] for line in lines} == \
        {f"203.0.113.7:{1024 + number}" for number in range(CONNECTIONS)}


# --- transparent mode ---


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.parametrize("place, source, destination", [
    ("127.0.0.1:0", header.CLIENT, header.DESTINATION),
    ("[::1]:0", "[2001:db8::7]:40001", "[2001:db8::1]:443"),
], ids=["ipv4", "ipv6"])
def test_transparent_connections_carry_it_as_well(unproxy, connect, closing, place, source,
                                                  destination):
    with contextlib.closing(Network()) as network, network.app.entered():
        output_of([BINARY, "routes", "up"])
        backend = closing(Backend(place))
        client = connect(unproxy(backend.address, transparent=True, send_proxy="v2"))
        client.send(header.v2(source, destination) + b"hello")
        client.finish()
        application = backend.accept()
        assert join(application.socket.getpeername()) == source
        assert application.receive_rest() == header.v2(source, destination) + b"hello"
        application.close()
        assert client.receive_rest() == b""
