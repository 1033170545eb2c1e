# SPDX-License-Identifier: MIT
"""The set-ups of the README as a reader would copy them.

The README names fixed ports, so each test has a network of its own."""

import contextlib
import ctypes
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import applications
import senders
from daemon import BINARY
from peer import split
from processes import directory, listening_on, output_of, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

CLONE_NEWNET = 0x40000000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")


@pytest.fixture(autouse=True)
def own_network():
    """This thread, and what it starts, is alone in a network namespace with a loopback device."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as before:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            # sshd runs as an ordinary user here.
            Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


@pytest.fixture
def start():
    """Run something until the test ends: start(context manager)."""
    with contextlib.ExitStack() as ends:
        yield ends.enter_context


@pytest.fixture
def folder(start):
    return start(directory())


def section(title):
    """The text below the heading @title, up to the next heading."""
    return re.split(r"^#+ ", README.split(f"# {title}\n", 1)[1], flags=re.M)[0]


def blocks(text, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.M | re.S)


def copied(folder, name, text, language):
    """The file @name, as the README shows it."""
    path = folder / name
    path.write_text(blocks(text, language)[0])
    return path


def unproxy(config, port):
    return running([BINARY, "run", "-c", config], listening_on(port))


def test_nlb_to_postgresql(start):
    start(applications.postgresql(port=5432))
    check, run = blocks(section("AWS NLB to PostgreSQL"), "sh")[0].strip().splitlines()
    command = [BINARY, *shlex.split(check)[1:]]
    assert b"configuration is valid" in output_of(command, cwd=ROOT)
    config = json.loads((ROOT / "config.example.json").read_text())
    assert shlex.split(run) == ["unproxy", "run", "-c", "config.example.json"]
    # The list of load balancers is what the reader is told to change.
    config["proxy_lists"]["nlb"] = ["127.0.0.1"]
    with directory() as folder:
        changed = folder / "config.json"
        changed.write_text(json.dumps(config))
        start(unproxy(changed, 6432))
        send = blocks(section("AWS NLB to PostgreSQL"), "sh")[2].replace("unproxy", str(BINARY), 1)
        output_of(["sh", "-c", send])


def test_haproxy_to_redis(start, folder):
    text = section("HAProxy to Redis")
    start(applications.redis(port=6379))
    start(unproxy(copied(folder, "unproxy.json", text, "json"), 6381))
    start(running(["haproxy", "-db", "-f", copied(folder, "haproxy.cfg", text, "haproxy")],
                  listening_on(6380)))
    assert output_of(["redis-cli", "-p", "6380", "ping"]) == b"PONG\n"


def test_nginx_to_sshd(start, folder):
    text = section("nginx to sshd")
    sshd = start(applications.sshd(port=22))
    start(unproxy(copied(folder, "unproxy.json", text, "json"), 2223))
    start(running(["nginx", "-p", folder, "-e", "stderr", "-g", f"daemon off; pid {folder}/pid;",
                   "-c", copied(folder, "nginx.conf", text, "nginx")], listening_on(2222)))
    assert output_of(sshd.command("Port=2222", "echo", "hello")) == b"hello\n"


def test_transparent_mode_on_a_plain_host(start, folder):
    """The load balancer is 10.0.1.5, and the client 203.0.113.1: addresses of this network's one host."""
    text = section("On a plain host")
    for address in ("10.0.1.5", "203.0.113.1"):
        output_of(["ip", "address", "add", f"{address}/32", "dev", "lo"])
    hba = "local all all trust\nhost all all 203.0.113.1/32 trust\n"
    start(applications.postgresql(port=5432, hosts=("127.0.0.1", "::1"), hba=hba))
    copied(folder, "unproxy.json", text, "json")
    routes, check, run = ([BINARY, *shlex.split(line)[1:]]
                          for line in blocks(text, "sh")[0].strip().splitlines())
    output_of(routes, cwd=folder)
    assert b"configuration is valid" in output_of(check, cwd=folder)
    assert run == [BINARY, "run", "-c", "unproxy.json"]
    start(unproxy(folder / "unproxy.json", 6432))
    balancer = start(senders.haproxy("127.0.0.1:6432", "send-proxy-v2 source 10.0.1.5",
                                     hosts=("203.0.113.1",)))
    host, port = split(balancer.address)
    seen = output_of(["psql", "--no-psqlrc", "-h", host, "-p", port, "-U", "test", "-d", "postgres",
                      "-At", "-c", "SELECT inet_client_addr()"])
    assert seen == b"203.0.113.1\n"


def test_flags(start):
    start(applications.postgresql(port=5432))
    command = blocks(section("Set-up in five minutes"), "sh")[0]
    assert command.startswith("unproxy ")
    start(running([BINARY, *shlex.split(command)[1:]], listening_on(6432)))
