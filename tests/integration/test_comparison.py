# SPDX-License-Identifier: MIT
"""The table "Compared" of the README: what it says of HAProxy and nginx is what Debian's do here.

What it says of unproxy is tested everywhere else."""

import pytest

import header
import receivers
from peer import Backend, Echo

WHOLE = b"PROXY TCP4 203.0.113.7 198.51.100.1 40312 80\r\n"


@pytest.fixture(params=["haproxy", "nginx"])
def receiver(request, closing):
    with getattr(receivers, request.param)(closing(Echo()).address) as address:
        yield request.param, address


def is_served(connect, address, data):
    """Does the application get what follows the header?"""
    client = connect(address)
    client.offer(data + b"x")
    try:
        return client.receive(1) == b"x"
    except (AssertionError, ConnectionResetError):
        return False


def test_both_remove_a_whole_header(connect, receiver):
    assert is_served(connect, receiver[1], WHOLE)


def test_both_drop_a_header_in_two_segments(connect, receiver):
    client = connect(receiver[1])
    client.send(WHOLE[:20])
    assert client.was_reset()


def test_neither_refuses_a_loopback_source(connect, receiver):
    assert is_served(connect, receiver[1], WHOLE.replace(b"203.0.113.7", b"127.0.0.1"))


@pytest.mark.parametrize("source, port, served_by", [
    (b"203.0.113.7", b"99999", ["haproxy"]),
    (b"203.0.113.7", b"040312", ["haproxy", "nginx"]),
], ids=["port-above-65535", "leading-zero"])
def test_odd_numbers_are_taken(connect, receiver, source, port, served_by):
    sent = WHOLE.replace(b"203.0.113.7", source).replace(b"40312", port)
    assert is_served(connect, receiver[1], sent) == (receiver[0] in served_by)


@pytest.mark.parametrize("tlv", [
    header.tlv(header.CRC32C, b"oops"),
    b"\x02\xff\xff",
], ids=["wrong-crc32c", "tlv-past-the-end"])
def test_only_haproxy_looks_at_tlvs(connect, receiver, tlv):
    assert is_served(connect, receiver[1], header.v2(tlvs=tlv)) == (receiver[0] == "nginx")


def test_nginx_takes_headers_from_addresses_outside_its_list(connect, closing):
    with receivers.nginx(closing(Echo()).address) as address:
        assert is_served(connect, address, WHOLE)


@pytest.mark.parametrize("options, kept", [("", False), ("proxy_half_close on;", True)],
                         ids=["default", "proxy_half_close"])
def test_nginx_keeps_half_closed_connections_only_when_told(connect, closing, options, kept):
    application = closing(Backend())
    with receivers.nginx(application.address, options) as address:
        client = connect(address)
        client.send(WHOLE + b"question")
        client.finish()
        served = application.accept()
        assert served.receive(8) == b"question"
        assert served.ended()
        if kept:
            served.send(b"answer")
            assert client.receive(6) == b"answer"
        else:
            assert client.receive_rest() == b""
        served.close()
