# SPDX-License-Identifier: MIT
"""Thousands of clients that do next to nothing, and one that works all the while."""

import contextlib
import errno
import select
import socket
import threading
import time

import header
from limits import DEADLINE
from peer import open_peer, split


# Between two rounds of the working client [s].
NAP = 0.01

# How many connections may be opened or written to before those that have ended are looked at [count].
SLICE = 100


class Crowd:
    """@size connections, watched until the daemon has reset each of them."""

    def __init__(self, address, size):
        self.epoll = select.epoll()
        self.open = {}       # file descriptor to socket
        self.opened_at = {}  # file descriptor to time [s]
        self.waited = []     # from connected to reset, of each that was reset [s]
        self.ended_otherwise = 0
        target = split(address)
        for number in range(size):
            self._add(socket.create_connection(target, DEADLINE))
            if number % SLICE == 0:
                self._look(0)

    def _add(self, sock):
        sock.setblocking(False)
        self.open[sock.fileno()] = sock
        self.opened_at[sock.fileno()] = time.monotonic()
        self.epoll.register(sock, select.EPOLLIN)

    def _look(self, timeout):
        ready = self.epoll.poll(timeout)
        now = time.monotonic()
        for number, _ in ready:
            error = self.open[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._ended(number, now, error)

    def watch(self, seconds):
        """Note resets for so long, or until nobody is left."""
        end = time.monotonic() + seconds
        while self.open and (left := end - time.monotonic()) > 0:
            self._look(left)

    def send(self, data):
        """To everyone who is still there."""
        for i, (number, sock) in enumerate(list(self.open.items())):
            if i % SLICE == 0:
                self._look(0)
            if number not in self.open:
                continue
            try:
                sock.send(data)
            except OSError as error:
                self._ended(number, time.monotonic(), error.errno)

    def _ended(self, number, now, error):
        if error == errno.ECONNRESET:
            self.waited.append(now - self.opened_at[number])
        else:
            self.ended_otherwise += 1
        self.open.pop(number).close()

    def close(self):
        for sock in self.open.values():
            sock.close()
        self.epoll.close()


class WorkingClient(threading.Thread):
    """Talks to an echoing application, on one connection and on a new one in turn, until close()."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.rounds = 0
        self.slowest = 0      # round [s]
        self.woken_late = 0   # by how much at most, after a nap: the machine's doing [s]
        self.error = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        try:
            with contextlib.closing(self._connect()) as steady:
                while self._nap():
                    self._round(steady)
        except (OSError, AssertionError) as error:
            self.error = error

    def _nap(self):
        start = time.monotonic()
        stopped = self._stopping.wait(NAP)
        self.woken_late = max(self.woken_late, time.monotonic() - start - NAP)
        return not stopped

    def _round(self, steady):
        start = time.monotonic()
        steady.exchange(b"still here?")
        with contextlib.closing(self._connect()) as fresh:
            fresh.exchange(b"anyone?")
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.rounds += 1

    def _connect(self):
        peer = open_peer(self.address)
        peer.send(header.v2())
        return peer

    def close(self):
        self._stopping.set()
        self.join()
