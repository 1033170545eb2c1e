# SPDX-License-Identifier: MIT
"""Real applications behind the daemon: they never see a header, and answer."""

import os
import subprocess

import pytest

import header
import senders
from daemon import BINARY
from peer import split
from processes import output_of


@pytest.fixture
def behind(unproxy, sender):
    """Put an application behind unproxy behind HAProxy: the address that clients use."""
    def front(upstream, option="send-proxy-v2"):
        daemon = unproxy(upstream, allow_loopback_clients=True)
        return sender(senders.haproxy, daemon.address, option).address

    return front


def query(address, user, sql):
    host, port = split(address)
    return output_of(["psql", "--no-psqlrc", "-h", host, "-p", port, "-U", user, "-d", "postgres",
                      "-At", "-c", sql]).decode().strip()


def test_postgresql_answers_a_query(behind, postgresql):
    address = behind(postgresql.address)
    assert query(address, postgresql.user, "SELECT 6 * 7") == "42"


def test_postgresql_answers_through_its_unix_socket(behind, postgresql):
    address = behind(postgresql.socket)
    assert query(address, postgresql.user, "SELECT inet_client_addr() IS NULL") == "t"


def test_postgresql_sends_a_large_result_unharmed(behind, postgresql):
    address = behind(postgresql.address, "send-proxy")
    rows = query(address, postgresql.user,
                 "SELECT repeat(chr(65 + i % 26), 1000) FROM generate_series(0, 9999) AS i")
    assert rows.split("\n") == [chr(65 + i % 26) * 1000 for i in range(10000)]


def test_redis_sets_and_gets(behind, redis):
    host, port = split(behind(redis.address))
    value = os.urandom(100000).hex()
    client = ["redis-cli", "-h", host, "-p", port]
    assert output_of([*client, "-x", "SET", "key"], input=value.encode()) == b"OK\n"
    assert output_of([*client, "GET", "key"]).decode().strip() == value


def test_redis_is_reached_through_nginx(unproxy, sender, redis):
    daemon = unproxy(redis.address, allow_loopback_clients=True)
    host, port = split(sender(senders.nginx_stream, daemon.address).address)
    assert output_of(["redis-cli", "-h", host, "-p", port, "PING"]) == b"PONG\n"


def test_http_connection_is_kept_for_a_second_request(unproxy, nginx):
    daemon = unproxy(nginx.address, allow_loopback_clients=True)
    url = f"http://{daemon.address}/"
    first, second = senders.curl(url, url).decode().splitlines()
    assert first.split()[0] == second.split()[0], "two connections reached the application"
    assert (first.split()[1], second.split()[1]) == ("1", "2")
    assert len(daemon.wait_for_records(1, event="connection")) == 1


def test_sshd_runs_a_command(unproxy, sshd):
    """The server speaks first, so this needs a sender that does not wait for the client."""
    daemon = unproxy(sshd.address)
    send = f"{BINARY} send --src {header.CLIENT} --dst {header.DESTINATION} {daemon.address}"
    login = sshd.command(f"ProxyCommand={send}", "sha256sum")
    done = subprocess.run([str(word) for word in login], input=bytes(1 << 20), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == \
        b"30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
    assert daemon.connection(client=header.CLIENT)["outcome"] == "finished"
