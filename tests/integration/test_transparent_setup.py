# SPDX-License-Identifier: MIT
"""Transparent mode that cannot work: the start fails, and so does check, and both say what to do."""

import contextlib
import json
import os
import subprocess

import pytest

from daemon import BINARY, listener_config
from limits import DEADLINE
from netns import Network
from peer import Backend, split
from processes import knowing_hosts, output_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.fixture(autouse=True)
def network():
    """The test runs in the namespace of the application, with the routes in place."""
    with contextlib.closing(Network()) as made, made.app.entered():
        output_of([BINARY, "routes", "up"])
        yield made


@pytest.fixture
def configured(tmp_path):
    """The configuration of a transparent daemon, as a file."""
    def write(upstream):
        listener = listener_config(upstream, transparent=True)
        path = tmp_path / "transparent.json"
        path.write_text(json.dumps({"listeners": [listener]}))
        return path

    return write


def run_check(config, *prefix):
    return subprocess.run([*prefix, BINARY, "check", "-c", config], capture_output=True, text=True,
                          timeout=DEADLINE)


def without(network, family, part):
    """Take away one of the things that `unproxy routes up` made."""
    flag = "-6" if family == 6 else "-4"
    if part == "rule":
        network.app.run("ip", flag, "rule", "del", "fwmark", "7700", "lookup", "7700")
    elif part == "route":
        network.app.run("ip", flag, "route", "flush", "table", "7700")
    else:
        network.app.set(part, 0)


@pytest.mark.parametrize("family, part, message, remedy", [
    (4, "rule", "IPv4 rule", "ip rule add fwmark 7700 lookup 7700"),
    (6, "rule", "IPv6 rule", "ip -6 rule add fwmark 7700 lookup 7700"),
    (4, "route", "IPv4 route", "ip route add local default dev lo table 7700"),
    (6, "route", "IPv6 route", "ip -6 route add local default dev lo table 7700"),
    (4, "net.ipv4.tcp_fwmark_accept", "net.ipv4.tcp_fwmark_accept",
     "sysctl -w net.ipv4.tcp_fwmark_accept=1"),
    (4, "net.ipv4.fwmark_reflect", "net.ipv4.fwmark_reflect",
     "sysctl -w net.ipv4.fwmark_reflect=1"),
    (6, "net.ipv6.fwmark_reflect", "net.ipv6.fwmark_reflect",
     "sysctl -w net.ipv6.fwmark_reflect=1"),
])
def test_what_is_missing(network, configured, launch, closing, family, part, message, remedy):
    backend = closing(Backend("[::1]:0" if family == 6 else f"{Network.APP}:0"))
    config = configured(backend.address)
    assert run_check(config).returncode == 0
    without(network, family, part)
    daemon = launch("run", "-c", config, listeners=0, plain_text=True)
    assert daemon.wait() == 1
    checked = run_check(config)
    assert checked.returncode == 1
    for text in ("\n".join(daemon.other), checked.stderr):
        assert "transparent mode does not work: " in text
        assert f"; missing: {message}\n" in text
        assert remedy in text
    network.app.run(*remedy.split())  # as it says
    assert run_check(config).returncode == 0


def test_nothing_is_set_up(network, configured, backend):
    network.app.run(BINARY, "routes", "down")
    for name in ("net.ipv4.tcp_fwmark_accept", "net.ipv4.fwmark_reflect"):
        network.app.set(name, 0)
    checked = run_check(configured(backend.address))
    assert checked.returncode == 1
    assert "missing: IPv4 rule, IPv4 route, net.ipv4.tcp_fwmark_accept, net.ipv4.fwmark_reflect\n" \
        in checked.stderr
    assert "`unproxy routes up`" in checked.stderr


def test_a_firewall_in_the_way(network, configured, backend):
    """Nothing of ours is missing, but another rule comes first."""
    network.app.run("ip", "rule", "add", "fwmark", "7700", "blackhole", "priority", "1")
    checked = run_check(configured(backend.address))
    assert checked.returncode == 1
    assert "another rule (ip rule) is in the way" in checked.stderr


def test_the_capability_is_missing(configured, launch, backend):
    prefix = ["setpriv", "--bounding-set", "-net_raw,-net_admin", "--inh-caps", "-net_raw,-net_admin"]
    config = configured(backend.address)
    daemon = launch("run", "-c", config, listeners=0, plain_text=True, prefix=prefix)
    assert daemon.wait() == 1
    checked = run_check(config, *prefix)
    assert checked.returncode == 1
    for text in ("\n".join(daemon.other), checked.stderr):
        assert "the capability CAP_NET_RAW is missing" in text
        assert "setcap cap_net_raw+p" in text


def test_an_application_on_another_host(configured, launch):
    config = configured(f"{Network.BALANCER}:80")
    daemon = launch("run", "-c", config, listeners=0, plain_text=True)
    assert daemon.wait() == 1
    checked = run_check(config)
    assert checked.returncode == 1
    for text in ("\n".join(daemon.other), checked.stderr):
        assert f"{Network.BALANCER} is not an address of this host" in text


def test_an_application_of_the_other_family(configured, closing):
    backend = closing(Backend("[::1]:0"))
    checked = run_check(configured(backend.address.replace("[::1]", "127.0.0.1")))
    assert checked.returncode == 1
    assert f"connection refused, but {backend.address} answers" in checked.stderr


def test_a_name_of_two_families_and_an_application_of_one(configured, backend, tmp_path):
    prefix = knowing_hosts(tmp_path, "127.0.0.1 both\n::1 both\n")
    checked = run_check(configured(f"both:{split(backend.address)[1]}"), *prefix)
    assert checked.returncode == 1
    assert "the application listens on IPv4 only" in checked.stderr


def test_check_says_who_is_not_served(configured, backend):
    checked = run_check(configured(backend.address))
    assert checked.returncode == 0, checked.stderr
    assert "transparent  the application sees the client's address and port\n" in checked.stdout
    assert "IPv6 clients are refused" in checked.stdout
