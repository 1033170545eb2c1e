# SPDX-License-Identifier: MIT
"""The service as systemd runs it: in its sandbox, through reloads, restarts and upgrades."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from header import v1
from peer import open_peer
from processes import wait_until
from installed import CLIENT, CONFIG, PORT, configure, exchange, hand_over, log_lines, start

pytest_plugins = ["package_fixtures"]


def test_runs_within_what_the_unit_allows(installed, application):
    """A privileged port, unix sockets and a log in the service's directories, and no right kept."""
    start(installed, application, listen="127.0.0.1:80",
          settings={"log": {"output": "/var/log/unproxy/access.log"}, "watch": True,
                    "admin": {"listen": "unix:/run/unproxy/admin"}})
    exchange(port=80)
    installed.run("unproxy", "health", "-c", CONFIG)
    pid = installed.main_pid("unproxy.service")
    status = dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M))
    assert "0" not in status["Uid"].split()
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapEff"], 16) == 0
    installed.run("systemctl", "stop", "unproxy.service")
    assert installed.show("unproxy.service", "ActiveState", "Result") == ["inactive", "success"]
    assert CLIENT in installed.run("cat", "/var/log/unproxy/access.log")


def test_transparent_mode(installed, application):
    installed.run("ip", "address", "add", f"{CLIENT}/32", "dev", "lo")
    configure(installed, application, transparent=True)
    installed.run("systemctl", "start", "unproxy-routes.service", "unproxy.service")
    exchange()
    wait_until(lambda: log_lines(installed, event="connection"), "the access line")
    line, = log_lines(installed, event="connection")
    assert (line["transparent"], line["client"]) == (True, f"{CLIENT}:4000")
    hand_over(installed)
    exchange()
    wait_until(lambda: len(log_lines(installed, event="connection", transparent=True)) == 2,
               "the same from the successor")
    installed.run("systemctl", "stop", "unproxy-routes.service")
    assert "lookup 7700" not in installed.run("ip", "rule")


def test_does_not_become_ready_when_it_cannot_start(installed):
    configure(installed, "127.0.0.1:9", listen="192.0.2.1:80")
    installed.run("systemctl", "start", "unproxy.service", status=1)
    assert "192.0.2.1:80" in installed.journal()


def test_reload(installed, application):
    start(installed, application)
    pid = installed.main_pid("unproxy.service")
    with contextlib.closing(open_peer(f"127.0.0.1:{PORT}")) as before:
        before.send(v1(f"{CLIENT}:4001", f"127.0.0.1:{PORT}"))
        before.exchange(b"early")
        configure(installed, application, trusted_proxies=["192.0.2.1"])
        installed.run("systemctl", "reload", "unproxy.service")
        wait_until(lambda: log_lines(installed, event="reload"), "the reload")
        wait_until(lambda: installed.show("unproxy.service", "ActiveState") == ["active"],
                   "its end")
        with pytest.raises((AssertionError, ConnectionError)):
            exchange()
        before.exchange(b"later")
    assert installed.main_pid("unproxy.service") == pid


def test_refused_reload_fails_and_changes_nothing(installed, application):
    start(installed, application)
    installed.write(CONFIG, '{"listeners": [{"lisen": "127.0.0.1:80"}]}')
    installed.run("systemctl", "reload", "unproxy.service", status=1)
    assert 'did you mean "listen"?' in installed.journal()
    exchange()
    assert installed.show("unproxy.service", "ActiveState") == ["active"]


def test_socket_activation_loses_nothing_in_a_restart(installed, application, start_load):
    """A connection starts it, and those that come while it restarts wait."""
    configure(installed, application, listen=f"[::]:{PORT}",
              settings={"shutdown_timeout_ms": 5000, "log": {"access": False}})
    installed.run("systemctl", "start", "unproxy.socket")
    assert installed.show("unproxy.service", "ActiveState") == ["inactive"]
    exchange()
    load = start_load(PORT)
    for _ in range(3):
        installed.run("systemctl", "restart", "unproxy.service")
        for _ in range(50):
            exchange()
    served, _ = load.stop()
    assert served > 150


def test_watchdog_ends_a_successor_that_hangs(installed, application):
    installed.write("/etc/systemd/system/unproxy.service.d/watchdog.conf",
                    "[Service]\nWatchdogSec=500ms\nWatchdogSignal=SIGKILL\n")
    installed.run("systemctl", "daemon-reload")
    start(installed, application)
    hand_over(installed)
    fed, = installed.show("unproxy.service", "WatchdogTimestampMonotonic")
    wait_until(lambda: installed.show("unproxy.service", "WatchdogTimestampMonotonic") != [fed],
               "a sign of life from the successor")
    os.kill(installed.main_pid("unproxy.service"), signal.SIGSTOP)
    wait_until(lambda: installed.show("unproxy.service", "NRestarts", "ActiveState") == ["1", "active"],
               "a restart")
    exchange()


def test_upgrade_under_load_loses_nothing(installed, application, start_load, next_deb):
    start(installed, application, settings={"log": {"access": False}})
    pid = installed.main_pid("unproxy.service")
    load = start_load(PORT)
    with contextlib.closing(open_peer(f"127.0.0.1:{PORT}")) as open_before:
        open_before.send(v1(f"{CLIENT}:4001", f"127.0.0.1:{PORT}"))
        open_before.exchange(b"early")
        installed.install(next_deb)
        wait_until(lambda: installed.main_pid("unproxy.service") != pid, "another main process")
        for _ in range(100):
            exchange()
        open_before.exchange(b"later")
    load.stop()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the old program's end")
    wait_until(lambda: len(log_lines(installed, event="start")) == 2, "the second start in the journal")
    assert [line["message"].split(".")[0] for line in log_lines(installed, event="start")] == \
        ["unproxy 0", "unproxy 9"]
    assert installed.show("unproxy.service", "ActiveState", "NRestarts") == ["active", "0"]
    exchange()
