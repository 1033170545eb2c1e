# SPDX-License-Identifier: MIT
"""What the running process may do: as little as its listeners take, whoever started it and with what."""

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import header
from daemon import BINARY, listener_config
from limits import DEADLINE
from netns import Namespace
from peer import Backend
from processes import directory, output_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

NET_RAW = 1 << 13

# Started by a user other than root who has this one capability.
ONLY_NET_RAW = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                "--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw",
                "--bounding-set", "-all,+net_raw"]


@pytest.fixture(autouse=True)
def namespace():
    with contextlib.closing(Namespace()) as made, made.entered():
        output_of([BINARY, "routes", "up"])
        yield made


@pytest.fixture
def public_directory():
    """Everybody may read what is in it."""
    with directory() as path:
        path.chmod(0o755)
        yield path


@pytest.fixture
def start(launch, public_directory):
    def run(upstream, settings=None, prefix=(), listeners=1, **listener):
        config = public_directory / "unproxy.json"
        config.write_text(json.dumps({**(settings or {}),
                                      "listeners": [listener_config(upstream, **listener)]}))
        return launch("run", "-c", config, prefix=prefix, listeners=listeners,
                      plain_text=listeners == 0)

    return run


def threads(daemon):
    """What /proc says of each thread."""
    for path in Path(f"/proc/{daemon.pid}/task").iterdir():
        yield dict(re.findall(r"^(\w+):\t(.*)$", (path / "status").read_text(), re.M))


def assert_has_only(daemon, capabilities):
    for thread in threads(daemon):
        for name in ("CapEff", "CapPrm"):
            assert int(thread[name], 16) & ~capabilities == 0, thread
        for name in ("CapInh", "CapAmb"):
            assert int(thread[name], 16) == 0, thread
        assert thread["NoNewPrivs"] == "1" or thread["CapPrm"] == "0" * 16
    main = next(thread for thread in threads(daemon) if thread["Pid"] == str(daemon.pid))
    assert int(main["CapEff"], 16) == capabilities
    assert main["NoNewPrivs"] == "1"


def assert_is(daemon, name):
    entry = pwd.getpwnam(name)
    for thread in threads(daemon):
        assert thread["Uid"].split() == [str(entry.pw_uid)] * 4
        assert thread["Gid"].split() == [str(entry.pw_gid)] * 4


def assert_works(daemon, connect, backend, source=header.CLIENT):
    client = connect(daemon)
    client.send(header.v2(source, source) + b"hello")
    application = backend.accept()
    assert application.receive(5) == b"hello"
    host, port = application.socket.getpeername()[:2]
    return f"{host}:{port}"


def test_root_becomes_nobody(start, connect, backend):
    daemon = start(backend.address)
    assert_is(daemon, "nobody")
    assert_has_only(daemon, 0)
    assert_works(daemon, connect, backend)


def test_root_becomes_nobody_who_can_be_transparent(start, connect, backend):
    daemon = start(backend.address, transparent=True, settings={"workers": 3})
    assert_is(daemon, "nobody")
    assert_has_only(daemon, NET_RAW)
    assert assert_works(daemon, connect, backend) == header.CLIENT


@pytest.mark.parametrize("user", ["www-data", str(pwd.getpwnam("www-data").pw_uid)])
def test_root_becomes_the_configured_user(start, connect, backend, user):
    daemon = start(backend.address, transparent=True, settings={"user": user})
    assert_is(daemon, "www-data")
    assert_has_only(daemon, NET_RAW)
    assert assert_works(daemon, connect, backend) == header.CLIENT


def test_root_stays_root_if_told_to(start, connect, backend):
    daemon = start(backend.address, transparent=True, settings={"user": "root"})
    assert_is(daemon, "root")
    assert assert_works(daemon, connect, backend) == header.CLIENT


def test_ports_below_1024_are_opened_before(start, connect, backend):
    daemon = start(backend.address, listen="127.0.0.1:80")
    assert_is(daemon, "nobody")
    assert_works(daemon, connect, backend)


def test_a_log_file_is_opened_before(start, connect, backend, tmp_path):
    log = tmp_path / "unproxy.log"
    daemon = start(backend.address, listen="127.0.0.1:8081", listeners=0,
                   settings={"log": {"output": str(log)}})
    while not log.exists() or "listening" not in log.read_text():
        assert daemon.process.poll() is None
    assert_is(daemon, "nobody")


def test_an_unknown_user(start, backend):
    daemon = start(backend.address, listeners=0, settings={"user": "nosuchuser"})
    assert daemon.wait() == 1
    assert daemon.other == ['unproxy: user: "nosuchuser": No such file or directory; '
                            "there is no such user; create it, or change `user`"]


def test_a_container_that_may_not_change_users(start, connect, backend):
    """Root there may have lost CAP_SETUID: better root without capabilities than no service."""
    daemon = start(backend.address, transparent=True,
                   prefix=["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all"])
    assert_is(daemon, "root")
    assert daemon.find(event="privilege", level="warn")
    main = next(thread for thread in threads(daemon) if thread["Pid"] == str(daemon.pid))
    assert int(main["CapPrm"], 16) == NET_RAW
    assert assert_works(daemon, connect, backend) == header.CLIENT


def test_the_same_with_a_user_is_an_error(start, backend):
    daemon = start(backend.address, listeners=0, settings={"user": "www-data"},
                   prefix=["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"])
    assert daemon.wait() == 1
    assert "CAP_SETUID" in daemon.other[0]


@pytest.fixture
def public_binary(public_directory):
    """Wherever the build is, others may not be allowed to go there."""
    copy = public_directory / "unproxy"
    shutil.copy(BINARY, copy)
    copy.chmod(0o755)
    return copy


def test_only_net_raw_and_not_root(launch, public_binary, public_directory, connect, closing):
    """Everything but `routes` works."""
    backend, backend6 = closing(Backend()), closing(Backend("[::1]:0"))
    config = public_directory / "unproxy.json"
    config.write_text(json.dumps({"shutdown_timeout_ms": 0, "listeners": [listener_config(
        {"ipv4": backend.address, "ipv6": backend6.address}, transparent=True)]}))
    daemon = launch("run", "-c", config, prefix=ONLY_NET_RAW, binary=public_binary)
    assert_has_only(daemon, NET_RAW)
    assert assert_works(daemon, connect, backend) == header.CLIENT
    assert assert_works(daemon, connect, backend6, "[2001:db8::7]:40001") == "2001:db8::7:40001"
    daemon.terminate()
    assert daemon.wait() == 0
    output_of([*ONLY_NET_RAW, public_binary, "check", "-c", config])


def test_a_privileged_port_of_a_client(start, connect, backend):
    """It takes another capability, so the client keeps its address and loses its port."""
    daemon = start(backend.address, transparent=True)
    client = connect(daemon)
    client.send(header.v2("203.0.113.7:80"))
    application = backend.accept()
    host, port = application.socket.getpeername()
    assert host == "203.0.113.7"
    assert port != 80
    application.close()
    client.finish()
    assert "CAP_NET_BIND_SERVICE" in daemon.connection(client)["reason"]


def test_file_capabilities(launch, public_binary, public_directory, connect, backend):
    """With +p alone: the program raises them itself."""
    output_of(["setcap", "cap_net_raw,cap_net_bind_service+p", public_binary])
    config = public_directory / "unproxy.json"
    config.write_text(json.dumps({"listeners": [
        listener_config(backend.address, listen="127.0.0.1:81", transparent=True)]}))
    daemon = launch("run", "-c", config, binary=public_binary,
                    prefix=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                            "--inh-caps", "-all"])
    assert_has_only(daemon, NET_RAW)
    assert assert_works(daemon, connect, backend) == header.CLIENT


def test_file_capabilities_for_routes(public_binary):
    output_of([BINARY, "routes", "down"])
    output_of(["setcap", "cap_net_admin+p", public_binary])
    output_of(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps",
               "-all", public_binary, "routes", "up"])
    assert "lookup 7700" in output_of(["ip", "rule"]).decode()


def test_check_tries_as_the_user_that_will_run(public_directory, closing):
    """A unix socket that only root can open."""
    with directory() as path, contextlib.closing(Backend(f"unix:{path}/socket")) as backend:
        config = public_directory / "unproxy.json"
        config.write_text(json.dumps({"listeners": [listener_config(backend.address)]}))
        checked = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True,
                                 timeout=DEADLINE)
        assert checked.returncode == 1
        assert "permission denied" in checked.stderr
        config.write_text(json.dumps({"user": "root",
                                      "listeners": [listener_config(backend.address)]}))
        output_of([BINARY, "check", "-c", config])
