# SPDX-License-Identifier: MIT
"""Thousands of peers that send nothing, or next to nothing: each is refused in time, and nobody
else notices."""

import pytest

import header
from crowd import Crowd, WorkingClient
from limits import CROWD, SLOW, descriptors_allowed

pytestmark = [
    pytest.mark.threads,
    pytest.mark.skipif(descriptors_allowed() < CROWD + 500,
                       reason=f"needs {CROWD + 500} file descriptors"),
]

HEADER_TIMEOUT = 3 * SLOW  # [s]; the crowd needs a part of it to connect
TOLERANCE = 0.25 * SLOW

# How long the working client may ever wait [s]: far more than it does, far less than if the
# daemon met its connections one after the other.
PATIENCE = 1.0 * SLOW

# What a waiting connection may cost: a small struct, and the part of a header that has come.
WAITING_MEMORY = 1024 * SLOW


@pytest.fixture
def daemon(unproxy, echo):
    return unproxy(echo.address, settings={"workers": 2}, header_timeout_ms=HEADER_TIMEOUT * 1000)


@pytest.fixture
def working_client(daemon, closing):
    return closing(WorkingClient(daemon.address))


@pytest.fixture
def memory_before(daemon, working_client):
    return daemon.memory()


@pytest.fixture
def crowd(daemon, memory_before, closing):
    return closing(Crowd(daemon.address, CROWD))


def check_refusals(crowd, working_client):
    """Everyone was reset, not before the deadline and not much after.

    By how much we woke late ourselves, we may also have noticed a reset late."""
    working_client.close()
    assert not crowd.open
    assert crowd.ended_otherwise == 0
    assert len(crowd.waited) == CROWD
    assert min(crowd.waited) > HEADER_TIMEOUT - TOLERANCE
    assert max(crowd.waited) < HEADER_TIMEOUT + TOLERANCE + working_client.woken_late


def check_service(working_client):
    assert working_client.error is None
    assert working_client.rounds > 10 / SLOW
    assert working_client.slowest < PATIENCE


def test_silent_peers_are_refused_at_their_deadline_while_others_are_served(
        daemon, memory_before, crowd, working_client):
    assert daemon.memory() - memory_before < CROWD * WAITING_MEMORY
    crowd.watch(HEADER_TIMEOUT + 2)
    check_refusals(crowd, working_client)
    check_service(working_client)


def test_peers_that_send_a_byte_a_second_are_refused_at_their_deadline(
        daemon, memory_before, crowd, working_client):
    for byte in header.v2(tlvs=header.tlv(header.NOOP, bytes(100))):
        crowd.send(bytes([byte]))
        crowd.watch(1)
        if not crowd.open:
            break
        assert daemon.memory() - memory_before < CROWD * WAITING_MEMORY
    check_refusals(crowd, working_client)
    check_service(working_client)
