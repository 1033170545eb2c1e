# SPDX-License-Identifier: MIT
"""Several workers behave as one daemon."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import header

pytestmark = pytest.mark.threads

CONNECTIONS = 500


@pytest.mark.parametrize("workers", [2, 8])
def test_all_connections_are_served_and_told_apart(unproxy, connect, echo, workers):
    daemon = unproxy(echo.address, settings={"workers": workers})

    def converse(number):
        client = connect(daemon)
        client.send(header.v2(f"203.0.113.7:{1024 + number}"))
        client.exchange(f"this is {number}".encode() * 100)
        client.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(converse, range(CONNECTIONS)))
    lines = daemon.wait_for_records(CONNECTIONS, event="connection", outcome="finished")
    assert len({line["id"] for line in lines}) == CONNECTIONS
    assert len({line["client"] for line in lines}) == CONNECTIONS


def test_refusals_and_service_mix(unproxy, connect, echo):
    daemon = unproxy(echo.address, settings={"workers": 2})

    def converse(number):
        client = connect(daemon)
        if number % 2:
            client.send(b"no header")
            assert client.was_reset()
        else:
            client.send(header.v1())
            client.exchange(b"hello")
            client.reset()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(converse, range(CONNECTIONS)))
    daemon.wait_for_records(CONNECTIONS // 2, event="connection", outcome="header_missing")
    daemon.wait_for_records(CONNECTIONS // 2, event="connection", outcome="client_reset")
