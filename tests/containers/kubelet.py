# SPDX-License-Identifier: MIT
"""Pods of Kubernetes manifests, run as a kubelet with containerd runs them: init containers in turn, sidecars among
them, probes, security contexts, ConfigMaps and their updates. What a manifest does not say is not given."""

import contextlib
import http.client
import itertools
import os
import time

from engine import Container
from processes import wait_until

# Docker Hub's, and what stands in for them.
IMAGES = {"unproxy": "localhost/unproxy", "postgres": "localhost/postgres",
          "nginxinc/nginx-unprivileged": "localhost/nginx"}


def image_of(reference):
    return IMAGES[reference.split(":")[0]]


class ConfigDirectory:
    """A ConfigMap as a volume: files are links through ..data, which an update replaces in one step."""

    def __init__(self, path, data):
        self.path = path
        self.versions = itertools.count()
        path.mkdir()
        self.update(data)

    def update(self, data):
        version = self.path / f"..version_{next(self.versions)}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
            with contextlib.suppress(FileExistsError):
                (self.path / name).symlink_to(f"..data/{name}")
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.path / "..data")


class Pod:
    """A pod of a Deployment or StatefulSet, whose namespace's network the caller has made."""

    def __init__(self, engine, workload, objects, namespace, secrets=None):
        self.engine = engine
        self.spec = workload["spec"]["template"]["spec"]
        self.name = workload["metadata"]["name"]
        self.namespace = namespace
        self.secrets = secrets or {}
        self.config_maps = {o["metadata"]["name"]: o["data"] for o in objects
                            if o["kind"] == "ConfigMap"}
        self.path = engine.path / f"pod-{next(engine.numbers)}"
        self.path.mkdir()
        self.volumes = {}
        self._make_volumes(workload["spec"].get("volumeClaimTemplates", []))
        self.running = {}  # by container name, in the order of their start
        self._ends = contextlib.ExitStack()

    def _make_volumes(self, claims):
        for volume in self.spec["volumes"]:
            path = self.path / volume["name"]
            if "configMap" in volume:
                data = self.config_maps[volume["configMap"]["name"]]
                self.volumes[volume["name"]] = ConfigDirectory(path, data)
            else:
                assert "emptyDir" in volume, f"no volume of this kind here: {volume}"
                self._empty_directory(path)
        for claim in claims:
            self._empty_directory(self.path / claim["metadata"]["name"])

    def _empty_directory(self, path):
        path.mkdir()
        os.chown(path, 0, self.spec["securityContext"].get("fsGroup", 0))
        path.chmod(0o2777)

    def _environment(self, container):
        for variable in container.get("env", []):
            if "value" in variable:
                yield variable["name"], variable["value"]
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                yield variable["name"], self.secrets[reference["name"]][reference["key"]]

    def container(self, manifest):
        """What containerd is told."""
        context = {**self.spec["securityContext"], **manifest["securityContext"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}  # podman's default, too
        assert not context.get("runAsNonRoot") or context["runAsUser"] != 0
        capabilities = context.get("capabilities", {})
        user = str(context["runAsUser"])
        if "runAsGroup" in context:
            user += f":{context['runAsGroup']}"
        return Container(
            name=f"{self.name}-{manifest['name']}", image=image_of(manifest["image"]),
            arguments=manifest.get("args", []), environment=dict(self._environment(manifest)),
            user=user, add=capabilities.get("add", []), drop=capabilities.get("drop", []),
            read_only=context["readOnlyRootFilesystem"],
            no_new_privileges=not context.get("allowPrivilegeEscalation", True),
            privileged=context.get("privileged", False),
            memory=manifest["resources"]["limits"]["memory"].replace("i", "").lower(),
            mounts={mount["mountPath"]: (self.path / mount["name"],
                                         "ro" if mount.get("readOnly") else "rw")
                    for mount in manifest["volumeMounts"]} if "volumeMounts" in manifest else {})

    def _start(self, manifest):
        self.running[manifest["name"]] = self._ends.enter_context(self.engine.running(
            self.container(manifest), f"ns:/proc/{self.namespace.pid}/ns/net", "containerd"))
        return self.running[manifest["name"]]

    def start(self):
        """Until every container runs. An init container that fails raises what it said."""
        for sysctl in self.spec["securityContext"].get("sysctls", []):
            self.namespace.set(sysctl["name"], sysctl["value"])
        for manifest in self.spec["initContainers"]:
            running = self._start(manifest)
            if manifest.get("restartPolicy") == "Always":
                self._wait_for_probe(manifest, "startupProbe", running)
            else:
                status = running.wait()
                assert status == 0, f"{running.name} ended with {status}:\n{running.text()}"
        for manifest in self.spec["containers"]:
            self._start(manifest)

    def probe(self, manifest, kind):
        """Does the probe succeed now?"""
        get = manifest[kind]["httpGet"]
        port = next(p["containerPort"] for p in manifest["ports"] if p["name"] == get["port"])
        with self.namespace.entered():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
            try:
                connection.request("GET", get["path"])
                return 200 <= connection.getresponse().status < 400
            except OSError:
                return False
            finally:
                connection.close()

    def _wait_for_probe(self, manifest, kind, running):
        def passed():
            assert running.process.poll() is None, f"{running.name} ended:\n{running.text()}"
            return self.probe(manifest, kind)

        wait_until(passed, f"{kind} of {running.name}")

    def wait_until_ready(self):
        for manifest in self.spec["initContainers"] + self.spec["containers"]:
            if "readinessProbe" in manifest:
                self._wait_for_probe(manifest, "readinessProbe", self.running[manifest["name"]])

    def terminate(self):
        """End it as a deletion does, without the preStop's wait: containers first, then sidecars, within the grace
        period. Returns the exit statuses."""
        end = time.monotonic() + self.spec["terminationGracePeriodSeconds"]
        statuses = {}
        sidecars = [m for m in self.spec["initContainers"] if m.get("restartPolicy") == "Always"]
        for manifest in [*self.spec["containers"], *reversed(sidecars)]:
            running = self.running[manifest["name"]]
            self.engine.podman("stop", "--time", int(end - time.monotonic()), running.name,
                               timeout=self.spec["terminationGracePeriodSeconds"] + 10)
            statuses[manifest["name"]] = running.wait()
        return statuses

    def close(self):
        self._ends.close()


def workload(objects, kind):
    return next(o for o in objects if o["kind"] == kind)
