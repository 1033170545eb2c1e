# SPDX-License-Identifier: MIT
"""The commands of docker/plain.md as a reader types them, in a network namespace of their own."""

import contextlib
import re
import subprocess

from engine import ROOT
from kubelet import image_of
from netns import Namespace
from processes import wait_until

PAGE = (ROOT / "docker/plain.md").read_text()


def test_from_nothing_to_the_clients_address(engine, ends, tmp_path):
    namespace = ends.enter_context(contextlib.closing(Namespace()))
    namespace.set("net.ipv4.ip_forward", 1)
    engine.podman("tag", image_of("postgres"), "localhost/postgres:17")
    inside = ["nsenter", f"--net=/proc/{namespace.pid}/ns/net"]
    ends.callback(engine.remove_containers, inside)
    docker = tmp_path / "docker"
    # The image is there already.
    docker.write_text('#!/bin/sh\n[ "$1" = build ] || exec ' + " ".join(engine.command("podman")) + ' "$@"\n')
    docker.chmod(0o755)

    def run(commands):
        done = subprocess.run(
            [*inside, "sh", "-euc", commands], text=True, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
            env={**engine.environment, "PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin",
                 "POSTGRES_PASSWORD": "not a secret"})
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    *set_up, try_it = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
    assert len(set_up) == 3
    for commands in set_up:
        run(commands)
    wait_until(lambda: "listening on" in run("docker logs unproxy"), "unproxy listens")
    wait_until(lambda: "ready to accept connections" in run("docker logs postgres"), "PostgreSQL")
    expected = re.search(r"^LOG: +(connection received: host=\S+ port=\d+)$", PAGE, re.M).group(1)
    run(try_it)
    wait_until(lambda: expected in run("docker logs postgres"), expected)
