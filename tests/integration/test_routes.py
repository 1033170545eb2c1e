# SPDX-License-Identifier: MIT
"""unproxy routes: each test has a network of its own, with nothing but lo in it."""

import json
import os
import select
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from daemon import BINARY, listener_config
from limits import DEADLINE, SLOW
from netns import Namespace
from processes import output_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")

SYSCTLS = ["net.ipv4.tcp_fwmark_accept", "net.ipv4.fwmark_reflect", "net.ipv6.fwmark_reflect"]
PARTS = ["IPv4 rule", "IPv4 route", *SYSCTLS[:2], "IPv6 rule", "IPv6 route", SYSCTLS[2]]

# What takes a part away again.
UNDO = {
    "IPv4 rule": "ip rule del fwmark 7700 lookup 7700",
    "IPv4 route": "ip route flush table 7700",
    "IPv6 rule": "ip -6 rule del fwmark 7700 lookup 7700",
    "IPv6 route": "ip -6 route flush table 7700",
    **{name: f"sysctl -qw {name}=0" for name in SYSCTLS},
}

NO_PRIVILEGE = ["setpriv", "--reuid", "nobody", "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all"]

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75

# How long a connection that must not come about is watched [s].
WATCH = 0.3 * SLOW


@pytest.fixture(autouse=True)
def network():
    """The test, and what it starts, is alone."""
    with closing(Namespace()) as made, made.entered():
        yield made


def routes(*arguments, wrapper=(), **options):
    return subprocess.run([*wrapper, BINARY, "routes", *arguments], stdin=subprocess.DEVNULL,
                          text=True, capture_output=True, timeout=DEADLINE, **options)


def done(*arguments, **options):
    """The lines of a command that must succeed, as {part: what became of it}."""
    result = routes(*arguments, **options)
    assert (result.returncode, result.stderr) == (0, "")
    return account(result)


def account(result):
    return {line[:27].rstrip(): line[27:].strip() for line in result.stdout.splitlines()}


def shell(script):
    output_of(["sh", "-ec", script])


def ip(*arguments):
    return json.loads(output_of(["ip", "-j", *arguments]))


def sysctl(name):
    return int(Path("/proc/sys", *name.split(".")).read_text())


def everything():
    """All that the command could have touched."""
    return ([[ip(family, "rule"), ip(family, "route", "show", "table", "all")]
             for family in ("-4", "-6")], [sysctl(name) for name in SYSCTLS])


def our_rules(family):
    return [rule for rule in ip(family, "rule") if rule["priority"] not in (0, 32766, 32767)]


def written(path, **routing):
    config = {"listeners": [listener_config("127.0.0.1:1")], "transparent_routing": routing}
    path.write_text(json.dumps(config))
    return path


# --- up, down, status ---


def test_up_makes_what_ip_shows():
    assert done("up") == {part: "set to 1" if part in SYSCTLS else "added" for part in PARTS}
    for family in ("-4", "-6"):
        assert our_rules(family) == [{"priority": 77, "src": "all", "fwmark": "0x1e14",
                                      "table": "7700", "protocol": "77"}]
        [route] = ip(family, "route", "show", "table", "7700")
        assert (route["type"], route["dst"], route["dev"], route["protocol"]) == \
            ("local", "default", "lo", "77")
    assert [sysctl(name) for name in SYSCTLS] == [1, 1, 1]


def test_up_again_changes_nothing():
    done("up")
    before = everything()
    assert done("up") == {part: "present" for part in PARTS}
    assert everything() == before


def test_down_takes_rules_and_routes_and_leaves_sysctls():
    before = everything()[0]
    done("up")
    said = done("down")
    assert everything() == (before, [1, 1, 1])
    assert said == {part: f"left on, others may need it; off with: sysctl -w {part}=0"
                    if part in SYSCTLS else "removed" for part in PARTS}
    for name in SYSCTLS:
        shell(said[name].split(": ")[1])
    assert [sysctl(name) for name in SYSCTLS] == [0, 0, 0]


def test_down_again_does_nothing():
    before = everything()
    for _ in range(2):
        assert done("down") == {part: "left on, others may need it; off with: "
                                f"sysctl -w {part}=0" if part in SYSCTLS and sysctl(part)
                                else "not there" for part in PARTS}
    assert everything() == before


def test_status_of_nothing_and_of_all():
    nothing = routes("status")
    assert nothing.returncode == 1
    assert '"unproxy routes up" adds what is missing' in nothing.stderr
    assert list(account(nothing)) == PARTS
    assert all(state.startswith("missing; run: ") for state in account(nothing).values())
    done("up")
    assert done("status") == {part: "present" for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_status_names_what_is_missing_and_the_command_that_adds_it(part):
    done("up")
    shell(UNDO[part])
    missing = routes("status")
    assert missing.returncode == 1
    [(name, state)] = [item for item in account(missing).items() if item[1] != "present"]
    assert name == part
    shell(state.removeprefix("missing; run: "))
    done("status")


def test_mark_and_table_come_from_the_configuration(tmp_path):
    config = written(tmp_path / "unproxy.json", mark=0xfffffffe, table=100)
    done("up", "-c", config)
    for family in ("-4", "-6"):
        [rule] = our_rules(family)
        assert (rule["fwmark"], rule["table"]) == ("0xfffffffe", "100")
        assert len(ip(family, "route", "show", "table", "100")) == 1
    done("status", env={**os.environ, "UNPROXY_CONFIG": config.read_text()})
    assert routes("status").returncode == 1
    assert done("down")["IPv4 rule"] == "not there"
    assert done("down", "-c", config)["IPv4 rule"] == "removed"


def test_a_configuration_may_leave_them_out(tmp_path):
    done("up", "-c", written(tmp_path / "unproxy.json"))
    done("status")


# --- --dry-run ---


def test_dry_run_prints_commands_that_do_the_same():
    done("up")
    ours = everything()
    done("down")
    for name in SYSCTLS:
        shell(UNDO[name])
    before = everything()
    up = routes("up", "--dry-run")
    assert (up.returncode, up.stderr, everything()) == (0, "", before)
    shell(up.stdout)
    assert everything() == ours
    down = routes("down", "--dry-run")
    assert (down.returncode, down.stderr, everything()) == (0, "", ours)
    shell(down.stdout)
    assert everything() == (before[0], [1, 1, 1])


def test_dry_run_needs_no_privilege(tmp_path):
    config = written(tmp_path / "unproxy.json", mark=1, table=2)
    tmp_path.chmod(0o755)
    text = config.read_text()
    for action in ("up", "down"):
        expected = routes(action, "--dry-run", "-c", config)
        assert "fwmark 1 lookup 2" in expected.stdout
        unprivileged = routes(action, "--dry-run", wrapper=NO_PRIVILEGE,
                              env={**os.environ, "UNPROXY_CONFIG": text})
        assert (unprivileged.returncode, unprivileged.stdout) == (0, expected.stdout)


# --- what others made ---


def test_what_others_made_is_left_alone():
    shell("""
        ip rule add fwmark 7700 lookup 7701
        ip rule add fwmark 7701 lookup 7700 priority 77
        ip rule add fwmark 7700/0xffff lookup 7700 priority 77
        ip rule add fwmark 7700 iif lo lookup 7700 priority 77
        ip rule add fwmark 7700 lookup 7700 priority 40000
        ip route add 198.51.100.0/24 dev lo table 7700
        ip route add local 203.0.113.0/24 dev lo table 7700 protocol 77
        ip -6 rule add fwmark 7700 lookup 7701
        ip -6 rule add fwmark 7700 iif lo lookup 7700 priority 77
        ip -6 route add local 2001:db8::/32 dev lo table 7700 protocol 77
    """)
    before = everything()[0]
    assert done("up")["IPv4 rule"] == "added"
    assert everything()[0] != before
    assert done("down")["IPv6 route"] == "removed"
    assert everything()[0] == before


def test_what_others_made_to_the_same_effect_is_enough():
    shell("""
        ip rule add fwmark 7700 lookup 7700
        ip -6 rule add fwmark 7700 lookup 7700
        ip route add local default dev lo table 7700
        ip -6 route add local default dev lo table 7700
    """)
    before = everything()[0]
    said = done("up")
    assert [said[part] for part in PARTS if part not in SYSCTLS] == ["present"] * 4
    done("status")
    said = done("down")
    assert {said[part] for part in PARTS if part not in SYSCTLS} == \
        {"left alone: not made by unproxy"}
    assert everything()[0] == before


def test_an_equal_rule_that_others_add_later_survives_ours():
    done("up")
    shell("ip rule add fwmark 7700 lookup 7700 priority 500")
    assert done("down")["IPv4 rule"] == "removed"
    assert [rule["priority"] for rule in our_rules("-4")] == [500]


def test_a_table_with_another_default_route():
    shell("ip route add unreachable default table 7700")
    result = routes("up")
    assert result.returncode == 1
    assert ("unproxy: IPv4 route: cannot be set up: table 7700 has another default route; "
            "set transparent_routing.table to a table of its own\n") == result.stderr
    assert account(result)["IPv6 route"] == "added"
    assert done("down")["IPv4 rule"] == "removed"


# --- what cannot be done ---


def test_without_privilege():
    before = everything()
    result = routes("up", wrapper=NO_PRIVILEGE)
    assert (result.returncode, result.stdout, everything()) == (1, "", before)
    for part in PARTS:
        assert f"unproxy: {part}: cannot be set up: " in result.stderr
    assert result.stderr.count("this needs the capability NET_ADMIN") == 1
    for remedy in ("sudo", "--cap-add NET_ADMIN", "cap_add: [NET_ADMIN]",
                   "capabilities: {add: [NET_ADMIN]}"):
        assert remedy in result.stderr


def test_without_privilege_where_all_is_there():
    done("up")
    done("up", wrapper=NO_PRIVILEGE)
    done("status", wrapper=NO_PRIVILEGE)
    result = routes("down", wrapper=NO_PRIVILEGE)
    assert result.returncode == 1
    assert "unproxy: IPv6 rule: cannot be removed: " in result.stderr
    assert "this needs the capability NET_ADMIN" in result.stderr
    done("status")


def read_only():
    """Runs a program that finds /proc/sys as containers do."""
    return ["unshare", "--mount", "sh", "-ec", "mount --bind /proc/sys /proc/sys; "
            'mount -o remount,bind,ro /proc/sys; exec "$@"', "sh"]


def test_where_sysctls_are_read_only():
    shell(f"sysctl -qw {SYSCTLS[0]}=1")
    result = routes("up", wrapper=read_only())
    assert result.returncode == 1
    assert account(result) == {part: "present" if part == SYSCTLS[0] else "added"
                               for part in PARTS if part not in SYSCTLS[1:]}
    for name in SYSCTLS[1:]:
        assert f"unproxy: {name}: cannot be set up: /proc/sys is read-only here" in result.stderr
    assert f"sysctls: {{{SYSCTLS[1]}: 1, {SYSCTLS[2]}: 1}}" in result.stderr
    assert (f'securityContext: {{sysctls: [{{name: {SYSCTLS[1]}, value: "1"}}, '
            f'{{name: {SYSCTLS[2]}, value: "1"}}]}}') in result.stderr
    assert "NET_ADMIN" not in result.stderr


def test_where_sysctls_are_read_only_and_right():
    shell("\n".join(f"sysctl -qw {name}=1" for name in SYSCTLS))
    done("up", wrapper=read_only())
    done("down", wrapper=read_only())


@pytest.mark.parametrize("device", ["all", "lo"])
def test_where_ipv6_is_off(device):
    shell(f"sysctl -qw net.ipv6.conf.{device}.disable_ipv6=1")
    off = "skipped: IPv6 is off in this network namespace"
    assert routes("status").returncode == 1
    said = done("up")
    assert said.pop("IPv6") == off
    assert list(said) == PARTS[:4]
    assert done("status")["IPv6"] == off
    assert done("down")["IPv6"] == off
    assert our_rules("-6") == []


def test_where_lo_is_down():
    shell("ip link set lo down")
    result = routes("up")
    assert result.returncode == 1
    assert "unproxy: IPv6 route: cannot be set up: lo is down; ip link set lo up" in result.stderr
    assert account(result)["IPv6 rule"] == "added"
    shell("ip link set lo up")
    done("up")
    done("status")


@pytest.mark.parametrize("arguments, message", [
    ([], "up, down or status?"),
    (["sideways"], '"sideways" is not up, down or status'),
    (["up", "down"], 'unexpected argument "down"'),
    (["up", "--frobnicate"], "unknown option --frobnicate"),
    (["up", "-c"], "-c needs a value"),
    (["up", "-c", "a", "-c", "b"], "-c is given twice"),
])
def test_usage(arguments, message):
    result = routes(*arguments)
    assert result.returncode == 2
    assert result.stderr == f'unproxy routes: {message}\nSee "unproxy help routes".\n'


def test_a_bad_configuration_changes_nothing(tmp_path):
    before = everything()
    bad = routes("up", "-c", written(tmp_path / "unproxy.json", table=254))
    assert bad.returncode == 2
    assert "transparent_routing.table: 254: must be a whole number" in bad.stderr
    both = routes("up", "-c", tmp_path / "x", env={**os.environ, "UNPROXY_CONFIG": "{}"})
    assert both.returncode == 2
    assert "the configuration comes from one place" in both.stderr
    assert everything() == before


# --- what it is for ---

CLIENTS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def as_client(family, address):
    """A socket that connects from the client's address, as unproxy's do. It has begun to."""
    s = socket.socket(family)
    if family == socket.AF_INET:
        s.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7700)
    s.bind((CLIENTS[family], 0))
    s.setblocking(False)
    s.connect_ex(address)
    return s


def result_of(connecting, timeout=DEADLINE):
    """0 or the error number; None if nothing came back."""
    if not select.select([], [connecting], [], timeout)[1]:
        return None
    return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def listener(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


@pytest.fixture
def interface():
    shell("""
        ip link add one type veth peer name two
        ip link set one up
        ip link set two up
        ip address add 10.9.0.1/24 dev one
        ip -6 address add fd00:9::1/64 dev one nodad
    """)


@pytest.mark.parametrize("listens, upstream", [
    ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "10.9.0.1"),
    ("10.9.0.1", "10.9.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "fd00:9::1"),
    ("fd00:9::1", "fd00:9::1"),
])
def test_the_application_answers_a_client_from_elsewhere(interface, listens, upstream):
    with listener(listens) as server:
        address = (upstream, server.getsockname()[1])
        with as_client(server.family, address) as client:
            assert result_of(client, WATCH) is None
        done("up")
        with as_client(server.family, address) as client:
            assert result_of(client) == 0
            connection, peer = server.accept()
            with connection:
                assert peer[0] == CLIENTS[server.family]
                connection.sendall(b"answer")
                client.setblocking(True)
                client.settimeout(DEADLINE)
                assert client.recv(6) == b"answer"
    with as_client(server.family, address) as client:
        assert result_of(client) == socket.errno.ECONNREFUSED


@pytest.mark.parametrize("part", PARTS)
def test_without_one_part_a_connection_hangs(part):
    """A closed port takes fwmark_reflect, an open one the rest."""
    done("up")
    shell(UNDO[part])
    with listener("::1" if "6" in part else "127.0.0.1") as server:
        address = server.getsockname()[:2]
        if "reflect" in part:
            server.close()
        with as_client(server.family, address) as client:
            assert result_of(client, WATCH) is None
