# SPDX-License-Identifier: MIT
"""The compose files, brought up by a real Docker Compose that talks to podman in a network namespace of its own."""

import contextlib
import json
import re
import subprocess
import threading

import pytest

from engine import ROOT
from kubelet import IMAGES
from netns import Namespace
from processes import running, wait_until

pytestmark = pytest.mark.long

UP_DEADLINE = 120  # several containers, one after the other [s]


class Compose:
    """docker-compose -f FILE in @namespace."""

    def __init__(self, engine, namespace, file):
        self.engine = engine
        self.namespace = namespace
        self.socket = engine.path / "podman.sock"
        self.file = ROOT / "docker" / file
        self.environment = {
            **engine.environment, "DOCKER_HOST": f"unix://{self.socket}",
            "POSTGRES_PASSWORD": "not a secret", "UNPROXY_IMAGE": IMAGES["unproxy"],
            "POSTGRES_IMAGE": IMAGES["postgres"], "HAPROXY_IMAGE": "localhost/haproxy"}

    def inside(self, *command):
        return ["nsenter", f"--net=/proc/{self.namespace.pid}/ns/net", *map(str, command)]

    def __call__(self, *arguments, timeout=UP_DEADLINE):
        done = subprocess.run(
            self.inside("docker-compose", "--ansi", "never", "-p", "test", "-f", self.file, *arguments),
            env=self.environment, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def answer(self):
        """What the client prints."""
        def printed():
            return re.search(r"^client_1 +\| (\S+)$", self("logs", "--no-color", "client"), re.M)

        wait_until(printed, "the client's output")
        return printed().group(1)

    def containers(self):
        return self.engine.podman("ps", "--quiet").split()


@contextlib.contextmanager
def health_checks(compose):
    """podman leaves their timing to systemd; here, to us."""
    end = threading.Event()

    def check():
        while not end.wait(0.5):
            for container in compose.containers():
                subprocess.run(compose.engine.command("podman", "healthcheck", "run", container),
                               env=compose.environment, capture_output=True)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.fixture
def compose(engine, ends):
    """compose("compose.yaml") is that file's project, up."""
    def up(file):
        namespace = ends.enter_context(contextlib.closing(Namespace()))
        namespace.set("net.ipv4.ip_forward", 1)
        project = Compose(engine, namespace, file)
        service = project.inside(
            "env", f"CONTAINERS_CONF={engine.environment['CONTAINERS_CONF']}",
            *engine.command("podman", "system", "service", "--time=0", f"unix://{project.socket}"))
        ends.enter_context(running(service, lambda output: project.socket.exists()))
        ends.callback(engine.remove_containers, project.inside())
        ends.enter_context(health_checks(project))
        # The client with the others: for `run`, this Compose wants the networks to be as Docker describes them.
        project("--profile", "client", "up", "--no-build", "--detach")
        return project

    return up


def test_transparent(compose):
    project = compose("compose.yaml")
    client = project.answer()
    assert re.fullmatch(r"172\.30\.64\.\d+", client) and client != "172.30.64.2"
    line = next(line for line in project("logs", "postgres").splitlines()
                if f"connection received: host={client} " in line)
    print(line)


def test_bridge(compose):
    project = compose("compose.bridge.yaml")
    seen = project.answer()
    assert not seen.startswith("172.30.65.")  # unproxy's address in the other network

    def line():
        lines = [line[line.index("{"):] for line in project("logs", "unproxy").splitlines()
                 if '"outcome":"finished"' in line and '"PROXY"' in line]
        return lines and json.loads(lines[-1])

    wait_until(line, "an access line")
    assert re.match(r"172\.30\.65\.\d+:", line()["client"])
    assert line()["peer"].startswith("172.30.65.2:")
    print(json.dumps(line()))
