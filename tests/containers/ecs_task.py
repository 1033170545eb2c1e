# SPDX-License-Identifier: MIT
"""Tasks of ECS task definitions in awsvpc mode, run as the agent has Docker run them: one network namespace, each
container when those that it depends on are where they should be."""

import contextlib
import json
import subprocess

from engine import Container
from kubelet import image_of
from processes import wait_until


class Task:
    """A task whose network the caller has made, with the values of its secrets."""

    def __init__(self, engine, definition, namespace, secrets):
        assert definition["networkMode"] == "awsvpc"
        self.engine = engine
        self.definition = definition
        self.namespace = namespace
        self.secrets = secrets
        self.running = {}  # by container name
        self._ends = contextlib.ExitStack()

    def container(self, definition):
        """What Docker is told."""
        environment = {v["name"]: v["value"] for v in definition.get("environment", [])}
        environment |= {s["name"]: self.secrets[s["name"]] for s in definition.get("secrets", [])}
        capabilities = definition.get("linuxParameters", {}).get("capabilities", {})
        return Container(
            name=f"{self.definition['family']}-{definition['name']}",
            image=image_of(definition["image"]), arguments=definition["command"],
            environment=environment, user=definition.get("user"),
            add=capabilities.get("add", []), drop=capabilities.get("drop", []),
            read_only=definition.get("readonlyRootFilesystem", False))

    def _healthy(self, name):
        check = next(c for c in self._containers() if c["name"] == name)["healthCheck"]["command"]
        assert check[0] == "CMD"
        done = subprocess.run(self.engine.command("podman", "exec", self.running[name].name, *check[1:]),
                              env=self.engine.environment, capture_output=True)
        return done.returncode == 0

    def _containers(self):
        return self.definition["containerDefinitions"]

    def _wait_for(self, dependency):
        name = dependency["containerName"]
        self.start_container(name)
        if dependency["condition"] == "HEALTHY":
            wait_until(lambda: self._healthy(name), f"{name} is healthy")
        else:
            assert dependency["condition"] == "SUCCESS"
            running = self.running[name]
            assert running.wait() == 0, running.text()

    def start_container(self, name):
        if name in self.running:
            return
        definition = next(c for c in self._containers() if c["name"] == name)
        for dependency in definition.get("dependsOn", []):
            self._wait_for(dependency)
        self.running[name] = self._ends.enter_context(self.engine.running(
            self.container(definition), f"ns:/proc/{self.namespace.pid}/ns/net", "docker"))

    def start(self):
        """Until all run, and those with a health check are healthy."""
        for container in self._containers():
            for control in container.get("systemControls", []):
                self.namespace.set(control["namespace"], control["value"])
        for container in self._containers():
            self.start_container(container["name"])
        for container in self._containers():
            if "healthCheck" in container:
                wait_until(lambda: self._healthy(container["name"]), f"{container['name']} is healthy")

    def close(self):
        self._ends.close()


def load(path):
    return json.loads(path.read_text())
