# SPDX-License-Identifier: MIT
"""`unproxy check`: what would run, and what would not and why."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon import BINARY, listener_config
from limits import DEADLINE
from peer import Backend

EXAMPLE = Path(__file__).parents[2] / "config.example.json"
OPEN_TRUST = ("unproxy: warning: listeners[0].trusted_proxies: every {} address is trusted, so "
              "anybody can pose as any client; list the networks of the load balancer")
IS_IT_RUNNING = "connection refused; is the application running?"

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def alone(script):
    """What to put before a command, to run it in namespaces of its own after @script, in Python."""
    script = f"""
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
{script}
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
    return ["unshare", "--mount", "--net", sys.executable, "-c", script]


def run_check(*arguments, environment=None, wrapper=(), **options):
    environment = {**os.environ, **(environment or {})}
    return subprocess.run([*wrapper, BINARY, "check", *map(str, arguments)], capture_output=True,
                          text=True, timeout=DEADLINE, env=environment, **options)


def check(settings=None, *arguments, wrapper=(), **listener):
    """With one listener, before a port where nobody listens unless the test says otherwise."""
    described = listener_config(**listener)
    if "upstream_check" not in listener:
        del described["upstream_check"]  # a default, like the others
    config = {"listeners": [described], **(settings or {})}
    return run_check("-c", "-", *arguments, input=json.dumps(config), wrapper=wrapper)


def test_it_says_what_would_run(backend):
    done = check({"workers": 3, "log": {"level": "warn", "format": "text", "access": False},
                  "shutdown_timeout_ms": 1500},
                 upstream=backend.address, name="web", header="optional", untrusted="pass",
                 versions=[2], header_timeout_ms=250, connect_timeout_ms=2000,
                 idle_timeout_ms=60000, max_header_bytes=200, max_connections=7,
                 allow_loopback_clients=True,
                 trusted_proxies=[f"10.{i}.0.0/30" for i in range(7)])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "workers      3",
        "log          to stderr as text, level warn, no line for each connection",
        "SIGTERM      connections have 1500 ms to finish",
        'listener "web"',
        "  listen       127.0.0.1:0",
        f"  upstream     {backend.address}",
        "  trusted      7 ranges: 10.0.0.0/30, 10.1.0.0/30, 10.2.0.0/30, 10.3.0.0/30, 10.4.0.0/30 "
        "and 2 more",
        "  header       optional, version 2, at most 200 bytes, within 250 ms",
        "  untrusted    peers are relayed as they come, as their own client",
        "  loopback     client addresses 127.0.0.0/8 and ::1 are accepted",
        "  connecting   at most 2 s",
        "  idle         closed after 60 s",
        "  connections  at most 7",
        "configuration is valid",
    ]


def test_it_says_what_defaults_mean(backend, tmp_path):
    path = tmp_path / "in.sock"
    port = backend.address.split(":")[1]
    done = check(upstream={"ipv4": backend.address, "ipv6": f"localhost:{port}"},
                 listen=f"unix:{path}", trusted_proxies=["unix:"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "workers      one for each CPU this process may use",
        "log          to stderr as JSON, level info, a line for each connection",
        "SIGTERM      connections have 30 s to finish",
        'listener "test"',
        f"  listen       unix:{path}",
        f"  upstream     127.0.0.1:{port} for IPv4 clients, localhost:{port} for IPv6 clients",
        f"  trusted      whoever can open {path}",
        "  header       required, version 1 or 2, at most 4096 bytes, within 5 s",
        "  untrusted    peers are rejected",
        "  loopback     client addresses 127.0.0.0/8 and ::1 are refused",
        "  connecting   at most 5 s",
        "  idle         never closed",
        "  connections  as many as the limit on open files allows",
        "configuration is valid",
    ]
    assert not path.exists()


def test_it_says_who_is_served_and_what_is_sent(backend, tmp_path):
    path = tmp_path / "config.json"
    listener = listener_config(
        upstream=backend.address, send_proxy="v2", max_connections_per_client=20,
        connection_rate_per_client={"per_second": 10, "burst": 50}, max_tracked_clients=1024,
        clients={"allow": ["198.51.100.0/24", "2001:db8::/32"], "deny": ["198.51.100.7"],
                 "vpc_endpoints": [f"vpce-{i}" for i in range(7)]},
        upstream_check={"interval_ms": 250, "close_listener": True})
    path.write_text(json.dumps({"listeners": [listener], "admin": {"listen": "127.0.0.1:0"},
                                "watch": True}))
    done = run_check("-c", path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("admin", "watch"))] == [
        "admin        127.0.0.1:0",
        f"watch        loaded again when one of these changes: {path}",
    ]
    assert [line for line in lines if line.startswith(("  send", "  check", "  cli", "  per"))] == [
        "  send_proxy   a version 2 header to the upstream",
        "  checked      the upstream, every 250 ms; connections are refused while it is down",
        "  clients      only from 2 ranges: 198.51.100.0/24, 2001:db8::/32",
        "  clients      not from 1 range: 198.51.100.7/32",
        "  clients      only through vpce-0, vpce-1, vpce-2, vpce-3, vpce-4 and 2 more",
        "  per client   at most 20 connections",
        "  per client   at most 10 new connections a second, 50 at once",
        "  per client   up to 1024 clients are remembered",
    ]


def test_open_trust_is_a_warning(backend):
    done = check(upstream=backend.address, trusted_proxies=["0.0.0.0/0", "::/0"])
    assert done.returncode == 0
    assert done.stderr.splitlines() == [OPEN_TRUST.format("IPv4"), OPEN_TRUST.format("IPv6")]


def test_no_probe_looks_at_the_file_alone(dead_address):
    done = check({}, "--no-probe", upstream=dead_address, listen="192.0.2.1:80")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.endswith("\nconfiguration is valid\n")


@NEEDS_ROOT
def test_the_example_passes_where_its_application_runs():
    """The file as it is, in a network of its own, with a listener on PostgreSQL's port."""
    done = run_check("-c", EXAMPLE, wrapper=alone("""
listener = socket.create_server(("127.0.0.1", 5432))
"""))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "  upstream     127.0.0.1:5432\n" in done.stdout
    done = run_check("-c", EXAMPLE, wrapper=alone(""))
    check_problem(done, f"listeners[0].upstream: 127.0.0.1:5432: {IS_IT_RUNNING}\n"
                        f"unproxy: listeners[1].upstream: 127.0.0.1:5432: {IS_IT_RUNNING}")


# Problems


@pytest.fixture
def dead_address():
    """Where nobody listens: the port was ours a moment ago."""
    backend = Backend()
    backend.close()
    return backend.address


def check_problem(done, problem):
    """It is the only one."""
    assert done.returncode == 1
    assert done.stderr == f"unproxy: {problem}\n"
    assert "valid" not in done.stdout


def test_an_upstream_that_is_down(dead_address):
    check_problem(check(upstream=dead_address),
                  f"listeners[0].upstream: {dead_address}: {IS_IT_RUNNING}")


def test_each_half_of_a_pair(backend, dead_address):
    check_problem(check(upstream={"ipv4": dead_address, "ipv6": "unix:/nonexistent/app.sock"}),
                  f"listeners[0].upstream.ipv4: {dead_address}: {IS_IT_RUNNING}\n"
                  "unproxy: listeners[0].upstream.ipv6: unix:/nonexistent/app.sock: "
                  "no such socket; is the application running?")


def test_an_upstream_that_does_not_answer(connect):
    """A full accept queue drops the SYN, as a firewall does."""
    backend = Backend(backlog=0)
    try:
        connect(backend.address)
        done = check(upstream=backend.address, connect_timeout_ms=100)
    finally:
        backend.close()
    check_problem(done, f"listeners[0].upstream: {backend.address}: no answer within 100 ms; "
                        "check the address, and firewalls on the way")


def test_a_name_that_does_not_exist():
    done = check(upstream="no-such-host.invalid:80")
    assert done.returncode == 1
    assert done.stderr.startswith("unproxy: listeners[0].upstream: no-such-host.invalid:80: "
                                  "the name does not resolve: ")
    assert done.stderr.endswith("; check it, or write an address\n")


@NEEDS_ROOT
def test_a_resolver_that_does_not_answer(tmp_path):
    """The only name server is a socket that nobody reads."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    started = time.monotonic()
    done = check(upstream="db.example.test:80", wrapper=alone(f"""
subprocess.run(["mount", "--bind", "{resolver}", "/etc/resolv.conf"], check=True)
silent = socket.socket(type=socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
"""))
    check_problem(done, "listeners[0].upstream: db.example.test:80: the resolver does not answer; "
                        "check /etc/resolv.conf, or write an address")
    assert time.monotonic() - started < 6


def test_a_port_in_use(backend):
    done = check(upstream=backend.address, listen=backend.address)
    assert done.returncode == 1
    assert done.stderr.startswith("unproxy: listeners[0].listen: cannot listen on "
                                  f"{backend.address}: Address already in use; ")


def test_a_log_that_cannot_be_written(backend, tmp_path):
    check_problem(check({"log": {"output": "/nonexistent/unproxy.log"}}, upstream=backend.address),
                  "log.output: /nonexistent/unproxy.log: cannot be written: No such file or "
                  "directory; create the folder, or give this user the right to write there")
    check_problem(check({"log": {"output": str(tmp_path)}}, upstream=backend.address),
                  f"log.output: {tmp_path}: cannot be written: Is a directory; create the folder, "
                  "or give this user the right to write there")


def test_a_log_that_can_be_written_is_not_created(backend, tmp_path):
    log = tmp_path / "unproxy.log"
    assert check({"log": {"output": str(log)}}, upstream=backend.address).returncode == 0
    assert not log.exists()
    log.write_text("")
    assert check({"log": {"output": str(log)}}, upstream=backend.address).returncode == 0


def test_more_connections_than_descriptors(backend):
    check_problem(check(upstream=backend.address, max_connections=1000,
                        wrapper=["prlimit", "--nofile=1999:1999"]),
                  "max_connections: 1000 connections need 2000 open files, and this process may "
                  "have 1999; raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower "
                  "max_connections")
    assert check(upstream=backend.address, max_connections=1000,
                 wrapper=["prlimit", "--nofile=2000:2000"]).returncode == 0


# Where the configuration comes from


@pytest.mark.parametrize("arguments, environment, message", [
    ([], {},
     "there is no configuration; give -c FILE, or --listen ADDR --upstream ADDR --trust CIDR, or "
     "set UNPROXY_CONFIG to the JSON"),
    (["-c", "x"], {"UNPROXY_CONFIG": "{}"},
     "the configuration comes from one place, but -c and the environment variable UNPROXY_CONFIG "
     "are both given; drop one"),
    (["--trust", "::1"], {"UNPROXY_CONFIG": "{}"},
     "the configuration comes from one place, but the environment variable UNPROXY_CONFIG and "
     "--trust are both given; drop one"),
    (["-c", "x", "--transparent"], {},
     "the configuration comes from one place, but -c and --transparent are both given; drop one"),
    (["-c", "x", "-c", "y"], {}, "-c is given twice"),
    (["--trust", "::1", "--trust", "::2"], {},
     "--trust (separate networks by commas) is given twice"),
    (["config.json"], {}, 'unexpected argument "config.json"; a file is named by -c FILE'),
    (["-c"], {}, "-c needs a value"),
    (["--config"], {}, "--config needs a value"),
    (["-x"], {}, "unknown option -x"),
    (["--trusted", "::1"], {}, "unknown option --trusted"),
])
def test_usage_errors(arguments, environment, message):
    done = run_check(*arguments, environment=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"unproxy check: {message}"
    assert done.stdout == ""


@pytest.mark.parametrize("arguments, environment, message", [
    ([], {"UNPROXY_CONFIG": '{\n"listeners": 1}'},
     "UNPROXY_CONFIG:2:14: listeners: 1: must be an array of objects"),
    (["-c", "-"], {"UNPROXY_CONFIG": ""}, "stdin:1:1: there is nothing in it"),
    (["--listen", "[::]:80"], {},
     "--upstream is missing; --listen, --upstream and --trust go together"),
    (["--listen", "[::]:80", "--upstream", "127.0.0.1:1", "--trust", "10.0.0.1/8"], {},
     '--trust: "10.0.0.1/8": host bits are set; the network is 10.0.0.0/8'),
    (["--listen", "[::]:80", "--upstream", "unix:/x", "--trust", "10.0.0.1", "--transparent"], {},
     '--upstream: "unix:/x": connections to a unix socket have no client address, so `transparent` '
     "needs the application's TCP port"),
])
def test_invalid_configurations(arguments, environment, message):
    done = run_check(*arguments, environment=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == f"unproxy: {message}\n"
    assert done.stdout == ""


def test_flags_make_a_configuration(backend):
    done = run_check("--listen", "127.0.0.1:0", "--upstream", backend.address,
                     "--trust", "10.0.0.0/24,::1")
    assert done.returncode == 0, done.stderr
    assert "trusted      2 ranges: 10.0.0.0/24, ::1/128" in done.stdout


def test_a_file_that_cannot_be_read_is_status_1(tmp_path):
    done = run_check("-c", tmp_path / "none.json")
    assert done.returncode == 1
    assert done.stderr == f"unproxy: {tmp_path}/none.json: No such file or directory\n"
