# SPDX-License-Identifier: MIT
"""A Debian machine to install packages on: this one, copied on write, with an init of its own.

systemd runs as process 1 of new namespaces, on an overlay of this machine's root file system. What is
changed there is in memory, and gone with it. It starts nothing but its journal."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from limits import DEADLINE
from processes import directory, wait_until

# Where the second version of control groups is: alone, or beside the first.
CGROUPS = next(path for path in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
               if (path / "cgroup.procs").exists() and (path / "cgroup.controllers").exists())

# Runs in the new namespaces, with a directory to work in. /sys, and of /proc/sys all but the network's part,
# belong to the machine below, so they are read-only.
BOOT = r"""
set -e
cd "$1"
mount -t tmpfs -o mode=755 tmpfs layers
mkdir layers/upper layers/work
mount -t overlay -o lowerdir=/,upperdir=layers/upper,workdir=layers/work overlay root
mount -t proc proc root/proc
mount -o bind root/proc/sys root/proc/sys
mount -o bind root/proc/sys/net root/proc/sys/net
mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro sysfs root/sys
mount -t cgroup2 cgroup2 root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs root/run
mount -t tmpfs -o mode=1777 tmpfs root/tmp
mount -t tmpfs -o mode=755 tmpfs root/dev
for device in null zero full random urandom tty ptmx; do
	touch root/dev/$device
	mount -o bind /dev/$device root/dev/$device
done
mkdir root/dev/pts root/dev/shm
ln -s /proc/self/fd root/dev/fd
# Of this machine's own services, none.
rm -rf root/etc/systemd/system/* root/lib/systemd/system/*.wants root/etc/fstab root/usr/sbin/policy-rc.d
for target in sysinit basic; do
	printf '[Unit]\nAfter=systemd-journald.service\nRequires=systemd-journald.service\n' \
		>root/etc/systemd/system/$target.target
done
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot root \
	/lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
"""


def _first_child(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


class Machine:
    def __init__(self, folder, group, init):
        self.layers = folder / "layers"  # only from inside
        self.group = group
        self.init = init

    def _inside(self, command):
        return ["nsenter", "--target", str(self.init), "--mount", "--pid", "--net", "--uts", "--ipc",
                "--cgroup", "--root", "--wd", *map(str, command)]

    def run(self, *command, status=0, **options):
        """What @command prints; it must end with @status."""
        done = subprocess.run(self._inside(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=4 * DEADLINE,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb",
                                   "DEBIAN_FRONTEND": "noninteractive"}, **options)
        assert done.returncode == status, \
            f"{command} exited with {done.returncode}: {done.stdout}\n{self.journal()}"
        return done.stdout

    def write(self, path, content):
        command = self._inside(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path])
        subprocess.run(command, input=content if isinstance(content, bytes) else content.encode(),
                       check=True, timeout=DEADLINE)

    def journal(self):
        return subprocess.run(self._inside(["journalctl", "--no-pager", "--output=cat", "--lines=60"]),
                              capture_output=True, text=True, timeout=DEADLINE).stdout

    def show(self, unit, *properties):
        """The values of @properties, as systemd has them."""
        text = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties))
        values = dict(line.split("=", 1) for line in text.splitlines())
        return [values[name] for name in properties]

    def main_pid(self, unit):
        """As it is called here, outside."""
        inside, = self.show(unit, "MainPID")
        for pid in (self.group / "system.slice" / unit / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it may end just now
                if f"\t{inside}\n" in Path(f"/proc/{pid}/status").read_text():
                    return int(pid)
        raise AssertionError(f"{unit} does not run\n{self.journal()}")

    def install(self, package):
        """From a .deb of the machine below."""
        self.write("/tmp/package.deb", Path(package).read_bytes())
        return self.run("dpkg", "--install", "/tmp/package.deb")

    def added_files(self):
        """Paths of its disk that this machine does not have."""
        upper = self.layers / "upper"
        listed = subprocess.run(["nsenter", "--target", str(self.init), "--mount",
                                 "find", upper, "-mindepth", "1", "-printf", "/%P\\0"],
                                capture_output=True, text=True, check=True, timeout=DEADLINE)
        return {path for path in listed.stdout.split("\0") if path and not os.path.lexists(path)}


@contextlib.contextmanager
def _control_group():
    path = CGROUPS / f"unproxy-test-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    try:
        yield path
    finally:
        for below in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
            below.rmdir()
        path.rmdir()


@contextlib.contextmanager
def machine():
    with directory() as folder, _control_group() as group:
        for name in ("layers", "root"):
            (folder / name).mkdir()
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--uts",
                   "--ipc", "--cgroup", "--fork", "--kill-child", "sh", "-c", BOOT, "sh", str(folder)]
        with open(folder / "output", "w") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        try:
            def booted():
                assert process.poll() is None, (folder / "output").read_text()
                init = _first_child(process.pid)
                return init and Path(f"/proc/{init}/root/run/systemd/private").exists()

            wait_until(booted, "systemd has booted")
            yield Machine(folder, group, _first_child(process.pid))
        finally:
            init = _first_child(process.pid)
            if init:
                os.kill(init, signal.SIGKILL)  # and everything in its namespace
            process.wait(DEADLINE)
            wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(),
                       "all processes are gone")
