# SPDX-License-Identifier: MIT
"""The image: what is in it, what it costs, and that building it again gives it again."""

import json
import os
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from engine import ROOT, Container
from processes import output_of, wait_until

IMAGE = "localhost/unproxy"

SIZE_MAX = 8 << 20    # bytes
START_MAX = 50        # from exec until it accepts connections [ms]
MEMORY_MAX = 3 << 20  # PSS at rest [bytes]

CONFIG = {
    "listeners": [{"name": "test", "listen": "127.0.0.1:6432", "upstream": "127.0.0.1:5432",
                   "trusted_proxies": ["127.0.0.1"]}],
    "admin": {"listen": "127.0.0.1:9464"},
}


def unproxy(*arguments, config=CONFIG, **options):
    environment = {"UNPROXY_CONFIG": json.dumps(config)} if config else {}
    return Container("unproxy", IMAGE, list(arguments), environment=environment, drop=["ALL"],
                     read_only=True, **options)


def files_of(path):
    return {str(file.relative_to(path)): file.lstat() for file in sorted(path.rglob("*"))
            if not file.is_dir()}


def test_it_holds_the_program_its_libraries_and_their_licences(engine):
    with engine.mounted(IMAGE) as root:
        files = files_of(root)
        needed = output_of(["ldd", root / "usr/bin/unproxy"]).decode()
        capability = output_of(["getcap", root / "usr/bin/unproxy"]).decode()
    libraries = set(re.findall(r"(lib[\w.+-]*\.so\.\d+|ld-linux[\w-]*\.so\.\d+) ", needed))
    for name, status in files.items():
        print(f"{status.st_size:9} {name}")
    for name in files:
        assert (name in ("usr/bin/unproxy", "etc/passwd", "etc/group", "etc/nsswitch.conf")
                or name.startswith("usr/share/doc/") and name.endswith("/copyright")
                or Path(name).name in libraries), name
    assert {Path(name).name for name in files} >= libraries
    assert capability.split()[-1] == "cap_net_raw=p"
    assert engine.inspect(IMAGE)["Size"] <= SIZE_MAX


def test_its_configuration(engine):
    image = engine.inspect(IMAGE)
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
    assert image["Labels"]["org.opencontainers.image.version"] == version
    assert image["Config"]["User"] == "65534:65534"
    assert image["Config"]["StopSignal"] == "SIGTERM"
    with engine.running(unproxy("--version", config=None)) as running:
        assert running.wait() == 0
        assert running.text().strip().endswith(f"unproxy {version}")


@pytest.mark.long
def test_the_same_input_gives_the_same_layers(engine):
    engine.build("localhost/again", ROOT / "docker/Dockerfile", ROOT, BASE_IMAGE="localhost/base")
    layers = [engine.inspect(image)["RootFS"]["Layers"] for image in (IMAGE, "localhost/again")]
    print(layers[0])
    assert layers[0] == layers[1]


@pytest.fixture
def rootfs(engine, tmp_path):
    """The files of the image with a /dev/null, to run its program without an engine's own cost."""
    root = tmp_path / "root"
    with engine.mounted(IMAGE) as mounted:
        shutil.copytree(mounted, root, symlinks=True)
    root.chmod(0o755)
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", 0o020666, os.makedev(1, 3))
    return root


def test_it_starts_at_once(rootfs):
    def start():
        begin = time.monotonic()
        with subprocess.Popen(["unshare", "--net", "chroot", "--userspec=65534:65534", rootfs,
                               "/usr/bin/unproxy", "run"], stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "UNPROXY_CONFIG": json.dumps(
                                  {**CONFIG, "admin": {"listen": "127.0.0.1:0"}})}) as process:
            for line in process.stderr:
                if json.loads(line)["event"] == "listening":
                    break
            took = 1000 * (time.monotonic() - begin)
            process.terminate()
        return took

    times = sorted(start() for _ in range(9))
    print(f"from exec to listening: {statistics.median(times):.1f} ms, at most {times[-1]:.1f} ms")
    assert statistics.median(times) < START_MAX


def test_its_memory_at_rest(engine):
    with engine.running(unproxy("run")) as running:
        running.wait_for("listening on")
        rollup = Path(f"/proc/{running.pid()}/smaps_rollup").read_text()
    pss = int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M).group(1)) << 10
    print(f"PSS at rest: {pss >> 10} KiB")
    assert pss <= MEMORY_MAX


def test_its_health_check_asks_the_program(engine):
    health = engine.inspect(IMAGE)["Healthcheck"]["Test"]
    assert health[:2] == ["CMD", "/usr/bin/unproxy"]
    with engine.running(unproxy("run")) as running:
        running.wait_for("listening on")
        wait_until(lambda: engine.podman("exec", running.name, *health[1:]) == "", "healthy")
        # What the task definitions ask: the address comes from UNPROXY_CONFIG.
        assert engine.podman("exec", running.name, "/usr/bin/unproxy", "health") == ""
    with engine.running(unproxy("health", config=CONFIG)) as nobody_there:
        assert nobody_there.wait() == 1


def test_names_are_resolved(engine):
    """By /etc/hosts here; DNS takes the same way through the C library, and the compose files use it."""
    config = {**CONFIG, "listeners": [{**CONFIG["listeners"][0], "upstream": "localhost:5432"}]}
    with engine.running(unproxy("run", config=config)) as running:
        running.wait_for("upstream localhost:5432")
        running.signal("TERM")
        assert running.wait() == 0


def test_a_root_becomes_nobody(engine):
    with engine.running(unproxy("run", user="0", add=["SETUID", "SETGID"])) as running:
        running.wait_for("listening on")
        assert running.status()["Uid"].split() == ["65534"] * 4
