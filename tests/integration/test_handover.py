# SPDX-License-Identifier: MIT
"""SIGUSR2: the program that lies in our place takes over, and no client notices; or it does not, and nobody does either."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import admin
import header
from activation import passing
from daemon import BINARY, listener_config
from netns import Namespace
from peer import Backend, open_peer
from processes import directory, free_port, is_listening, output_of, wait_until
from test_notify import Systemd

pytestmark = pytest.mark.threads

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

NET_RAW = 1 << 13

# How often it is done in a row.
TIMES = 5


@pytest.fixture
def place():
    """A directory for programs, configurations and sockets that everybody may read."""
    with directory() as path:
        path.chmod(0o755)
        yield path


@pytest.fixture
def program(place):
    """A copy of the program that can be replaced."""
    path = place / "unproxy"
    shutil.copy(BINARY, path)
    return path


def replace(program, text):
    """Put a script in its place."""
    new = program.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o755)
    os.replace(new, program)


class Service:
    """A daemon of @program with a configuration that the test may change."""

    def __init__(self, launch, file, binary):
        self.file = file
        self.launch = launch
        self.binary = binary

    def configure(self, *listeners, **settings):
        self.file.write_text(json.dumps({"workers": 2, "user": "root", "shutdown_timeout_ms": 10000,
                                         **settings, "listeners": listeners}))

    def start(self, *listeners, options=None, **settings):
        self.configure(*listeners, **settings)
        return self.launch("run", "-c", self.file, listeners=len(listeners), binary=self.binary,
                           **(options or {}))


@pytest.fixture
def service(launch, place, program):
    return Service(launch, place / "unproxy.json", program)


@pytest.fixture
def converse(connect, backend):
    def connected(address):
        client = connect(address)
        client.send(header.v2() + b"hello")
        served = backend.accept()
        assert served.receive(5) == b"hello"
        return client, served

    return connected


def exchange(client, served):
    client.send(b"question")
    assert served.receive(8) == b"question"
    served.send(b"answer")
    assert client.receive(6) == b"answer"


def finish(client, served):
    exchange(client, served)
    client.close()
    served.close()


def failure(daemon, count=1):
    """Why SIGUSR2 came to nothing."""
    line = daemon.wait_for_records(count, event="upgrade", level="error")[-1]
    assert line["message"].startswith("SIGUSR2: ")
    assert line["message"].endswith("; this process serves on")
    return line["message"]


class Clients:
    """Connect without a pause; every one of them must be served."""

    def __init__(self, address, count=4):
        self.address = address
        self.served = 0
        self.errors = []
        self.ends = False
        self.threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.ends and not self.errors:
            try:
                client = open_peer(self.address)
                client.send(header.v2() + b"hello")
                assert client.receive(5) == b"hello"
                client.close()
                self.served += 1
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(repr(error))

    def served_more(self, count):
        before = self.served
        wait_until(lambda: self.errors or self.served > before + count, "clients are served")

    def stop(self):
        self.ends = True
        for thread in self.threads:
            thread.join()
        assert not self.errors


@pytest.fixture
def clients(service, echo):
    """Start clients of a listener before the echo."""
    started = []

    def start(address):
        started.append(Clients(address))
        return started[-1]

    yield start
    for crowd in started:
        crowd.stop()


# --- it takes over ---


def test_nobody_is_refused_and_connections_go_on(service, clients, connect, converse, backend, echo):
    daemon = service.start(listener_config(backend.address, name="old"),
                           listener_config(echo.address, name="busy"))
    first, busy = daemon.addresses
    established = converse(first)
    crowd = clients(busy)
    for _ in range(TIMES):
        crowd.served_more(20)
        daemon.hand_over(wait=False)
        exchange(*established)
        exchange(*converse(first))
    crowd.served_more(20)
    crowd.stop()
    for end in established:
        end.close()


def test_the_old_process_ends_with_its_last_connection(service, converse, backend):
    daemon = service.start(listener_config(backend.address))
    client, served = converse(daemon.address)
    daemon.hand_over(wait=False)
    assert daemon.before[0].poll() is None
    exchange(client, served)
    client.close()
    served.close()
    assert daemon.before[0].wait() == 0
    exchange(*converse(daemon.address))


def test_it_can_be_done_again_and_again(service, converse, backend):
    daemon = service.start(listener_config(backend.address))
    for _ in range(TIMES):
        daemon.hand_over()
        finish(*converse(daemon.address))


def test_the_file_that_lies_there_now_is_started(service, program, backend):
    daemon = service.start(listener_config(backend.address))
    assert os.path.samefile(f"/proc/{daemon.pid}/exe", program)
    new = program.with_suffix(".new")
    shutil.copy(BINARY, new)
    os.replace(new, program)
    assert not os.path.samefile(f"/proc/{daemon.pid}/exe", program)
    daemon.hand_over()
    assert os.path.samefile(f"/proc/{daemon.pid}/exe", program)


def test_a_link_that_leads_to_another_version_is_followed(launch, place, program, backend):
    (place / "v2").mkdir()
    shutil.copy(BINARY, place / "v2/unproxy")
    current = place / "current"
    current.symlink_to(program)
    daemon = Service(launch, place / "unproxy.json", current).start(
        listener_config(backend.address))
    current.unlink()
    current.symlink_to(place / "v2/unproxy")
    daemon.hand_over()
    assert os.path.samefile(f"/proc/{daemon.pid}/exe", place / "v2/unproxy")


def test_the_new_process_reads_the_configuration_anew(service, connect, converse, backend):
    kept = listener_config(backend.address, name="kept")
    daemon = service.start(kept, listener_config(backend.address, name="gone", listen="127.0.0.2:0"))
    address, gone = daemon.addresses
    service.configure(kept, listener_config(backend.address, name="new", listen="127.0.0.3:0"),
                      workers=3)
    daemon.hand_over()
    exchange(*converse(address))
    lines = [line["message"] for line in daemon.wait_for_records(4, event="listening")]
    new = [line for line in lines if line.startswith("new: ")][0].split()[3].rstrip(",")
    exchange(*converse(new))
    with pytest.raises(ConnectionRefusedError):
        open_peer(gone)
    line = daemon.wait_for_records(1, event="inherited_socket")[0]
    assert f"the socket at {gone} (unproxy)" in line["message"]


@pytest.mark.parametrize("workers", [1, 4])
def test_another_number_of_workers_shares_the_sockets(service, clients, echo, workers):
    listener = listener_config(echo.address)
    daemon = service.start(listener)
    crowd = clients(daemon.address)
    for number in [workers, 2, workers]:
        service.configure(listener, workers=number)
        daemon.hand_over(wait=False)
        crowd.served_more(50)


def test_no_descriptor_is_passed_on_but_the_sockets(service, backend):
    daemon = service.start(listener_config(backend.address), **admin.ANYWHERE)
    before = len(daemon.open_descriptors())
    for _ in range(2):
        daemon.hand_over()
        wait_until(lambda: len(daemon.open_descriptors()) == before, "the same descriptors")


def test_the_admin_endpoint_is_handed_over(service, backend):
    daemon = service.start(listener_config(backend.address), **admin.ANYWHERE)
    address = admin.address_of(daemon)
    daemon.hand_over()
    answer = admin.exchange(address, admin.request("/readyz"))
    assert (answer.status, answer.json()) == (200, {"status": "ready"})


def test_unix_sockets_keep_their_files_until_the_end(service, place, converse, backend):
    path, admin_path = place / "socket", place / "admin"
    daemon = service.start(
        listener_config(backend.address, listen=f"unix:{path}", trusted_proxies=["unix:"]),
        admin={"listen": f"unix:{admin_path}"})
    for _ in range(2):
        daemon.hand_over()
        finish(*converse(f"unix:{path}"))
        assert admin.exchange(f"unix:{admin_path}", admin.request("/healthz")).status == 200
    daemon.terminate()
    assert daemon.wait() == 0
    assert not path.exists()
    assert not admin_path.exists()


def test_the_file_of_a_socket_that_systemd_opened_stays(service, place, closing, backend):
    path = place / "socket"
    sock = closing(socket.socket(socket.AF_UNIX))
    sock.bind(str(path))
    sock.listen()
    daemon = service.start(
        listener_config(backend.address, listen=f"unix:{path}", trusted_proxies=["unix:"]),
        options=passing(sock))
    daemon.hand_over()
    daemon.terminate()
    assert daemon.wait() == 0
    assert path.exists()


@needs_root
def test_it_works_as_the_user_that_the_old_process_has_become(service, converse, backend):
    daemon = service.start(listener_config(backend.address, listen="127.0.0.1:623"), user="nobody")
    daemon.hand_over()
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M)
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"]:
        assert int(re.search(rf"^{name}:\s+(\w+)$", status, re.M)[1], 16) == 0
    exchange(*converse(daemon.address))
    assert not daemon.find(level="warn")


@needs_root
def test_transparent_mode_keeps_what_it_takes(service, closing, connect):
    with closing(Namespace()).entered():
        output_of([BINARY, "routes", "up"])
        backend = closing(Backend())
        daemon = service.start(listener_config(backend.address, transparent=True), user="nobody")
        for _ in range(2):
            daemon.hand_over()
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            for name, expected in [("CapPrm", NET_RAW), ("CapEff", NET_RAW), ("CapAmb", 0)]:
                assert int(re.search(rf"^{name}:\s+(\w+)$", status, re.M)[1], 16) == expected
            client = connect(daemon)
            client.send(header.v2(source="203.0.113.7:4711"))
            served = backend.accept()
            assert served.socket.getpeername()[0] == "203.0.113.7"
            client.close()
            served.close()


# --- it does not ---


@pytest.mark.parametrize("script, why", [
    ("#!/bin/sh\nexit 3\n", "ended with status 3 before it served; what it wrote to stderr says why"),
    ("#!/bin/sh\nkill -KILL $$\n", "was killed by signal 9 (Killed) before it served"),
    ("#!/nonexistent\n", "No such file or directory"),
    ("no program", "Exec format error"),
])
def test_a_program_that_fails_leaves_the_old_one_serving(service, program, converse, script, why,
                                                         backend):
    daemon = service.start(listener_config(backend.address))
    established = converse(daemon.address)
    replace(program, script)
    daemon.signal(signal.SIGUSR2)
    assert why in failure(daemon)
    exchange(*established)
    exchange(*converse(daemon.address))
    os.remove(program)
    shutil.copy(BINARY, program)
    daemon.hand_over(wait=False)
    exchange(*converse(daemon.address))


def test_a_configuration_that_is_refused_leaves_the_old_one_serving(service, converse, backend,
                                                                   place):
    path = place / "socket"
    unix = listener_config(backend.address, name="unix", listen=f"unix:{path}",
                           trusted_proxies=["unix:"])
    daemon = service.start(unix, options={"plain_text": True})
    for broken in ["{", json.dumps({"listeners": [unix, listener_config(
            backend.address, listen="192.0.2.1:1")], "user": "root"})]:
        before = len(daemon.find(event="upgrade", level="error"))
        service.file.write_text(broken)
        daemon.signal(signal.SIGUSR2)
        assert "before it served" in failure(daemon, before + 1)
        exchange(*converse(f"unix:{path}"))  # its file is still there
    assert any("192.0.2.1" in line for line in daemon.other)


def test_a_port_that_refuses_connections_does_so_again(service, backend):
    """While its application is down: the new program has made it listen."""
    down = listener_config(f"127.0.0.1:{free_port()}", listen=f"127.0.0.1:{free_port()}",
                           upstream_check={"interval_ms": 20, "close_listener": True})
    daemon = service.start(down, options={"plain_text": True})
    wait_until(lambda: not is_listening(daemon.port), "it refuses connections")
    service.configure(down, listener_config(backend.address, name="b", listen="192.0.2.1:1"))
    daemon.signal(signal.SIGUSR2)
    assert "ended with status 1 before it served" in failure(daemon)
    wait_until(lambda: not is_listening(daemon.port), "it refuses them again")


@needs_root
def test_a_file_that_only_root_may_read_is_hinted_at(service, converse, backend):
    daemon = service.start(listener_config(backend.address), user="nobody",
                           options={"plain_text": True})
    service.file.chmod(0o600)
    daemon.signal(signal.SIGUSR2)
    assert "(it runs as user 65534, who has to be able to read the configuration" in failure(daemon)
    exchange(*converse(daemon.address))


def test_a_configuration_from_standard_input_cannot_be_handed_over(launch, backend):
    config = {"listeners": [listener_config(backend.address)]}
    daemon = launch("run", "-c", "-", stdin=json.dumps(config).encode())
    daemon.signal(signal.SIGUSR2)
    line = daemon.wait_for_records(1, event="upgrade")[0]
    assert line["level"] == "warn"
    assert "the configuration came from standard input" in line["message"]


@needs_root
def test_the_first_process_of_a_container_refuses(service, backend):
    daemon = service.start(listener_config(backend.address), options={
        "prefix": ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]})
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
    os.kill(int(children), signal.SIGUSR2)
    assert "the first process of a container" in failure(daemon)
    os.kill(int(children), signal.SIGTERM)
    assert daemon.wait() == 0


# --- signals meanwhile ---

# It does not serve before it is told what to do, by a line in the pipe "told" beside it.
WAITS = """#!/bin/sh
trap '' HUP USR1
echo $$ >"{place}/pid"
read line <"{place}/told"
exec {binary} "$@"
"""


@pytest.fixture
def waiting(place, program):
    """Put a program in place that waits. Returns how to tell it to go on, and its pid."""
    os.mkfifo(place / "told")

    def wait(binary=BINARY):
        replace(program, WAITS.format(place=place, binary=binary))

        def pid():
            wait_until(lambda: (place / "pid").exists() and (place / "pid").read_text(), "a pid")
            return int((place / "pid").read_text())

        return pid, lambda: (place / "told").write_text("go on\n")

    return wait


def test_a_second_signal_is_ignored(service, waiting, backend):
    daemon = service.start(listener_config(backend.address))
    pid, go_on = waiting()
    daemon.signal(signal.SIGUSR2)
    started = pid()
    daemon.signal(signal.SIGUSR2)
    line = daemon.wait_for_records(1, event="upgrade", level="warn")[0]
    assert "a new program has been started already" in line["message"]
    go_on()
    line = daemon.wait_for_records(1, event="stopping")[0]
    assert line["message"].startswith(f"SIGUSR2: process {started} has taken over: ")
    os.kill(started, signal.SIGTERM)
    assert daemon.wait() == 0


def test_the_end_ends_both(service, waiting, backend):
    daemon = service.start(listener_config(backend.address))
    pid, _ = waiting()
    daemon.signal(signal.SIGUSR2)
    started = pid()
    daemon.terminate()
    assert daemon.wait() == 0
    wait_until(lambda: not Path(f"/proc/{started}/exe").exists(), "the new one has ended as well")
    os.waitpid(started, 0)


def test_a_reload_waits_for_what_comes_of_it(service, waiting, converse, connect, backend):
    listener = listener_config(backend.address)
    daemon = service.start(listener)
    pid, go_on = waiting(binary="/bin/false")
    daemon.signal(signal.SIGUSR2)
    pid()
    service.configure({**listener, "trusted_proxies": ["192.0.2.0/24"]})
    daemon.signal(signal.SIGHUP)
    exchange(*converse(daemon.address))  # not yet
    go_on()
    failure(daemon)
    daemon.wait_for_records(1, event="reload", level="info")
    assert connect(daemon).was_reset()


def test_a_reload_is_for_who_has_taken_over(service, waiting, backend):
    """He may have read the configuration before it was changed."""
    daemon = service.start(listener_config(backend.address))
    pid, go_on = waiting()
    daemon.signal(signal.SIGUSR2)
    started = pid()
    daemon.signal(signal.SIGHUP)
    go_on()
    daemon.wait_for_records(1, event="reload", level="info")
    os.kill(started, signal.SIGTERM)
    assert daemon.wait() == 0


def test_the_old_process_does_not_hurry_when_both_are_told_to_end(service, converse, backend):
    """As `systemctl stop` does, while it lets its connections finish."""
    daemon = service.start(listener_config(backend.address))
    client, served = converse(daemon.address)
    daemon.hand_over(wait=False)
    old = daemon.before[0]
    old.send_signal(signal.SIGTERM)
    daemon.wait_for_records(2, event="stopping")
    exchange(client, served)
    old.send_signal(signal.SIGTERM)
    assert client.was_reset()
    assert old.wait() == 0


# --- systemd ---


# As the process of a service that systemd starts.
AS_SERVICE = """
import os, sys
os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_service_that_would_end_with_the_old_process_refuses(service, converse, backend):
    """Without Type=notify systemd does not hear of another main process."""
    daemon = service.start(listener_config(backend.address),
                           options={"prefix": [sys.executable, "-c", AS_SERVICE]})
    daemon.signal(signal.SIGUSR2)
    line = daemon.wait_for_records(1, event="upgrade")[0]
    assert line["level"] == "warn"
    assert "it takes Type=notify in the unit" in line["message"]
    exchange(*converse(daemon.address))


@pytest.mark.skipif(b"libsystemd" not in subprocess.run(["ldd", BINARY], capture_output=True).stdout,
                    reason="built without libsystemd")
def test_systemd_is_told_who_is_the_main_process_now(service, place, closing, backend):
    systemd = closing(Systemd(place / "notify"))
    daemon = service.start(listener_config(backend.address), options={
        "environment": {"NOTIFY_SOCKET": str(systemd.path)},
        "prefix": [sys.executable, "-c", AS_SERVICE]})
    systemd.hear_until(READY="1")
    daemon.hand_over()
    heard = systemd.hear_until(READY="1")
    assert heard[-1] == {"MAINPID": str(daemon.pid), "READY": "1"}
    daemon.terminate()
    assert systemd.hear_until(STOPPING="1") == [{"STOPPING": "1"}]
    assert daemon.wait() == 0
