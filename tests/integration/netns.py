# SPDX-License-Identifier: MIT
"""Network namespaces made by the test: nothing of their traffic leaves them, and nothing is left behind."""

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path

from processes import output_of, supervised, wait_until

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def network_of(pid):
    """What this thread does in the block, it and what it starts does on the network of that process."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    inside = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(inside)
        yield
    finally:
        _enter(before)
        os.close(inside)
        os.close(before)


class Namespace:
    """It exists as long as the process that sleeps in it, and that ends with us."""

    def __init__(self):
        self.process = subprocess.Popen(supervised(["unshare", "--net", "sleep", "infinity"]))
        self.pid = self.process.pid
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != own, "a namespace")
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command):
        """What a command prints that runs in it; it must succeed."""
        return output_of(["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]).decode()

    def connect_to(self, other, name, networks):
        """A cable between the two, of this name on both sides. @networks: ("10.9.0.1", "10.9.0.2", 24) and so
        on, our address and the other's."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns",
                 other.pid)
        for end in (self, other):
            end.run("ip", "link", "set", name, "up")
        for ours, theirs, bits in networks:
            self.add_address(name, ours, bits)
            other.add_address(name, theirs, bits)

    def add_address(self, interface, address, bits):
        # Without waiting for somebody else to claim an IPv6 address
        flags = ["nodad"] if ":" in address else []
        self.run("ip", "address", "add", f"{address}/{bits}", "dev", interface, *flags)

    def set(self, name, value):
        """A sysctl: set("net.ipv4.fwmark_reflect", 1)."""
        with self.entered():
            Path("/proc/sys", *name.split(".")).write_text(f"{value}\n")

    @contextlib.contextmanager
    def entered(self):
        """What this thread does in the block, it and what it starts does there. Sockets and programs stay there."""
        with network_of(self.pid):
            yield self

    def close(self):
        self.process.kill()
        self.process.wait()


class Network:
    """Clients, a load balancer, and the host of the application. Only neighbours have a route to each other."""

    CLIENT, OTHER_CLIENT, CLIENT6 = "10.1.0.7", "10.2.0.7", "fd00:1::7"
    BALANCER, BALANCER6 = "10.9.0.1", "fd00:9::1"  # as the application's host sees it
    APP, APP6 = "10.9.0.2", "fd00:9::2"

    # Where clients reach the load balancer: their own address follows from it.
    FRONT = {CLIENT: "10.1.0.1", OTHER_CLIENT: "10.2.0.1", CLIENT6: "fd00:1::1"}

    def __init__(self):
        with contextlib.ExitStack() as made:
            self.clients, self.lb, self.app = (
                made.enter_context(contextlib.closing(Namespace())) for _ in range(3))
            self.clients.connect_to(self.lb, "clients", [
                (client, front, 64 if ":" in client else 24)
                for client, front in self.FRONT.items()])
            self.lb.connect_to(self.app, "app", [(self.BALANCER, self.APP, 24),
                                                 (self.BALANCER6, self.APP6, 64)])
            self._made = made.pop_all()

    def close(self):
        self._made.close()
