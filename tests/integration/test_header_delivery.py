# SPDX-License-Identifier: MIT
"""However a header arrives, exactly its bytes are removed, and what is behind it is delivered."""

import pytest

import header

HEADERS = {
    "v1-tcp4": header.v1(),
    "v1-tcp6": header.v1("[2001:db8::7]:40001", "[2001:db8::1]:443"),
    "v1-unknown": b"PROXY UNKNOWN\r\n",
    "v1-unknown-with-addresses": b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    "v2-tcp4": header.v2(),
    "v2-tcp6": header.v2("[2001:db8::7]:40001", "[2001:db8::1]:443"),
    "v2-tlvs": header.v2(tlvs=header.tlv(header.ALPN, b"h2"), crc=True),
    "v2-local": header.v2_local(),
    "v2-unspec": header.v2_raw(0x21, 0x00, b"whatever"),
    "v2-unix": header.v2_raw(0x21, 0x31, bytes(216)),
    "nlb-health-check": header.NLB_HEALTH_CHECK,
    "nlb-privatelink": header.nlb_privatelink(),
}


@pytest.fixture(params=HEADERS.values(), ids=HEADERS.keys())
def any_header(request):
    return request.param


def test_only_the_header_is_removed(unproxy, connect, backend, any_header):
    client = connect(unproxy(backend.address))
    client.send(any_header + b"payload")
    client.finish()
    assert backend.accept().receive_rest() == b"payload"


def test_header_may_come_byte_by_byte(unproxy, connect, backend, any_header):
    client = connect(unproxy(backend.address))
    for byte in any_header:
        client.send(bytes([byte]))
    client.send(b"payload")
    client.finish()
    assert backend.accept().receive_rest() == b"payload"


def test_header_alone_is_enough_to_reach_the_application(unproxy, connect, backend):
    client = connect(unproxy(backend.address))
    client.send(header.v2())
    application = backend.accept()
    application.send(b"220 welcome\r\n")
    assert client.receive(13) == b"220 welcome\r\n"


def test_one_byte_of_payload_is_delivered(unproxy, connect, backend):
    client = connect(unproxy(backend.address))
    client.send(header.v2() + b"x")
    assert backend.accept().receive(1) == b"x"


@pytest.mark.parametrize("first", [header.v1(), header.v2()], ids=["v1", "v2"])
@pytest.mark.parametrize("second", [header.v1(), header.v2()], ids=["v1", "v2"])
def test_second_header_is_payload(unproxy, connect, backend, first, second):
    client = connect(unproxy(backend.address))
    client.send(first + second + b"payload")
    client.finish()
    assert backend.accept().receive_rest() == second + b"payload"


def test_longest_header_allowed_is_removed(unproxy, connect, backend):
    longest = header.v2(tlvs=header.tlv(header.NOOP, bytes(65551 - 16 - 12 - 3)))
    assert len(longest) == 65551
    client = connect(unproxy(backend.address, max_header_bytes=65551))
    client.send(longest + b"payload")
    client.finish()
    assert backend.accept().receive_rest() == b"payload"


def test_payload_of_many_segments_behind_the_header_stays_in_order(unproxy, connect, backend):
    payload = bytes(range(256)) * 4096
    client = connect(unproxy(backend.address))
    client.send(header.v1() + payload)
    client.finish()
    assert backend.accept().receive_rest() == payload


def test_access_log_tells_what_the_header_said(unproxy, connect, backend):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(header.v2() + b"hello")
    application = backend.accept()
    application.receive(5)
    application.send(b"welcome")
    application.close()
    assert client.receive_rest() == b"welcome"
    client.close()

    line = daemon.connection(client)
    assert line["level"] == "info"
    assert line["listener"] == "test"
    assert line["outcome"] == "finished"
    assert line["client"] == header.CLIENT
    assert line["destination"] == header.DESTINATION
    assert line["command"] == "PROXY"
    assert line["version"] == 2
    assert line["upstream"] == backend.address
    assert line["transparent"] is False
    assert line["bytes_in"] == 5
    assert line["bytes_out"] == 7
    assert 0 <= line["header_ms"] <= line["duration_ms"]
    assert 0 <= line["connect_ms"] <= line["duration_ms"]
    assert "tlv" not in line


@pytest.mark.parametrize("sent, command, version", [
    (b"PROXY UNKNOWN\r\n", "UNKNOWN", 1),
    (header.v2_local(), "LOCAL", 2),
    (header.NLB_HEALTH_CHECK, "LOCAL", 2),
    (header.v2_raw(0x21, 0x00, b""), "PROXY", 2),
    (header.v2(transport=header.DATAGRAM), "PROXY", 2),
], ids=["v1-unknown", "local", "nlb-health-check", "unspec", "datagram"])
def test_header_without_a_client_makes_the_peer_the_client(unproxy, connect, backend, sent,
                                                           command, version):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(sent)
    client.finish()
    backend.accept().close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["client"] == client.address
    assert line["command"] == command
    assert line["version"] == version


def test_mapped_source_is_an_ipv4_client(unproxy, connect, backend):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 40001 443\r\n")
    client.finish()
    backend.accept().close()
    assert daemon.connection(client)["client"] == header.CLIENT


def test_privatelink_endpoint_is_logged(unproxy, connect, backend):
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(header.nlb_privatelink())
    client.finish()
    backend.accept().close()
    line = daemon.connection(client)
    assert line["outcome"] == "finished"
    assert line["tlv"] == {"aws_vpce_id": header.VPC_ENDPOINT}


def test_every_known_tlv_is_logged(unproxy, connect, backend):
    tlvs = (header.tlv(header.ALPN, b"h2") + header.tlv(header.AUTHORITY, b"db.example.test") +
            header.tlv(header.UNIQUE_ID, b"\x01\xfe") + header.tlv(header.NETNS, b"blue") +
            header.tlv(header.NOOP, bytes(5)) + header.tlv(0xE7, b"\xca\xfe") +
            header.tlv(header.AZURE, b"\x01" + (77).to_bytes(4, "little")) +
            header.tlv(header.GCP, (99).to_bytes(8, "big")) +
            header.ssl_tlv(0x03, 0, header.tlv(header.SSL_VERSION, b"TLSv1.3"),
                           header.tlv(header.SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"),
                           header.tlv(header.SSL_CN, b"someone"),
                           header.tlv(header.SSL_SIG_ALG, b"SHA256"),
                           header.tlv(header.SSL_KEY_ALG, b"EC256")))
    daemon = unproxy(backend.address)
    client = connect(daemon)
    client.send(header.v2(tlvs=tlvs, crc=True))
    client.finish()
    backend.accept().close()
    tlv = daemon.connection(client)["tlv"]
    assert str(tlv.pop("azure_link_id")) == "77"
    assert str(tlv.pop("gcp_psc_id")) == "99"
    assert tlv == {
        "alpn": "h2",
        "authority": "db.example.test",
        "unique_id": "01fe",
        "netns": "blue",
        "0xe7": "cafe",
        "ssl": {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "cn": "someone",
                "sig_alg": "SHA256", "key_alg": "EC256", "client_cert": True, "verified": True},
    }
