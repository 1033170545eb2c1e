# SPDX-License-Identifier: MIT
"""Images and containers in a store of our own, which goes away as a whole."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from limits import DEADLINE
from processes import output_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# Of the image, for layers that can be compared.
BUILD_TIME = "1700000000"

# A base image, or several hundred packages, are fetched meanwhile [s].
BUILD_DEADLINE = 900


def log(text):
    """What takes time is announced, also when pytest keeps the output."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=STDERR, flush=True)


STDERR = os.fdopen(os.dup(2), "w")


@dataclass
class Container:
    """What an engine is told to run, whichever manifest says so."""

    name: str
    image: str
    arguments: list = field(default_factory=list)
    entrypoint: list = None
    environment: dict = field(default_factory=dict)
    user: str = None
    add: list = field(default_factory=list)    # capabilities
    drop: list = field(default_factory=list)
    read_only: bool = False
    no_new_privileges: bool = False
    privileged: bool = False
    memory: str = None
    mounts: dict = field(default_factory=dict)  # path inside: (path outside, "ro" or "rw")

    def flags(self):
        yield from ("--cap-add=" + name for name in self.add)
        yield from ("--cap-drop=" + name for name in self.drop)
        yield from (f"--env={name}={value}" for name, value in self.environment.items())
        yield from (f"--volume={outside}:{inside}:{mode}"
                    for inside, (outside, mode) in self.mounts.items())
        if self.user:
            yield f"--user={self.user}"
        if self.read_only:
            yield from ("--read-only", "--read-only-tmpfs=false")
        if self.no_new_privileges:
            yield "--security-opt=no-new-privileges"
        if self.privileged:
            yield "--privileged"
        if self.memory:
            yield f"--memory={self.memory}"
        if self.entrypoint:
            yield f"--entrypoint={json.dumps(self.entrypoint)}"


class Running:
    """A container from its start; .text() is its output."""

    def __init__(self, engine, container, network, runtime):
        self.engine = engine
        self.name = f"{container.name}-{next(engine.numbers)}"
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            engine.command("podman", "run", "--rm", "--interactive", "--name", self.name,
                           "--network", network, "--runtime", runtime, "--log-driver=none", "--no-healthcheck",
                           *container.flags(), container.image, *container.arguments),
            stdin=subprocess.PIPE, stdout=self.output, stderr=self.output, env=engine.environment)

    def text(self):
        return os.pread(self.output.fileno(), 1 << 22, 0).decode(errors="replace")

    def wait_for(self, text):
        """@text in its output."""
        def seen():
            if text in self.text():
                return True
            assert self.process.poll() is None, f"{self.name} ended without {text!r}:\n{self.text()}"
            return False

        try:
            wait_until(seen, f"{text!r} from {self.name}")
        except AssertionError:
            raise AssertionError(f"no {text!r} from {self.name}:\n{self.text()}") from None

    def wait(self, timeout=DEADLINE):
        """Its exit status."""
        return self.process.wait(timeout)

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def pid(self):
        return int(self.engine.podman("inspect", "--format", "{{.State.Pid}}", self.name))

    def status(self):
        """/proc/PID/status as a dictionary."""
        lines = Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def signal(self, name):
        self.engine.podman("kill", "--signal", name, self.name)

    def _ended(self):
        if self.process.poll() is None:
            with contextlib.suppress(AssertionError):  # it may be starting, or ending
                self.engine.podman("kill", self.name)
        return self.process.poll() is not None

    def close(self):
        wait_until(self._ended, f"the end of {self.name}")
        self.process.stdin.close()
        self.output.close()


class Engine:
    """podman and buildah with everything they keep below @path."""

    def __init__(self, path):
        self.path = path
        self.numbers = iter(range(1, 10000))
        for name in ("docker", "containerd"):
            (path / name).symlink_to(HERE / "runtime")
        config = path / "containers.conf"
        # The default network would need a bridge in this machine's namespace; the default cgroup manager, systemd.
        config.write_text(f"""
            [containers]
            log_driver = "k8s-file"
            [engine]
            runtime = "docker"
            cgroup_manager = "cgroupfs"
            events_logger = "none"
            tmp_dir = "{path}/tmp"
            volume_path = "{path}/volumes"
            [network]
            network_config_dir = "{path}/networks"
            [engine.runtimes]
            docker = ["{path}/docker"]
            containerd = ["{path}/containerd"]
            """)
        self.environment = {**os.environ, "CONTAINERS_CONF": str(config), "TMPDIR": str(path)}

    def command(self, program, *arguments):
        return [program, f"--root={self.path}/root", f"--runroot={self.path}/run", *map(str, arguments)]

    def run(self, program, *arguments, timeout=DEADLINE * 4, **options):
        return output_of(self.command(program, *arguments), timeout, env=self.environment,
                         **options).decode().strip()

    def podman(self, *arguments, **options):
        return self.run("podman", *arguments, **options)

    def build(self, tag, dockerfile, context, target=None, cache=False, **arguments):
        """Build @tag as a reader of docker/ would, but for the isolation: there is no engine here to nest in."""
        begin = time.monotonic()
        self.run("buildah", "bud", "--isolation", "chroot", "--format", "docker",
                 "--layers" if cache else "--no-cache", "--timestamp", BUILD_TIME,
                 *(["--target", target] if target else []),
                 *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                 "--file", dockerfile, "--tag", tag, context, timeout=BUILD_DEADLINE)
        log(f"built {tag} in {time.monotonic() - begin:.0f} s")

    def import_base(self, tag):
        """A Debian base image without a registry."""
        begin = time.monotonic()
        base = self.path / "base"
        output_of(["debootstrap", "--variant=minbase", "bookworm", base], BUILD_DEADLINE)
        # As in the official image: packages start nothing.
        policy = base / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        archive = self.path / "base.tar"
        output_of(["tar", "-C", base, "-cf", archive, "."], BUILD_DEADLINE)
        self.podman("import", archive, tag, timeout=BUILD_DEADLINE)
        archive.unlink()
        shutil.rmtree(base)
        log(f"made {tag} in {time.monotonic() - begin:.0f} s")

    def inspect(self, image):
        return json.loads(self.podman("image", "inspect", image))[0]

    @contextlib.contextmanager
    def mounted(self, image):
        """Where the files of @image are."""
        path = Path(self.podman("image", "mount", image))
        try:
            yield path
        finally:
            self.podman("image", "unmount", image)

    @contextlib.contextmanager
    def running(self, container, network="none", runtime="docker"):
        running = Running(self, container, network, runtime)
        try:
            yield running
        finally:
            running.close()

    def remove_containers(self, prefix=()):
        """All, also such as share the network of others, which must go first. @prefix is a command that runs podman
        where their networks were made: it cleans up after them."""
        for _ in range(2):
            for name in self.podman("ps", "--all", "--quiet").split():
                subprocess.run([*prefix, *self.command("podman", "rm", "--force", "--time", "0", name)],
                               env=self.environment, capture_output=True)

    def close(self):
        self.remove_containers()
        groups = Path("/sys/fs/cgroup").glob("*/libpod_parent")
        for group in (inner for outer in groups for inner in [*outer.glob("*/"), outer]):
            with contextlib.suppress(OSError):  # somebody else's containers
                group.rmdir()


@contextlib.contextmanager
def store():
    """An engine without any image. Its files are in memory (`run` sees to that), some 2 GiB, and go away with us."""
    with tempfile.TemporaryDirectory(dir="/run", ignore_cleanup_errors=True) as path:
        with contextlib.closing(Engine(Path(path))) as engine:
            yield engine
