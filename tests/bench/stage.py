"""The stage of one measurement: a network namespace of its own, the backend, one peer, the load.

Every measurement gets fresh processes in a fresh namespace, so that none inherits TIME_WAIT sockets, warm pools or
a grown heap from the one before, and every peer starts from the same state.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import ADMIN_PORT

SCRAPER = Path(__file__).with_name("scraper.py")
PEER_PORT = 7001
BACKEND_PORT = 7002
OPEN_FILES = 20000  # enough for 5,000 connections through HAProxy with its pipes
START_SECONDS = 10
LOAD_SECONDS = 60

# Of every namespace, whatever this machine is set to: ports enough, and a congestion control that does not pace.
# BBR would pace loopback by timers: bulk then varies by a factor of four from run to run. Reno is the only other
# one that every namespace may choose; where nothing is lost, as here, it is no slower than cubic.
SYSCTLS = {"ip_local_port_range": "10000 65535", "tcp_congestion_control": "reno"}

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
TCP_LISTEN = "0A"


class Failure(Exception):
    """A measurement that gave no figure; the text says why."""


def become_able_to_unshare():
    """Start this program again in a user namespace if it needs one to make network namespaces."""
    if os.geteuid() != 0 and "UNPROXY_BENCH_USERNS" not in os.environ:
        os.environ["UNPROXY_BENCH_USERNS"] = "1"
        os.execvp("unshare", ["unshare", "--user", "--map-current-user", "--keep-caps", "--",
                              sys.executable, *sys.argv])


def set_file_limit():
    """Let this process and all it starts have OPEN_FILES, or as many as they may; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    return files


def enter_namespace():
    """Move this process to a new network namespace; the old one goes with its last process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace (run as root, or allow user namespaces)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)


def wait_for(what, condition):
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {START_SECONDS} s")
        time.sleep(0.002)


def listening(port):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == TCP_LISTEN for row in rows)


def sockets_in_use():
    """TCP sockets of this namespace, without those in TIME_WAIT."""
    words = Path("/proc/net/sockstat").read_text().split()
    return int(words[words.index("TCP:") + words[words.index("TCP:"):].index("inuse") + 1])


def kilobytes(path, label):
    """The value of the line "label: N kB" of a file of /proc, in bytes."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(label + ":"):
            return int(line.split()[1]) * 1024
    raise Failure(f"{path} has no {label}")


def add_transparent_routes():
    """What the manuals of the mmproxy family tell to set up: replies to made-up clients come back to lo."""
    for words in ("rule add from 127.0.0.1/8 iif lo lookup 123", "route add local 0.0.0.0/0 dev lo table 123"):
        subprocess.run(["ip", *words.split()], check=True)


def children(pid):
    """Direct children of @pid; works without CONFIG_PROC_CHILDREN."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def come_first():
    """Let this process run before whatever else this machine does, if we may. Peer, backend and load all do so."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        Path("/proc/self/autogroup").write_text("-20")  # where there are autogroups, nice counts only inside one
    except OSError:
        pass


class Stage:
    """`with Stage(...) as stage:` has backend and peer running; peer None is the backend alone."""

    def __init__(self, tools, peer, workers, threads, cpus):
        self.tools = tools
        self.peer = peer
        self.workers = workers
        self.threads = threads  # of the load generator and of the backend
        self.cpus = cpus        # {"peer", "backend", "load": set of CPUs}; empty: the kernel chooses
        self.pids = []          # of the peer
        self.processes = []
        self.folder = tempfile.TemporaryDirectory(prefix="unproxy-bench-")

    def __enter__(self):
        try:
            enter_namespace()
            self.start("backend", [self.tools / "bench_backend", BACKEND_PORT, self.threads])
            wait_for("backend", lambda: listening(BACKEND_PORT))
            if self.peer:
                self.start_peer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.folder.cleanup()

    def start_peer(self):
        folder = Path(self.folder.name)
        if self.peer.transparent:
            add_transparent_routes()
        command = self.peer.command(folder, PEER_PORT, BACKEND_PORT, self.workers)
        with open(folder / "output", "wb") as output:
            process = self.start("peer", command, stdout=output, stderr=output)
        count = self.peer.processes(self.workers)

        def ready():
            if process.poll() is not None:
                text = (folder / "output").read_text(errors="replace").strip().split("\n")
                raise Failure(f"it exited with {process.returncode}: {text[-1]}")
            self.pids = [process.pid] + children(process.pid)
            return listening(PEER_PORT) and len(self.pids) == count
        wait_for(self.peer.name, ready)
        if self.peer.scraped:
            self.start("load", [sys.executable, SCRAPER, ADMIN_PORT])

    def start(self, role, command, **options):
        def settle():
            if self.cpus:
                os.sched_setaffinity(0, self.cpus[role])
            come_first()
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([str(word) for word in command], preexec_fn=settle,
                                   start_new_session=True, **options)
        self.processes.append(process)
        return process

    def start_load(self, workload, **options):
        words = ["--workload", workload, "--threads", self.threads]
        words += ["--port", PEER_PORT if self.peer else BACKEND_PORT]
        if not self.peer:
            options["header"] = "none"
        if self.pids:
            words += ["--pids", ",".join(map(str, self.pids))]
        for name, value in options.items():
            words += [f"--{name}", value]
        return self.start("load", [self.tools / "bench_load", *words], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def load(self, workload, **options):
        """Run one workload to its end and return what bench_load reports."""
        process = self.start_load(workload, **options)
        try:
            out, err = process.communicate(timeout=LOAD_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{workload} came to no end within {LOAD_SECONDS} s") from None
        if process.returncode != 0:
            raise Failure(f"{workload}: {err.strip() or process.returncode}")
        return json.loads(out)

    def hold_idle(self, connections):
        """Open @connections that stay as long as the stage."""
        process = self.start_load("idle", connections=connections, header="v2")
        if process.stdout.readline() != "ready\n":
            raise Failure(f"idle: {process.stderr.read().strip()}")

    def footprint(self):
        """User memory and descriptors of the peer, and the slab of the whole machine: the kernel tells of no one
        process how much of it its sockets hold."""
        figures = {"slab": kilobytes("/proc/meminfo", "Slab")}
        if self.peer:
            figures["pss"] = sum(kilobytes(f"/proc/{pid}/smaps_rollup", "Pss") for pid in self.pids)
            figures["files"] = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)
        return figures
