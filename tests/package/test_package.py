# SPDX-License-Identifier: MIT
"""The Debian package: what is in it, and its life on a machine from the first installation to purge."""

import re
import subprocess
from pathlib import Path

import pytest

from processes import output_of
from installed import CONFIG, PORT, configure

pytest_plugins = ["package_fixtures"]

ROOT = Path(__file__).parents[2]
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
FILES = """\
/lib/systemd/system/unproxy-routes.service
/lib/systemd/system/unproxy.service
/lib/systemd/system/unproxy.socket
/usr/bin/unproxy
/usr/share/bash-completion/completions/unproxy
/usr/share/doc/unproxy/README.md.gz
/usr/share/doc/unproxy/changelog.gz
/usr/share/doc/unproxy/copyright
/usr/share/doc/unproxy/examples/config.json
/usr/share/fish/vendor_completions.d/unproxy.fish
/usr/share/man/man8/unproxy.8.gz
/usr/share/zsh/vendor-completions/_unproxy
"""


def test_version_is_the_same_everywhere(deb):
    assert output_of(["dpkg-deb", "--field", deb, "Version"]).decode().strip() == VERSION


def test_files(deb):
    listed = output_of(["dpkg-deb", "--contents", deb]).decode().splitlines()
    files = [line.split()[5].removeprefix(".") for line in listed if not line.startswith("d")]
    assert "".join(f"{path}\n" for path in sorted(files)) == FILES


def test_lintian(deb):
    changes, = deb.parent.glob("*.changes")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit=0",
                           changes], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_waits_until_it_is_configured(installed):
    assert installed.show("unproxy.service", "ActiveState", "UnitFileState", "ConditionResult") == \
        ["inactive", "enabled", "no"]
    for unit in ("unproxy.socket", "unproxy-routes.service"):
        assert installed.show(unit, "ActiveState", "UnitFileState") == ["inactive", "disabled"]
    installed.run("unproxy", "check", "--no-probe", "-c", "/usr/share/doc/unproxy/examples/config.json")


def test_units_are_in_order(installed):
    assert installed.run("systemd-analyze", "verify", "unproxy.service", "unproxy.socket",
                         "unproxy-routes.service") == ""


@pytest.mark.parametrize("unit", ["unproxy.service", "unproxy-routes.service"])
def test_units_may_do_little(installed, unit):
    installed.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager",
                  f"/lib/systemd/system/{unit}")


def test_purge_leaves_nothing(empty_machine, deb):
    before = empty_machine.added_files()
    empty_machine.install(deb)
    assert "/usr/bin/unproxy" in empty_machine.added_files()
    configure(empty_machine, "127.0.0.1:9", listen=f"[::]:{PORT}",
              settings={"log": {"output": "/var/log/unproxy/log"}})
    empty_machine.run("systemctl", "start", "unproxy.socket", "unproxy.service", "unproxy-routes.service")
    empty_machine.run("systemctl", "enable", "unproxy.socket", "unproxy-routes.service")
    empty_machine.run("apt-get", "--yes", "remove", "unproxy")
    for unit in ("unproxy.service", "unproxy.socket", "unproxy-routes.service"):
        assert empty_machine.show(unit, "ActiveState", "LoadState") == ["inactive", "not-found"]
    empty_machine.run("test", "-e", CONFIG)
    empty_machine.run("apt-get", "--yes", "purge", "unproxy")
    assert empty_machine.added_files() - before == set()
